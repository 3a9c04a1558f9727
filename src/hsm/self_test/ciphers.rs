//! Block ciphers: DES by tables and in slices, AES, AES-GCM; the track's encryption; tokens.

use super::super::aes::{self, AesKey};
use super::super::cipher::{BlockCipher as _, cbc_decrypt, cbc_encrypt};
use super::super::des::DesKey;
use super::super::des::round::first_choice;
use super::super::des::sliced::{self, LANES};
use super::super::token::TokenKey;
use super::super::{HsmError, track};
use super::{K0, KnownAnswer, answer, fixed, octets, when};
use crate::transaction::Track2;
use zeroize::Zeroizing;

/// NBS SP 500-20, FIPS 197, SP 800-38A, the GCM specification, NIST's FF1 samples; triple DES and the track's by
/// OpenSSL's command line.
pub(super) const ANSWERS: &[KnownAnswer] = &[
    answer("self-test of DES", || des("0123456789ABCDEF"), "3FA40E8A984D4815"),
    answer("self-test of triple DES", || des(K0), "D80A0D8B2BAE5E4E"),
    answer(
        "self-test of triple-length DES",
        || {
            let key = DesKey::new(&octets("0123456789ABCDEF23456789ABCDEF01456789ABCDEF0123")?)?;
            Ok(key.encrypt(fixed("5468652071756663")?).to_vec())
        },
        "A826FD8CE53B855F",
    ),
    answer(
        "self-test of DES decryption",
        || Ok(DesKey::new(&octets(K0)?)?.decrypt([0; 8]).to_vec()),
        "C1E6E95D2166B5C4",
    ),
    answer("self-test of sliced DES", sliced_des, "3FA40E8A984D4815"),
    answer("self-test of AES-128", || aes(16), "69C4E0D86A7B0430D8CDB78070B4C55A"),
    answer("self-test of AES-192", || aes(24), "DDA97CA4864CDFE06EAF70A0EC0D7191"),
    answer("self-test of AES-256", || aes(32), "8EA2B7CA516745BFEAFC49904B496089"),
    answer("self-test of AES-CBC", cbc_both_ways, "F58C4C04D6E5F1BA779EABFB5F7BFBD6"),
    answer(
        "self-test of AES-GCM",
        gcm_both_ways,
        "CEA7403D4D606B6E074EC5D3BAF39D18D0D1C8A799996BF0265B98B5D48AB919",
    ),
    answer("self-test of track encryption", track_both_ways, "AA5A7881CAF9ED9A"),
    answer("self-test of FF1", ff1_both_ways, "06010204020000070703"),
];

fn des(key: &str) -> Result<Vec<u8>, HsmError> {
    Ok(DesKey::new(&octets(key)?)?.encrypt(*b"Now is t").to_vec())
}

/// Sixty-four blocks under as many keys, the published one in the first lane; the others as the tables have them.
fn sliced_des() -> Result<Vec<u8>, HsmError> {
    let key = u64::from_be_bytes(fixed("0123456789ABCDEF")?);
    let clear = u64::from_be_bytes(*b"Now is t");
    let lane = |number: u64, lane: u64| number ^ lane.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut keys = [key; LANES];
    let mut blocks = [clear; LANES];
    for ((at, key), block) in (0..).zip(&mut keys).zip(&mut blocks) {
        (*key, *block) = (lane(*key, at), lane(*block, at));
    }
    let schedule = sliced::Schedule::new(keys.map(|key| first_choice(&key.to_be_bytes())));
    let mut halves = sliced::Halves::zeros();
    halves.add(&sliced::planes(blocks), u64::MAX);
    halves.encrypt(&schedule, u64::MAX);
    let cipher = halves.blocks();
    halves.decrypt(&schedule, u64::MAX);
    let back = halves.blocks() == blocks.map(u64::to_be_bytes);
    let same = keys.iter().zip(blocks).zip(cipher).try_fold(back, |same, ((key, block), cipher)| {
        let by_table = DesKey::new(&key.to_be_bytes())?.encrypt(block.to_be_bytes());
        Ok(same && by_table == cipher)
    })?;
    let [first, ..] = cipher;
    when(same, first)
}

fn aes(key: usize) -> Result<Vec<u8>, HsmError> {
    let long = octets("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F")?;
    let key = AesKey::new(long.get(..key).unwrap_or_default())?;
    let clear = fixed("00112233445566778899AABBCCDDEEFF")?;
    let cipher = key.encrypt(clear);
    when(key.decrypt(cipher) == clear, cipher)
}

fn cbc_both_ways() -> Result<Vec<u8>, HsmError> {
    let key = AesKey::new(&octets("603DEB1015CA71BE2B73AEF0857D77811F352C073B6108D72D9810A30914DFF4")?)?;
    let iv = fixed("000102030405060708090A0B0C0D0E0F")?;
    let clear = octets("6BC1BEE22E409F96E93D7E117393172A")?;
    let cipher = cbc_encrypt(&key, iv, &clear)?;
    when(*cbc_decrypt(&key, iv, &cipher)? == clear, cipher)
}

fn gcm_both_ways() -> Result<Vec<u8>, HsmError> {
    let sealed = aes::gcm_seal(&[0; 32], &[0; 12], &[0; 16])?;
    when(*aes::gcm_open(&[0; 32], &[0; 12], &sealed)? == [0; 16], sealed)
}

fn track_both_ways() -> Result<Vec<u8>, HsmError> {
    let key = DesKey::new(&octets("7C4A1F0D3B5E86A9D0E2F47586B9CDA2")?)?;
    let clear = Track2::parse("6225880012345675D30122010000012300").map_err(|_| HsmError::Track)?;
    let sent = track::encrypt(&key, &clear)?;
    let same = track::decrypt(&key, &sent)? == clear;
    when(same, octets(sent.get(16..32).unwrap_or_default())?)
}

/// NIST's sample 2: one octet for each digit.
fn ff1_both_ways() -> Result<Vec<u8>, HsmError> {
    let key = TokenKey::new(&octets("2B7E151628AED2A6ABF7158809CF4F3C")?)?;
    let tweak = octets("39383736353433323130")?;
    let clear = Zeroizing::new((0..10).collect());
    let found = key.encrypt(&tweak, &clear)?;
    let digits: Vec<u8> = found.iter().filter_map(|digit| u8::try_from(*digit).ok()).collect();
    when(key.decrypt(&tweak, &found)? == clear, digits)
}
