//! Key management on the software HSM: making keys, forming them of components, check values.
//!
//! Where components are read from and who holds them is the caller's affair; never a command line's
//! argument or the environment (PCI PIN 12).

use super::des::{self, DesKey, KeyLength};
use super::{HsmError, KeyBlock, KeyDefect, SoftHsm, Usage, policy};
use zeroize::Zeroizing;

impl SoftHsm {
    /// Makes a key, and its KCV as 6 hexadecimal characters.
    ///
    /// # Errors
    /// [`HsmError::Key`] when the usage takes no key of this length, [`HsmError::KeyUsage`] for
    /// [`Usage::Data`], [`HsmError::Failure`] of the random source.
    pub fn generate(&self, usage: Usage, length: KeyLength) -> Result<(KeyBlock, String), HsmError> {
        self.accept(usage, &self.draw(length)?)
    }

    /// Forms a key as the XOR of at least two components of its full length, none of them zero (PCI PIN
    /// 6-1), with odd parity set; and its KCV.
    ///
    /// # Errors
    /// [`HsmError::Key`] for a defect of the components or of the key they form, else as
    /// [`SoftHsm::generate`].
    pub fn import_components(
        &self,
        usage: Usage,
        components: &[Zeroizing<Vec<u8>>],
    ) -> Result<(KeyBlock, String), HsmError> {
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
        des::set_odd_parity(&mut key);
        self.accept(usage, &key)
    }

    /// Takes one clear key whole, with odd parity set: for keys of tests and demonstrations, whose clear
    /// values are public anyway. Whoever calls this knows the key, so there is no dual control.
    ///
    /// # Errors
    /// As [`SoftHsm::generate`], and [`HsmError::Key`] for a weak key.
    pub fn import_clear(&self, usage: Usage, clear: &[u8]) -> Result<(KeyBlock, String), HsmError> {
        let mut key = Zeroizing::new(clear.to_vec());
        des::set_odd_parity(&mut key);
        self.accept(usage, &key)
    }

    /// A key's check value, 6 hexadecimal characters.
    ///
    /// # Errors
    /// [`HsmError::KeyBlock`], or [`HsmError::KeyUsage`] for a header that is none of ours.
    pub fn kcv(&self, block: &KeyBlock) -> Result<String, HsmError> {
        Ok(self.key(block, &policy::ALL)?.key.kcv())
    }

    /// What a key block's key is for.
    ///
    /// # Errors
    /// As [`SoftHsm::kcv`].
    pub fn usage(&self, block: &KeyBlock) -> Result<Usage, HsmError> {
        Ok(self.key(block, &policy::ALL)?.usage)
    }

    fn accept(&self, usage: Usage, key: &[u8]) -> Result<(KeyBlock, String), HsmError> {
        policy::check_import(usage, key)?;
        Ok((self.wrap(usage, key)?, DesKey::new(key)?.kcv()))
    }
}

#[cfg(test)]
mod tests {
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
        let (block, kcv) = hsm().import_components(Usage::Zpk, &[one.clone(), two.clone()]).unwrap();
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
            let found = hsm().import_components(Usage::Zpk, &components);
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
