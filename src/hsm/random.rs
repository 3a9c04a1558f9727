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
        Err(UNHEALTHY)
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

/// Octets that [`check_health`] draws.
const SAMPLE: usize = 1024;
/// So many equal octets in a row, or so many of one value among 512, say that a source fails. A good one does either
/// less than once in 2^30 starts (NIST SP 800-90B, 4.4.1 and 4.4.2, for 8 bits of entropy in each octet).
const REPEATS: usize = 6;
const WINDOW: usize = 512;
const MOST_OF_ONE: usize = 20;

/// Looks at a source before it serves: it must not repeat an octet or a block, nor prefer a value.
///
/// # Errors
/// [`HsmError::Failure`].
pub(super) fn check_health(random: &dyn Random) -> Result<(), HsmError> {
    let mut sample = [0; SAMPLE];
    random.fill(&mut sample)?;
    let repeats = sample.windows(REPEATS).any(|few| few.iter().all(|octet| few.first() == Some(octet)));
    let prefers = sample.chunks(WINDOW).any(|window| {
        let mut counts = [0_usize; 256];
        window.iter().for_each(|octet| counts[usize::from(*octet)] += 1);
        counts.iter().any(|count| *count >= MOST_OF_ONE)
    });
    let (blocks, _) = sample.as_chunks::<16>();
    let distinct: std::collections::HashSet<_> = blocks.iter().collect();
    if repeats || prefers || distinct.len() < blocks.len() { Err(UNHEALTHY) } else { Ok(()) }
}

const UNHEALTHY: HsmError = HsmError::Failure("the random source repeats itself");

#[cfg(test)]
mod tests {
    use super::super::judges::Chance;
    use super::*;
    use std::sync::Mutex;

    /// What a broken source would give.
    struct Broken(fn(usize, u8) -> u8, Mutex<Chance>);

    impl Random for Broken {
        fn fill(&self, octets: &mut [u8]) -> Result<(), HsmError> {
            let good = self.1.lock().unwrap().octets(octets.len());
            for (at, (octet, good)) in octets.iter_mut().zip(good).enumerate() {
                *octet = self.0(at, good);
            }
            Ok(())
        }
    }

    #[test]
    fn a_source_that_repeats_or_prefers_is_found_out() {
        type Fault = fn(usize, u8) -> u8;
        let rows: [(&str, Fault, bool); 8] = [
            ("a good one", |_, good| good, true),
            ("all zeros", |_, _| 0, false),
            ("a counter of two blocks", |at, _| u8::try_from(at % 256).unwrap(), false),
            ("six octets the same", |at, good| if (100..106).contains(&at) { 7 } else { good }, false),
            ("five octets the same", |at, good| if (100..105).contains(&at) { 7 } else { good }, true),
            ("one value often", |at, good| if at % 20 == 3 { 7 } else { good }, false),
            ("the highest bits only", |_, good| good & 0xF0, false),
            (
                "a block twice",
                |at, good| {
                    if (16..32).contains(&at) || (64..80).contains(&at) { 3 * (at % 16) as u8 } else { good }
                },
                false,
            ),
        ];
        for (name, fault, healthy) in rows {
            let source = Broken(fault, Mutex::new(Chance::new(90)));
            assert_eq!(check_health(&source), if healthy { Ok(()) } else { Err(UNHEALTHY) }, "{name}");
        }
        for _ in 0..200 {
            assert_eq!(check_health(&OpenSslRandom), Ok(()));
        }
    }

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
