//! The LMK's file: opened, written, replaced. Whatever happens, the file on disk is the old one or the new
//! one, whole.

use super::file_text::{self, FileText, LONGEST, Seal};
use super::passphrase::Cost;
use super::secret_file::{folder, read_passphrase, read_secret, sync_folder, write_new};
use super::{Lmk, LmkError, LmkKeys, TokenSettings, at, token};
use crate::hsm::aes::{self, KEY, NONCE};
use crate::hsm::random::{OpenSslRandom, Random};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// Where the LMK is and what opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LmkSettings {
    /// The LMK's file.
    pub file: PathBuf,
    /// A file, mode 0600, or a pipe with the passphrase, when nobody is asked for it.
    pub passphrase_file: Option<PathBuf>,
    /// The token that opens it.
    pub token: Option<TokenSettings>,
}

/// Asks a person for the passphrase.
pub type Ask = fn() -> std::io::Result<Zeroizing<String>>;

/// A sealing key and what it was computed from: Argon2id is dear, and a pipe is read once.
type Derived = (Cost, Zeroizing<[u8; KEY]>);

/// An LMK file and what opens it. Prints no secret.
pub struct LmkFile {
    settings: LmkSettings,
    ask: Ask,
    derived: Mutex<Option<Derived>>,
}

impl std::fmt::Debug for LmkFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LmkFile({})", self.settings.file.display())
    }
}

/// Held while a verb changes the file, so that no other does.
#[derive(Debug)]
pub struct LmkLock(#[expect(dead_code, reason = "the lock goes with it")] File);

/// What a file's head says, unopened; an older file has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Check value of the current LMK.
    pub current: Option<String>,
    /// Check value of the former one, and when it was replaced (milliseconds since the epoch).
    pub former: Option<(String, i64)>,
}

impl LmkFile {
    /// Names the file; nothing is read yet.
    #[must_use]
    pub fn new(settings: LmkSettings, ask: Ask) -> Self {
        Self { settings, ask, derived: Mutex::default() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.settings.file
    }

    /// The keys in the file.
    ///
    /// # Errors
    /// [`LmkError`]: whatever keeps it from being read or opened. The file is never changed.
    pub fn load(&self) -> Result<LmkKeys, LmkError> {
        self.open(&self.text()?)
    }

    /// The keys in the file; when there is none, a plain file with a new LMK and new data keys.
    ///
    /// # Errors
    /// As [`LmkFile::load`].
    pub fn load_or_create(&self) -> Result<LmkKeys, LmkError> {
        if fs::symlink_metadata(self.path()).is_ok() {
            return self.load();
        }
        match self.create(&LmkKeys::new(Lmk::random()?)?, &Seal::Plain) {
            // Another process was faster.
            Err(LmkError::Io { error, .. }) if error.kind() == ErrorKind::AlreadyExists => self.load(),
            Ok(()) => self.load(),
            Err(error) => Err(error),
        }
    }

    /// Writes a file where there is none.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] among [`LmkError::Io`], and as [`LmkFile::load`].
    pub fn create(&self, keys: &LmkKeys, seal: &Seal) -> Result<(), LmkError> {
        let new = self.write_beside(keys, seal)?;
        // A link, unlike a rename, does not replace.
        let linked = fs::hard_link(&new, self.path()).map_err(at(self.path()));
        let removed = fs::remove_file(&new).map_err(at(&new));
        linked?;
        removed?;
        sync_folder(self.path())
    }

    /// Replaces the file: the new one is durable and has been read back and opened before the old one goes.
    /// A plain one is overwritten, as far as the disk lets that mean something.
    ///
    /// # Errors
    /// As [`LmkFile::load`]; then the old file is still there.
    pub fn replace(&self, keys: &LmkKeys, seal: &Seal) -> Result<(), LmkError> {
        let was_plain = self.seal()? == Seal::Plain;
        let old = OpenOptions::new().write(true).open(self.path()).map_err(at(self.path()))?;
        let new = self.write_beside(keys, seal)?;
        fs::rename(&new, self.path()).map_err(at(self.path()))?;
        sync_folder(self.path())?;
        if was_plain {
            overwrite(old).map_err(at(self.path()))?;
        }
        Ok(())
    }

    /// What protects the file's keys.
    ///
    /// # Errors
    /// As [`LmkFile::load`].
    pub fn seal(&self) -> Result<Seal, LmkError> {
        Ok(FileText::read(self.path(), &self.text()?)?.seal)
    }

    /// Check values of the current and of the former LMK as the file's head says them, unopened; none in an
    /// older file, which has no head.
    ///
    /// # Errors
    /// As [`LmkFile::load`].
    pub fn told(&self) -> Result<Told, LmkError> {
        let text = self.text()?;
        let read = FileText::read(self.path(), &text)?;
        Ok(Told { current: read.current, former: read.former })
    }

    /// Keeps other processes from changing the file.
    ///
    /// # Errors
    /// [`LmkError::Busy`], [`LmkError::Io`].
    pub fn lock(&self) -> Result<LmkLock, LmkError> {
        let folder = folder(self.path());
        let lock = File::open(folder).map_err(at(folder))?;
        match lock.try_lock() {
            Ok(()) => Ok(LmkLock(lock)),
            Err(TryLockError::WouldBlock) => Err(LmkError::Busy(self.path().to_owned())),
            Err(TryLockError::Error(error)) => Err(at(folder)(error)),
        }
    }

    /// Takes a passphrase, for a file that is sealed by it from now on.
    ///
    /// # Errors
    /// [`LmkError::Hsm`].
    pub fn take_passphrase(&self, passphrase: &str, cost: Cost) -> Result<Seal, LmkError> {
        cost.check(self.path())?;
        let key = cost.key(passphrase)?;
        *self.derived() = Some((cost.clone(), key));
        Ok(Seal::Passphrase(cost))
    }

    pub(super) fn text(&self) -> Result<Zeroizing<String>, LmkError> {
        read_secret(self.path(), LONGEST)
    }

    pub(super) fn open(&self, text: &str) -> Result<LmkKeys, LmkError> {
        let read = FileText::read(self.path(), text)?;
        let opened = match &read.seal {
            Seal::Plain => read.body.clone(),
            Seal::Passphrase(cost) => {
                let key = self.sealing_key(cost)?;
                let opened = read.body.split_first_chunk::<NONCE>().and_then(|(nonce, sealed)| {
                    aes::gcm_open_bound(&key, nonce, read.head.as_bytes(), sealed).ok()
                });
                let opened = opened.ok_or_else(|| LmkError::Passphrase(self.path().to_owned()))?;
                // Only a key that opens is kept.
                *self.derived() = Some((cost.clone(), key));
                opened
            }
            Seal::Token => token::open(self.token()?, read.head.as_bytes(), &read.body)?
                .ok_or_else(|| LmkError::TokenKey(self.path().to_owned()))?,
        };
        read.keys(&opened)
    }

    fn sealing_key(&self, cost: &Cost) -> Result<Zeroizing<[u8; KEY]>, LmkError> {
        if let Some((of, key)) = &*self.derived()
            && of == cost
        {
            return Ok(key.clone());
        }
        let passphrase = match &self.settings.passphrase_file {
            Some(path) => read_passphrase(path)?,
            None => (self.ask)().map_err(|_| LmkError::Settings(
                "the LMK is sealed by a passphrase: hsm.passphrase_file does not name a file with it, and there is no terminal to ask for it",
            ))?,
        };
        Ok(cost.key(&passphrase)?)
    }

    fn derived(&self) -> MutexGuard<'_, Option<Derived>> {
        self.derived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn token(&self) -> Result<&TokenSettings, LmkError> {
        self.settings.token.as_ref().ok_or(LmkError::Settings("hsm.token is not set"))
    }

    fn sealed(&self, keys: &LmkKeys, seal: &Seal) -> Result<Zeroizing<String>, LmkError> {
        let head = file_text::head(keys, seal)?;
        let clear = file_text::clear(keys);
        let body = match seal {
            Seal::Plain => clear,
            Seal::Passphrase(cost) => {
                let key = self.sealing_key(cost)?;
                let mut nonce = [0; NONCE];
                OpenSslRandom.fill(&mut nonce)?;
                let sealed = aes::gcm_seal_bound(&key, &nonce, head.as_bytes(), &clear)?;
                Zeroizing::new([&nonce, sealed.as_slice()].concat())
            }
            Seal::Token => Zeroizing::new(token::seal(self.token()?, head.as_bytes(), &clear)?),
        };
        Ok(file_text::text(&head, &body))
    }

    /// Writes a new file beside the old one, durably, and opens it again. Its path.
    fn write_beside(&self, keys: &LmkKeys, seal: &Seal) -> Result<PathBuf, LmkError> {
        let mut name = OsString::from(".");
        name.push(self.path().file_name().unwrap_or_default());
        name.push(format!(".{}.new", std::process::id()));
        let new = folder(self.path()).join(name);
        let text = self.sealed(keys, seal)?;
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(&new)(error)),
            Ok(()) | Err(_) => {}
        }
        write_new(&new, text.as_bytes())?;
        let back = self.open(&read_secret(&new, LONGEST)?);
        match back {
            Ok(back) if file_text::clear(&back) == file_text::clear(keys) => Ok(new),
            Ok(_) => Err(LmkError::form(&new, None, "does not hold what was written")),
            Err(error) => {
                let _ = fs::remove_file(&new);
                Err(error)
            }
        }
    }
}

fn overwrite(mut file: File) -> std::io::Result<()> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(LONGEST);
    file.rewind()?;
    file.write_all(&vec![0; length.min(LONGEST)])?;
    file.sync_all()
}
