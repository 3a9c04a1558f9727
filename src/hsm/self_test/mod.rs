//! Known answers that every algorithm of the room must give before the HSM serves, and the health of its random source.
//!
//! Fails closed: one wrong answer, and there is no HSM. The answers are published ones, with their sources beside the
//! same rows in the tests of each algorithm; where a row says so it is an independent implementation's.

mod blocks;
mod cards;
mod ciphers;
mod derived;
mod emv;
mod macs;
mod national;
mod pins;

use super::HsmError;
use super::random::{self, OpenSslRandom};
use std::sync::OnceLock;

/// The classic double-length test key, KCV 08D7B4.
const K0: &str = "0123456789ABCDEFFEDCBA9876543210";

/// One algorithm: its name in a failure's text, what it gives, what it must give (hexadecimal).
#[derive(Clone, Copy)]
struct KnownAnswer {
    failure: HsmError,
    compute: fn() -> Result<Vec<u8>, HsmError>,
    expected: &'static str,
}

/// Answers by families of algorithms.
const FAMILIES: [&[KnownAnswer]; 8] = [
    ciphers::ANSWERS,
    macs::ANSWERS,
    pins::ANSWERS,
    cards::ANSWERS,
    derived::ANSWERS,
    blocks::ANSWERS,
    emv::ANSWERS,
    national::ANSWERS,
];

const fn answer(
    failure: &'static str,
    compute: fn() -> Result<Vec<u8>, HsmError>,
    expected: &'static str,
) -> KnownAnswer {
    KnownAnswer { failure: HsmError::Failure(failure), compute, expected }
}

/// Computes every answer and draws from the random source.
///
/// # Errors
/// [`HsmError::Failure`] names the first algorithm that gives something else, or the source.
pub(super) fn run() -> Result<(), HsmError> {
    FAMILIES.iter().try_for_each(|answers| compute(answers))?;
    random::check_health(&OpenSslRandom)
}

/// [`run`] once in the life of a process, before the first HSM of it serves (ISO/IEC 19790, 7.10.2).
///
/// # Errors
/// As [`run`], for good: what failed once does not serve later.
pub(super) fn passed() -> Result<(), HsmError> {
    static VERDICT: OnceLock<Result<(), HsmError>> = OnceLock::new();
    *VERDICT.get_or_init(run)
}

fn compute(answers: &[KnownAnswer]) -> Result<(), HsmError> {
    for answer in answers {
        let found = (answer.compute)().map_err(|_| answer.failure)?;
        if hex::encode_upper(found) != answer.expected {
            return Err(answer.failure);
        }
    }
    Ok(())
}

/// A vector's octets.
fn octets(text: &str) -> Result<Vec<u8>, HsmError> {
    hex::decode(text).map_err(|_| HsmError::Failure("self-test's own vector"))
}

fn fixed<const N: usize>(text: &str) -> Result<[u8; N], HsmError> {
    octets(text)?.try_into().map_err(|_| HsmError::Failure("self-test's own vector"))
}

/// What came, when the way back agreed.
fn when<T: Into<Vec<u8>>>(same: bool, found: T) -> Result<Vec<u8>, HsmError> {
    if same { Ok(found.into()) } else { Err(HsmError::Mismatch) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::time::Instant;

    fn every_answer() -> impl Iterator<Item = KnownAnswer> {
        FAMILIES.into_iter().flatten().copied()
    }

    #[test]
    fn the_known_answers_come_out() {
        let began = Instant::now();
        assert_eq!(run(), Ok(()));
        println!("{} known answers in {:?}", every_answer().count(), began.elapsed());
        assert_eq!(passed(), Ok(()));
    }

    #[test]
    fn a_wrong_answer_or_a_failure_names_its_algorithm() {
        let mut names = HashSet::new();
        for known in every_answer() {
            let failure = known.failure;
            // Another length, and one digit altered.
            let mut altered = known.expected.to_owned();
            let last = if altered.pop() == Some('0') { '1' } else { '0' };
            altered.push(last);
            for expected in ["00", altered.leak()] {
                assert_eq!(compute(&[KnownAnswer { expected, ..known }]), Err(failure));
            }
            assert!(names.insert(failure.to_string()), "{failure} stands there twice");
        }
        let broken = answer("broken", || Err(HsmError::PinBlock), "");
        assert_eq!(compute(&[broken]), Err(HsmError::Failure("broken")));
    }
}
