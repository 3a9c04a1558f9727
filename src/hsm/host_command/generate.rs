//! New keys: drawn, or derived as the initial key of a DUKPT terminal.

use super::code::Code;
use super::fields::Fields;
use super::key::{KeyField, Role};
use super::wrapping::{Asked, Family, Form, Key, Place, Zone, narrowed};
use super::{Answer, Commands, HostHsm};
use crate::hsm::dukpt::{aes, tdes};
use crate::hsm::variant_lmk::KeyType;
use zeroize::Zeroizing;

pub(super) const COMMANDS: Commands = &[(b"A0", generate)];

/// Where a key is derived from: a base derivation key and the terminal's identifier.
struct Derivation<'a> {
    role: Role,
    bdk: KeyField<'a>,
    terminal: &'a str,
}

/// What a key is sent under besides.
struct Sending<'a> {
    role: &'static Role,
    zmk: KeyField<'a>,
    form: Form,
}

/// `A0`: mode, type (3), scheme [of modes A and B: derivation `0`, kind of BDK 1 to 4, BDK, KSN without its counter
/// (15; 16 of AES)] [of modes 1 and B: `;` or nothing, `0` ZMK or `1` TMK, that key, scheme] [%nn] [# usage (2),
/// algorithm (2), mode, version (2), exportability, optional blocks] [& exportability under the ZMK] [! TR-31 version]
/// → key, the key under the ZMK or TMK, check value.
///
/// Algorithms are `D1`, `T2`, `T3`, `A1`, `A2`, `A3`: DES by its parts, AES by 128, 192 and 256 bits.
fn generate(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let [mode] = fields.array()?;
    if !matches!(mode, b'0' | b'1' | b'A' | b'B') {
        return Err(Code::INPUT);
    }
    let family = fields.family()?;
    let form = fields.form()?;
    let derivation = if matches!(mode, b'A' | b'B') { Some(derivation(fields)?) } else { None };
    let sending = if matches!(mode, b'1' | b'B') { Some(sending(fields)?) } else { None };
    let lmk = fields.lmk()?;
    let asked = if fields.takes(b'#') { Some(algorithm_and_header(fields)?) } else { None };
    let exportability = fields.marked(b'&')?;
    let version = fields.marked(b'!')?;
    let place = Place { family, form, lmk: lmk.or(fields.end()?) };
    let (algorithm, asked) = match (family, form, asked) {
        (Family::Variant(_), Form::Variant(scheme), None) => ((b'T', scheme.length().octets()), None),
        (Family::Variant(_), Form::Variant(scheme), Some(((letter, octets), asked))) => {
            if octets != scheme.length().octets() || letter == b'A' {
                return Err(Code::KEY_LENGTH);
            }
            ((letter, octets), Some(asked))
        }
        (Family::Blocks, Form::Thales, Some((algorithm, asked))) => (algorithm, Some(asked)),
        (Family::Blocks, Form::Thales, None) => return Err(Code::INPUT),
        (_, _, _) => return Err(Code::KEY_SCHEME),
    };
    let clear = match &derivation {
        Some(derivation) => hsm.derived(family, derivation)?,
        None => hsm.drawn(algorithm)?,
    };
    if clear.len() != algorithm.1 {
        return Err(Code::KEY_LENGTH);
    }
    let letter = if clear.len() == 8 { b'D' } else { algorithm.0 };
    let header = asked.map(|asked| asked.header(letter)).transpose()?;
    if let Some(header) = &header {
        family.takes(header.fixed.usage)?;
        if derivation.is_some() && header.fixed.usage != *b"B1" {
            return Err(Code::USAGE);
        }
    }
    let mut key = Key { family, header, clear };
    let mut answer = hsm.hold(&place, &key)?;
    if let Some(sending) = sending {
        key.leaving(sending.form)?;
        if let Some(header) = &mut key.header {
            narrowed(header, exportability)?;
        }
        let zone = hsm.zone(family, sending.zmk, sending.role)?;
        answer.push_str(&hsm.send(&zone, sending.form, version, &key)?);
    }
    Ok(Answer::done(answer + &key.check_value()?))
}

fn derivation<'a>(fields: &mut Fields<'a>) -> Result<Derivation<'a>, Code> {
    const KINDS: [&[KeyType]; 4] = [&[KeyType::Bdk1], &[KeyType::Bdk2], &[KeyType::Bdk3], &[KeyType::Bdk4]];
    if fields.number(1)? != 0 {
        return Err(Code::INPUT);
    }
    let kind = fields.number(1)?.checked_sub(1).and_then(|kind| KINDS.get(kind)).ok_or(Code::KEY_TYPE)?;
    let bdk = fields.key()?;
    // AES DUKPT's identifier has a digit more.
    let is_aes = bdk.0.as_bytes().get(8) == Some(&b'A') && bdk.0.starts_with('S');
    let terminal = fields.hex_digits(if is_aes { 16 } else { 15 })?;
    Ok(Derivation { role: Role { types: kind, ..Role::BDK }, bdk, terminal })
}

fn sending<'a>(fields: &mut Fields<'a>) -> Result<Sending<'a>, Code> {
    fields.takes(b';');
    let [flag] = fields.array()?;
    Ok(Sending { role: Zone::outgoing(flag)?, zmk: fields.key()?, form: fields.form()? })
}

/// What stands behind `#`: the algorithm's letter and the key's octets, and the header.
fn algorithm_and_header(fields: &mut Fields<'_>) -> Result<((u8, usize), Asked), Code> {
    let usage = fields.array()?;
    let algorithm = match &fields.array::<2>()? {
        b"D1" => (b'D', 8),
        b"T2" => (b'T', 16),
        b"T3" => (b'T', 24),
        b"A1" => (b'A', 16),
        b"A2" => (b'A', 24),
        b"A3" => (b'A', 32),
        _ => return Err(Code::KEY_ALGORITHM),
    };
    Ok((algorithm, fields.asked_for(usage)?))
}

impl HostHsm {
    /// A key of so many random octets, fit for its algorithm.
    fn drawn(&self, (algorithm, octets): (u8, usize)) -> Result<Zeroizing<Vec<u8>>, Code> {
        let mut clear = Zeroizing::new(vec![0; octets]);
        if algorithm == b'A' {
            self.random.fill(&mut clear)?;
        } else {
            self.random.des_key(&mut clear)?;
        }
        Ok(clear)
    }

    /// The initial key of a terminal (X9.24-1, A.6; X9.24-3, 6.3). It is used as it comes out: what DUKPT derives has
    /// no parity of its own.
    fn derived(&self, family: Family, from: &Derivation<'_>) -> Result<Zeroizing<Vec<u8>>, Code> {
        if (family == Family::Blocks) != from.bdk.0.starts_with('S') {
            return Err(Code::LMK_SCHEMES);
        }
        let bdk = self.lmks.open_clear(from.bdk, &from.role)?;
        if bdk.is_aes() {
            let ksn = aes::KeySerialNumber::parse(&format!("{}00000000", from.terminal))?;
            let initial = aes::BaseDerivationKey::new(&bdk.clear)?.initial_key(ksn)?;
            return Ok(Zeroizing::new(initial.octets().to_vec()));
        }
        let ksn = tdes::KeySerialNumber::parse(&format!("{}00000", from.terminal))?;
        let initial = tdes::BaseDerivationKey::new(&bdk.clear)?.initial_key(ksn)?;
        Ok(Zeroizing::new(initial.octets().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::transcripts::{KEYS, ask, permissive, written};
    use super::*;
    use crate::hsm::des;
    use crate::hsm::key_block::thales::{Protection, Version};
    use crate::hsm::variant_lmk::Scheme;

    fn hsm() -> HostHsm {
        permissive(0)
    }

    fn named(name: &str) -> &'static str {
        KEYS.iter().find(|(key, _)| *key == name).unwrap().1
    }

    /// What an answer that is done holds behind its code.
    fn done(command: &str) -> String {
        let answer = ask(&written(command));
        assert_eq!(&answer[2..4], "00", "{command}");
        answer[4..].to_owned()
    }

    #[test]
    fn a_new_key_stands_under_the_lmk_and_under_the_zmk() {
        let answer = done("A0 1 FFF S 0 ZMK2 S %01 # K0 T2 B 00 E 00");
        let (held, rest) = answer.split_at(73);
        let (sent, kcv) = rest.split_at(73);
        assert_eq!((&held[..17], &sent[..17]), ("S00072K0TB00E0001", "S00072K0TB00E00FF"));
        let (_, key) = hsm().lmks.open_block(held).unwrap();
        let (_, zmk) = hsm().lmks.open_block(named("ZMK2")).unwrap();
        let (_, same) = Protection::new(Version::TripleDes, &zmk).unwrap().unwrap(sent).unwrap();
        assert_eq!((&key, des::check_strength(&key)), (&same, Ok(())));
        assert_eq!(crate::hsm::DesKey::new(&key).unwrap().kcv(), kcv);
        // With a semicolon, narrowed, and as TR-31.
        let answer = done("A0 1 FFF S ;0 ZMK2 R %01 # P0 T2 B 00 E 00 & N ! B");
        assert_eq!((&answer[..17], &answer[73..90]), ("S00072P0TB00E0001", "RB0080P0TB00N0000"));
        assert_ne!(done("A0 0 FFF S %01 # P0 T2 B 00 E 00"), done("A0 0 FFF S %01 # P0 T2 B 00 E 00"));
    }

    #[test]
    fn keys_are_of_the_length_asked_for() {
        let rows = [
            ("A0 0 FFF S # M3 D1 C 00 N 00", "S00056M3DC00N0001", 8),
            ("A0 0 FFF S # D0 T3 B 00 N 00 %01", "S00088D0TB00N0001", 24),
            ("A0 0 FFF S %02 # P0 A1 B 00 E 00", "S10096P0AB00E0002", 16),
            ("A0 0 FFF S %02 # P0 A3 B 12 S 00", "S10128P0AB12S0002", 32),
            ("A0 0 FFF S %02 # P0 T2 B 00 E 01 LB10 ABCDEFGHIJKL", "S10112P0TB00E0102", 16),
        ];
        for (command, head, octets) in rows {
            let answer = done(command);
            let (block, _) = answer.split_at(answer.len() - 6);
            let (_, clear) = hsm().lmks.open_block(block).unwrap();
            assert_eq!((&block[..17], clear.len()), (head, octets), "{command}");
        }
        for (command, kind, octets) in [
            ("A0 0 001 U", KeyType::Zpk, 16),
            ("A0 0 003 Z", KeyType::Tak, 8),
            ("A0 0 00B T %00", KeyType::Dek, 24),
            ("A0 0 002 X", KeyType::TmkTpkPvk, 16),
        ] {
            let answer = done(command);
            let clear = hsm().lmks.open_as(kind, &answer[..answer.len() - 6]).unwrap();
            assert_eq!((clear.len(), des::check_strength(&clear)), (octets, Ok(())), "{command}");
        }
    }

    #[test]
    fn initial_keys_are_the_published_ones() {
        // X9.24-1:2009, A.4: BDK, KSN, initial key.
        let bdk = hex::decode("0123456789ABCDEFFEDCBA9876543210").unwrap();
        let initial = hex::decode("6AC292FAA1315B4D858AB3A3D7D5933A").unwrap();
        let lmk = |kind, key: &[u8]| hsm().lmks.put_as(None, kind, Scheme::U, key).unwrap();
        let bdk = lmk(KeyType::Bdk1, &bdk);
        let expected = lmk(KeyType::InitialKey, &initial);
        let answer = done(&format!("A0 A 302 U 0 1 {bdk} FFFF9876543210E"));
        assert_eq!(&answer[..33], expected);
        // Sent under a ZMK, and taken in again as it was.
        let zmk = "U1457FF6ADF6250C66C368416B4C9D383";
        let answer = done(&format!("A0 B 302 U 0 1 {bdk} FFFF9876543210E ;0 {zmk} X"));
        let (held, sent) = (&answer[..33], &answer[33..66]);
        assert_eq!(held, expected);
        assert_eq!(&done(&format!("A6 302 {zmk} {sent} U"))[..33], expected);

        // The same of a key block: the initial key that this BDK gives to a terminal.
        let answer = done("A0 A FFF S 0 1 BDK1 FFFF00000131524 %01 # B1 T2 X 00 E 00");
        let (_, clear) = hsm().lmks.open_block(&answer[..73]).unwrap();
        let (_, bdk) = hsm().lmks.open_block(named("BDK1")).unwrap();
        let ksn = tdes::KeySerialNumber::parse("FFFF0000013152400000").unwrap();
        let own = tdes::BaseDerivationKey::new(&bdk).unwrap().initial_key(ksn).unwrap();
        assert_eq!((&answer[..17], &clear[..]), ("S00072B1TX00E0001", &own.octets()[..]));

        // X9.24-3:2017, supplement: AES-128.
        let bdk = hex::decode("FEDCBA9876543210F1F1F1F1F1F1F1F1").unwrap();
        let fixed = crate::hsm::key_block::header::Header {
            usage: *b"B0",
            algorithm: b'A',
            mode: b'X',
            version: *b"00",
            exportability: b'E',
        };
        let key = Key { family: Family::Blocks, header: Some(fixed.into()), clear: Zeroizing::new(bdk) };
        let place = Place { family: Family::Blocks, form: Form::Thales, lmk: Some(2) };
        let bdk = hsm().hold(&place, &key).unwrap();
        let answer = done(&format!("A0 A FFF S 0 1 {bdk} 1234567890123456 %02 # B1 A1 X 00 E 00"));
        let (_, clear) = hsm().lmks.open_block(&answer[..answer.len() - 6]).unwrap();
        assert_eq!(hex::encode_upper(&*clear), "1273671EA26AC29AFA4D1084127652A1");
    }

    #[test]
    fn what_makes_no_key_has_its_code() {
        let rows = [
            ("A0 2 FFF S %01 # K0 T2 B 00 E 00", "15"),
            ("A0 0 FFF S %01", "15"),
            ("A0 0 FFF U %01 # K0 T2 B 00 E 00", "26"),
            ("A0 0 FFF Q %01 # K0 T2 B 00 E 00", "26"),
            ("A0 0 FFF S %00 # K0 T2 B 00 E 00", "A1"),
            ("A0 0 FFF S %08 # K0 T2 B 00 E 00", "13"),
            ("A0 0 FFF S %01 # Q0 T2 B 00 E 00", "A6"),
            ("A0 0 FFF S %01 # K0 T9 B 00 E 00", "A7"),
            ("A0 0 FFF S %01 # K0 A1 B 00 E 00", "A7"),
            ("A0 0 FFF S %01 # K0 T2 X 00 E 00", "A8"),
            ("A0 0 FFF S %01 # K0 T2 B c1 E 00", "A9"),
            ("A0 0 FFF S %01 # K0 T2 B 00 Y 00", "AA"),
            ("A0 0 FFF S %01 # K0 T2 B 00 E 01 LB03", "15"),
            ("A0 0 XXX U", "28"),
            ("A0 0 001 S", "26"),
            ("A0 0 001 U %01", "A1"),
            ("A0 0 001 U # P0 T3 B 00 E 00", "27"),
            ("A0 0 001 U # C0 T2 N 00 E 00", "A6"),
            ("A0 1 FFF S 0 ZMK2 S %01 # K0 T2 B 00 N 00", "AA"),
            ("A0 1 FFF S 0 ZMK2 X %01 # K0 T2 B 00 E 00", "29"),
            ("A0 1 FFF S 0 ZMK2 S %01 # K0 T2 B 00 E 00 & S", "AA"),
            ("A0 1 FFF S 0 CVK S %01 # K0 T2 B 00 E 00", "A6"),
            ("A0 1 FFF S 5 ZMK2 S %01 # K0 T2 B 00 E 00", "15"),
            ("A0 A FFF S 0 1 CVK FFFF00000131524 %01 # B1 T2 X 00 E 00", "A6"),
            ("A0 A FFF S 0 1 BDK1 FFFF00000131524 %01 # B0 T2 X 00 E 00", "A6"),
            ("A0 A FFF S 0 1 BDK1 FFFF00000131524 %01 # B1 T3 X 00 E 00", "27"),
            ("A0 A FFF S 1 1 BDK1 FFFF00000131524 %01 # B1 T2 X 00 E 00", "15"),
            ("A0 A FFF S 0 5 BDK1 FFFF00000131524 %01 # B1 T2 X 00 E 00", "28"),
            ("A0 A FFF S 0 1 BDK1 FFFF0000013152G %01 # B1 T2 X 00 E 00", "15"),
        ];
        for (command, code) in rows {
            assert_eq!(&ask(&written(command))[2..], code, "{command}");
        }
    }
}
