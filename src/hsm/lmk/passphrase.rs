//! From a passphrase to the key that seals an LMK file: Argon2id (RFC 9106).

use super::LmkError;
use crate::hsm::HsmError;
use crate::hsm::aes::KEY;
use crate::hsm::random::{OpenSslRandom, Random};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use std::path::Path;
use zeroize::Zeroizing;

/// Characters of a new passphrase at least.
pub const SHORTEST: usize = 12;
/// Octets of the salt.
const SALT: usize = 16;

/// What Argon2id takes: memory, passes, lanes; and the salt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// KiB of memory: 19,456 to 1,048,576.
    pub memory_kib: u32,
    /// Passes over it: 1 to 32.
    pub passes: u32,
    /// Lanes: 1 to 16.
    pub lanes: u32,
    /// 16 octets, hexadecimal.
    pub salt: String,
}

impl Cost {
    /// The second choice of RFC 9106, 4, on one lane: 64 MiB, three passes; with a new salt.
    ///
    /// # Errors
    /// [`HsmError::Failure`] of the random source.
    pub fn usual() -> Result<Self, HsmError> {
        Self::of(64 * 1024, 3, 1)
    }

    /// Of these parameters, with a new salt.
    ///
    /// # Errors
    /// [`HsmError::Failure`] of the random source.
    pub fn of(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, HsmError> {
        let mut salt = [0; SALT];
        OpenSslRandom.fill(&mut salt)?;
        Ok(Self { memory_kib, passes, lanes, salt: hex::encode_upper(salt) })
    }

    /// Refuses what would exhaust the machine, or is too cheap to resist guessing, before anything is
    /// computed.
    pub(super) fn check(&self, path: &Path) -> Result<(), LmkError> {
        let bounds = [
            ("memory_kib", self.memory_kib, 19_456..=1_048_576),
            ("passes", self.passes, 1..=32),
            ("lanes", self.lanes, 1..=16),
        ];
        for (name, value, bounds) in bounds {
            if !bounds.contains(&value) {
                let what = format!("argon2id: {name} is {value}, not {} to {}", bounds.start(), bounds.end());
                return Err(LmkError::form(path, None, what));
            }
        }
        if u64::from(self.memory_kib) * u64::from(self.passes) > 4_194_304 {
            return Err(LmkError::form(path, None, "argon2id: memory_kib times passes is above 4194304"));
        }
        let salt = hex::decode(&self.salt).unwrap_or_default();
        if salt.len() != SALT {
            return Err(LmkError::form(path, None, "argon2id: salt is not 32 hexadecimal digits"));
        }
        Ok(())
    }

    /// The sealing key; `check` must have passed.
    pub(super) fn key(&self, passphrase: &str) -> Result<Zeroizing<[u8; KEY]>, HsmError> {
        let failed = || HsmError::Failure("Argon2id");
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY)).map_err(|_| failed())?;
        let salt = hex::decode(&self.salt).map_err(|_| failed())?;
        let mut key = Zeroizing::new([0; KEY]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), &salt, key.as_mut_slice())
            .map_err(|_| failed())?;
        Ok(key)
    }
}
