//! DES on sixty-four blocks at once, each under a key of its own, in a time that depends on no data.
//!
//! Bit `n` of the block and of the key of all sixty-four stand in one word (a plane), and every step of the standard is
//! gates between planes: permutations are wiring, substitutions are [`super::gates`]. There is no look-up by data.

use super::gates::{s1, s2, s3, s4, s5, s6, s7, s8};
use super::tables::{PERMUTATION, PERMUTED_CHOICE_2, ROTATIONS};
use zeroize::Zeroizing;

/// Blocks that are worked on at once.
pub(in crate::hsm) const LANES: usize = 64;

/// The bits of sixty-four blocks, the standard's first one first.
pub(in crate::hsm) type Planes = Zeroizing<[u64; 64]>;

/// What each substitution adds to the six bits it takes, in each of the sixteen rounds of sixty-four keys.
pub(in crate::hsm) struct Schedule(Zeroizing<[[[u64; 6]; 8]; 16]>);

impl Schedule {
    /// Of sixty-four keys, each as [`super::round::first_choice`] has it.
    pub(in crate::hsm) fn new(keys: [u64; LANES]) -> Schedule {
        let planes = planes(keys);
        let mut schedule = Schedule(Zeroizing::new([[[0; 6]; 8]; 16]));
        for (round, wiring) in schedule.0.iter_mut().zip(&ROUND_KEYS) {
            for (place, bit) in round.as_flattened_mut().iter_mut().zip(wiring) {
                *place = planes[usize::from(bit & 63)];
            }
        }
        schedule
    }
}

/// The halves of sixty-four blocks between the permutations.
pub(in crate::hsm) struct Halves {
    left: Zeroizing<[u64; 32]>,
    right: Zeroizing<[u64; 32]>,
}

impl Halves {
    /// Sixty-four blocks of zeros.
    pub(in crate::hsm) fn zeros() -> Halves {
        Halves { left: Zeroizing::new([0; 32]), right: Zeroizing::new([0; 32]) }
    }

    /// Adds blocks through the initial permutation, those of the lanes in `lanes` (lane 0 is the lowest bit).
    pub(in crate::hsm) fn add(&mut self, blocks: &[u64; 64], lanes: u64) {
        for (place, bit) in self.left.iter_mut().chain(self.right.iter_mut()).zip(INITIAL) {
            *place ^= blocks[usize::from(bit)] & lanes;
        }
    }

    /// Encrypts the lanes in `lanes`; the others stay as they are.
    pub(in crate::hsm) fn encrypt(&mut self, keys: &Schedule, lanes: u64) {
        self.rounds(keys.0.iter(), lanes);
    }

    /// Decrypts the lanes in `lanes`; the others stay as they are.
    pub(in crate::hsm) fn decrypt(&mut self, keys: &Schedule, lanes: u64) {
        self.rounds(keys.0.iter().rev(), lanes);
    }

    #[inline(always)]
    fn rounds<'k>(&mut self, keys: impl Iterator<Item = &'k [[u64; 6]; 8]>, lanes: u64) {
        let (mut left, mut right) = (self.left.clone(), self.right.clone());
        let mut keys = keys;
        while let (Some(first), Some(second)) = (keys.next(), keys.next()) {
            round(&mut left, &right, first);
            round(&mut right, &left, second);
        }
        // After the last round the halves are not exchanged.
        for (place, after) in self.left.iter_mut().zip(right.iter()) {
            *place ^= (*place ^ after) & lanes;
        }
        for (place, after) in self.right.iter_mut().zip(left.iter()) {
            *place ^= (*place ^ after) & lanes;
        }
    }

    /// The blocks, through the inverse of the initial permutation.
    pub(in crate::hsm) fn blocks(&self) -> [[u8; 8]; LANES] {
        let mut planes = Zeroizing::new([0; 64]);
        for (place, bit) in self.left.iter().chain(self.right.iter()).zip(INITIAL) {
            planes[usize::from(bit)] = *place;
        }
        transpose(&mut planes);
        planes.reverse();
        planes.map(u64::to_be_bytes)
    }
}

/// Sixty-four numbers as planes: plane `n` is the bit that the standard numbers `n + 1`.
pub(in crate::hsm) fn planes(numbers: [u64; LANES]) -> Planes {
    let mut planes = Zeroizing::new(numbers);
    // Lanes count from the lowest bit, the standard's bits from the highest.
    planes.reverse();
    transpose(&mut planes);
    planes
}

/// The cipher function f, added to `left`.
#[inline(always)]
fn round(left: &mut [u64; 32], right: &[u64; 32], keys: &[[u64; 6]; 8]) {
    let [k1, k2, k3, k4, k5, k6, k7, k8] = keys;
    substitute::<0>(s1, left, right, k1);
    substitute::<1>(s2, left, right, k2);
    substitute::<2>(s3, left, right, k3);
    substitute::<3>(s4, left, right, k4);
    substitute::<4>(s5, left, right, k5);
    substitute::<5>(s6, left, right, k6);
    substitute::<6>(s7, left, right, k7);
    substitute::<7>(s8, left, right, k8);
}

/// One substitution, of the six bits from the one before its four to the one behind them. Its number is a constant, so
/// that all of the wiring is known when this is compiled.
#[inline(always)]
fn substitute<const S: usize>(
    gates: impl Fn([u64; 6]) -> [u64; 4],
    left: &mut [u64; 32],
    right: &[u64; 32],
    [a, b, c, d, e, f]: &[u64; 6],
) {
    let taken = [
        right[(4 * S + 31) % 32] ^ a,
        right[4 * S] ^ b,
        right[4 * S + 1] ^ c,
        right[4 * S + 2] ^ d,
        right[4 * S + 3] ^ e,
        right[(4 * S + 4) % 32] ^ f,
    ];
    let [p, q, r, s] = gates(taken);
    left[const { PERMUTED[4 * S] as usize }] ^= p;
    left[const { PERMUTED[4 * S + 1] as usize }] ^= q;
    left[const { PERMUTED[4 * S + 2] as usize }] ^= r;
    left[const { PERMUTED[4 * S + 3] as usize }] ^= s;
}

/// Exchanges rows and columns, the highest bit of a word being its first.
fn transpose(words: &mut [u64; 64]) {
    let (mut width, mut mask) = (32, 0x0000_0000_FFFF_FFFF_u64);
    while width > 0 {
        for pair in words.chunks_exact_mut(2 * width) {
            let (upper, lower) = pair.split_at_mut(width);
            for (high, low) in upper.iter_mut().zip(lower) {
                let both = (*high ^ (*low >> width)) & mask;
                *high ^= both;
                *low ^= both << width;
            }
        }
        width /= 2;
        mask ^= mask << width;
    }
}

/// Which bit of a block, counted from 0, stands where in the left half and then the right one.
const INITIAL: [u8; 64] = initial();
/// Which bit of a key, counted from 0, is added to each of the 48 that the substitutions take in a round.
static ROUND_KEYS: [[u8; 48]; 16] = round_keys();
/// Where each of the substitutions' 32 bits goes.
const PERMUTED: [u8; 32] = permuted();

const fn initial() -> [u8; 64] {
    let mut wiring = [0; 64];
    let mut at = 0;
    while at < 64 {
        // FIPS 46-3's table by its rule: the even bits and then the odd ones, each from the last octet to the first.
        let (row, column) = (at / 8 % 4, 7 - at % 8);
        let odd = at / 32;
        wiring[at] = (8 * column + 2 * row + 1 - odd) as u8;
        at += 1;
    }
    wiring
}

const fn permuted() -> [u8; 32] {
    let mut wiring = [0; 32];
    let mut to = 0;
    while to < 32 {
        wiring[PERMUTATION[to] as usize - 1] = to as u8;
        to += 1;
    }
    wiring
}

const fn round_keys() -> [[u8; 48]; 16] {
    let mut rounds = [[0; 48]; 16];
    let (mut round, mut turned) = (0, 0);
    while round < 16 {
        turned += ROTATIONS[round] as usize;
        let mut bit = 0;
        while bit < 48 {
            let chosen = PERMUTED_CHOICE_2[bit] as usize - 1;
            let (half, place) = (chosen / 28, chosen % 28);
            // The 56 bits of a key are the last of their word.
            rounds[round][bit] = (8 + 28 * half + (place + turned) % 28) as u8;
            bit += 1;
        }
        round += 1;
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::super::tables;
    use super::*;
    use crate::hsm::des::DesKey;
    use crate::hsm::des::round::first_choice;
    use crate::hsm::judges;

    #[test]
    fn the_gates_are_the_tables() {
        let gates: [fn([u64; 6]) -> [u64; 4]; 8] = [s1, s2, s3, s4, s5, s6, s7, s8];
        for (s, (gates, table)) in gates.iter().zip(tables::SUBSTITUTIONS).enumerate() {
            // Lane n takes the six bits of n.
            let taken = [5, 4, 3, 2, 1, 0].map(|bit| (0..64).map(|lane| (lane >> bit & 1) << lane).sum());
            let given = gates(taken);
            for lane in 0..64 {
                let found = given.iter().fold(0, |four, word| four << 1 | word >> lane & 1);
                let (row, column) = (lane >> 4 & 2 | lane & 1, lane >> 1 & 15);
                assert_eq!(found, u64::from(table[16 * row + column]), "S{} of {lane:06b}", s + 1);
            }
        }
    }

    #[test]
    fn planes_turn_back() {
        let mut chance = judges::Chance::new(64);
        let numbers: [u64; 64] = std::array::from_fn(|_| chance.number());
        let turned = planes(numbers);
        for (plane, word) in turned.iter().enumerate() {
            for (lane, number) in numbers.iter().enumerate() {
                assert_eq!(word >> lane & 1, number >> (63 - plane) & 1, "plane {plane}, lane {lane}");
            }
        }
    }

    /// A million blocks under as many keys, both ways.
    #[test]
    fn one_block_at_a_time_agrees() {
        let mut chance = judges::Chance::new(46);
        for _ in 0..1_000_000 / LANES {
            let keys: [u64; LANES] = std::array::from_fn(|_| chance.number());
            let blocks: [u64; LANES] = std::array::from_fn(|_| chance.number());
            let lanes = chance.number();
            let chosen = keys.map(|key| first_choice(&key.to_be_bytes()));
            let (schedule, block_planes) = (Schedule::new(chosen), planes(blocks));
            let [mut forward, mut backward] = [Halves::zeros(), Halves::zeros()];
            forward.add(&block_planes, u64::MAX);
            backward.add(&block_planes, u64::MAX);
            forward.encrypt(&schedule, lanes);
            backward.decrypt(&schedule, lanes);
            let (forward, backward) = (forward.blocks(), backward.blocks());
            for (lane, (key, block)) in keys.iter().zip(blocks).enumerate() {
                let (key, block) = (DesKey::new(&key.to_be_bytes()).unwrap(), block.to_be_bytes());
                let is_on = lanes >> lane & 1 == 1;
                assert_eq!(forward[lane], if is_on { key.encrypt(block) } else { block });
                assert_eq!(backward[lane], if is_on { key.decrypt(block) } else { block });
            }
        }
    }
}
