//! Zone keys as they travel to and from issuers, made (`A0`) and taken (`A6`) by the device: key blocks of X9.143 (TR-31)
//! under a ZMK. What is not a key for its use is refused here, from the header that the device found authentic.

use super::HostClient;
use super::device_key::{self, Export};
use super::key::described;
use crate::hsm::des::KeyLength;
use crate::hsm::key_block::header::{self, Header};
use crate::hsm::{HsmError, Key, KeyBlock, KeyDefect, Usage, Zmk, ZoneKey};
use crate::transaction::ZoneUse;

/// Octets behind the header of a device's key block that has a double-length key, under triple DES: the least that a
/// longer key or one under AES has, too.
const DOUBLE: usize = 28;

impl HostClient {
    /// As [`crate::hsm::Hsm::make_zone_key`].
    pub(super) async fn zone_key(&self, zmk: &Key<Zmk>, of: ZoneUse) -> Result<ZoneKey, HsmError> {
        let length = KeyLength::Double;
        let header = match of {
            // The other end knows none of the usages that are a payShield's own.
            ZoneUse::Zpk => {
                Header { usage: *b"P0", ..device_key::header(Usage::Zpk, length, Export::OfUsage)? }
            }
            ZoneUse::Zak => device_key::header(Usage::Zak, length, Export::OfUsage)?,
        };
        let version = if is_aes(zmk) { "!D" } else { "!B" };
        let command = self.command(*b"A0").text("1FFFS;0").key(zmk.block())?.text("R").lmk();
        let command = command.text(&described(header, length)?).text("&N").text(version);
        let mut answer = self.pool.ask(command).await?;
        let (block, sent) = (answer.key()?, answer.zone_block()?.to_owned());
        let kcv = answer.text(6)?.to_owned();
        answer.end()?;
        Ok(ZoneKey { block, sent, kcv })
    }

    /// As [`crate::hsm::Hsm::take_zone_key`].
    pub(super) async fn open_zone_key(
        &self,
        zmk: &Key<Zmk>,
        of: ZoneUse,
        sent: &str,
    ) -> Result<(KeyBlock, String), HsmError> {
        let command = self.command(*b"A6").text("FFF").key(zmk.block())?.zone_block(sent)?.text("S").lmk();
        let narrowed = match of {
            ZoneUse::Zpk => command.text("&7200"),
            ZoneUse::Zak => command,
        };
        // The device has taken a key of even parity, and warns of it.
        let parity =
            |error| if error == HsmError::Mismatch { HsmError::Key(KeyDefect::Parity) } else { error };
        let mut answer = self.pool.ask(narrowed).await.map_err(parity)?;
        let (block, kcv) = (answer.key()?, answer.text(6)?.to_owned());
        answer.end()?;
        check(of, &block)?;
        Ok((block, kcv))
    }
}

/// Whether a device's key block has an AES key.
fn is_aes(key: &Key<Zmk>) -> bool {
    key.as_str().as_bytes().get(8) == Some(&b'A')
}

/// That a key which came in may serve its use, by its block under the LMK.
fn check(of: ZoneUse, block: &KeyBlock) -> Result<(), HsmError> {
    let text = block.as_str().get(1..).unwrap_or_default();
    let (version, cipher_block) = if text.starts_with('1') { (b'1', 16) } else { (b'0', 8) };
    let parts = header::read(version, text, cipher_block)?;
    let Header { usage, algorithm, mode, .. } = parts.header.fixed;
    let (expected, modes): (_, &[u8]) = match of {
        ZoneUse::Zpk => (*b"72", b"BEN"),
        ZoneUse::Zak => (*b"M3", b"CN"),
    };
    if usage != expected {
        return Err(HsmError::KeyUsage);
    }
    if !modes.contains(&mode) {
        return Err(HsmError::KeyMode);
    }
    if algorithm == b'A' {
        return Err(HsmError::Key(KeyDefect::Algorithm));
    }
    if parts.body.len() < DOUBLE { Err(HsmError::Key(KeyDefect::Length)) } else { Ok(()) }
}
