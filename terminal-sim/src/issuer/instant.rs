//! The answer of an issuer that approves everything, put together from the request's own octets: for measuring
//! the switch, from which every microsecond here would be taken.
//!
//! It knows how `iso87-ascii` writes the fields of an answer without a MAC; a test holds it against the codec.
//!
//! ```text
//! length 4 | MTI 4 | bitmap 16 | 2 LL, 3, 4, 7, 11, 32 LL, 37, 38, 39, 41, 42, 49
//! ```

use iso8583_spec::View;

/// Fields echoed before DE 38, DE 39, and after.
const FIRST: [u8; 7] = [2, 3, 4, 7, 11, 32, 37];
const LAST: [u8; 3] = [41, 42, 49];
/// Length, MTI and bitmap.
const HEAD: usize = 4 + 4 + 16;

/// Appends the frame that approves a message: DE 38 is its STAN, DE 39 is 00.
pub(super) fn approve(view: &View<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + HEAD, b'0');
    let mut bits = 0;
    for de in FIRST {
        if let Some(content) = view.raw(de) {
            put(de, content, &mut bits, out);
        }
    }
    if let Some(stan) = view.raw(11) {
        put(38, stan, &mut bits, out);
    }
    put(39, b"00", &mut bits, out);
    for de in LAST {
        if let Some(content) = view.raw(de) {
            put(de, content, &mut bits, out);
        }
    }
    let length = out.len() - start - 4;
    let Some((digits, rest)) = out.get_mut(start..).and_then(<[u8]>::split_first_chunk_mut::<4>) else {
        return;
    };
    decimal(length, digits);
    let Some((mti, rest)) = rest.split_first_chunk_mut::<4>() else { return };
    mti.copy_from_slice(view.mti().response().as_str().as_bytes());
    let Some((bitmap, _)) = rest.split_first_chunk_mut::<16>() else { return };
    for (place, digit) in bitmap.iter_mut().enumerate() {
        let nibble = usize::try_from(bits >> (60 - 4 * place) & 0xF).unwrap_or(0);
        *digit = b"0123456789ABCDEF".get(nibble).copied().unwrap_or(b'0');
    }
}

fn put(de: u8, content: &[u8], bits: &mut u64, out: &mut Vec<u8>) {
    *bits |= 1 << (64 - de);
    if de == 2 || de == 32 {
        let mut prefix = [0; 2];
        decimal(content.len(), &mut prefix);
        out.extend_from_slice(&prefix);
    }
    out.extend_from_slice(content);
}

fn decimal(mut number: usize, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::card_answer;
    use super::super::books::Verdict;
    use super::super::config::ZoneKeys;
    use super::super::rule::Rule;
    use super::super::zone::Zone;
    use super::*;
    use iso8583_spec::Spec;

    #[test]
    fn it_is_what_the_codec_would_write() {
        let spec = Spec::builtin("iso87-ascii").unwrap();
        let zone = Zone::new(&ZoneKeys::default()).unwrap();
        let rows = [
            "02007224048108C080001662258800123456750000000000000100001123070500000003301202100084802000\
             000000000000300000101898310058120001156",
            "0221722404810CC080001962258800123456789030000000000000100001123070500000003301202100111234\
             567890100000000000365432100000101898310058120001156",
            "04013220000008800000000000000000010000112307050000000300000000000300000101",
            "010002200001200000001123070500000003011246225880012345675=3012201",
        ];
        for row in rows {
            let view = View::decode(spec, row.as_bytes()).unwrap();
            assert!(view.is_sound(), "{row}");
            let auth_code = view.text(11).map(|stan| stan.to_string());
            let verdict = Verdict { auth_code, ..Verdict::of("00") };
            let answer = card_answer(&view, &verdict, &Rule::default(), &zone).unwrap();
            let mut expected = b"before".to_vec();
            spec.framing().encode(&answer, &mut expected).unwrap();
            let mut out = b"before".to_vec();
            approve(&view, &mut out);
            assert_eq!(String::from_utf8(out), String::from_utf8(expected), "{row}");
        }
    }
}
