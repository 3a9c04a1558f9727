//! What a device gives without a key: its status, random octets, hashes.

use super::code::Code;
use super::fields::Fields;
use super::{Answer, Commands, HostHsm};
use openssl::hash::{MessageDigest, hash};

pub(super) const COMMANDS: Commands = &[(b"NO", status), (b"N0", random), (b"GM", digest)];

/// The most random octets of one answer.
const MOST_RANDOM: usize = 256;

/// `NO`: mode (2) → in mode `00` the size of the buffer (`3`: 32 KiB), the network (`1`: TCP), sockets (2), firmware
/// (9), which says so when the LMKs are public, 5 characters without meaning. Of an appliance's other modes there is
/// nothing to tell.
fn status(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let mode = fields.digits(2)?;
    fields.end()?;
    if mode != "00" {
        return Err(Code::INPUT);
    }
    let firmware = if hsm.lmks.are_public() { "TEST-LMK0" } else { "0000-0000" };
    Ok(Answer::done(format!("3164{firmware}00000")))
}

/// `N0`: count (3), 001 to 256 → so many random octets.
fn random(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let count = fields.number(3)?;
    fields.end()?;
    if count == 0 {
        return Err(Code::INPUT);
    }
    let octets: [u8; MOST_RANDOM] = hsm.draw()?;
    Ok(Answer::done(octets.get(..count).ok_or(Code::INPUT)?))
}

/// `GM`: hash (2), length (5), data → the hash's octets (FIPS 180-4). MD5 and what else a device has is refused.
fn digest(_: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let kind = match fields.digits(2)? {
        "01" => MessageDigest::sha1(),
        "05" => MessageDigest::sha224(),
        "06" => MessageDigest::sha256(),
        "07" => MessageDigest::sha384(),
        "08" => MessageDigest::sha512(),
        _ => return Err(Code::HASH),
    };
    let length = fields.number(5)?;
    let data = fields.octets(length)?;
    fields.end()?;
    Ok(Answer::done(hash(kind, data).map_err(|_| Code::FAILURE)?.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::super::transcripts::{ask, transcript};

    #[test]
    fn status_and_refusals() {
        transcript(&[
            ("NO 00", "NP 00 3164TEST-LMK000000"),
            ("NO 99", "NP 15"),
            ("NO 0", "NP 15"),
            ("N0 000", "N1 15"),
            ("N0 257", "N1 15"),
            ("N0 0A1", "N1 15"),
            ("N0 001 %00 0", "N1 15"),
            ("GM 02 00003 abc", "GN 05"),
            ("GM 06 00004 abc", "GN 15"),
            ("GM 06 00002 abc", "GN 15"),
        ]);
    }

    #[test]
    fn random_octets_are_as_many_as_asked_for_and_not_the_same() {
        for count in [1, 16, 255, 256] {
            let command = format!("N0{count:03}");
            assert_eq!(ask(command.as_bytes()).chars().count(), 4 + count, "{count}");
        }
        assert_ne!(ask(b"N0032"), ask(b"N0032"));
    }

    #[test]
    fn hashes_are_the_published_ones() {
        // FIPS 180-4, the examples of one block: "abc"; and no data at all.
        #[rustfmt::skip]
        let rows = [
            ("GM 01 00003 abc", "A9993E364706816ABA3E25717850C26C9CD0D89D"),
            ("GM 05 00003 abc", "23097D223405D8228642A477BDA255B32AADBCE4BDA0B3F7E36C9DA7"),
            ("GM 06 00003 abc", "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"),
            ("GM 07 00003 abc", "CB00753F45A35E8BB5A03D699AC65007272C32AB0EDED1631A8B605A43FF5BED8086072BA1E7CC2358BAECA134C825A7"),
            ("GM 08 00003 abc", "DDAF35A193617ABACC417349AE20413112E6FA4E89A97EA20A9EEEE64B55D39A2192992A274FC1A836BA3C23A3FEEBBD454D4423643CE80E2A9AC94FA54CA49F"),
            ("GM 01 00000", "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709"),
            ("GM 06 00000", "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"),
        ];
        for (command, expected) in rows {
            let answer = ask(&super::super::transcripts::written(command));
            let octets = answer.chars().map(|octet| octet as u8).collect::<Vec<_>>();
            assert_eq!((&octets[..4], hex::encode_upper(&octets[4..])), (&b"GN00"[..], expected.into()));
        }
    }
}
