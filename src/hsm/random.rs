//! Where keys, pads and nonces come from: an argument of the HSM, so that a test can say what is drawn.

use super::HsmError;
use super::des;

/// A source of randomness for keys, pads and nonces.
pub trait Random: Send + Sync {
    /// Fills with octets that nobody can foretell.
    ///
    /// # Errors
    /// [`HsmError::Failure`].
    fn fill(&self, octets: &mut [u8]) -> Result<(), HsmError>;

    /// Draws a DES key of 8, 16 or 24 octets: odd parity, never a weak one, its parts distinct.
    ///
    /// # Errors
    /// [`HsmError::Failure`] when the source gives only keys that may not serve; [`HsmError::Key`] for
    /// another length.
    fn des_key(&self, key: &mut [u8]) -> Result<(), HsmError> {
        des::KeyLength::of(key.len())?;
        for _ in 0..ATTEMPTS {
            self.fill(key)?;
            des::set_odd_parity(key);
            if des::check_strength(key).is_ok() {
                return Ok(());
            }
        }
        Err(HsmError::Failure("the random source repeats itself"))
    }
}

/// A good source fails this often once in 2^-150.
const ATTEMPTS: usize = 3;

/// OpenSSL's generator for secrets, seeded by the system (NIST SP 800-90A CTR-DRBG).
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenSslRandom;

impl Random for OpenSslRandom {
    fn fill(&self, octets: &mut [u8]) -> Result<(), HsmError> {
        openssl::rand::rand_priv_bytes(octets).map_err(|_| HsmError::Failure("random source"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stuck;

    impl Random for Stuck {
        fn fill(&self, octets: &mut [u8]) -> Result<(), HsmError> {
            octets.fill(0);
            Ok(())
        }
    }

    #[test]
    fn drawn_keys_may_serve_and_a_stuck_source_is_found_out() {
        for octets in [8, 16, 24] {
            let (mut first, mut second) = (vec![0; octets], vec![0; octets]);
            OpenSslRandom.des_key(&mut first).unwrap();
            OpenSslRandom.des_key(&mut second).unwrap();
            assert_eq!(des::check_strength(&first), Ok(()));
            assert_ne!(first, second);
            assert!(matches!(Stuck.des_key(&mut first), Err(HsmError::Failure(_))));
        }
        assert!(matches!(OpenSslRandom.des_key(&mut [0; 9]), Err(HsmError::Key(_))));
    }
}
