//! What is allocated: nothing to read a message and every field of it, one buffer at most to write one, and never
//! what a length on the wire announces.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod vectors;

use allocation_counter::measure;
use iso8583_spec::{Deframer, Encoder, Framing, Message, Mti, Spec, View};
use vectors::{GOOD, Vector};

/// DE 3, 4, 7, 11, 12, 13, 22, 32, 37, 41 and 49.
const ASCII: &[u8] =
    b"0200323804010880800000000000000001234511230705000000031505001123021084831000063270000003000000101156";

/// The swiped sale with PIN.
fn sale() -> &'static Vector {
    GOOD.iter().find(|vector| vector.name == "UnionPay swiped sale with PIN").unwrap()
}

#[test]
fn reading_a_message_and_all_its_fields_allocates_nothing() {
    let (ascii, unionpay) = (Spec::builtin("iso87-ascii").unwrap(), Spec::builtin("unionpay-pos").unwrap());
    let golden = sale().body();
    for (spec, body, fields) in [(unionpay, golden.as_slice(), sale().fields.len()), (ascii, ASCII, 11)] {
        let mut seen = 0;
        let info = measure(|| {
            let view = View::decode(spec, body).unwrap();
            assert!(view.is_sound());
            for de in view.fields() {
                let characters = view.text(de).map(|text| text.len());
                seen += usize::from(characters.or(view.bytes(de).map(|octets| octets.len())) > Some(0));
            }
            assert!(view.mac_data().is_some() == view.has(64));
            assert_eq!(view.part_text(3, "1").unwrap(), "00");
            assert_eq!(view.part_text(22, "2").map(|part| part.len()), Some(1));
        });
        assert_eq!((info.count_total, seen), (0, fields), "{}", spec.name());
    }
}

#[test]
fn chip_data_is_read_in_place() {
    let spec = Spec::builtin("edc").unwrap();
    let chip = "6000120000 0200 0000000000000200 0024 9F2602A1A2 7209 9F180400000001 8600 5F2A020156 9C0100";
    let body = hex::decode(chip.replace(' ', "")).unwrap();
    let info = measure(|| {
        let view = View::decode(spec, &body).unwrap();
        assert!(view.is_sound(), "{view:?}");
        assert_eq!(view.part_bytes(55, "5F2A").unwrap(), [0x01, 0x56].as_slice());
        assert_eq!(view.part_bytes(55, "72.9F18").unwrap(), [0, 0, 0, 1].as_slice());
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn writing_a_message_takes_one_buffer_or_none() {
    let spec = Spec::builtin("unionpay-pos").unwrap();
    let body = sale().body();
    let view = View::decode(spec, &body).unwrap();
    let octets = |de: u8| view.bytes(de).unwrap().into_owned();
    let (pin, mac) = (octets(52), octets(64));
    let mti = Mti::new(sale().mti).unwrap();
    let write = |mut encoder: Encoder<'_>| {
        encoder.tpdu(view.tpdu().unwrap()).unwrap();
        encoder.header(view.header().unwrap()).unwrap();
        for de in view.fields().filter(|de| *de != 64) {
            match de {
                52 => encoder.bytes(52, &pin).unwrap(),
                _ => encoder.text(de, &view.text(de).unwrap()).unwrap(),
            }
        }
        assert_eq!(encoder.mac_data(64).unwrap(), view.mac_data().unwrap());
        encoder.mac(&mac).unwrap();
        encoder.finish().unwrap()
    };
    let mut out = Vec::new();
    let info = measure(|| out = write(Encoder::new(spec, mti)));
    assert_eq!((out.as_slice(), info.count_total), (body.as_slice(), 1));
    let info = measure(|| out = write(Encoder::reuse(spec, mti, std::mem::take(&mut out))));
    assert_eq!((out.as_slice(), info.count_total), (body.as_slice(), 0));
}

#[test]
fn an_announced_length_allocates_nothing() {
    // A frame of 4 GiB, and chip data, a field and a data set longer than what is there.
    let mut deframer = Deframer::new(Framing::LENGTH_4, 8192);
    let info = measure(|| {
        deframer.push(&[0xFF; 8]);
        assert!(deframer.next_frame().is_err());
    });
    assert!(info.bytes_total < 16_384, "{info:?}");
    let rows = [
        ("iso87-bcd", "0200 0000000000000200 0007 5A84FFFFFFFF00"),
        ("iso87-bcd", "0200 0000000000000200 0004 9F828182"),
        ("iso87-bcd", "0200 0000000000000200 0255 5A"),
        ("iso2003", "2200 0000000000000200 9999 01FFFF00"),
    ];
    for (name, digits) in rows {
        let (spec, body) = (Spec::builtin(name).unwrap(), hex::decode(digits.replace(' ', "")).unwrap());
        let info = measure(|| {
            let view = View::decode(spec, &body).unwrap();
            assert!(!view.inspect().is_empty(), "{name} {digits}");
            drop(Message::from_view(&view));
        });
        assert!(info.bytes_max < 16_384, "{name} {digits}: {info:?}");
    }
}
