//! EMV cryptograms: verified, and answered.
//!
//! Card, transaction and cryptogram are octets in these commands, not digits.

use super::code::Code;
use super::fields::Fields;
use super::key::{ClearKey, KeyField, Role};
use super::{Answer, Commands, HostHsm};
use crate::hsm::HsmError;
use crate::hsm::cipher::Padding;
use crate::hsm::emv::cryptogram::{application_cryptogram, arpc_method_1, arpc_method_2, verify};
use crate::hsm::emv::keys::{
    DoubleKey, Tree, common_session_key, icc_master_key_of, of_atc, of_atc_and_un, option_b, tree_session_key,
};
use crate::hsm::variant_lmk::KeyType;
use zeroize::Zeroizing;

pub(super) const COMMANDS: Commands = &[(b"KQ", of_scheme), (b"KW", of_emv)];

/// Issuer master key for application cryptograms.
const MK_AC: Role = Role { types: &[KeyType::MkAc], usages: &[*b"E0"], modes: b"X", is_for_pins: false };

/// What a cryptogram is answered with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    None,
    One,
    Two,
}

/// What a command of this group is to do.
#[derive(Clone, Copy)]
struct Mode {
    verifies: bool,
    method: Method,
}

/// What follows the card and its transaction's key.
struct Transaction<'a> {
    /// None: the cryptogram is not verified.
    data: Option<&'a [u8]>,
    arqc: [u8; 8],
    answer: Option<Response<'a>>,
}

/// What the issuer answers.
enum Response<'a> {
    Code([u8; 2]),
    Status { csu: [u8; 4], proprietary: &'a [u8] },
}

/// The keys of a transaction, and how its data are padded.
struct Keys {
    cryptogram: DoubleKey,
    answer: DoubleKey,
    padding: Padding,
}

impl<'a> Transaction<'a> {
    /// Data behind their length in 2 hexadecimal digits with `;` at their end, unless nothing is verified;
    /// ARQC (8 octets); by method 1 the response code (2), by method 2 the card status update (4) and
    /// proprietary data behind their length (1 digit).
    fn read(fields: &mut Fields<'a>, mode: Mode) -> Result<Self, Code> {
        let data = if mode.verifies { Some(data(fields)?) } else { None };
        let arqc = fields.array()?;
        let answer = match mode.method {
            Method::None => None,
            Method::One => Some(Response::Code(fields.array()?)),
            Method::Two => {
                let csu = fields.array()?;
                let length = fields.number(1)?;
                Some(Response::Status { csu, proprietary: fields.octets(length)? })
            }
        };
        Ok(Self { data, arqc, answer })
    }

    /// Verifies, then answers.
    fn answer(&self, keys: &Keys) -> Result<Answer, Code> {
        if let Some(data) = self.data {
            let computed = application_cryptogram(&keys.cryptogram, keys.padding, data)?;
            verify(&computed, &self.arqc)?;
        }
        Ok(match &self.answer {
            None => Answer::done([]),
            Some(Response::Code(arc)) => Answer::done(arpc_method_1(&keys.answer, self.arqc, *arc)?),
            Some(Response::Status { csu, proprietary }) => {
                Answer::done(arpc_method_2(&keys.answer, self.arqc, *csu, proprietary)?)
            }
        })
    }
}

/// The data of a cryptogram.
fn data<'a>(fields: &mut Fields<'a>) -> Result<&'a [u8], Code> {
    let length = fields.hex_number(2)?;
    if length == 0 {
        return Err(Code::NO_DATA);
    }
    let data = fields.octets(length)?;
    if fields.takes(b';') { Ok(data) } else { Err(Code::INPUT) }
}

/// The issuer's master key.
fn master(opened: &ClearKey) -> Result<DoubleKey, Code> {
    if opened.is_aes() {
        return Err(Code::KEY_ALGORITHM);
    }
    let clear: &[u8; 16] = opened.clear.as_slice().try_into().map_err(|_| Code::KEY_LENGTH)?;
    Ok(Zeroizing::new(*clear))
}

/// Answers under the keys of a card's transaction; what fails to verify is counted.
fn answer(
    hsm: &HostHsm,
    mkac: KeyField<'_>,
    card: [u8; 8],
    transaction: &Transaction<'_>,
    keys: impl FnOnce(&DoubleKey) -> Result<Keys, HsmError>,
) -> Result<Answer, Code> {
    let opened = hsm.lmks.open_clear(mkac, &MK_AC)?;
    let master = master(&opened)?;
    let answered = || transaction.answer(&keys(&icc_master_key_of(&master, card)?)?);
    match transaction.data {
        Some(_) => hsm.verified(opened.name, [&card], answered),
        None => answered(),
    }
}

/// `KQ`: mode (1), scheme (1), MK-AC, PAN and PSN (8 octets), ATC (2), UN (4), the transaction → ARPC (8
/// octets). Mode 0 verifies, 1 verifies and answers, 2 answers. Scheme 0: Visa's static key, zeros behind the
/// data; 1: Mastercard's session key, padding method 2, answered under the card's master key.
fn of_scheme(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let (mode, scheme) = (fields.text(1)?, fields.text(1)?);
    let is_visa = match scheme {
        "0" => true,
        "1" => false,
        _ => return Err(Code::CRYPTOGRAM_SCHEME),
    };
    let mode = match mode {
        "0" => Mode { verifies: true, method: Method::None },
        "1" => Mode { verifies: true, method: Method::One },
        "2" => Mode { verifies: false, method: Method::One },
        "3" | "4" if !is_visa => return Err(Code::MODE_OF_SCHEME),
        _ => return Err(Code::CRYPTOGRAM_MODE),
    };
    let mkac = fields.key()?;
    let (card, atc, un) = (fields.array()?, fields.array()?, fields.array()?);
    let transaction = Transaction::read(fields, mode)?;
    hsm.lmk(fields.end()?)?;
    answer(hsm, mkac, card, &transaction, |card| {
        Ok(if is_visa {
            Keys { cryptogram: card.clone(), answer: card.clone(), padding: Padding::Method1 }
        } else {
            let session = common_session_key(card, of_atc_and_un(atc, un))?;
            Keys { cryptogram: session, answer: card.clone(), padding: Padding::Method2 }
        })
    })
}

/// `KW`: mode (1), scheme (1), MK-AC, root of the tree (16 octets), PAN and PSN, shape of the tree (1), ATC
/// (2 octets), the transaction → ARPC (8 octets by method 1, 4 by method 2).
///
/// Mode 0 verifies; 1 verifies and answers by method 1, 2 answers so; 3 and 4 the same by method 2. Scheme 0:
/// the tree of EMV 2000, zeros behind the data; 2: EMV's common session key, padding method 2; both have PAN
/// and PSN in 8 octets, for option A. Schemes 1 and 3: the same by option B, PAN and PSN behind their octets'
/// number (2 digits) and before a `;`. Root and shape are there with a tree: shape 0 is of height 16 and
/// branch factor 2, 1 of height 8 and branch factor 4.
fn of_emv(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let mode = match fields.text(1)? {
        "0" => Mode { verifies: true, method: Method::None },
        "1" => Mode { verifies: true, method: Method::One },
        "2" => Mode { verifies: false, method: Method::One },
        "3" => Mode { verifies: true, method: Method::Two },
        "4" => Mode { verifies: false, method: Method::Two },
        _ => return Err(Code::CRYPTOGRAM_MODE),
    };
    let (has_tree, is_option_b) = match fields.text(1)? {
        "0" => (true, false),
        "1" => (true, true),
        "2" => (false, false),
        "3" => (false, true),
        _ => return Err(Code::CRYPTOGRAM_SCHEME),
    };
    let mkac = fields.key()?;
    let root = if has_tree { Some(fields.array()?) } else { None };
    let card = if is_option_b { card_of_option_b(fields)? } else { fields.array()? };
    let tree = match root {
        Some(root) => Some((shape(fields)?, root)),
        None => None,
    };
    let atc = fields.array()?;
    let transaction = Transaction::read(fields, mode)?;
    hsm.lmk(fields.end()?)?;
    answer(hsm, mkac, card, &transaction, |card| {
        let (session, padding) = match tree {
            Some((tree, root)) => (tree_session_key(card, atc, tree, &root)?, Padding::Method1),
            None => (common_session_key(card, of_atc(atc))?, Padding::Method2),
        };
        Ok(Keys { cryptogram: session.clone(), answer: session, padding })
    })
}

/// The shape of a tree.
fn shape(fields: &mut Fields<'_>) -> Result<Tree, Code> {
    match fields.text(1)? {
        "0" => Ok(Tree::Height16Branch2),
        "1" => Ok(Tree::Height8Branch4),
        _ => Err(Code::BRANCH_HEIGHT),
    }
}

/// PAN and PSN of any length, as option B takes them: it is option A for a PAN of up to 16 digits (EMV Book
/// 2, A1.4.2).
fn card_of_option_b(fields: &mut Fields<'_>) -> Result<[u8; 8], Code> {
    let length = fields.number(2)?;
    let digits = fields.octets(length)?;
    if !fields.takes(b';') {
        return Err(Code::INPUT);
    }
    let rightmost = digits.last_chunk().copied().ok_or(Code::INPUT)?;
    Ok(if length > 9 { option_b(digits) } else { rightmost })
}

#[cfg(test)]
mod tests {
    use super::super::data::tests::wrapped;
    use super::super::transcripts::exchanges;
    use super::*;

    const K0: &str = "0123456789ABCDEFFEDCBA9876543210";
    /// Master key K0; PAN 1234567890123456, PSN 00, ATC 001C.
    const CARD: &str = "=3456789012345600";
    const VISA: &str = "0000000040000000000000000124800004800001241911050152BF45851800001C03A06010";
    const MASTERCARD: &str = "00000000999900000000000001248000000000012420990600ABCDEF121800001CA00003220000";

    fn length(data: &str) -> String {
        format!("{:02X}", data.len() / 2)
    }

    #[test]
    fn cryptograms_of_the_schemes_are_the_published_ones() {
        let key = wrapped(b"E0", b'T', K0);
        let rows = [
            // Visa 10 and Mastercard 16.
            ("0", "=52BF4585", VISA, "29CCA15AE665FA2E", "3030", "28993816AFAE4AEB"),
            ("1", "=ABCDEF12", MASTERCARD, "24CCF3DEE3158C70", "0010", "73F6BBF389A6586C"),
        ];
        for (scheme, un, data, arqc, arc, arpc) in rows {
            let card = format!("{scheme} {key} {CARD} =001C {un}");
            let data_and_length = format!("{} ={data} ;", length(data));
            exchanges(&[
                (format!("KQ 0 {card} {data_and_length} ={arqc} %01"), "KR 00"),
                (format!("KQ 1 {card} {data_and_length} ={arqc} ={arc} %01"), &format!("KR 00 ={arpc}")),
                (format!("KQ 2 {card} ={arqc} ={arc} %01"), &format!("KR 00 ={arpc}")),
                (format!("KQ 0 {card} {data_and_length} =0{} %01", &arqc[1..]), "KR 01"),
                (format!("KQ 1 {card} {data_and_length} =0{} ={arc} %01", &arqc[1..]), "KR 01"),
                (format!("KQ 0 {card} 01 =00 ; ={arqc}"), "KR 01"),
            ]);
        }
        // Interac 133 has Mastercard's session key.
        let interac = format!("{}1501850440B100000000B00000000000000000000000", &MASTERCARD[..66]);
        let card = format!("{key} {CARD} =001C =ABCDEF12 {} ={interac} ;", length(&interac));
        exchanges(&[(format!("KQ 0 1 {card} =18932FECA2D84326"), "KR 00")]);
    }

    #[test]
    fn cryptograms_are_those_of_a_device() {
        let kq = "0 MKAC3 =5600000000000001 =7400 =C2C6A091";
        let first = "00000000000000000000000009780000000000097820121431C2C6A0915800740003A00000";
        let padded = format!("{first}000000");
        let kw = format!("0 MKAC3 ={} =5600000000000001 1 =0001", "00".repeat(16));
        let second = "000000000000000000000000097800000000000978201214313C4658455800000103A00000";
        exchanges(&[
            (format!("KQ 0 {kq} {} ={first} ; =46E98E9B85E9C640 %01", length(first)), "KR 00"),
            (
                format!("KQ 1 {kq} {} ={padded} ; =46E98E9B85E9C640 =3030 %01", length(&padded)),
                "KR 00 =B7C0556F15D1F17C",
            ),
            (format!("KW 0 {kw} {} ={second} ; =897FE51A726DFE47 %01", length(second)), "KX 00"),
        ]);
    }

    #[test]
    fn cryptograms_of_emv_are_the_published_ones() {
        let key = wrapped(b"E0", b'T', K0);
        // Mastercard 21.
        let data = format!("{MASTERCARD}00000000000322FF");
        let (data, arqc) = (format!("{} ={data} ;", length(&data)), "=C30E54BE496CF5E5");
        // A PAN of 16 digits is by option B as by option A.
        for card in [format!("2 {key} {CARD} =001C"), format!("3 {key} 09 =12 {CARD} ; =001C")] {
            exchanges(&[
                (format!("KW 0 {card} {data} {arqc} %01"), "KX 00"),
                (format!("KW 1 {card} {data} {arqc} =0010"), "KX 00 =4F51F9CC63CE8B3C"),
                (format!("KW 2 {card} {arqc} =0010 %01"), "KX 00 =4F51F9CC63CE8B3C"),
                (format!("KW 0 {card} {data} =C30E54BE496CF5E6 %01"), "KX 01"),
                (format!("KW 3 {card} {data} =C30E54BE496CF5E6 =00000000 0"), "KX 01"),
            ]);
        }
    }

    #[test]
    fn keys_of_trees_and_of_long_accounts_are_the_published_ones() {
        let key = wrapped(b"E0", b'T', K0);
        let octets = |text: &str| -> [u8; 16] { hex::decode(text).unwrap().try_into().unwrap() };
        let data = "0123456789ABCDEF0123456789ABCDEF";
        let root = format!("={}", "00".repeat(16));
        let both = [
            // Scheme, card, shape of a tree; the session key, how data are padded.
            // PAN 9901234567890123, PSN 45, ATC 001C: the leaf, and the common session key.
            ("0", "=0123456789012345", "1", "707C6723A807BA9BEFA2F4F483733123", Padding::Method1),
            ("2", "=0123456789012345", "", "A8671AF8581315C17032D99876B68592", Padding::Method2),
        ];
        for (scheme, card, shape, session, padding) in both {
            let session = octets(session);
            let arqc = application_cryptogram(&session, padding, &hex::decode(data).unwrap()).unwrap();
            let (one, two) = (
                arpc_method_1(&session, arqc, [0, 0x10]).unwrap(),
                arpc_method_2(&session, arqc, [0, 1, 2, 3], &[0xAB, 0xCD]).unwrap(),
            );
            let root = if shape.is_empty() { "" } else { &root };
            let card = format!("{scheme} {key} {root} {card} {shape} =001C");
            let arqc = hex::encode(arqc);
            let (one, two) = (format!("KX 00 ={}", hex::encode(one)), format!("KX 00 ={}", hex::encode(two)));
            exchanges(&[
                (format!("KW 0 {card} 10 ={data} ; ={arqc} %01"), "KX 00"),
                (format!("KW 1 {card} 10 ={data} ; ={arqc} =0010"), &one),
                (format!("KW 2 {card} ={arqc} =0010"), &one),
                (format!("KW 3 {card} 10 ={data} ; ={arqc} =00010203 2 =ABCD"), &two),
                (format!("KW 4 {card} ={arqc} =00010203 2 =ABCD"), &two),
            ]);
        }
        // PAN 12345678901234567, PSN 45 by option B: its master key is published.
        let master = octets("F767ECC2263B2C543775CB62AB6B57D6");
        let session = common_session_key(&master, of_atc([0, 0x1C])).unwrap();
        let clear = hex::decode(data).unwrap();
        let arqc = application_cryptogram(&session, Padding::Method2, &clear).unwrap();
        let card = format!("3 {key} 10 =01234567890123456745 ; =001C");
        exchanges(&[(format!("KW 0 {card} 10 ={data} ; ={} %01", hex::encode(arqc)), "KX 00")]);
        // The other shape, and another root.
        let card = icc_master_key_of(&octets(K0), [0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x56, 0]).unwrap();
        let session = tree_session_key(&card, [0, 0x1C], Tree::Height16Branch2, &[7; 16]).unwrap();
        let arqc = application_cryptogram(&session, Padding::Method1, &clear).unwrap();
        let card = format!("0 {key} ={} {CARD} 0 =001C", "07".repeat(16));
        exchanges(&[(format!("KW 0 {card} 10 ={data} ; ={} %01", hex::encode(arqc)), "KX 00")]);
    }

    #[test]
    fn what_is_wrong_has_its_own_code() {
        let card = format!("{CARD} =001C =00000000");
        let rest = "01 =00 ; =0000000000000000";
        let even = wrapped(b"E0", b'T', "0023456789ABCDEFFEDCBA9876543210");
        let single = wrapped(b"E0", b'D', "0123456789ABCDEF");
        let root = "00".repeat(16);
        exchanges(&[
            (format!("KQ 0 0 MKAC2 {card} {rest} %01"), "KR 01"),
            (format!("KQ 5 0 MKAC2 {card} {rest}"), "KR 04"),
            (format!("KQ 3 0 MKAC2 {card} {rest}"), "KR 04"),
            (format!("KQ 3 1 MKAC2 {card} {rest}"), "KR 03"),
            (format!("KQ 0 2 MKAC2 {card} {rest}"), "KR 05"),
            (format!("KQ 0 0 MKAC2 {card} 00 ; =0000000000000000"), "KR 81"),
            (format!("KQ 0 0 MKAC2 {card} 01 =0000 ; =0000000000000000"), "KR 15"),
            (format!("KQ 0 0 MKAC2 {card} 01 =00 ; =00000000000000"), "KR 15"),
            (format!("KQ 1 0 MKAC2 {card} {rest}"), "KR 15"),
            (format!("KQ 0 0 MKAC2 {card} {rest} %09"), "KR 13"),
            (format!("KQ 0 0 {even} {card} {rest}"), "KR 10"),
            (format!("KQ 0 0 {single} {card} {rest}"), "KR 27"),
            (format!("KQ 0 0 CVK {card} {rest}"), "KR A6"),
            ("KQ 0 0 Q".into(), "KR 26"),
            (format!("KW 0 2 MKAC2 {CARD} =001C {rest} %01"), "KX 01"),
            (format!("KW 5 2 MKAC2 {CARD} =001C {rest}"), "KX 04"),
            (format!("KW 0 4 MKAC2 {CARD} =001C {rest}"), "KX 05"),
            (format!("KW 0 0 MKAC2 ={root} {CARD} 2 =001C {rest}"), "KX 52"),
            (format!("KW 0 2 MKAC2 {CARD} =001C 00 ; =0000000000000000"), "KX 81"),
            (format!("KW 4 2 MKAC2 {CARD} =001C =0000000000000000 =00000000 9 =000000000000000000"), "KX 15"),
            (format!("KW 0 3 MKAC2 09 =12 {CARD} =001C {rest}"), "KX 15"),
            (format!("KW 0 3 MKAC2 02 =1234 ; =001C {rest}"), "KX 15"),
            (format!("KW 0 2 {even} {CARD} =001C {rest}"), "KX 10"),
            (format!("KW 0 2 {single} {CARD} =001C {rest}"), "KX 27"),
            (format!("KW 0 2 TAK {CARD} =001C {rest}"), "KX A6"),
        ]);
    }
}
