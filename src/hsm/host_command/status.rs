//! Echo, diagnostics and status.

use super::code::Code;
use super::fields::Fields;
use super::{Answer, Commands, HostHsm};

pub(super) const COMMANDS: Commands = &[(b"B2", echo), (b"NC", diagnostics)];

/// `B2`: length in 4 hexadecimal digits, data → data.
fn echo(_: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let length = fields.hex_number(4)?;
    let data = fields.octets(length)?;
    fields.end()?;
    Ok(Answer::done(data))
}

/// `NC`: → the LMK's check value (16 hexadecimal digits), firmware, which says so when the LMKs are public.
fn diagnostics(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    fields.end()?;
    let public = if hsm.lmks.are_public() { "-test-lmk" } else { "" };
    let version = env!("CARGO_PKG_VERSION");
    Ok(Answer::done(format!("{}tollgate-{version}{public}", hsm.lmks.check_value())))
}

#[cfg(test)]
mod tests {
    use super::super::transcripts::{ask, transcript};
    use super::*;
    use crate::hsm::Lmk;
    use crate::hsm::lmk::DataKey;

    #[test]
    fn echoes_and_diagnoses() {
        transcript(&[
            ("B2 0000", "B3 00"),
            ("B2 0005 hello", "B3 00 hello"),
            ("B2 0006 hello", "B3 15"),
            ("B2 000G", "B3 15"),
        ]);
        let found = ask(b"NC");
        assert!(found.starts_with("ND008E0EC0") && found.ends_with("-test-lmk"), "{found}");
        assert!(found[4..20].bytes().all(|digit| digit.is_ascii_hexdigit()), "{found}");
        // Under an LMK of one's own nothing says so.
        let data = DataKey::derived(&Lmk::from_bytes([0x41; 32]));
        let found = HostHsm::with_data_key(0, &data).unwrap().answer(b"NC").unwrap();
        let found = String::from_utf8(found).unwrap();
        assert!(found.ends_with(concat!("tollgate-", env!("CARGO_PKG_VERSION"))), "{found}");
    }
}
