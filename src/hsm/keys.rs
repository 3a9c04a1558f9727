//! Key management on the software HSM: making keys, forming them of components, check values.
//!
//! Where components are read from and who holds them is the caller's affair; never a command line's
//! argument or the environment (PCI PIN 12).

use super::aes::AesKey;
use super::audit::{KeyName, Operation};
use super::des::{self, DesKey};
use super::policy::{Algorithm, KeyKind};
use super::{HsmError, KeyBlock, KeyDefect, SoftHsm, Usage, policy};
use zeroize::Zeroizing;

impl SoftHsm {
    /// Makes a key, and its KCV as 6 hexadecimal characters.
    ///
    /// # Errors
    /// [`HsmError::Key`] when the usage takes no key of this kind, [`HsmError::KeyUsage`] for
    /// [`Usage::Data`], [`HsmError::Failure`] of the random source.
    pub fn generate(&self, usage: Usage, kind: impl Into<KeyKind>) -> Result<(KeyBlock, String), HsmError> {
        match kind.into() {
            KeyKind::Des(length) => {
                self.accept(Operation::Generate, usage, Algorithm::Des, &self.draw(length)?)
            }
            KeyKind::Aes(length) => {
                let mut key = Zeroizing::new(vec![0; length.octets()]);
                self.random.fill(&mut key)?;
                self.accept(Operation::Generate, usage, Algorithm::Aes, &key)
            }
        }
    }

    /// Forms a key as the XOR of at least two components of its full length, none of them zero or there twice (PCI PIN
    /// 6-1), a DES key with odd parity set; and its KCV.
    ///
    /// # Errors
    /// [`HsmError::Key`] for a defect of the components or of the key they form, else as
    /// [`SoftHsm::generate`].
    pub fn import_components(
        &self,
        usage: Usage,
        algorithm: Algorithm,
        components: &[Zeroizing<Vec<u8>>],
    ) -> Result<(KeyBlock, String), HsmError> {
        let key = combine(algorithm, components)
            .map_err(|error| self.refused(Operation::Form, &KeyName::for_usage(usage), error))?;
        self.accept(Operation::Form, usage, algorithm, &key)
    }

    /// Takes one clear DES key whole, with odd parity set: for keys of tests and demonstrations, whose clear
    /// values are public anyway. Whoever calls this knows the key, so there is no dual control.
    ///
    /// # Errors
    /// As [`SoftHsm::generate`], and [`HsmError::Key`] for a weak key.
    pub fn import_clear(&self, usage: Usage, clear: &[u8]) -> Result<(KeyBlock, String), HsmError> {
        self.import_clear_as(usage, Algorithm::Des, clear)
    }

    /// As [`SoftHsm::import_clear`], of either algorithm.
    ///
    /// # Errors
    /// As [`SoftHsm::import_clear`].
    pub fn import_clear_as(
        &self,
        usage: Usage,
        algorithm: Algorithm,
        clear: &[u8],
    ) -> Result<(KeyBlock, String), HsmError> {
        let mut key = Zeroizing::new(clear.to_vec());
        set_parity(algorithm, &mut key);
        self.accept(Operation::Import, usage, algorithm, &key)
    }

    /// A key's check value, 6 hexadecimal characters.
    ///
    /// # Errors
    /// [`HsmError::KeyBlock`], or [`HsmError::KeyUsage`] for a header that is none of ours.
    pub fn kcv(&self, block: &KeyBlock) -> Result<String, HsmError> {
        Ok(self.key(block, &policy::ALL)?.kcv())
    }

    /// What a key block's key is for.
    ///
    /// # Errors
    /// As [`SoftHsm::kcv`].
    pub fn usage(&self, block: &KeyBlock) -> Result<Usage, HsmError> {
        Ok(self.key(block, &policy::ALL)?.usage)
    }

    /// Lets a key block go out: a block of this HSM's, which says what it may be used for.
    ///
    /// # Errors
    /// As [`SoftHsm::kcv`].
    pub fn export(&self, block: &KeyBlock) -> Result<(), HsmError> {
        let key = self.key(block, &policy::ALL)?;
        self.record(Operation::Export, &KeyName::checked(key.usage, &key.kcv()))
    }

    /// Takes a clear key under the LMK.
    pub(super) fn accept(
        &self,
        operation: Operation,
        usage: Usage,
        algorithm: Algorithm,
        key: &[u8],
    ) -> Result<(KeyBlock, String), HsmError> {
        let kind = policy::check_import(usage, algorithm, key)
            .map_err(|error| self.refused(operation, &KeyName::for_usage(usage), error))?;
        let made = (self.wrap(usage, kind, key)?, check_value(kind, key)?);
        self.record(operation, &KeyName::checked(usage, &made.1))?;
        Ok(made)
    }
}

fn set_parity(algorithm: Algorithm, key: &mut [u8]) {
    match algorithm {
        Algorithm::Des => des::set_odd_parity(key),
        Algorithm::Aes => {}
    }
}

/// A clear key's check value, 6 hexadecimal characters.
pub(super) fn check_value(kind: KeyKind, key: &[u8]) -> Result<String, HsmError> {
    match kind {
        KeyKind::Des(_) => Ok(DesKey::new(key)?.kcv()),
        KeyKind::Aes(_) => Ok(AesKey::new(key)?.kcv()),
    }
}

/// The XOR of at least two components of one length, none of them zero or there twice, a DES key with odd parity set
/// (PCI PIN 6-1).
pub(super) fn combine(
    algorithm: Algorithm,
    components: &[Zeroizing<Vec<u8>>],
) -> Result<Zeroizing<Vec<u8>>, HsmError> {
    let [first, rest @ ..] = components else {
        return Err(HsmError::Key(KeyDefect::TooFewComponents));
    };
    if rest.is_empty() {
        return Err(HsmError::Key(KeyDefect::TooFewComponents));
    }
    if components.iter().any(|component| component.len() != first.len()) {
        return Err(HsmError::Key(KeyDefect::ComponentLengths));
    }
    if components.iter().any(|component| component.iter().all(|octet| *octet == 0)) {
        return Err(HsmError::Key(KeyDefect::Components));
    }
    let repeats =
        |(at, part): (usize, &Zeroizing<Vec<u8>>)| components.iter().skip(at + 1).any(|other| other == part);
    if components.iter().enumerate().any(repeats) {
        return Err(HsmError::Key(KeyDefect::Components));
    }
    let mut key = first.clone();
    for component in rest {
        key.iter_mut().zip(component.iter()).for_each(|(octet, part)| *octet ^= part);
    }
    set_parity(algorithm, &mut key);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::super::des::KeyLength;
    use super::super::lmk::Lmk;
    use super::*;

    fn hsm() -> SoftHsm {
        SoftHsm::new(&Lmk::from_bytes([0x41; 32])).unwrap()
    }

    fn secret(text: &str) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(hex::decode(text).unwrap())
    }

    /// Each defect of a key has its own error and leaves a record; nothing is made of what is refused.
    #[test]
    fn refusals_for_a_keys_sake_are_told_apart_and_recorded() {
        use super::super::key_block::{Header, Protection, Version};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = super::super::Audit::open(&path, crate::clock::Clock::manual(0), 1).unwrap();
        let audited = hsm().with_audit(std::sync::Arc::new(audit));
        let (good, _) = hsm().generate(Usage::Zpk, KeyLength::Double).unwrap();
        let under = |header, key: &str| {
            let protection = Protection::new(Version::D, &[0x41; 32]).unwrap();
            KeyBlock::new(protection.wrap(&header, &secret(key), 24, &[0xA5; 32]).unwrap())
        };
        let strong = "0123456789ABCDEFFEDCBA9876543210";
        let zmk = "642C7904A4D5C238CD6E7A9D76D36449";
        let zpk = policy::header(Usage::Zpk, KeyLength::Double.into());
        let sent = Header { usage: *b"P0", mode: b'B', ..zpk };
        let even = Protection::new(Version::B, &secret(zmk)).unwrap();
        let even = even.wrap(&sent.into(), &secret(&strong.replacen('1', "0", 1)), 24, &[0xA5; 32]).unwrap();
        let zmk = super::super::Key::of(hsm().import_clear(Usage::Zmk, &secret(zmk)).unwrap().0);
        let other_mode = under(Header { mode: b'E', ..zpk }.into(), strong);
        let (front, last) = good.as_str().split_at(good.as_str().len() - 1);
        let tampered = KeyBlock::new(format!("{front}{}", if last == "0" { "1" } else { "0" }));
        let foreign =
            SoftHsm::new(&Lmk::from_bytes([0x42; 32])).unwrap().generate(Usage::Zpk, KeyLength::Double);
        let foreign = foreign.unwrap().0;
        let one = secret("AE8F54BA29CD2CC73883D373DFF7A8B5");
        let two = secret("75B6A89BC7946DD06186A89DCE9B5D9B");
        let used = |block: &KeyBlock| audited.key(block, &[Usage::Zpk]).err();
        let short = audited.generate(Usage::Zpk, KeyLength::Single).err();
        let replayed = audited.import_components(Usage::Zpk, Algorithm::Des, &[one.clone(), two, one]).err();
        let even = audited.import_block(Usage::Zpk, &zmk, &even).err();
        let defect = |defect| Some(HsmError::Key(defect));
        let rows = [
            ("wrong length", short, defect(KeyDefect::Length), "generate", "key-length"),
            ("replayed component", replayed, defect(KeyDefect::Components), "form", "components"),
            ("bad parity", even, defect(KeyDefect::Parity), "import", "key-parity"),
            (
                "wrong usage",
                audited.key(&good, &[Usage::Tpk]).err(),
                Some(HsmError::KeyUsage),
                "use",
                "key-usage",
            ),
            ("wrong mode", used(&other_mode), Some(HsmError::KeyMode), "use", "key-mode"),
            ("tampered block", used(&tampered), Some(HsmError::KeyBlock), "use", "key-block"),
            ("foreign LMK", used(&foreign), Some(HsmError::KeyBlock), "use", "key-block"),
            ("malformed", used(&KeyBlock::new("?")), Some(HsmError::KeyBlockForm), "use", "key-block-form"),
        ];
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (at, (name, found, expected, operation, outcome)) in rows.iter().enumerate() {
            assert_eq!(found, expected, "{name}");
            // The tampered block and the foreign one have one header, so they are one record in their second.
            let line = lines[at - usize::from(at > 5)];
            let record = [format!("\"operation\":\"{operation}\""), format!("\"outcome\":\"{outcome}\"")];
            assert!(record.iter().all(|part| line.contains(part)), "{name}: {line}");
        }
        assert_eq!(lines.len(), 7, "{text}");
        // A good key still serves, and leaves no record.
        assert_eq!(used(&good), None);
        audited.generate(Usage::Zpk, KeyLength::Double).unwrap();
        let after = std::fs::read_to_string(&path).unwrap();
        assert!(
            after.lines().nth(7).unwrap().contains("\"operation\":\"generate\",\"usage\":\"72\""),
            "{after}"
        );
        for secret in [strong, "AE8F54BA", "75B6A89B", &good.as_str()[16..40]] {
            assert!(!after.contains(secret), "{secret}");
        }
    }

    #[test]
    fn generated_keys_are_new_and_known_by_their_kcv() {
        let hsm = hsm();
        for usage in [Usage::Tmk, Usage::Tpk, Usage::Zpk, Usage::Tdk, Usage::Tak, Usage::Zak, Usage::Zmk] {
            let (one, kcv) = hsm.generate(usage, KeyLength::Double).unwrap();
            let (two, _) = hsm.generate(usage, KeyLength::Double).unwrap();
            assert_ne!(one, two);
            assert_eq!((hsm.kcv(&one).unwrap(), hsm.usage(&one).unwrap()), (kcv, usage));
            // Another HSM under the same LMK reads it, one under another does not.
            assert_eq!(self::hsm().usage(&one), Ok(usage));
            let other = SoftHsm::new(&Lmk::from_bytes([0x42; 32])).unwrap();
            assert_eq!(other.usage(&one), Err(HsmError::KeyBlock));
        }
        assert!(matches!(hsm.generate(Usage::Tpk, KeyLength::Single), Err(HsmError::Key(_))));
        assert_eq!(hsm.generate(Usage::Data, KeyLength::Double).err(), Some(HsmError::KeyUsage));
    }

    #[test]
    fn components_form_the_published_key() {
        // A payShield's A4 transcript: odd parity is set on the result.
        let (one, two) =
            (secret("AE8F54BA29CD2CC73883D373DFF7A8B5"), secret("75B6A89BC7946DD06186A89DCE9B5D9B"));
        let (block, kcv) =
            hsm().import_components(Usage::Zpk, Algorithm::Des, &[one.clone(), two.clone()]).unwrap();
        assert_eq!(kcv, "2AE082");
        assert!(block.as_str().starts_with("D011272TB00E0000"), "{block:?}");

        let zero = secret("00000000000000000000000000000000");
        let rows = [
            ("one component", vec![one.clone()]),
            ("none", vec![]),
            ("two lengths", vec![one.clone(), secret("75B6A89BC7946DD0")]),
            ("a zero component", vec![one.clone(), zero.clone()]),
            ("twice the same", vec![one.clone(), one.clone()]),
            ("a weak key", vec![one.clone(), secret("AF8E55BB28CC2DC63882D272DEF6A9B4")]),
            (
                "equal halves",
                vec![secret("AE8F54BA29CD2CC7AE8F54BA29CD2CC7"), secret("75B6A89BC7946DD075B6A89BC7946DD0")],
            ),
            ("seven octets", vec![secret("AE8F54BA29CD2C"), secret("75B6A89BC7946D")]),
        ];
        for (name, components) in rows {
            let found = hsm().import_components(Usage::Zpk, Algorithm::Des, &components);
            assert!(matches!(found, Err(HsmError::Key(_))), "{name}: {found:?}");
        }
    }

    #[test]
    fn clear_keys_come_in_with_odd_parity() {
        let rows = [
            (Usage::Tmk, "0123456789ABCDEFFEDCBA9876543210", Ok("08D7B4")),
            // Its parity is not odd; DES does not look at it.
            (Usage::Zpk, "C7152C20BC2C830EA7EC9E8334ABE3FE", Ok("6F1E3F")),
            (Usage::Zpk, "01010101010101010101010101010101", Err(KeyDefect::Repeats)),
            (Usage::Zpk, "0000000000000000FEDCBA9876543210", Err(KeyDefect::Weak)),
            (Usage::Tpk, "0123456789ABCDEF", Err(KeyDefect::Length)),
        ];
        for (usage, key, expected) in rows {
            let found = hsm().import_clear(usage, &secret(key)).map(|(_, kcv)| kcv);
            assert_eq!(found, expected.map(String::from).map_err(HsmError::Key), "{key}");
        }
    }
}
