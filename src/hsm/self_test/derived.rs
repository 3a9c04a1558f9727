//! Keys of transactions (DUKPT), of triple DES and of AES.

use super::super::HsmError;
use super::super::dukpt::aes::{self, KeyType, KeyUsage};
use super::super::dukpt::tdes::{self, Direction, Variant, ZeroCounter};
use super::{K0, KnownAnswer, answer, octets, when};

/// X9.24-1:2009, A.4, and X9.24-3:2017, supplement; the response's data key and those of 192 bits computed by two
/// implementations.
pub(super) const ANSWERS: &[KnownAnswer] = &[
    answer("self-test of DUKPT's PIN key", || tdes(Variant::Pin), "042666B49184CF5C68DE9628D0397B36"),
    answer(
        "self-test of DUKPT's request MAC key",
        || tdes(Variant::Mac(Direction::Request)),
        "042666B4918430A368DE9628D03984C9",
    ),
    answer(
        "self-test of DUKPT's response MAC key",
        || tdes(Variant::Mac(Direction::Response)),
        "042666B46E84CFA368DE96282F397BC9",
    ),
    answer(
        "self-test of DUKPT's request data key",
        || tdes(Variant::Data(Direction::Request)),
        "448D3F076D8304036A55A3D7E0055A78",
    ),
    answer(
        "self-test of DUKPT's response data key",
        || tdes(Variant::Data(Direction::Response)),
        "AD7BFC8B06AD3A08A560B4105CF8D9E5",
    ),
    answer("self-test of DUKPT's MACs", tdes_macs, "9CCC781720364223"),
    answer(
        "self-test of AES DUKPT's initial key",
        || Ok(initial(KeyType::Aes256)?.octets().to_vec()),
        "CE9CE0C101D1138F97FB6CAD4DF045A7083D4EAE2D35A31789D01CCF0949550F",
    ),
    answer(
        "self-test of AES DUKPT with AES-128",
        || aes(KeyType::Aes128, KeyUsage::PinEncryption, KeyType::Aes128),
        "AF8CB133A78F8DC2D1359F18527593FB",
    ),
    answer(
        "self-test of AES DUKPT with AES-192",
        || aes(KeyType::Aes192, KeyUsage::PinEncryption, KeyType::Aes192),
        "C5043EDC7F2C001097974D40FF82A050B64A1AB27879F3DB",
    ),
    answer(
        "self-test of AES DUKPT with AES-256",
        || aes(KeyType::Aes256, KeyUsage::PinEncryption, KeyType::Aes256),
        "8C1AB7BEE973829E30242E0BBBDD4946D540C98FC1B5BDCF94790001A23FD502",
    ),
    answer(
        "self-test of AES DUKPT with double-length DES",
        || aes(KeyType::Aes128, KeyUsage::DataEncrypt, KeyType::Tdea2),
        "BD44121C223F831446A01EE3A4CB58D2",
    ),
    answer(
        "self-test of AES DUKPT with triple-length DES",
        || aes(KeyType::Aes128, KeyUsage::MacGeneration, KeyType::Tdea3),
        "2A1061A6EAC2C14FAC3758EA07B3648A624B24E942785BF1",
    ),
    answer(
        "self-test of AES DUKPT with HMAC",
        || aes(KeyType::Aes128, KeyUsage::MacGeneration, KeyType::Hmac128),
        "27D99DA9C091C20DEC0D1C56244ADF8C",
    ),
];

fn transaction() -> Result<tdes::TransactionKey, HsmError> {
    let ksn = tdes::KeySerialNumber::parse("FFFF9876543210E00001")?;
    let initial = tdes::BaseDerivationKey::new(&octets(K0)?)?.initial_key(ksn)?;
    initial.transaction_key(ksn, ZeroCounter::Refused)
}

fn tdes(variant: Variant) -> Result<Vec<u8>, HsmError> {
    Ok(transaction()?.working_key(variant)?.to_vec())
}

fn tdes_macs() -> Result<Vec<u8>, HsmError> {
    let (key, data) = (transaction()?, b"4012345678909D987");
    let request = key.mac(Direction::Request, data)?;
    key.verify_mac(Direction::Request, data, &request)?;
    let refused = key.verify_mac(Direction::Response, data, &request).is_err();
    when(refused, [request, key.mac(Direction::Response, data)?].concat())
}

fn initial(bdk: KeyType) -> Result<aes::InitialKey, HsmError> {
    let long = octets("FEDCBA9876543210F1F1F1F1F1F1F1F1FEDCBA9876543210F1F1F1F1F1F1F1F1")?;
    let ksn = aes::KeySerialNumber::parse("123456789012345600000000")?;
    aes::BaseDerivationKey::new(long.get(..bdk.octets()).unwrap_or_default())?.initial_key(ksn)
}

fn aes(bdk: KeyType, usage: KeyUsage, key_type: KeyType) -> Result<Vec<u8>, HsmError> {
    let initial = initial(bdk)?;
    let transaction = initial.transaction_key(initial.ksn().with_counter(1))?;
    Ok(transaction.working_key(usage, key_type)?.octets().to_vec())
}
