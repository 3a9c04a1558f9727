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

/// `NC`: → the LMK's check value (16 hexadecimal digits), firmware. The firmware says that the keys are public.
fn diagnostics(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    fields.end()?;
    Ok(Answer::done(format!(
        "{}{}",
        hsm.lmks.check_value(),
        concat!("tollgate-", env!("CARGO_PKG_VERSION"), "-test-lmk")
    )))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ask, transcript};

    #[test]
    fn echoes_and_diagnoses() {
        transcript(&[
            ("B2 0000", "B3 00"),
            ("B2 0005 hello", "B3 00 hello"),
            ("B2 0006 hello", "B3 15"),
            ("B2 000G", "B3 15"),
        ]);
        let found = ask(b"NC");
        assert!(found.starts_with("ND00") && found.ends_with("-test-lmk"), "{found}");
        assert!(found[4..20].bytes().all(|digit| digit.is_ascii_hexdigit()), "{found}");
    }
}
