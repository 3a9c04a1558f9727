//! Which PIN block may become which (PCI PIN Security 3.1, requirements 2-3 and 3-3), and the translation
//! itself, which asks the policy first. Knows clear keys and blocks; nothing of key blocks or messages.

use super::block::{self, AccountField, ClearBlock, Pin, PinFormat};
use crate::hsm::aes::AesKey;
use crate::hsm::des::{self, DesKey, KeyLength};
use crate::hsm::{HsmError, KeyDefect};
use crate::transaction::Pan;
use zeroize::Zeroizing;

/// What the policy says of a translation from one format to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Between hosts and terminals. Where both formats are bound to an account, to the same one only.
    Allowed,
    /// Only for submission to a chip card: an offline PIN, or a script that changes it.
    AllowedToChip,
    /// Never.
    Forbidden,
}

/// PCI PIN 3-3: a row for each format that a block is in, a column for each that it shall be in, from 0 to 4.
const TRANSLATIONS: [[Verdict; 5]; 5] = {
    use Verdict::{Allowed as Y, AllowedToChip as C, Forbidden as N};
    [
        [Y, N, C, Y, Y], // from format 0
        [Y, Y, C, Y, Y], // from format 1
        [N, N, C, N, N], // from format 2
        [Y, N, C, Y, Y], // from format 3
        [Y, N, C, Y, Y], // from format 4
    ]
};

/// What PCI PIN 3-3 says of a translation between two formats.
#[must_use]
pub fn verdict(from: PinFormat, to: PinFormat) -> Verdict {
    of(to, of(from, TRANSLATIONS))
}

/// A format's element of five.
fn of<T>(format: PinFormat, [iso0, iso1, iso2, iso3, iso4]: [T; 5]) -> T {
    match format {
        PinFormat::Iso0 => iso0,
        PinFormat::Iso1 => iso1,
        PinFormat::Iso2 => iso2,
        PinFormat::Iso3 => iso3,
        PinFormat::Iso4 => iso4,
    }
}

/// Whether the account of the new block is that of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountChange {
    /// The same account.
    Same,
    /// Another one: the PIN would be taken from one card to another.
    Changed,
}

/// Who gets the new block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient {
    /// A host.
    Host,
    /// A chip card.
    Chip,
}

/// Whether PCI PIN 3-3 permits a translation.
///
/// # Errors
/// [`HsmError::PinTranslation`].
pub fn permits(
    from: PinFormat,
    to: PinFormat,
    account: AccountChange,
    recipient: Recipient,
) -> Result<(), HsmError> {
    let permitted = match (verdict(from, to), recipient) {
        (Verdict::Allowed, _) => account == AccountChange::Same || !binds(from) || !binds(to),
        (Verdict::AllowedToChip, Recipient::Chip) => true,
        (Verdict::AllowedToChip, Recipient::Host) | (Verdict::Forbidden, _) => false,
    };
    if permitted { Ok(()) } else { Err(HsmError::PinTranslation) }
}

fn binds(format: PinFormat) -> bool {
    match format {
        PinFormat::Iso0 | PinFormat::Iso3 | PinFormat::Iso4 => true,
        PinFormat::Iso1 | PinFormat::Iso2 => false,
    }
}

/// Takes a clear key of 16 or 24 octets that may encrypt PINs: triple DES of two or three different parts, of
/// odd parity and none of them weak (PCI PIN 2-3).
///
/// # Errors
/// [`HsmError::Key`] says the defect; single DES is one of length.
pub fn tdea_key(clear: &[u8]) -> Result<DesKey, HsmError> {
    if KeyLength::of(clear.len())? == KeyLength::Single {
        return Err(HsmError::Key(KeyDefect::Length));
    }
    des::check_strength(clear)?;
    DesKey::new(clear)
}

/// A key that PINs are encrypted under.
#[derive(Debug, Clone, Copy)]
pub enum PinKey<'a> {
    /// Triple DES, for formats 0 to 3. [`tdea_key`] knows which keys may serve.
    Tdea(&'a DesKey),
    /// AES, for format 4.
    Aes(&'a AesKey),
}

/// The account that a block is bound to, as far as the caller knows its number.
#[derive(Debug, Clone, Copy)]
pub enum Account<'a> {
    /// The whole number.
    Pan(&'a Pan),
    /// Twelve digits of it, as host commands carry them: enough for all formats but 4.
    Field(AccountField),
}

impl Account<'_> {
    /// Same whole numbers, or the same twelve digits where one of them is not known whole.
    fn change(self, to: Self) -> AccountChange {
        let same = match (self, to) {
            (Self::Pan(from), Self::Pan(to)) => from.digits() == to.digits(),
            (Self::Pan(_), Self::Field(_)) | (Self::Field(_), Self::Pan(_) | Self::Field(_)) => {
                AccountField::from(self).digits() == AccountField::from(to).digits()
            }
        };
        if same { AccountChange::Same } else { AccountChange::Changed }
    }
}

impl From<Account<'_>> for AccountField {
    fn from(account: Account<'_>) -> Self {
        match account {
            Account::Pan(pan) => pan.into(),
            Account::Field(field) => field,
        }
    }
}

/// One side of a translation: how its block is encrypted and formatted, and whose it is. The account is not
/// looked at where the format is bound to none.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The key.
    pub key: PinKey<'a>,
    /// The format.
    pub format: PinFormat,
    /// The account.
    pub account: Account<'a>,
}

/// An encrypted PIN block of 8 or 16 octets. Not even that belongs in a log (PCI PIN 4): prints nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PinBlock {
    /// Under triple DES.
    Tdea([u8; 8]),
    /// Under AES.
    Aes([u8; 16]),
}

impl PinBlock {
    /// The block's octets.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Tdea(block) => block,
            Self::Aes(block) => block,
        }
    }
}

impl std::fmt::Debug for PinBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PinBlock(…)")
    }
}

/// A key of an algorithm that the format is not made for.
const ALGORITHM: HsmError = HsmError::Key(KeyDefect::Algorithm);

impl Side<'_> {
    /// Decrypts and reads a block of 8 octets, or in format 4 of 16.
    ///
    /// # Errors
    /// [`HsmError::PinBlock`] for every defect of the block; [`HsmError::Key`] for a key that is not the
    /// format's; [`HsmError::Account`] in format 4 without the whole number.
    pub fn open(&self, block: &[u8]) -> Result<Pin, HsmError> {
        use PinFormat::{Iso0, Iso1, Iso2, Iso3, Iso4};
        match (self.key, self.format) {
            (PinKey::Tdea(key), Iso0) => block::decode_iso0(&*decrypted(key, block)?, self.account),
            (PinKey::Tdea(key), Iso1) => block::decode_iso1(&*decrypted(key, block)?),
            (PinKey::Tdea(key), Iso2) => block::decode_iso2(&*decrypted(key, block)?),
            (PinKey::Tdea(key), Iso3) => block::decode_iso3(&*decrypted(key, block)?, self.account),
            (PinKey::Aes(key), Iso4) => {
                let block = block.try_into().map_err(|_| HsmError::PinBlock)?;
                block::decode_iso4(key, block, self.pan()?)
            }
            (PinKey::Tdea(_), Iso4) | (PinKey::Aes(_), Iso0 | Iso1 | Iso2 | Iso3) => Err(ALGORITHM),
        }
    }

    /// Decrypts and reads a block of 8 octets that is bound to no account, as UnionPay's without PAN.
    ///
    /// # Errors
    /// As [`Side::open`].
    pub fn open_without_pan(&self, block: &[u8]) -> Result<Pin, HsmError> {
        match self.key {
            PinKey::Tdea(key) => block::decode_without_pan(&*decrypted(key, block)?),
            PinKey::Aes(_) => Err(ALGORITHM),
        }
    }

    /// Formats and encrypts a PIN; `fill` is random.
    ///
    /// # Errors
    /// [`HsmError::Key`] and [`HsmError::Account`] as [`Side::open`].
    pub fn seal(&self, pin: &Pin, fill: [u8; 8]) -> Result<PinBlock, HsmError> {
        use PinFormat::{Iso0, Iso1, Iso2, Iso3, Iso4};
        match (self.key, self.format) {
            (PinKey::Tdea(key), Iso0) => encrypted(key, block::encode_iso0(pin, self.account)),
            (PinKey::Tdea(key), Iso1) => encrypted(key, block::encode_iso1(pin, fill)),
            (PinKey::Tdea(key), Iso2) => encrypted(key, block::encode_iso2(pin)),
            (PinKey::Tdea(key), Iso3) => encrypted(key, block::encode_iso3(pin, self.account, fill)),
            (PinKey::Aes(key), Iso4) => Ok(PinBlock::Aes(block::encode_iso4(key, pin, self.pan()?, fill))),
            (PinKey::Tdea(_), Iso4) | (PinKey::Aes(_), Iso0 | Iso1 | Iso2 | Iso3) => Err(ALGORITHM),
        }
    }

    fn pan(&self) -> Result<&Pan, HsmError> {
        match self.account {
            Account::Pan(pan) => Ok(pan),
            Account::Field(_) => Err(HsmError::Account),
        }
    }
}

fn decrypted(key: &DesKey, block: &[u8]) -> Result<ClearBlock, HsmError> {
    let block = block.try_into().map_err(|_| HsmError::PinBlock)?;
    Ok(Zeroizing::new(triple(key)?.decrypt(block)))
}

fn encrypted(key: &DesKey, clear: ClearBlock) -> Result<PinBlock, HsmError> {
    Ok(PinBlock::Tdea(triple(key)?.encrypt(*clear)))
}

/// The key, unless it is single DES, which no PIN is encrypted under (PCI PIN 2-3).
fn triple(key: &DesKey) -> Result<&DesKey, HsmError> {
    match key.length() {
        KeyLength::Single => Err(HsmError::Key(KeyDefect::Length)),
        KeyLength::Double | KeyLength::Triple => Ok(key),
    }
}

/// A block that was translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translated {
    /// The new block.
    pub block: PinBlock,
    /// Digits of the PIN.
    pub pin_length: usize,
}

/// Translates an encrypted block from one side to another, if the policy permits it; `fill` is random.
///
/// # Errors
/// [`HsmError::PinTranslation`] before anything is decrypted, then as [`Side::open`] and [`Side::seal`].
pub fn translate(
    block: &[u8],
    from: &Side<'_>,
    to: &Side<'_>,
    recipient: Recipient,
    fill: [u8; 8],
) -> Result<Translated, HsmError> {
    permits(from.format, to.format, from.account.change(to.account), recipient)?;
    let pin = from.open(block)?;
    Ok(Translated { block: to.seal(&pin, fill)?, pin_length: pin.length() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use PinFormat::{Iso0, Iso1, Iso2, Iso3, Iso4};

    const FORMATS: [PinFormat; 5] = [Iso0, Iso1, Iso2, Iso3, Iso4];
    const ACCOUNTS: [AccountChange; 2] = [AccountChange::Same, AccountChange::Changed];
    const RECIPIENTS: [Recipient; 2] = [Recipient::Host, Recipient::Chip];
    const K0: &str = "0123456789ABCDEFFEDCBA9876543210";

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn tdea(text: &str) -> DesKey {
        tdea_key(&octets(text)).unwrap()
    }

    fn pan(text: &str) -> Pan {
        Pan::parse(text).unwrap()
    }

    /// The rule of PCI PIN 3-3 in words of its own, independent of the table.
    fn rule(from: PinFormat, to: PinFormat, account: AccountChange, recipient: Recipient) -> bool {
        let bound = |format| [Iso0, Iso3, Iso4].contains(&format);
        // Offline PINs are submitted to a card, and come from nowhere but a terminal that does so.
        if to == Iso2 {
            return recipient == Recipient::Chip;
        }
        if from == Iso2 {
            return false;
        }
        // A block that lost its account could be bound to another.
        if bound(from) && !bound(to) {
            return false;
        }
        !(bound(from) && account == AccountChange::Changed)
    }

    #[test]
    fn every_pair_is_as_the_rule_says() {
        let mut permitted = 0;
        for (from, to) in FORMATS.iter().flat_map(|from| FORMATS.map(|to| (*from, to))) {
            for (account, recipient) in ACCOUNTS.iter().flat_map(|account| RECIPIENTS.map(|r| (*account, r)))
            {
                let expected = rule(from, to, account, recipient);
                let found = permits(from, to, account, recipient);
                assert_eq!(found.is_ok(), expected, "{from:?} to {to:?}, {account:?}, {recipient:?}");
                assert!(matches!(found, Ok(()) | Err(HsmError::PinTranslation)));
                permitted += usize::from(expected);
            }
        }
        // 9 pairs with the same account and 4 from format 1 with any, to both; 5 into format 2, to a card,
        // with any.
        assert_eq!(permitted, 9 * 2 + 4 * 4 + 5 * 2);
    }

    #[test]
    fn pairs_are_as_published() {
        use Verdict::{Allowed, AllowedToChip, Forbidden};
        // PCI PIN 3-3 as IBM's CCA manual tabulates it (formats 0 to 3, change of account not permitted).
        let rows = [
            (Iso0, [Allowed, Forbidden, AllowedToChip, Allowed]),
            (Iso1, [Allowed, Allowed, AllowedToChip, Allowed]),
            (Iso2, [Forbidden, Forbidden, AllowedToChip, Forbidden]),
            (Iso3, [Allowed, Forbidden, AllowedToChip, Allowed]),
        ];
        for (from, expected) in rows {
            assert_eq!([Iso0, Iso1, Iso2, Iso3].map(|to| verdict(from, to)), expected, "{from:?}");
        }
        // Format 4 is as format 3, whichever side it is on.
        for other in [Iso0, Iso1, Iso2, Iso3] {
            assert_eq!(verdict(Iso4, other), verdict(Iso3, other), "{other:?}");
            assert_eq!(verdict(other, Iso4), verdict(other, Iso3), "{other:?}");
        }
        assert_eq!(verdict(Iso4, Iso4), Allowed);
    }

    #[test]
    fn keys_that_may_not_encrypt_pins_are_refused() {
        let rows = [
            ("double", K0, None),
            ("triple", "0123456789ABCDEFFEDCBA98765432101352463770894352", None),
            ("single", "0123456789ABCDEF", Some(KeyDefect::Length)),
            (
                "AES-256",
                "0123456789ABCDEFFEDCBA98765432100123456789ABCDEFFEDCBA9876543210",
                Some(KeyDefect::Length),
            ),
            ("nothing", "", Some(KeyDefect::Length)),
            ("K1 = K2", "0123456789ABCDEF0123456789ABCDEF", Some(KeyDefect::Repeats)),
            (
                "K1 = K2 of three",
                "0123456789ABCDEF0123456789ABCDEFFEDCBA9876543210",
                Some(KeyDefect::Repeats),
            ),
            ("K2 = K3", "0123456789ABCDEFFEDCBA9876543210FEDCBA9876543210", Some(KeyDefect::Repeats)),
            ("K1 = K3", "0123456789ABCDEFFEDCBA98765432100123456789ABCDEF", Some(KeyDefect::Repeats)),
            ("parity", "0123456789ABCDEEFEDCBA9876543210", Some(KeyDefect::Parity)),
            ("weak", "0101010101010101FEDCBA9876543210", Some(KeyDefect::Weak)),
        ];
        for (name, key, defect) in rows {
            assert_eq!(tdea_key(&octets(key)).err(), defect.map(HsmError::Key), "{name}");
        }
    }

    #[test]
    fn host_command_samples_translate() {
        // payShield transcripts; the last from a simulator of one. Keys in clear, the account in twelve
        // digits.
        let rows = [
            (
                "EA671925BFD6B6F1A28051857C2CC1D9",
                "98519E45CBB9291F49EFAD4AFEFDDC79",
                "600000000000",
                "340367",
                "E57BC634D4717907",
                "FC99D994F1D3D3B8",
            ),
            (
                "D3DCC7EA9BCB755D254620B376B3D007",
                "C7152C20BC2C830EA7EC9E8334ABE3FE",
                "550000025321",
                "1234",
                "6428EB94035AF53B",
                "91DDDA0A7C12CFAA",
            ),
        ];
        for (tpk, zpk, account, pin, block, expected) in rows {
            let (tpk, zpk) = (tdea(tpk), tdea(zpk));
            let account = Account::Field(AccountField::parse(account).unwrap());
            let from = Side { key: PinKey::Tdea(&tpk), format: Iso0, account };
            let to = Side { key: PinKey::Tdea(&zpk), ..from };
            assert!(from.open(&octets(block)).unwrap().is(pin));
            let made = translate(&octets(block), &from, &to, Recipient::Host, [0; 8]).unwrap().block;
            assert_eq!(hex::encode_upper(made.as_slice()), expected);
            assert_eq!(
                format!("{made:?} {from:?}"),
                "PinBlock(…) Side { key: Tdea(DesKey(Double)), format: Iso0, account: Field(AccountField(…)) }"
            );
        }
        // A PIN sealed under a zone key, and other PINs under terminal keys, of the same transcripts.
        let rows = [
            ("98519E45CBB9291F49EFAD4AFEFDDC79", "850103093936", "300672", "AD72F973446E84E7"),
            ("98519E45CBB9291F49EFAD4AFEFDDC79", "600000000000", "340367", "FC99D994F1D3D3B8"),
            ("EA671925BFD6B6F1A28051857C2CC1D9", "600000000000", "373757", "E5B0C1445E4C57AF"),
        ];
        for (key, account, pin, expected) in rows {
            let (key, account) = (tdea(key), Account::Field(AccountField::parse(account).unwrap()));
            let side = Side { key: PinKey::Tdea(&key), format: Iso0, account };
            let sealed = side.seal(&Pin::parse(pin).unwrap(), [0; 8]).unwrap();
            assert_eq!(hex::encode_upper(sealed.as_slice()), expected);
        }
    }

    #[test]
    fn keys_accounts_and_blocks_of_the_wrong_kind_are_refused() {
        let (des, aes, single) = (tdea(K0), AesKey::new(&[7; 16]).unwrap(), DesKey::new(&[7; 8]).unwrap());
        let card = pan("4012345678909");
        let field = Account::Field(AccountField::from(&card));
        let (des, aes, single) = (PinKey::Tdea(&des), PinKey::Aes(&aes), PinKey::Tdea(&single));
        let pin = Pin::parse("1234").unwrap();
        let length = HsmError::Key(KeyDefect::Length);
        let rows = [
            ("format 4 under DES", des, Iso4, Account::Pan(&card), 16, ALGORITHM),
            ("format 0 under AES", aes, Iso0, Account::Pan(&card), 8, ALGORITHM),
            ("format 1 under AES", aes, Iso1, Account::Pan(&card), 8, ALGORITHM),
            ("format 2 under AES", aes, Iso2, Account::Pan(&card), 8, ALGORITHM),
            ("format 3 under AES", aes, Iso3, Account::Pan(&card), 16, ALGORITHM),
            ("format 0 under single DES", single, Iso0, Account::Pan(&card), 8, length),
            ("format 1 under single DES", single, Iso1, Account::Pan(&card), 8, length),
            ("format 4 with twelve digits", aes, Iso4, field, 16, HsmError::Account),
        ];
        for (name, key, format, account, octets, error) in rows {
            let side = Side { key, format, account };
            assert_eq!(side.seal(&pin, [0; 8]).err(), Some(error), "{name}");
            assert_eq!(side.open(&vec![0; octets]).err(), Some(error), "{name}");
        }
        for (key, format) in [(des, Iso0), (des, Iso1), (des, Iso2), (des, Iso3), (aes, Iso4)] {
            let side = Side { key, format, account: Account::Pan(&card) };
            let sealed = side.seal(&pin, [0xC5; 8]).unwrap();
            assert!(side.open(sealed.as_slice()).unwrap().is("1234"));
            for octets in [0, 7, 9, 15, 17] {
                assert_eq!(
                    side.open(&vec![0; octets]).err(),
                    Some(HsmError::PinBlock),
                    "{format:?} {octets}"
                );
            }
            let short = sealed.as_slice().len() - 1;
            assert_eq!(side.open(&sealed.as_slice()[..short]).err(), Some(HsmError::PinBlock), "{format:?}");
        }
    }

    #[test]
    fn accounts_are_the_same_as_far_as_they_are_known() {
        let (card, check, front) = (pan("94012345678909"), pan("94012345678908"), pan("84012345678909"));
        let field = |text: &str| Account::Field(AccountField::parse(text).unwrap());
        let rows = [
            (Account::Pan(&card), Account::Pan(&card), AccountChange::Same),
            (Account::Pan(&card), Account::Pan(&check), AccountChange::Changed),
            (Account::Pan(&card), Account::Pan(&front), AccountChange::Changed),
            (Account::Pan(&card), field("401234567890"), AccountChange::Same),
            (Account::Pan(&card), field("401234567891"), AccountChange::Changed),
            (field("401234567890"), field("401234567890"), AccountChange::Same),
            (field("401234567890"), field("501234567890"), AccountChange::Changed),
        ];
        for (one, other, expected) in rows {
            assert_eq!(one.change(other), expected, "{one:?} {other:?}");
            assert_eq!(other.change(one), expected, "{other:?} {one:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn permitted_pairs_keep_the_pin_and_others_are_refused(
            digits in "[0-9]{4,12}", card in "[0-9]{12,19}", other in "[0-9]{12,19}",
            fills in proptest::array::uniform2(proptest::array::uniform8(0u8..)),
        ) {
            let (pin, card, other) = (Pin::parse(&digits).unwrap(), pan(&card), pan(&other));
            let des = [tdea(K0), tdea("98519E45CBB9291F49EFAD4AFEFDDC79")];
            let aes = [AesKey::new(&[1; 16]).unwrap(), AesKey::new(&[2; 32]).unwrap()];
            let key = |at: usize, format| match format {
                Iso4 => PinKey::Aes(&aes[at]),
                Iso0 | Iso1 | Iso2 | Iso3 => PinKey::Tdea(&des[at]),
            };
            for (from, to) in FORMATS.iter().flat_map(|from| FORMATS.map(|to| (*from, to))) {
                let source = Side { key: key(0, from), format: from, account: Account::Pan(&card) };
                let block = source.seal(&pin, fills[0]).unwrap();
                let accounts = [&card, &other];
                for (account, recipient) in accounts.iter().flat_map(|pan| RECIPIENTS.map(|r| (*pan, r))) {
                    let target = Side { key: key(1, to), format: to, account: Account::Pan(account) };
                    let change = if account == &card { AccountChange::Same } else { AccountChange::Changed };
                    let made = translate(block.as_slice(), &source, &target, recipient, fills[1])
                        .map(|made| made.block);
                    if rule(from, to, change, recipient) {
                        proptest::prop_assert!(target.open(made.unwrap().as_slice()).unwrap().is(&digits));
                    } else {
                        proptest::prop_assert_eq!(made.err(), Some(HsmError::PinTranslation));
                    }
                }
            }
        }
    }
}
