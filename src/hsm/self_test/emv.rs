//! Chip cards: master keys, session keys, cryptograms, answers, scripts.

use super::super::HsmError;
use super::super::cipher::Padding;
use super::super::emv::cryptogram::{application_cryptogram, arpc_method_1, arpc_method_2};
use super::super::emv::keys::{
    MasterKeyOption, Tree, common_session_key, icc_master_key, tree_session_key, visa_script_key,
};
use super::super::emv::script::{Encipherment, encipher, script_mac, vis_pin_block};
use super::super::pin::block::Pin;
use super::{K0, KnownAnswer, answer, fixed, octets};
use crate::transaction::Pan;

/// Samples that their publisher checked on an HSM, and pyemv's.
pub(super) const ANSWERS: &[KnownAnswer] = &[
    answer(
        "self-test of EMV master keys, option A",
        || master(MasterKeyOption::A),
        "946DC1A8C78A624519BC4645CB073737",
    ),
    answer(
        "self-test of EMV master keys, option B",
        || master(MasterKeyOption::B),
        "F767ECC2263B2C543775CB62AB6B57D6",
    ),
    answer(
        "self-test of EMV common session keys",
        || Ok(common_session_key(&fixed(CARD)?, fixed("1234567890123456")?)?.to_vec()),
        "3E736BF8D37664348A04E3ABE00DEFC1",
    ),
    answer(
        "self-test of EMV 2000 session keys, branches of 4",
        || tree(Tree::Height8Branch4),
        "981F9D208AE6132CBC8A7C97F42A5445",
    ),
    answer(
        "self-test of EMV 2000 session keys, branches of 2",
        || tree(Tree::Height16Branch2),
        "1F54F492EF104580B0F4B0F8910D0438",
    ),
    answer(
        "self-test of Visa's script keys",
        || Ok(visa_script_key(&fixed(K0)?, [0, 0x1C]).to_vec()),
        "0123456789ABCDF2FEDCBA987654CDF2",
    ),
    answer("self-test of application cryptograms", || cryptogram(Padding::Method2), "4B46013359B7A58B"),
    answer(
        "self-test of application cryptograms padded with zeros",
        || cryptogram(Padding::Method1),
        "922F3E83125EB46B",
    ),
    answer(
        "self-test of ARPC, method 1",
        || Ok(arpc_method_1(&fixed(CARD)?, fixed(ARQC)?, [0, 0])?.to_vec()),
        "F8C9CECAABD55AD1",
    ),
    answer(
        "self-test of ARPC, method 2",
        || Ok(arpc_method_2(&fixed(SESSION)?, fixed(ARQC)?, [0; 4], &octets("1234567890ABCDEF")?)?.to_vec()),
        "4962B76C",
    ),
    answer(
        "self-test of script MACs",
        || script_mac(&fixed(K0)?, &octets("8424000008FFFF1234567890123456")?, 8),
        "E07B8DF1B4184282",
    ),
    answer(
        "self-test of scripts enciphered as EMV says",
        || encipher(&fixed(K0)?, Encipherment::Emv, &octets("249999FFFFFFFFFF")?),
        "5A862D1381CCB94822CFDD706A376178",
    ),
    answer(
        "self-test of scripts enciphered as Mastercard says",
        || encipher(&fixed(K0)?, Encipherment::Mastercard, &octets("241234FFFFFFFFFF")?),
        "9859240AE52820C3",
    ),
    answer(
        "self-test of PIN changes of Visa",
        || Ok(vis_pin_block(&fixed(K0)?, &Pin::parse("1234")?, None).to_vec()),
        "041234FF76543210",
    ),
];

const CARD: &str = "F84315C7B95BD3B0C74694922C3808B0";
const SESSION: &str = "3E736BF8D37664348A04E3ABE00DEFC1";
const ARQC: &str = "4B46013359B7A58B";

fn master(option: MasterKeyOption) -> Result<Vec<u8>, HsmError> {
    let pan = Pan::parse("12345678901234567").map_err(|_| HsmError::Account)?;
    Ok(icc_master_key(&fixed(K0)?, option, &pan, 45)?.to_vec())
}

fn tree(tree: Tree) -> Result<Vec<u8>, HsmError> {
    let master = fixed("0123456789ABCDEF0123456789ABCDEF")?;
    Ok(tree_session_key(&master, [0, 0xFF], tree, &[0; 16])?.to_vec())
}

fn cryptogram(padding: Padding) -> Result<Vec<u8>, HsmError> {
    let data = octets("0123456789ABCDEF0123456789ABCDEF")?;
    Ok(application_cryptogram(&fixed(SESSION)?, padding, &data)?.to_vec())
}
