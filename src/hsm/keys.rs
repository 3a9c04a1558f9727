//! Key management on the software HSM: making keys, forming them of components, check values.
//!
//! Where components are read from and who holds them is the caller's affair; never a command line's
//! argument or the environment (PCI PIN 12).

use super::aes::AesKey;
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
            KeyKind::Des(length) => self.accept(usage, Algorithm::Des, &self.draw(length)?),
            KeyKind::Aes(length) => {
                let mut key = Zeroizing::new(vec![0; length.octets()]);
                self.random.fill(&mut key)?;
                self.accept(usage, Algorithm::Aes, &key)
            }
        }
    }

    /// Forms a key as the XOR of at least two components of its full length, none of them zero (PCI PIN
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
        self.accept(usage, algorithm, &combine(algorithm, components)?)
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
        self.accept(usage, algorithm, &key)
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

    fn accept(&self, usage: Usage, algorithm: Algorithm, key: &[u8]) -> Result<(KeyBlock, String), HsmError> {
        let kind = policy::check_import(usage, algorithm, key)?;
        Ok((self.wrap(usage, kind, key)?, check_value(kind, key)?))
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

/// The XOR of at least two components of one length, none of them zero, a DES key with odd parity set (PCI PIN
/// 6-1).
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

    #[test]
    fn generated_keys_are_new_and_known_by_their_kcv() {
        let hsm = hsm();
        for usage in [Usage::Tmk, Usage::Tpk, Usage::Zpk, Usage::Tdk, Usage::Tak, Usage::Zak] {
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
