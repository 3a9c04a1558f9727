//! The two characters that every answer begins with, as a payShield gives them.

use crate::hsm::{HsmError, KeyDefect};

/// An error code of the host-command interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Code(&'static str);

impl Code {
    /// Done.
    pub(crate) const DONE: Code = Code("00");
    /// What was to be verified is something else; or a warning that an imported key had even parity.
    pub(crate) const MISMATCH: Code = Code("01");
    /// A warning: the PIN verification key is longer than single, and served so.
    pub(crate) const LONG_PVK: Code = Code("02");
    /// MAC commands: no such mode, format of input, algorithm, key type, length, padding.
    pub(crate) const MODE: Code = Code("02");
    pub(crate) const INPUT_FORMAT: Code = Code("03");
    pub(crate) const ALGORITHM: Code = Code("04");
    pub(crate) const KEY_TYPE_HERE: Code = Code("05");
    pub(crate) const LENGTH: Code = Code("06");
    pub(crate) const PADDING: Code = Code("09");
    /// Older MAC commands: no such part; data that are none, or no whole blocks.
    pub(crate) const PART: Code = Code("05");
    pub(crate) const DATA_LENGTH: Code = Code("80");
    /// Key commands: how many components, a type code of two characters, the flag of a key's length.
    pub(crate) const COMPONENTS: Code = Code("03");
    pub(crate) const TYPE_CODE: Code = Code("04");
    pub(crate) const LENGTH_FLAG: Code = Code("05");
    /// No such hash.
    pub(crate) const HASH: Code = Code("05");
    /// Data commands: no such format of output, mode or key type of the destination.
    pub(crate) const OUTPUT_FORMAT: Code = Code("04");
    pub(crate) const DESTINATION_MODE: Code = Code("07");
    pub(crate) const DESTINATION_KEY_TYPE: Code = Code("08");
    /// Cryptogram commands: the scheme has no such mode; no such mode, scheme, shape of tree; no data.
    pub(crate) const MODE_OF_SCHEME: Code = Code("03");
    pub(crate) const CRYPTOGRAM_MODE: Code = Code("04");
    pub(crate) const CRYPTOGRAM_SCHEME: Code = Code("05");
    pub(crate) const BRANCH_HEIGHT: Code = Code("52");
    pub(crate) const NO_DATA: Code = Code("81");
    /// The parity of the first key of a command, and of the second.
    pub(crate) const SOURCE_PARITY: Code = Code("10");
    pub(crate) const DESTINATION_PARITY: Code = Code("11");
    /// Not permitted here.
    pub(crate) const PERMISSION: Code = Code("17");
    /// No such local master key.
    pub(crate) const LMK: Code = Code("13");
    /// A PIN under the local master key is altered, or another account's.
    pub(crate) const LMK_PIN: Code = Code("14");
    /// Not written as the command says.
    pub(crate) const INPUT: Code = Code("15");
    pub(crate) const PIN_BLOCK: Code = Code("20");
    pub(crate) const ACCOUNT: Code = Code("22");
    pub(crate) const PIN_FORMAT: Code = Code("23");
    pub(crate) const PIN_LENGTH: Code = Code("24");
    pub(crate) const DECIMALIZATION: Code = Code("25");
    pub(crate) const KEY_SCHEME: Code = Code("26");
    pub(crate) const KEY_LENGTH: Code = Code("27");
    pub(crate) const KEY_TYPE: Code = Code("28");
    /// The key may not leave in this form.
    pub(crate) const FUNCTION: Code = Code("29");
    /// Data that are not of the format that is said.
    pub(crate) const DATA_FORMAT: Code = Code("35");
    /// Too many verifications failed, of this card or of all: nothing was computed.
    pub(crate) const EXHAUSTED: Code = Code("39");
    /// The hardware or software failed.
    pub(crate) const FAILURE: Code = Code("41");
    /// A key may not go from this LMK to that one, or not to this type.
    pub(crate) const MIGRATION: Code = Code("44");
    pub(crate) const MIGRATED_TYPE: Code = Code("45");
    /// No such command here, or it is switched off.
    pub(crate) const DISABLED: Code = Code("68");
    /// The translation between these PIN block formats is forbidden.
    pub(crate) const FORMAT_DISABLED: Code = Code("69");
    /// A single-length key dressed as double or triple.
    pub(crate) const MASQUERADE: Code = Code("75");
    /// PIN commands: the check length does not go with the PIN's.
    pub(crate) const CHECK_LENGTH: Code = Code("81");
    pub(crate) const CHECK_VALUE: Code = Code("84");
    /// Variant keys and key blocks in one command.
    pub(crate) const LMK_SCHEMES: Code = Code("A1");
    pub(crate) const KEY_BLOCK: Code = Code("A4");
    pub(crate) const USAGE: Code = Code("A6");
    pub(crate) const KEY_ALGORITHM: Code = Code("A7");
    pub(crate) const MODE_OF_USE: Code = Code("A8");
    /// A component where a whole key is needed.
    pub(crate) const KEY_VERSION: Code = Code("A9");
    /// The key may not leave, or its exportability not be changed so.
    pub(crate) const EXPORT: Code = Code("AA");
    pub(crate) const KEY_BLOCK_FORM: Code = Code("B2");
    /// Components that form no key: one there twice, one of zeros, ones of different keys.
    pub(crate) const INCOMPATIBLE_COMPONENTS: Code = Code("B5");

    /// Whether it refuses a command for a key's sake.
    pub(crate) fn is_of_a_key(self) -> bool {
        let of_keys = [
            Code::SOURCE_PARITY,
            Code::DESTINATION_PARITY,
            Code::PERMISSION,
            Code::LMK,
            Code::KEY_TYPE,
            Code::FUNCTION,
            Code::MIGRATION,
            Code::MIGRATED_TYPE,
            Code::LMK_SCHEMES,
            Code::KEY_LENGTH,
            Code::MASQUERADE,
            Code::CHECK_VALUE,
            Code::KEY_BLOCK,
            Code::USAGE,
            Code::KEY_ALGORITHM,
            Code::MODE_OF_USE,
            Code::KEY_VERSION,
            Code::EXPORT,
            Code::KEY_BLOCK_FORM,
            Code::INCOMPATIBLE_COMPONENTS,
        ];
        of_keys.contains(&self)
    }

    /// Its characters.
    pub(crate) fn text(self) -> &'static str {
        self.0
    }

    /// The same defect of the second key of a command.
    pub(crate) fn of_destination(self) -> Code {
        if self == Code::SOURCE_PARITY { Code::DESTINATION_PARITY } else { self }
    }
}

impl From<HsmError> for Code {
    fn from(error: HsmError) -> Code {
        match error {
            HsmError::MacMismatch | HsmError::Mismatch => Code::MISMATCH,
            HsmError::PinBlock => Code::PIN_BLOCK,
            HsmError::PinLength => Code::PIN_LENGTH,
            HsmError::PinTranslation => Code::FORMAT_DISABLED,
            HsmError::Account => Code::ACCOUNT,
            HsmError::DecimalizationTable => Code::DECIMALIZATION,
            HsmError::KeyBlock => Code::KEY_BLOCK,
            HsmError::KeyBlockForm => Code::KEY_BLOCK_FORM,
            HsmError::KeyUsage => Code::USAGE,
            HsmError::KeyMode => Code::MODE_OF_USE,
            HsmError::Export => Code::EXPORT,
            HsmError::Key(KeyDefect::Length) => Code::KEY_LENGTH,
            HsmError::Key(KeyDefect::Parity | KeyDefect::Weak) => Code::SOURCE_PARITY,
            HsmError::Key(
                KeyDefect::Components | KeyDefect::TooFewComponents | KeyDefect::ComponentLengths,
            ) => Code::INCOMPATIBLE_COMPONENTS,
            HsmError::Key(KeyDefect::Repeats) => Code::MASQUERADE,
            HsmError::Key(KeyDefect::CheckValue) => Code::CHECK_VALUE,
            HsmError::Key(KeyDefect::Algorithm) => Code::KEY_ALGORITHM,
            HsmError::Input(_) | HsmError::Track | HsmError::Sealed | HsmError::KeySerialNumber => {
                Code::INPUT
            }
            HsmError::Failure(_) => Code::FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_defect_has_the_code_that_a_payshield_gives() {
        let rows = [
            (HsmError::Mismatch, "01"),
            (HsmError::MacMismatch, "01"),
            (HsmError::Key(KeyDefect::Parity), "10"),
            (HsmError::Key(KeyDefect::Components), "B5"),
            (HsmError::PinBlock, "20"),
            (HsmError::PinLength, "24"),
            (HsmError::DecimalizationTable, "25"),
            (HsmError::Key(KeyDefect::Length), "27"),
            (HsmError::PinTranslation, "69"),
            (HsmError::Key(KeyDefect::Repeats), "75"),
            (HsmError::KeyBlock, "A4"),
            (HsmError::KeyUsage, "A6"),
            (HsmError::KeyMode, "A8"),
            (HsmError::Export, "AA"),
            (HsmError::Failure("x"), "41"),
        ];
        for (error, code) in rows {
            assert_eq!(Code::from(error).text(), code, "{error}");
        }
        assert_eq!(Code::from(HsmError::Key(KeyDefect::Parity)).of_destination().text(), "11");
        assert_eq!(Code::USAGE.of_destination(), Code::USAGE);
    }
}
