//! The local master key: made at first start, kept in one file that only its owner reads.
//!
//! Under it stand all key blocks and the keys for PANs at rest. It never leaves this room.

use super::HsmError;
use super::aes::{AesKey, KEY};
use super::random::{OpenSslRandom, Random};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// Permission bits of group and others.
const SHARED: u32 = 0o077;
/// Characters of the file at most: the digits and a line's end.
const LONGEST: usize = 2 * KEY + 2;

/// An AES-256 local master key, wiped when dropped. Prints its check value.
#[derive(Clone)]
pub struct Lmk(Zeroizing<[u8; KEY]>);

impl Lmk {
    /// Takes 32 octets: for tests.
    #[must_use]
    pub fn from_bytes(octets: [u8; KEY]) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// Draws a new one from OpenSSL's generator for secrets.
    ///
    /// # Errors
    /// [`HsmError::Failure`] of the random source.
    pub fn random() -> Result<Self, HsmError> {
        let mut octets = Zeroizing::new([0; KEY]);
        OpenSslRandom.fill(octets.as_mut_slice())?;
        Ok(Self(octets))
    }

    /// Loads the LMK from its file: 64 hexadecimal digits and a line's end. When there is no file, draws an
    /// LMK and writes it with mode 0600, durably.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] when group or others may touch the file, [`ErrorKind::InvalidData`]
    /// when it is no LMK (never overwritten), or what the system says.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        match created {
            Ok(file) => {
                let lmk = Self::random().map_err(io::Error::other)?;
                lmk.write(file)?;
                sync_folder(path)?;
                Ok(lmk)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::load(path),
            Err(error) => Err(error),
        }
    }

    /// Loads the LMK from its file.
    ///
    /// # Errors
    /// As [`Lmk::load_or_create`], and [`ErrorKind::NotFound`].
    pub fn load(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidData, "the LMK is not a regular file"));
        }
        if found.permissions().mode() & SHARED != 0 {
            let text = "the LMK file is open to group or others: its mode must be 0600";
            return Err(io::Error::new(ErrorKind::PermissionDenied, text));
        }
        let no_lmk = || io::Error::new(ErrorKind::InvalidData, "the LMK file does not hold an LMK");
        let mut text = Zeroizing::new(String::with_capacity(LONGEST + 1));
        let read = u64::try_from(LONGEST + 1).unwrap_or(u64::MAX);
        file.take(read).read_to_string(&mut text)?;
        if text.len() > LONGEST {
            return Err(no_lmk());
        }
        let mut octets = Zeroizing::new([0; KEY]);
        hex::decode_to_slice(text.trim_ascii_end(), octets.as_mut_slice()).map_err(|_| no_lmk())?;
        Ok(Self(octets))
    }

    fn write(&self, mut file: File) -> io::Result<()> {
        let mut text = Zeroizing::new(hex::encode_upper(self.0.as_slice()));
        text.push('\n');
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// The LMK's check value, 6 hexadecimal characters: CMAC of a block of zeros (X9.143, annex A).
    ///
    /// # Errors
    /// [`HsmError::Failure`].
    pub fn check_value(&self) -> Result<String, HsmError> {
        Ok(AesKey::new(self.0.as_slice())?.kcv())
    }

    pub(super) fn octets(&self) -> &[u8; KEY] {
        &self.0
    }
}

impl std::fmt::Debug for Lmk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lmk({})", self.check_value().unwrap_or_default())
    }
}

/// Makes a new file's name durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn the_check_value_is_the_published_one() {
        // The public AES test LMK of Thales key blocks.
        let text = "9B71333A13F9FAE72F9D0E2DAB4AD6784718012F9244033F3F26A2DE0C8AA11A";
        let lmk = Lmk::from_bytes(hex::decode(text).unwrap().try_into().unwrap());
        assert_eq!(lmk.check_value().unwrap(), "DB3FB6");
        assert_eq!(format!("{lmk:?}"), "Lmk(DB3FB6)");
    }

    #[test]
    fn the_first_start_makes_it_and_later_starts_load_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lmk");
        let first = Lmk::load_or_create(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read(&path).unwrap().len(), 65);
        let again = Lmk::load_or_create(&path).unwrap();
        assert_eq!(first.octets(), again.octets());
        let other = Lmk::load_or_create(&folder.path().join("other")).unwrap();
        assert_ne!(first.octets(), other.octets());
        let missing = Lmk::load(&folder.path().join("missing"));
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_file_that_others_may_touch_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lmk");
        Lmk::load_or_create(&path).unwrap();
        for (bits, accepted) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
            let found = Lmk::load_or_create(&path).map(|_| ()).map_err(|e| e.kind());
            let expected = if accepted { Ok(()) } else { Err(ErrorKind::PermissionDenied) };
            assert_eq!(found, expected, "{bits:o}");
        }
    }

    #[test]
    fn a_file_that_holds_no_lmk_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lmk");
        let good = "41".repeat(32);
        for text in
            ["", "41", &"4".repeat(63), &format!("{good}41"), &format!("{good}\n\n\n4"), &"G".repeat(64)]
        {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let found = Lmk::load_or_create(&path);
            assert_eq!(found.unwrap_err().kind(), ErrorKind::InvalidData, "{text:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), *text);
        }
        assert_eq!(Lmk::load(folder.path()).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
