//! The key of a PKCS#11 token that seals an LMK file: AES-256-GCM inside the token (PKCS#11 v2.40, 2.12).
//! The key never leaves the token, and the LMK is never an object in it.

use super::secret_file::read_secret;
use super::{LmkError, at};
use crate::hsm::aes::{NONCE, TAG};
use crate::hsm::random::{OpenSslRandom, Random};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// Characters of a PIN file at most.
const LONGEST_PIN: usize = 256;
/// Bits of a tag.
const TAG_BITS: u64 = 8 * TAG as u64;

/// Which key of which token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSettings {
    /// The PKCS#11 library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The label of an AES-256 key in it.
    pub key: String,
    /// A file, mode 0600, with the user's PIN.
    pub pin_file: PathBuf,
}

/// Libraries that this process has initialized: PKCS#11 allows it once (v2.40, 5.4).
static LIBRARIES: Mutex<Vec<(PathBuf, Pkcs11)>> = Mutex::new(Vec::new());

fn library(path: &Path) -> Result<Pkcs11, LmkError> {
    let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, known)) = libraries.iter().find(|(known, _)| known == path) {
        return Ok(known.clone());
    }
    // The loader's own text would not say that the file is not there.
    std::fs::metadata(path).map_err(at(path))?;
    let loaded = Pkcs11::new(path).map_err(|error| failed("the PKCS#11 library cannot be loaded", &error))?;
    match loaded.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(failed("the PKCS#11 library does not start", &error)),
    }
    libraries.push((path.to_owned(), loaded.clone()));
    Ok(loaded)
}

fn failed(what: &str, error: &Error) -> LmkError {
    LmkError::Token(format!("{what}: {error}"))
}

/// A session in which the user is logged in.
fn session(settings: &TokenSettings) -> Result<Session, LmkError> {
    let library = library(&settings.module)?;
    let slot = slot(&library, &settings.token)?;
    let pin = read_secret(&settings.pin_file, LONGEST_PIN)?;
    let pin = AuthPin::from(pin.as_str().trim_ascii_end().to_owned());
    let session = library.open_rw_session(slot).map_err(|error| failed("no session", &error))?;
    match session.login(UserType::User, Some(&pin)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
        Err(Error::Pkcs11(RvError::PinIncorrect, _)) => {
            let text = format!("{}: wrong PIN", settings.pin_file.display());
            Err(LmkError::Token(text))
        }
        Err(error) => Err(failed("login", &error)),
    }
}

fn slot(library: &Pkcs11, label: &str) -> Result<Slot, LmkError> {
    let slots = library.get_slots_with_initialized_token().map_err(|error| failed("no slots", &error))?;
    let mut found = Vec::new();
    for slot in slots {
        let token = library.get_token_info(slot).map_err(|error| failed("a slot says nothing", &error))?;
        if token.label() == label {
            found.push(slot);
        }
    }
    match found.as_slice() {
        [slot] => Ok(*slot),
        [] => Err(LmkError::Token(format!("there is no token {label:?}"))),
        [..] => Err(LmkError::Token(format!("there are several tokens {label:?}"))),
    }
}

fn key(session: &Session, label: &str) -> Result<Option<ObjectHandle>, LmkError> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let found = session.find_objects(&template).map_err(|error| failed("keys cannot be listed", &error))?;
    match found.as_slice() {
        [] => Ok(None),
        [key] => Ok(Some(*key)),
        [..] => Err(LmkError::Token(format!("there are several AES keys {label:?}"))),
    }
}

/// Seals octets under the token's key, which is made when it is not there: nonce, ciphertext and tag.
pub(super) fn seal(settings: &TokenSettings, head: &[u8], clear: &[u8]) -> Result<Vec<u8>, LmkError> {
    let session = session(settings)?;
    let key = match key(&session, &settings.key)? {
        Some(key) => key,
        None => generate(&session, &settings.key)?,
    };
    let mut nonce = [0; NONCE];
    OpenSslRandom.fill(&mut nonce)?;
    let mut given = nonce;
    let params =
        GcmParams::new(&mut given, head, TAG_BITS.into()).map_err(|error| failed("AES-GCM", &error))?;
    let sealed =
        session.encrypt(&Mechanism::AesGcm(params), key, clear).map_err(|error| failed("AES-GCM", &error))?;
    Ok([&nonce, sealed.as_slice()].concat())
}

/// Opens what [`seal`] made; `None` when it is altered or under another key.
pub(super) fn open(
    settings: &TokenSettings,
    head: &[u8],
    sealed: &[u8],
) -> Result<Option<Zeroizing<Vec<u8>>>, LmkError> {
    let Some((nonce, sealed)) = sealed.split_first_chunk::<NONCE>() else { return Ok(None) };
    let session = session(settings)?;
    let Some(key) = key(&session, &settings.key)? else {
        return Err(LmkError::Token(format!("there is no AES key {:?}", settings.key)));
    };
    let mut nonce = *nonce;
    let params =
        GcmParams::new(&mut nonce, head, TAG_BITS.into()).map_err(|error| failed("AES-GCM", &error))?;
    // What a token says of a tag that does not match is its maker's choice: GENERAL_ERROR with some.
    Ok(session.decrypt(&Mechanism::AesGcm(params), key, sealed).ok().map(Zeroizing::new))
}

/// An AES-256 key that stays in the token.
fn generate(session: &Session, label: &str) -> Result<ObjectHandle, LmkError> {
    let template = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::ValueLen(32.into()),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    session
        .generate_key(&Mechanism::AesKeyGen, &template)
        .map_err(|error| failed("the AES key cannot be made", &error))
}
