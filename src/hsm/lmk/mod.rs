//! The life of the local master key (LMK): where it comes from, the file that holds it, its rotation.
//!
//! Under it stand all key blocks and the keys for PANs at rest. It never leaves this room. The file is drawn
//! in `file_text`; who holds what is said there.

mod component;
mod file;
mod file_text;
mod passphrase;
mod ring;
mod secret_file;
#[cfg(test)]
mod tests;
mod token;

pub use component::{form, new_component, read_component};
pub use file::{Ask, LmkFile, LmkLock, LmkSettings, Told};
pub use file_text::Seal;
pub use passphrase::{Cost, SHORTEST as SHORTEST_PASSPHRASE};
pub use ring::{LmkRing, Standing};
pub use secret_file::{read_passphrase, read_secret};
pub use token::TokenSettings;

use super::aes::{AesKey, KEY, hmac_sha256};
use super::random::{OpenSslRandom, Random};
use super::{HsmError, KeyDefect, audit};
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Octets of the data keys for PANs at rest: the sealing key and the look-up key.
pub(super) const DATA: usize = 2 * KEY;

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

    /// Takes 32 octets that are in a container of any length.
    pub(super) fn of(octets: &[u8]) -> Result<Self, HsmError> {
        let mut key = Zeroizing::new([0; KEY]);
        if octets.len() != KEY {
            return Err(HsmError::Key(KeyDefect::Length));
        }
        key.copy_from_slice(octets);
        Ok(Self(key))
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

    /// A key of a purpose of its own.
    pub(super) fn derive(&self, label: &[u8]) -> Zeroizing<[u8; KEY]> {
        derive(&self.0, label)
    }

    fn is(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl std::fmt::Debug for Lmk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lmk({})", self.check_value().unwrap_or_default())
    }
}

/// One step of the counter-mode derivation of NIST SP 800-108, 4.1, with HMAC-SHA256 over counter, label, zero, length
/// in bits.
fn derive(key: &[u8; KEY], label: &[u8]) -> Zeroizing<[u8; KEY]> {
    let input = [&[0, 0, 0, 1], label, &[0], &[0, 0, 1, 0]].concat();
    hmac_sha256(key, &input)
}

/// The data keys for PANs at rest, sealing key and look-up key. They outlive every LMK, so that a rotation
/// changes no sealed PAN and no look-up value, and no key block that callers of host commands keep.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; DATA]>);

impl DataKey {
    /// Draws new ones.
    ///
    /// # Errors
    /// [`HsmError::Failure`] of the random source.
    pub fn random() -> Result<Self, HsmError> {
        let mut octets = Zeroizing::new([0; DATA]);
        OpenSslRandom.fill(octets.as_mut_slice())?;
        Ok(Self(octets))
    }

    /// Those of an LMK whose file holds none: derived from it.
    #[must_use]
    pub fn derived(lmk: &Lmk) -> Self {
        let mut octets = Zeroizing::new([0; DATA]);
        let (sealing, lookup) = octets.split_at_mut(KEY);
        sealing.copy_from_slice(lmk.derive(b"PAN sealing").as_slice());
        lookup.copy_from_slice(lmk.derive(b"PAN look-up").as_slice());
        Self(octets)
    }

    /// A key of a purpose of host commands: what callers keep stands under it, out of reach of a rotation.
    pub(super) fn for_host_commands(&self, label: &[u8]) -> Zeroizing<[u8; KEY]> {
        let (sealing, lookup) = self.parts();
        let both = hmac_sha256(&sealing, lookup.as_slice());
        derive(&both, &[b"host commands: ", label].concat())
    }

    /// The sealing key and the look-up key.
    pub(super) fn parts(&self) -> (Zeroizing<[u8; KEY]>, Zeroizing<[u8; KEY]>) {
        let (mut sealing, mut lookup) = (Zeroizing::new([0; KEY]), Zeroizing::new([0; KEY]));
        let (one, two) = self.0.split_at(KEY);
        sealing.copy_from_slice(one);
        lookup.copy_from_slice(two);
        (sealing, lookup)
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey")
    }
}

/// An LMK that a rotation replaced, while key blocks may still be under it.
#[derive(Debug, Clone)]
pub struct Former {
    /// The key.
    pub lmk: Lmk,
    /// When it was replaced, milliseconds since the epoch.
    pub replaced_ms: i64,
}

/// What an LMK file holds.
#[derive(Debug, Clone)]
pub struct LmkKeys {
    /// New blocks are under this one.
    pub current: Lmk,
    /// The one before, during a rotation.
    pub former: Option<Former>,
    /// The keys for PANs at rest.
    pub data: DataKey,
}

impl LmkKeys {
    /// A new LMK with data keys of its own.
    ///
    /// # Errors
    /// [`HsmError::Failure`] of the random source.
    pub fn new(current: Lmk) -> Result<Self, HsmError> {
        Ok(Self { current, former: None, data: DataKey::random()? })
    }

    /// The state after `next` has replaced the current LMK.
    ///
    /// # Errors
    /// [`LmkError::Rotation`] while a former LMK is there, or when the two are the same.
    pub fn rotated(&self, next: Lmk, now_ms: i64) -> Result<Self, LmkError> {
        if self.former.is_some() {
            return Err(LmkError::Rotation("a rotation is under way: finish it first"));
        }
        if self.current.is(&next) {
            return Err(LmkError::Rotation("the new LMK is the one in force"));
        }
        let former = Former { lmk: self.current.clone(), replaced_ms: now_ms };
        Ok(Self { current: next, former: Some(former), data: self.data.clone() })
    }
}

/// Why an LMK cannot be had. No text holds anything of a key, a passphrase or a PIN.
#[derive(Debug, thiserror::Error)]
pub enum LmkError {
    /// What the system says of a file.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: std::io::Error,
    },
    /// Group or others may touch a file of secrets.
    #[error("{}: open to group or others: its mode must be 0600", .0.display())]
    Shared(PathBuf),
    /// A file does not hold what it should.
    #[error("{}{}: {what}", path.display(), line.map(|l| format!(":{l}")).unwrap_or_default())]
    Form {
        /// The file.
        path: PathBuf,
        /// From 1, where a line is at fault.
        line: Option<usize>,
        /// What is wrong.
        what: String,
    },
    /// The passphrase is another, or the sealed file was altered.
    #[error("{}: wrong passphrase, or the file is altered", .0.display())]
    Passphrase(PathBuf),
    /// The token's key is another, or the sealed file was altered.
    #[error("{}: sealed by another key of the token, or the file is altered", .0.display())]
    TokenKey(PathBuf),
    /// No settings say where what opens the file is.
    #[error("{0}")]
    Settings(&'static str),
    /// A PKCS#11 token.
    #[error("token: {0}")]
    Token(String),
    /// Components.
    #[error("{0}")]
    Components(String),
    /// A step of a rotation that cannot be made now.
    #[error("{0}")]
    Rotation(&'static str),
    /// Another verb works on the file.
    #[error("{}: another command changes the LMK now", .0.display())]
    Busy(PathBuf),
    /// The room's own failure.
    #[error(transparent)]
    Hsm(#[from] HsmError),
}

impl LmkError {
    /// A refusal's word in a record, when it is for the sake of what was brought: components, a passphrase, a token.
    #[must_use]
    pub fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Components(_) => Some("components"),
            Self::Passphrase(_) => Some("passphrase"),
            Self::TokenKey(_) => Some("token-key"),
            Self::Token(_) => Some("token"),
            Self::Hsm(error) => audit::refusal(*error),
            Self::Io { .. }
            | Self::Shared(_)
            | Self::Form { .. }
            | Self::Settings(_)
            | Self::Rotation(_)
            | Self::Busy(_) => None,
        }
    }

    fn form(path: &Path, line: Option<usize>, what: impl Into<String>) -> Self {
        Self::Form { path: path.to_owned(), line, what: what.into() }
    }
}

/// An error of the system, with the file it is about.
fn at(path: &Path) -> impl FnOnce(std::io::Error) -> LmkError + '_ {
    |error| LmkError::Io { path: path.to_owned(), error }
}
