//! PIN blocks from one key to another.

use super::code::Code;
use super::fields::Fields;
use super::key::{Opened, Role};
use super::{Answer, Commands, HostHsm};
use crate::hsm::pin_block::{AccountField, FormatCode, PinFormat};
use crate::hsm::pin_policy::{self, Account, PinKey, Recipient, Side};

pub(super) const COMMANDS: Commands = &[(b"CA", terminal_to_zone), (b"CC", zone_to_zone)];

/// What follows the keys of a translation: the most digits, the block, both formats, the account.
struct Translation<'a> {
    block: [u8; 8],
    formats: [PinFormat; 2],
    account: &'a str,
}

/// Reads the rest of a translation.
fn translation<'a>(fields: &mut Fields<'a>) -> Result<Translation<'a>, Code> {
    fields.number(2)?;
    let block = fields.hex_array()?;
    let formats = [format(fields)?, format(fields)?];
    let account = fields.digits(12)?;
    Ok(Translation { block, formats, account })
}

/// A PIN block format that is served here.
pub(super) fn format(fields: &mut Fields<'_>) -> Result<PinFormat, Code> {
    match FormatCode::of(fields.text(2)?) {
        Some(FormatCode::Served(format)) => Ok(format),
        Some(FormatCode::Refused(_)) => Err(Code::FORMAT_DISABLED),
        None => Err(Code::PIN_FORMAT),
    }
}

impl HostHsm {
    /// Translates, and answers the PIN's length, the block and its format.
    fn translate(&self, from: &Opened, to: &Opened, what: &Translation<'_>) -> Result<Answer, Code> {
        let account = || AccountField::parse(what.account).map(Account::Field);
        let (from_key, to_key) = (from.des()?, to.des()?);
        let [from_format, to_format] = what.formats;
        let from = Side { key: PinKey::Tdea(&from_key), format: from_format, account: account()? };
        let to = Side { key: PinKey::Tdea(&to_key), format: to_format, account: account()? };
        pin_policy::permits(from_format, to_format, pin_policy::AccountChange::Same, Recipient::Host)?;
        let pin = from.open(&what.block)?;
        let block = to.seal(&pin, self.draw()?)?;
        let code = to_format.code();
        Ok(Answer::done(format!("{:02}{}{code}", pin.length(), hex::encode_upper(block.as_slice()))))
    }
}

/// `CA`: TPK, ZPK, most digits (2), PIN block (16), formats (2, 2), account (12) → length (2), PIN block, format.
fn terminal_to_zone(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let (tpk, zpk) = (fields.key()?, fields.key()?);
    let what = translation(fields)?;
    hsm.lmk(fields.end()?)?;
    let tpk = hsm.lmks.open(tpk, &Role::TPK)?;
    let zpk = hsm.lmks.open(zpk, &Role::ZPK_DESTINATION).map_err(Code::of_destination)?;
    hsm.translate(&tpk, &zpk, &what)
}

/// `CC`: the same between zone keys.
fn zone_to_zone(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let (source, destination) = (fields.key()?, fields.key()?);
    let what = translation(fields)?;
    hsm.lmk(fields.end()?)?;
    let source = hsm.lmks.open(source, &Role::ZPK_SOURCE)?;
    let destination = hsm.lmks.open(destination, &Role::ZPK_DESTINATION).map_err(Code::of_destination)?;
    hsm.translate(&source, &destination, &what)
}

#[cfg(test)]
mod tests {
    use super::super::tests::transcript;

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
        ]);
    }
}
