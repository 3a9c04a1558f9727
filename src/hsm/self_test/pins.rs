//! PIN blocks and PIN verification.

use super::super::HsmError;
use super::super::aes::AesKey;
use super::super::des::DesKey;
use super::super::pin::block::{self, Pin};
use super::super::pin::verification::{self, DecimalizationTable, Ibm3624, TableCheck, ValidationData};
use super::{K0, KnownAnswer, answer, fixed, octets, when};
use crate::transaction::Pan;

/// X9.24-1 and ISO 9564-1's samples, psec's, X9.24-3's; format 1 and UnionPay's block without PAN by hand.
pub(super) const ANSWERS: &[KnownAnswer] = &[
    answer("self-test of PIN blocks of format 0", format_0, "041274EDCBA9876F"),
    answer("self-test of PIN blocks of format 1", format_1, "1612345601234567"),
    answer("self-test of PIN blocks of format 2", format_2, "241234FFFFFFFFFF"),
    answer("self-test of PIN blocks of format 3", format_3, "341277EEEFCCB43C"),
    answer("self-test of PIN blocks of format 4", format_4, "A912150391AB65A67E52883D81CE2D15"),
    answer("self-test of PIN blocks without a PAN", without_pan, "06123456FFFFFFFF"),
    answer("self-test of PVV", pvv, "35313131"),
    answer("self-test of IBM 3624 offsets", offset, "373731304646464646464646"),
];

fn pan(digits: &str) -> Result<Pan, HsmError> {
    Pan::parse(digits).map_err(|_| HsmError::Account)
}

fn format_0() -> Result<Vec<u8>, HsmError> {
    let (pin, pan) = (Pin::parse("1234")?, pan("4012345678909")?);
    let block = block::encode_iso0(&pin, &pan);
    when(block::decode_iso0(&block, &pan)?.is("1234"), *block)
}

fn format_1() -> Result<Vec<u8>, HsmError> {
    let block = block::encode_iso1(&Pin::parse("123456")?, fixed("0123456789ABCDEF")?);
    when(block::decode_iso1(&block)?.is("123456"), *block)
}

fn format_2() -> Result<Vec<u8>, HsmError> {
    let block = block::encode_iso2(&Pin::parse("1234")?);
    when(block::decode_iso2(&block)?.is("1234"), *block)
}

fn format_3() -> Result<Vec<u8>, HsmError> {
    // The fill's letters DCCEDCBDAA are the digits of this number to the base of 6, the lowest first.
    const FILL: u64 = 906_855;
    let pan = pan("5544332211009966")?;
    let block = block::encode_iso3(&Pin::parse("1234")?, &pan, FILL.to_be_bytes());
    when(block::decode_iso3(&block, &pan)?.is("1234"), *block)
}

fn format_4() -> Result<Vec<u8>, HsmError> {
    let (key, pan) = (AesKey::new(&octets("AF8CB133A78F8DC2D1359F18527593FB")?)?, pan("4111111111111111")?);
    let block = block::encode_iso4(&key, &Pin::parse("1234")?, &pan, fixed("2F69ADDE2E9E7ACE")?);
    when(block::decode_iso4(&key, &block, &pan)?.is("1234"), block)
}

fn without_pan() -> Result<Vec<u8>, HsmError> {
    let block = block::encode_without_pan(&Pin::parse("123456")?);
    when(block::decode_without_pan(&block)?.is("123456"), *block)
}

fn pvv() -> Result<Vec<u8>, HsmError> {
    let (pvk, pin, pan) = (DesKey::new(&octets(K0)?)?, Pin::parse("1234")?, pan("4012345678909")?);
    let found = verification::pvv(&pvk, 1, &pin, &pan)?;
    verification::verify_pvv(&pvk, 1, &pin, &pan, found.as_slice())?;
    when(verification::verify_pvv(&pvk, 1, &pin, &pan, b"0000").is_err(), *found)
}

fn offset() -> Result<Vec<u8>, HsmError> {
    let pvk = DesKey::new(&octets(K0)?)?;
    let table = DecimalizationTable::parse("1234567890123456", TableCheck::Strict)?;
    let validation = ValidationData::cut("1122334455667788", 0, 16, 0x0F)?;
    let algorithm = Ibm3624 { pvk: &pvk, table: &table, validation: &validation };
    let natural = algorithm.natural_pin(4)?.is("4524");
    let offset = algorithm.offset(&Pin::parse("1234")?, 4)?;
    algorithm.verify(&Pin::parse("1234")?, &offset)?;
    let back = algorithm.pin(&offset)?.is("1234");
    when(natural && back, offset.command_characters())
}
