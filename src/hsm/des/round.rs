//! The rounds of DES (FIPS 46-3) on one block at a time, with tables that do a substitution and the permutation
//! after it in one step. Knows no key but its own schedule.
//!
//! Halves are kept one bit to the right of where the standard numbers them: then the six bits that each of the eight
//! substitutions takes stand in one place of a half or of the half turned by four, and no expansion is computed.
//!
//! ```text
//! half       32  1  2  3  4  5  6  7  8  9 10 …     S1 takes 32 1 2 3 4 5, S3 takes 8 9 10 11 12 13, …
//! turned      4  5  6  7  8  9 10 11 12 13 …        S2 takes 4 5 6 7 8 9, S4 takes 12 13 14 15 16 17, …
//! ```
//!
//! Everything is computed when this is compiled, from the standard's own tables. Look-ups take a time that depends on
//! the data, as those of every implementation by tables do.

use super::tables::{PERMUTATION, PERMUTED_CHOICE_1, PERMUTED_CHOICE_2, ROTATIONS, SUBSTITUTIONS};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A block inside the rounds: both halves after the initial permutation, one bit to the right.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Halves {
    left: u32,
    right: u32,
}

impl Halves {
    /// The initial permutation.
    #[inline]
    pub(super) fn of(block: [u8; 8]) -> Halves {
        let [a, b, c, d, e, f, g, h] = block;
        let (left, right) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        let (left, right) = exchange(left, right, 4, 0x0F0F_0F0F);
        let (left, right) = exchange(left, right, 16, 0x0000_FFFF);
        let (right, left) = exchange(right, left, 2, 0x3333_3333);
        let (right, left) = exchange(right, left, 8, 0x00FF_00FF);
        let (left, right) = exchange(left, right, 1, 0x5555_5555);
        Halves { left: left.rotate_right(1), right: right.rotate_right(1) }
    }

    /// The inverse of the initial permutation.
    #[inline]
    pub(super) fn block(self) -> [u8; 8] {
        let (left, right) = (self.left.rotate_left(1), self.right.rotate_left(1));
        let (left, right) = exchange(left, right, 1, 0x5555_5555);
        let (right, left) = exchange(right, left, 8, 0x00FF_00FF);
        let (right, left) = exchange(right, left, 2, 0x3333_3333);
        let (left, right) = exchange(left, right, 16, 0x0000_FFFF);
        let (left, right) = exchange(left, right, 4, 0x0F0F_0F0F);
        let ([a, b, c, d], [e, f, g, h]) = (left.to_be_bytes(), right.to_be_bytes());
        [a, b, c, d, e, f, g, h]
    }

    #[inline]
    pub(super) fn xor(self, other: Halves) -> Halves {
        Halves { left: self.left ^ other.left, right: self.right ^ other.right }
    }
}

/// Exchanges the bits of `mask` in `low` with those `shift` above them in `high`.
#[inline]
fn exchange(high: u32, low: u32, shift: u32, mask: u32) -> (u32, u32) {
    let both = ((high >> shift) ^ low) & mask;
    (high ^ (both << shift), low ^ both)
}

/// The 56 bits of a key that count, as FIPS 46-3's permuted choice 1 has them: 28 for C, 28 for D.
pub(in crate::hsm) fn first_choice(key: &[u8; 8]) -> u64 {
    let tables = key.iter().zip(&CHOICE_1);
    tables.fold(0, |chosen, (octet, table)| chosen | table[usize::from(octet >> 1)])
}

/// The sixteen round keys of one DES key. A round key is the six bits for S1, S3, S5, S7 where the half has theirs,
/// then those for S2, S4, S6, S8 where the turned half has theirs.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct Schedule {
    keys: [[u32; 2]; 16],
    /// What they are made of.
    chosen: u64,
}

impl Schedule {
    /// Of a clear key, whose parity bits play no part.
    pub(super) fn new(key: &[u8; 8]) -> Schedule {
        let chosen = first_choice(key);
        let (mut c, mut d) = ((chosen >> 28) as u32, chosen as u32 & 0x0FFF_FFFF);
        let mut keys = [[0; 2]; 16];
        for (round_key, count) in keys.iter_mut().zip(ROTATIONS) {
            (c, d) = (turned(c, count), turned(d, count));
            let mut both = 0;
            for (at, [of_c, of_d]) in CHOICE_2.iter().enumerate() {
                let shift = 21 - 7 * at;
                both |= of_c[(c >> shift) as usize & 0x7F] | of_d[(d >> shift) as usize & 0x7F];
            }
            *round_key = [(both >> 32) as u32, both as u32];
        }
        Schedule { keys, chosen }
    }

    /// As [`first_choice`].
    pub(super) fn chosen(&self) -> u64 {
        self.chosen
    }

    /// Sixteen rounds and the exchange of the halves after them.
    #[inline]
    pub(super) fn encrypt(&self, block: Halves) -> Halves {
        let Halves { mut left, mut right } = block;
        let (pairs, _) = self.keys.as_chunks::<2>();
        for [first, second] in pairs {
            left ^= round(right, first);
            right ^= round(left, second);
        }
        Halves { left: right, right: left }
    }

    /// The same with the round keys in the other order.
    #[inline]
    pub(super) fn decrypt(&self, block: Halves) -> Halves {
        let Halves { mut left, mut right } = block;
        let (pairs, _) = self.keys.as_chunks::<2>();
        for [first, second] in pairs.iter().rev() {
            left ^= round(right, second);
            right ^= round(left, first);
        }
        Halves { left: right, right: left }
    }
}

/// The cipher function f.
#[inline(always)]
fn round(half: u32, key: &[u32; 2]) -> u32 {
    let [odd, even] = key;
    let (a, b) = (half ^ odd, half.rotate_left(4) ^ even);
    let [s1, s2, s3, s4, s5, s6, s7, s8] = &SUBSTITUTED;
    s1[(a >> 26) as usize]
        ^ s3[(a >> 18) as usize & 0x3F]
        ^ s5[(a >> 10) as usize & 0x3F]
        ^ s7[(a >> 2) as usize & 0x3F]
        ^ s2[(b >> 26) as usize]
        ^ s4[(b >> 18) as usize & 0x3F]
        ^ s6[(b >> 10) as usize & 0x3F]
        ^ s8[(b >> 2) as usize & 0x3F]
}

/// 28 bits turned to the left.
#[inline]
fn turned(bits: u32, count: u32) -> u32 {
    (bits << count | bits >> (28 - count)) & 0x0FFF_FFFF
}

/// For each substitution and six bits: where the permutation brings what it gives, one bit to the right.
static SUBSTITUTED: [[u32; 64]; 8] = substituted();
/// For each octet of a key and its seven bits: those of the first choice, 28 for C and 28 for D.
static CHOICE_1: [[u64; 128]; 8] = choice_1();
/// For each seven bits of C and of D: those of the second choice, as a round key has them.
static CHOICE_2: [[[u64; 128]; 2]; 4] = choice_2();

const fn substituted() -> [[u32; 64]; 8] {
    let mut tables = [[0; 64]; 8];
    let mut s = 0;
    while s < 8 {
        let mut six = 0;
        while six < 64 {
            // Rows are said by the outer bits, columns by the four between them.
            let (row, column) = ((six >> 4 & 2) | (six & 1), six >> 1 & 15);
            let four = SUBSTITUTIONS[s][16 * row + column] as u32;
            let before = four << (28 - 4 * s);
            let mut after = 0;
            let mut bit = 0;
            while bit < 32 {
                after |= (before >> (32 - PERMUTATION[bit] as u32) & 1) << (31 - bit);
                bit += 1;
            }
            tables[s][six] = after.rotate_right(1);
            six += 1;
        }
        s += 1;
    }
    tables
}

const fn choice_1() -> [[u64; 128]; 8] {
    let mut tables = [[0; 128]; 8];
    let mut bit = 0;
    while bit < 56 {
        // Bits of a key are numbered from 1; the eighth of an octet is its parity.
        let from = PERMUTED_CHOICE_1[bit] as usize - 1;
        let (octet, place) = (from / 8, from % 8);
        let mut seven = 0;
        while seven < 128 {
            tables[octet][seven] |= (seven as u64 >> (6 - place) & 1) << (55 - bit);
            seven += 1;
        }
        bit += 1;
    }
    tables
}

const fn choice_2() -> [[[u64; 128]; 2]; 4] {
    let mut tables = [[[0; 128]; 2]; 4];
    let mut bit = 0;
    while bit < 48 {
        let from = PERMUTED_CHOICE_2[bit] as usize - 1;
        let (half, place) = (from / 28, from % 28);
        // Six bits for each substitution: the odd ones' in the upper word, the even ones' in the lower.
        let (s, of_six) = (bit / 6, bit % 6);
        let to = (if s.is_multiple_of(2) { 32 } else { 0 }) + 31 - 8 * (s / 2) - of_six;
        let mut seven = 0;
        while seven < 128 {
            tables[place / 7][half][seven] |= (seven as u64 >> (6 - place % 7) & 1) << to;
            seven += 1;
        }
        bit += 1;
    }
    tables
}
