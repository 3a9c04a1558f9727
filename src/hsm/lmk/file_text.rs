//! The text of an LMK file, version 1: TOML whose last line holds the keys. What stands before that line is
//! the head, and is authenticated with them, octet by octet.
//!
//! ```text
//! # comment
//! version = 1
//! protection = "plain" | "passphrase" | "token"
//! current = "DB3FB6"                      check value of the LMK in force
//! former = "AF01C2"                       during a rotation: that of the one before,
//! replaced_ms = 1700000000000             and since when (ms)
//! data_key = "144 digits"                 data keys for PANs at rest, AES key wrap (NIST SP 800-38F) under a
//!                                         key derived of the current LMK
//! argon2id = { memory_kib, passes, lanes, salt }         with a passphrase
//! keys = "digits"                         current | former
//!                                         plain: 32 or 64 octets
//!                                         else: nonce (12) | AES-256-GCM ciphertext | tag (16), head as AAD
//! ```
//! An older file is of 64 hexadecimal digits alone: a plain LMK, with its data keys derived of it.

use super::{Cost, DATA, DataKey, Former, Lmk, LmkError, LmkKeys};
use crate::hsm::HsmError;
use crate::hsm::aes::KEY;
use openssl::aes::{AesKey, unwrap_key, wrap_key};
use serde::Deserialize;
use std::fmt::Write as _;
use std::path::Path;
use zeroize::Zeroizing;

/// Octets of an LMK file at most.
pub(super) const LONGEST: usize = 4096;
/// How the last line begins.
const KEYS: &str = "\nkeys = \"";
/// Octets that AES key wrap adds.
const WRAP: usize = 8;
const COMMENT: &str = "# The local master key of a Tollgate switch. Without this file no key and no card number\n\
                       # in its store can be read: keep a copy where nobody else can touch it.\n";

/// What protects the keys in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seal {
    /// The file's mode alone: for development.
    Plain,
    /// A passphrase.
    Passphrase(Cost),
    /// A key in a PKCS#11 token.
    Token,
}

impl Seal {
    /// Its name in the file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Passphrase(_) => "passphrase",
            Self::Token => "token",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u32,
    protection: String,
    current: String,
    former: Option<String>,
    replaced_ms: Option<i64>,
    data_key: String,
    argon2id: Option<Cost>,
}

/// A file as it was read, its keys still shut.
pub(super) struct FileText<'a> {
    path: &'a Path,
    /// What is authenticated with the keys.
    pub(super) head: &'a str,
    /// The last line's octets.
    pub(super) body: Zeroizing<Vec<u8>>,
    /// What protects them.
    pub(super) seal: Seal,
    /// Check value of the LMK in force; none in a file of 64 digits.
    pub(super) current: Option<String>,
    /// Check value of the former, and since when.
    pub(super) former: Option<(String, i64)>,
    data_key: Option<Vec<u8>>,
}

impl<'a> FileText<'a> {
    /// Reads a file's text; nothing is opened yet.
    pub(super) fn read(path: &'a Path, text: &'a str) -> Result<Self, LmkError> {
        let fault = |what: &str| LmkError::form(path, None, what);
        let digits = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text);
        if digits.len() == 2 * KEY {
            let body = hex::decode(digits).map_err(|_| fault("does not hold an LMK"))?;
            let body = Zeroizing::new(body);
            let seal = Seal::Plain;
            return Ok(Self { path, head: "", body, seal, current: None, former: None, data_key: None });
        }
        let (head, tail) = text.rsplit_once(KEYS).ok_or_else(|| fault("does not hold an LMK"))?;
        let body = tail.strip_suffix("\"\n").and_then(octets);
        let body = body.ok_or_else(|| fault("the last line is not keys = \"digits\""))?;
        let read: Head = toml::from_str(head).map_err(|error| {
            let line = error.span().map(|span| {
                let before = head.get(..span.start).unwrap_or_default();
                before.bytes().filter(|octet| *octet == b'\n').count() + 1
            });
            LmkError::form(path, line, error.message())
        })?;
        if read.version != 1 {
            return Err(fault(&format!("version {} is not known, only 1", read.version)));
        }
        let seal = match (read.protection.as_str(), read.argon2id) {
            ("plain", None) => Seal::Plain,
            ("token", None) => Seal::Token,
            ("passphrase", Some(cost)) => {
                cost.check(path)?;
                Seal::Passphrase(cost)
            }
            ("passphrase", None) => return Err(fault("argon2id is missing")),
            ("plain" | "token", Some(_)) => return Err(fault("argon2id without a passphrase")),
            _ => return Err(fault("protection is none of plain, passphrase, token")),
        };
        let former = match (read.former, read.replaced_ms) {
            (Some(former), Some(since)) => Some((former, since)),
            (None, None) => None,
            _ => return Err(fault("former and replaced_ms go together")),
        };
        let data_key = octets(&read.data_key).filter(|wrapped| wrapped.len() == DATA + WRAP);
        let data_key = data_key.ok_or_else(|| fault("data_key is not 144 hexadecimal digits"))?;
        let (current, data_key) = (Some(read.current), Some(data_key.to_vec()));
        Ok(Self { path, head, body, seal, current, former, data_key })
    }

    /// The keys, out of the octets that were sealed.
    pub(super) fn keys(&self, clear: &[u8]) -> Result<LmkKeys, LmkError> {
        let fault = |what: &str| LmkError::form(self.path, None, what);
        let (current, former) =
            clear.split_at_checked(KEY).ok_or_else(|| fault("keys is too short to hold an LMK"))?;
        let current = Lmk::of(current)?;
        if self.current.as_ref().is_some_and(|want| current.check_value().as_ref() != Ok(want)) {
            return Err(fault("the check value is not the current LMK's"));
        }
        let former = match (&self.former, former) {
            (None, []) => None,
            (Some((check_value, replaced_ms)), octets) if octets.len() == KEY => {
                let lmk = Lmk::of(octets)?;
                if lmk.check_value()? != *check_value {
                    return Err(fault("the check value is not the former LMK's"));
                }
                Some(Former { lmk, replaced_ms: *replaced_ms })
            }
            (None, _) | (Some(_), _) => return Err(fault("keys does not hold the LMKs that the head names")),
        };
        let data = match &self.data_key {
            None => DataKey::derived(&current),
            Some(wrapped) => unwrap(&current, wrapped).ok_or_else(|| fault("data_key is altered"))?,
        };
        Ok(LmkKeys { current, former, data })
    }
}

/// The head of a new file.
pub(super) fn head(keys: &LmkKeys, seal: &Seal) -> Result<String, HsmError> {
    let mut text = String::from(COMMENT);
    let mut line = |name: &str, value: &str| _ = writeln!(text, "{name} = {value}");
    line("version", "1");
    line("protection", &format!("\"{}\"", seal.name()));
    line("current", &format!("\"{}\"", keys.current.check_value()?));
    if let Some(former) = &keys.former {
        line("former", &format!("\"{}\"", former.lmk.check_value()?));
        line("replaced_ms", &former.replaced_ms.to_string());
    }
    line("data_key", &format!("\"{}\"", hex::encode_upper(wrap(&keys.current, &keys.data)?)));
    if let Seal::Passphrase(Cost { memory_kib, passes, lanes, salt }) = seal {
        let cost =
            format!("{{ memory_kib = {memory_kib}, passes = {passes}, lanes = {lanes}, salt = \"{salt}\" }}");
        line("argon2id", &cost);
    }
    text.pop();
    Ok(text)
}

/// The octets that are sealed.
pub(super) fn clear(keys: &LmkKeys) -> Zeroizing<Vec<u8>> {
    let mut clear = Zeroizing::new(Vec::with_capacity(2 * KEY));
    clear.extend_from_slice(keys.current.octets());
    if let Some(former) = &keys.former {
        clear.extend_from_slice(former.lmk.octets());
    }
    clear
}

/// The whole text.
pub(super) fn text(head: &str, body: &[u8]) -> Zeroizing<String> {
    let digits = Zeroizing::new(hex::encode_upper(body));
    let mut text = Zeroizing::new(String::with_capacity(head.len() + KEYS.len() + digits.len() + 2));
    for part in [head, KEYS, &digits, "\"\n"] {
        text.push_str(part);
    }
    text
}

/// Upper-case digits only: each octet of a file is as it was written.
fn octets(digits: &str) -> Option<Zeroizing<Vec<u8>>> {
    if digits.bytes().any(|digit| digit.is_ascii_lowercase()) {
        return None;
    }
    hex::decode(digits).ok().map(Zeroizing::new)
}

fn wrap(lmk: &Lmk, data: &DataKey) -> Result<Vec<u8>, HsmError> {
    let failed = || HsmError::Failure("AES key wrap");
    let key = AesKey::new_encrypt(lmk.derive(b"data key").as_slice()).map_err(|_| failed())?;
    let mut wrapped = vec![0; DATA + WRAP];
    wrap_key(&key, None, &mut wrapped, data.0.as_slice()).map_err(|_| failed())?;
    Ok(wrapped)
}

fn unwrap(lmk: &Lmk, wrapped: &[u8]) -> Option<DataKey> {
    let key = AesKey::new_decrypt(lmk.derive(b"data key").as_slice()).ok()?;
    let mut data = Zeroizing::new([0; DATA]);
    unwrap_key(&key, None, data.as_mut_slice(), wrapped).ok()?;
    Some(DataKey(data))
}
