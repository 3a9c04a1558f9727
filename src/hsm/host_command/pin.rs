//! PIN blocks from one key to another.

use super::code::Code;
use super::fields::Fields;
use super::key::{KeyField, Role};
use super::{Answer, Commands, HostHsm};
use crate::hsm::des::DesKey;
use crate::hsm::dukpt::tdes::{KeySerialNumber, Variant};
use crate::hsm::pin::block::{AccountField, FormatCode, Pin, PinFormat};
use crate::hsm::pin::policy::{self, Account, PinKey, Recipient, Side};
use std::sync::Arc;

pub(super) const COMMANDS: Commands =
    &[(b"CA", terminal_to_zone), (b"CC", zone_to_zone), (b"G0", transaction_to_zone)];

/// An encrypted PIN block, its format and its account.
pub(super) struct EncryptedPin {
    pub(super) block: [u8; 8],
    pub(super) format: PinFormat,
    pub(super) account: AccountField,
}

impl EncryptedPin {
    /// The PIN.
    pub(super) fn open(&self, key: &DesKey) -> Result<Pin, Code> {
        Ok(side(key, self.format, self.account).open(&self.block)?)
    }
}

/// A side of a translation, or the only one.
pub(super) fn side(key: &DesKey, format: PinFormat, account: AccountField) -> Side<'_> {
    Side { key: PinKey::Tdea(key), format, account: Account::Field(account) }
}

/// What a translation is from, and what it is to.
struct Translation {
    from: EncryptedPin,
    to_format: PinFormat,
    to_account: AccountField,
}

/// PIN block (16), formats (2, 2), account (12).
fn translation(fields: &mut Fields<'_>) -> Result<Translation, Code> {
    let block = fields.hex_array()?;
    let (format, to_format) = (format(fields)?, self::format(fields)?);
    let account = account(fields)?;
    Ok(Translation { from: EncryptedPin { block, format, account }, to_format, to_account: account })
}

/// A PIN block format that is served here.
pub(super) fn format(fields: &mut Fields<'_>) -> Result<PinFormat, Code> {
    match FormatCode::of(fields.text(2)?) {
        Some(FormatCode::Served(format)) => Ok(format),
        Some(FormatCode::Refused(_)) => Err(Code::FORMAT_DISABLED),
        None => Err(Code::PIN_FORMAT),
    }
}

/// The twelve rightmost digits of an account number without its check digit.
pub(super) fn account(fields: &mut Fields<'_>) -> Result<AccountField, Code> {
    Ok(AccountField::parse(fields.digits(12)?)?)
}

/// Whether a flag says that a base derivation key follows: `*` of type 1, `~` of type 2. Their PIN keys are
/// derived in one way.
pub(super) fn is_base_key(fields: &mut Fields<'_>) -> bool {
    fields.takes(b'*') || fields.takes(b'~')
}

/// The key that blocks are put under, and whether it is a base derivation key: a flag says it, or the usage in its key
/// block.
fn destination<'a>(fields: &mut Fields<'a>) -> Result<(KeyField<'a>, bool), Code> {
    let is_flagged = is_base_key(fields);
    let key = fields.key()?;
    Ok((key, is_flagged || key.block_usage() == Some("B0")))
}

/// A key that blocks are put under: of a zone, or of a terminal's transaction.
struct Destination<'a> {
    key: KeyField<'a>,
    /// Of the transaction.
    ksn: Option<KeySerialNumber>,
}

impl HostHsm {
    /// The PIN key of a DUKPT transaction.
    pub(super) fn transaction_pin_key(
        &self,
        bdk: KeyField<'_>,
        ksn: KeySerialNumber,
    ) -> Result<Arc<DesKey>, Code> {
        Ok(Arc::new(self.transaction_key(bdk, ksn)?.des_key(Variant::Pin)?))
    }

    /// What a PIN block of this format is filled with: random octets, which are drawn where the format has any.
    pub(super) fn fill(&self, format: PinFormat) -> Result<[u8; 8], Code> {
        match format {
            PinFormat::Iso0 | PinFormat::Iso2 => Ok([0; 8]),
            PinFormat::Iso1 | PinFormat::Iso3 | PinFormat::Iso4 => self.draw(),
        }
    }

    fn destination(&self, to: &Destination<'_>) -> Result<Arc<DesKey>, Code> {
        match to.ksn {
            Some(ksn) => self.transaction_pin_key(to.key, ksn),
            None => self.lmks.open(to.key, &Role::ZPK_DESTINATION).and_then(|key| key.des()),
        }
        .map_err(Code::of_destination)
    }

    /// Translates, and answers the PIN's length, the block and its format.
    fn translate(&self, from: &DesKey, to: &DesKey, what: &Translation) -> Result<Answer, Code> {
        let (old, new) = (what.from.account, what.to_account);
        let (from, to) = (side(from, what.from.format, old), side(to, what.to_format, new));
        let fill = self.fill(what.to_format)?;
        let done = policy::translate(&what.from.block, &from, &to, Recipient::Host, fill)?;
        let code = what.to_format.code();
        Ok(Answer::done(format!("{:02}{}{code}", done.pin_length, hex::encode_upper(done.block.as_slice()))))
    }
}

/// `CA`: TPK, ZPK, most digits (2), PIN block (16), formats (2, 2), account (12) → length (2), PIN block,
/// format. In place of the ZPK: BDK with `*`, `~` or nothing in front of its key block, KSN descriptor (3), KSN.
fn terminal_to_zone(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let tpk = fields.key()?;
    let (key, is_base_key) = destination(fields)?;
    let ksn = if is_base_key { Some(fields.key_serial_number()?) } else { None };
    fields.number(2)?;
    let what = translation(fields)?;
    hsm.lmk(fields.end()?)?;
    let tpk = hsm.lmks.open(tpk, &Role::TPK)?.des()?;
    hsm.translate(&tpk, hsm.destination(&Destination { key, ksn })?.as_ref(), &what)
}

/// `CC`: ZPK, ZPK, then as `CA`.
fn zone_to_zone(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let (source, key) = (fields.key()?, fields.key()?);
    fields.number(2)?;
    let what = translation(fields)?;
    hsm.lmk(fields.end()?)?;
    let source = hsm.lmks.open(source, &Role::ZPK_SOURCE)?.des()?;
    hsm.translate(&source, hsm.destination(&Destination { key, ksn: None })?.as_ref(), &what)
}

/// `G0`: BDK with or without a flag, ZPK or BDK as in `CA`, KSN descriptor (3), KSN, the same of a second BDK, PIN
/// block (16), formats (2, 2), account (12), the account of the new block (12) behind `;` → length
/// (2), PIN block, format. Triple DES only. Another account is refused where both formats are bound to one.
fn transaction_to_zone(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    is_base_key(fields);
    let bdk = fields.key()?;
    let (key, is_base_key) = destination(fields)?;
    let from_ksn = fields.key_serial_number()?;
    let ksn = if is_base_key { Some(fields.key_serial_number()?) } else { None };
    let mut what = translation(fields)?;
    if fields.takes(b';') {
        what.to_account = account(fields)?;
    }
    hsm.lmk(fields.end()?)?;
    let source = hsm.transaction_pin_key(bdk, from_ksn)?;
    hsm.translate(&source, hsm.destination(&Destination { key, ksn })?.as_ref(), &what)
}

#[cfg(test)]
mod tests {
    use super::super::transcripts::{codes, transcript};

    #[test]
    fn translations_are_those_of_a_device() {
        transcript(&[
            ("CA TPK ZPK1 12 E57BC634D4717907 01 01 600000000000 %01", "CB 00 06 FC99D994F1D3D3B8 01"),
            // Under the variant test LMK.
            (
                "CA U8463435FC4B4DAA0C49025272C29B12C U1EF828AA8F6B80EB83E19FBC373F3A85 12 6428EB94035AF53B 01 01 550000025321",
                "CB 00 04 91DDDA0A7C12CFAA 01",
            ),
            ("CC ZPK1 ZPK1 12 FC99D994F1D3D3B8 01 01 600000000000 %01", "CD 00 06 FC99D994F1D3D3B8 01"),
            ("CC ZPK1 ZPK2 12 AD72F973446E84E7 01 01 850103093936 %01", "CD 00 06 E614D4AFD47BD3BF 01"),
            (
                "CA TPK BDK1 A05 FFFF000001315240003A 12 E57BC634D4717907 01 01 600000000000 %01",
                "CB 00 06 741311DA9D5D6C32 01",
            ),
            (
                "CA TPK * BDK1 A05 FFFF000001315240003A 12 E57BC634D4717907 01 01 600000000000 %01",
                "CB 00 06 741311DA9D5D6C32 01",
            ),
        ]);
    }

    #[test]
    fn blocks_of_a_transaction_go_to_a_zone_and_to_another_transaction() {
        transcript(&[
            // The PIN of the device's blocks above, by each way round.
            (
                "G0 BDK1 ZPK1 A05 FFFF000001315240003A 741311DA9D5D6C32 01 01 600000000000 %01",
                "G1 00 06 FC99D994F1D3D3B8 01",
            ),
            (
                "G0 BDK1 ZPK3 A05 FFFF000001315240003A 741311DA9D5D6C32 01 01 600000000000 %01",
                "G1 00 06 766532A20A0A264B 01",
            ),
            (
                "G0 BDK1 BDK2 A05 FFFF000001315240003A A05 FFFF000001315240003A 741311DA9D5D6C32 01 01 600000000000 %01",
                "G1 00 06 BBF74DF0FFA00ED1 01",
            ),
            (
                "G0 ~ BDK1 ZPK1 A05 FFFF000001315240003A 741311DA9D5D6C32 01 01 600000000000;600000000000",
                "G1 00 06 FC99D994F1D3D3B8 01",
            ),
            (
                "G0 * BDK1 * BDK1 A05 FFFF000001315240003A A05 FFFF000001315240003A 741311DA9D5D6C32 01 01 600000000000 %01",
                "G1 00 06 741311DA9D5D6C32 01",
            ),
            (
                "CA TPK ~ BDK1 A05 FFFF000001315240003A 12 E57BC634D4717907 01 01 600000000000 %01",
                "CB 00 06 741311DA9D5D6C32 01",
            ),
        ]);
    }

    #[test]
    fn what_is_wrong_with_a_transaction_has_its_own_code() {
        codes(&[
            // In a key block its usage says that it is a base key; no flag makes one of another, or of none.
            ("CA TPK BDK1 12 E57BC634D4717907 01 01 600000000000", "15"),
            (
                "CA TPK U1EF828AA8F6B80EB83E19FBC373F3A85 A05 FFFF000001315240003A 12 E57BC634D4717907 01 01 600000000000",
                "15",
            ),
            ("CA TPK * ZPK1 A05 FFFF000001315240003A 12 E57BC634D4717907 01 01 600000000000", "A6"),
            ("CA TPK * BDK1 A04 FFFF00000131524003A 12 E57BC634D4717907 01 01 600000000000", "00"),
            ("CA TPK * BDK1 F0F FFFF000001315240003A 12 E57BC634D4717907 01 01 600000000000", "15"),
            ("CA TPK * BDK1 A05 FFFF00000131524G003A 12 E57BC634D4717907 01 01 600000000000", "15"),
            // A counter with eleven ones.
            ("CA TPK * BDK1 A05 FFFF00000131524007FF 12 E57BC634D4717907 01 01 600000000000", "15"),
            // A counter of zero.
            ("CA TPK * BDK1 A05 FFFF0000013152400000 12 E57BC634D4717907 01 01 600000000000", "00"),
            ("G0 ZPK1 ZPK1 A05 FFFF000001315240003A 741311DA9D5D6C32 01 01 600000000000", "A6"),
            ("G0 BDK1 BDK1 A05 FFFF000001315240003A 741311DA9D5D6C32 01 01 600000000000", "15"),
            ("G0 BDK1 TPK A05 FFFF000001315240003A 741311DA9D5D6C32 01 01 600000000000", "A6"),
            ("G0 BDK1 ZPK1 A05 FFFF000001315240003B 741311DA9D5D6C32 01 01 600000000000", "20"),
            ("G0 BDK1 ZPK1 A05 FFFF000001315240003A 741311DA9D5D6C32 01 05 600000000000", "69"),
            ("G0 BDK1 ZPK1 A05 FFFF000001315240003A 741311DA9D5D6C32 01 99 600000000000", "23"),
            ("G0 BDK1 ZPK1 A05 FFFF000001315240003A 741311DA9D5D6C32 01 48 600000000000", "A7"),
            ("CC ZPK1 ZPK1 12 FC99D994F1D3D3B8 01 01 600000000000;600000000000", "15"),
            // From one card to another.
            ("G0 BDK1 ZPK1 A05 FFFF000001315240003A 741311DA9D5D6C32 01 01 600000000000;600000000001", "69"),
            ("G0 BDK1 ZPK1 A05 FFFF000001315240003A 741311DA9D5D6C32 01 01 600000000000;60000000000", "15"),
            ("G0 BDK1 ZPK1 A05 FFFF000001315240003A 741311DA9D5D6C3G 01 01 600000000000", "15"),
        ]);
    }
}
