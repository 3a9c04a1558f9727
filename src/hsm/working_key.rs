//! Keys as the software HSM works with them: their usage, and nothing of them but a schedule.

use super::aes::AesKey;
use super::des::DesKey;
use super::{HsmError, KeyDefect, Usage};

/// An unwrapped key and what it may be used for.
#[derive(Debug)]
pub(super) struct WorkingKey {
    /// What its key block says it is for.
    pub(super) usage: Usage,
    /// Its schedule.
    pub(super) schedule: Schedule,
}

/// A key's schedule.
#[derive(Debug)]
pub(super) enum Schedule {
    /// Of DES or triple DES.
    Des(DesKey),
    /// Of AES.
    Aes(AesKey),
}

impl WorkingKey {
    /// The key, where only DES will do.
    pub(super) fn des(&self) -> Result<&DesKey, HsmError> {
        match &self.schedule {
            Schedule::Des(key) => Ok(key),
            Schedule::Aes(_) => Err(HsmError::Key(KeyDefect::Algorithm)),
        }
    }

    /// Its check value, 6 hexadecimal characters.
    pub(super) fn kcv(&self) -> String {
        match &self.schedule {
            Schedule::Des(key) => key.kcv(),
            Schedule::Aes(key) => key.kcv(),
        }
    }
}
