//! Key management by host commands: keys that the device makes, and those that its console made.

use super::HostClient;
use super::device_key::{self, Export};
use crate::hsm::des::KeyLength;
use crate::hsm::issue::{Layout, Sent};
use crate::hsm::key_block::header::Header;
use crate::hsm::{HsmError, IssuedKeys, Key, KeyBlock, KeyDefect, Tmk, Usage};
use crate::transaction::KeyForm;

/// A key that a terminal gets: under the device's LMK, and as it is sent.
struct Issued {
    block: KeyBlock,
    sent: Sent,
}

impl HostClient {
    /// Has the device make a key (`A0`), and its KCV as 6 hexadecimal characters.
    ///
    /// # Errors
    /// [`HsmError::Key`] when the usage takes no key of this length; what the device refuses.
    pub async fn generate(&self, usage: Usage, length: KeyLength) -> Result<(KeyBlock, String), HsmError> {
        let header = device_key::header(usage, length, Export::OfUsage)?;
        let command = self.command(*b"A0").text("0FFFS").lmk().text(&described(header, length)?);
        let mut answer = self.pool.ask(command).await?;
        let made = (answer.key()?, answer.text(6)?.to_owned());
        answer.end()?;
        Ok(made)
    }

    /// Takes a key that the device's console made: the device opens it (`BU`), and it must be of this usage and check
    /// value. Its KCV, 6 hexadecimal characters.
    ///
    /// # Errors
    /// [`HsmError::KeyUsage`] for another usage, [`HsmError::Key`] for another check value, what the device refuses.
    pub async fn check(&self, usage: Usage, block: &KeyBlock, kcv: &str) -> Result<String, HsmError> {
        let found = self.kcv(block).await?;
        if !device_key::serves(usage, block) {
            return Err(HsmError::KeyUsage);
        }
        if found.eq_ignore_ascii_case(kcv) { Ok(found) } else { Err(HsmError::Key(KeyDefect::CheckValue)) }
    }

    /// A key's KCV as 6 hexadecimal characters.
    ///
    /// # Errors
    /// What the device refuses.
    pub async fn kcv(&self, block: &KeyBlock) -> Result<String, HsmError> {
        let [a, b, c, ..] = self.check_value(block).await?;
        Ok(hex::encode_upper([a, b, c]))
    }

    /// A key's check value: zeros under the key.
    pub(super) async fn check_value(&self, block: &KeyBlock) -> Result<[u8; 8], HsmError> {
        let command = self.command(*b"BU").text("FFF").key(block)?.text(";FFF;000").lmk();
        let mut answer = self.pool.ask(command).await?;
        let value = answer.hex()?;
        answer.end()?;
        Ok(*value)
    }

    /// Has the device make a terminal's keys, each under its own LMK and under the TMK (`A0`, ECB: X9.17).
    pub(super) async fn make_keys(&self, tmk: &Key<Tmk>, form: KeyForm) -> Result<IssuedKeys, HsmError> {
        let layout = Layout::of(form).ok_or(HsmError::Input("this form holds no keys"))?;
        let tdk = async {
            match layout.tdk {
                Some(length) => self.issue(tmk.block(), Usage::Tdk, length).await.map(Some),
                None => Ok(None),
            }
        };
        let (tpk, tak, tdk) = tokio::try_join!(
            self.issue(tmk.block(), Usage::Tpk, layout.tpk),
            self.issue(tmk.block(), Usage::Tak, KeyLength::Single),
            tdk,
        )?;
        Ok(IssuedKeys {
            wire: layout.join(&tpk.sent, &tak.sent, tdk.as_ref().map(|tdk| &tdk.sent)),
            tpk: Key::of(tpk.block),
            tak: Key::of(tak.block),
            tdk: tdk.map(|tdk| Key::of(tdk.block)),
        })
    }

    async fn issue(&self, tmk: &KeyBlock, usage: Usage, length: KeyLength) -> Result<Issued, HsmError> {
        let header = device_key::header(usage, length, Export::ToTerminal)?;
        let scheme = match length {
            KeyLength::Single => "Z",
            KeyLength::Double => "X",
            KeyLength::Triple => "Y",
        };
        let command = self.command(*b"A0").text("1FFFS;1").key(tmk)?.text(scheme).lmk();
        let mut answer = self.pool.ask(command.text(&described(header, length)?)).await?;
        let block = answer.key()?;
        // Single DES has no letter in front of its digits.
        if length != KeyLength::Single && answer.text(1)? != scheme {
            return Err(HsmError::Failure("the HSM exports under another scheme"));
        }
        let digits = answer.text(2 * length.octets())?;
        let wrapped = hex::decode(digits).map_err(|_| HsmError::Failure("the HSM exports no digits"))?;
        answer.text(6)?;
        answer.end()?;
        let [a, b, c, d, ..] = self.check_value(&block).await?;
        Ok(Issued { block, sent: Sent { wrapped, kcv: [a, b, c, d] } })
    }
}

/// What a command says of the key that it makes: `#`, usage, algorithm, mode, version, exportability, no optional blocks.
pub(super) fn described(header: Header, length: KeyLength) -> Result<String, HsmError> {
    let Header { usage, algorithm: _, mode, version, exportability } = header;
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).map_err(|_| HsmError::KeyBlockForm);
    let (usage, rest) = (text(&usage)?, text(&[&[mode], version.as_slice(), &[exportability]].concat())?);
    Ok(format!("#{usage}{}{rest}00", device_key::algorithm(length)))
}
