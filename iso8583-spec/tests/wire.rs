//! The codec against wire vectors: good ones field by field and byte for byte, bad ones fault by fault.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod vectors;

use iso8583_spec::{
    DecodeError, EncodeError, Encoder, Fault, Masking, Message, Mti, Part, Reason, Spec, Value, View,
};
use vectors::{GOOD, Vector};

fn spec(name: &str) -> &'static Spec {
    Spec::builtin(name).unwrap()
}

/// A field as text, or as hexadecimal when it is binary.
fn field(view: &View<'_>, de: u8) -> Option<String> {
    let text = view.text(de).map(|text| text.to_string());
    text.or_else(|| view.bytes(de).map(hex::encode_upper))
}

/// Writes the vector with the encoder, its MAC by way of `mac_data`.
fn encode(vector: &Vector, view: &View<'_>) -> Vec<u8> {
    let spec = spec(vector.spec);
    let mut encoder = Encoder::new(spec, Mti::new(vector.mti).unwrap());
    if let Some(tpdu) = view.tpdu() {
        encoder.tpdu(tpdu).unwrap();
    }
    if let Some(header) = view.header() {
        encoder.header(header).unwrap();
    }
    for (de, content) in vector.fields {
        match de {
            64 | 128 => {
                assert_eq!(Some(encoder.mac_data(*de).unwrap()), view.mac_data(), "{}", vector.name);
                encoder.mac(&hex::decode(content).unwrap()).unwrap();
            }
            _ if spec.field(*de).unwrap().is_binary() => {
                encoder.bytes(*de, &hex::decode(content).unwrap()).unwrap();
            }
            _ => encoder.text(*de, content).unwrap(),
        }
    }
    encoder.finish().unwrap()
}

#[test]
fn messages_are_byte_exact() {
    for vector in GOOD {
        let (body, spec) = (vector.body(), spec(vector.spec));
        let view = View::decode(spec, &body).unwrap();
        assert_eq!(view.faults(), [], "{}", vector.name);
        assert_eq!(view.mti().as_str(), vector.mti);
        let numbers: Vec<u8> = vector.fields.iter().map(|(de, _)| *de).collect();
        assert_eq!(view.fields().collect::<Vec<_>>(), numbers, "{}", vector.name);
        for (de, content) in vector.fields {
            assert_eq!(field(&view, *de).as_deref(), Some(*content), "{} field {de}", vector.name);
        }
        assert_eq!(hex::encode(encode(vector, &view)), hex::encode(&body), "{}", vector.name);
        let message = Message::decode(spec, &body).unwrap();
        assert_eq!(hex::encode(message.encode(spec).unwrap()), hex::encode(&body), "{}", vector.name);
        let mut frame = Vec::new();
        spec.framing().encode(&body, &mut frame).unwrap();
        assert_eq!(frame, vector.frame());
    }
}

#[test]
fn the_head_of_the_golden_sale() {
    let body = GOOD[2].body();
    let view = View::decode(spec("unionpay-pos"), &body).unwrap();
    assert_eq!(view.tpdu().map(hex::encode).as_deref(), Some("6000030000"));
    assert_eq!(view.header().map(hex::encode).as_deref(), Some("603100311000"));
    // MTI to the last octet before the content of DE 64: the body without head and MAC.
    assert_eq!(view.mac_data(), Some(&body[11..body.len() - 8]));
}

#[test]
fn truncated_anywhere_a_vector_is_refused() {
    for vector in GOOD {
        let (body, spec) = (vector.body(), spec(vector.spec));
        for end in 0..body.len() {
            let refused = match View::decode(spec, &body[..end]) {
                Ok(view) => view.faults().last().is_some_and(|fault| fault.structural && fault.offset <= end),
                Err(DecodeError::Truncated { offset, .. }) => offset <= end,
                Err(
                    DecodeError::Malformed { .. } | DecodeError::TooLong { .. } | DecodeError::Unsound(_),
                ) => false,
            };
            assert!(refused, "{} cut at {end}", vector.name);
            assert!(Message::decode(spec, &body[..end]).is_err());
        }
    }
}

#[test]
fn one_octet_more_is_refused_where_it_stands() {
    for vector in GOOD {
        let (mut body, spec) = (vector.body(), spec(vector.spec));
        let offset = body.len();
        body.push(b'0');
        let trailing = Fault { field: 0, offset, structural: true, reason: Reason::Trailing };
        let view = View::decode(spec, &body).unwrap();
        assert_eq!(view.faults(), [trailing], "{}", vector.name);
        assert_eq!(view.fields().count(), vector.fields.len());
        assert_eq!(Message::decode(spec, &body), Err(DecodeError::Unsound(trailing)));
    }
}

/// A body with octets written over it.
fn patched(vector: usize, at: usize, octets: &[u8]) -> (&'static Spec, Vec<u8>) {
    let mut body = GOOD[vector].body();
    body.splice(at..at + octets.len(), octets.iter().copied());
    (spec(GOOD[vector].spec), body)
}

#[test]
fn bad_octets_are_named_and_the_other_fields_stand() {
    const SALE: usize = 2;
    const ASCII: usize = 4;
    const ALL: usize = usize::MAX;
    let content = |field, offset, reason| Fault { field, offset, structural: false, reason };
    let lost = |field, offset, reason| Fault { field, offset, structural: true, reason };
    // (name, vector, offset, octets over it, fault, fields that stand: ALL but the faulty one, or how many)
    type Row = (&'static str, usize, usize, &'static [u8], Fault, usize);
    let rows: [Row; 12] = [
        ("letter in packed amount", SALE, 26, &[0x0A], content(4, 26, Reason::NotDigit), ALL),
        ("letter in packed STAN", SALE, 32, &[0xF7], content(11, 32, Reason::NotDigit), ALL),
        ("control character in terminal id", SALE, 57, &[0x0A], content(41, 57, Reason::Character), ALL),
        ("bit 63 without a field", SALE, 20, &[0x13], lost(63, 108, Reason::BeyondEnd), 13),
        ("bit 40 without a definition", SALE, 17, &[0x21], lost(40, 55, Reason::Undefined), 7),
        ("length beyond the end", SALE, 97, &[0x09, 0x99], lost(60, 99, Reason::BeyondEnd), 12),
        ("length 0xFFFF", SALE, 97, &[0xFF, 0xFF], lost(60, 97, Reason::Prefix), 12),
        ("track length 9A", SALE, 37, &[0x9A], lost(35, 37, Reason::Prefix), 6),
        ("secondary bitmap in a dialect of 64", SALE, 13, &[0xB0], lost(1, 21, Reason::SecondaryBitmap), 14),
        ("letter in ASCII amount", ASCII, 44, b"x", content(4, 44, Reason::NotDigit), ALL),
        ("no hexadecimal in PIN block", ASCII, 169, b"G", content(52, 169, Reason::NotHex), ALL),
        ("PAN length xx", ASCII, 20, b"xx", lost(2, 20, Reason::Prefix), 0),
    ];
    for (name, vector, at, octets, fault, stand) in rows {
        let (spec, body) = patched(vector, at, octets);
        let view = View::decode(spec, &body).unwrap();
        assert_eq!(view.faults().first(), Some(&fault), "{name}");
        assert!(
            !view.has(fault.field) && view.text(fault.field).is_none() && view.bytes(fault.field).is_none()
        );
        let expected = if stand == ALL { GOOD[vector].fields.len() - 1 } else { stand };
        assert_eq!(view.fields().count(), expected, "{name}");
        for (de, content) in GOOD[vector].fields.iter().filter(|(de, _)| view.has(*de)) {
            assert_eq!(field(&view, *de).as_deref(), Some(*content), "{name} field {de}");
        }
        assert_eq!(view.raw(fault.field).is_some(), !fault.structural, "{name}");
    }
}

#[test]
fn a_number_too_long_for_its_field_is_a_fault_of_content() {
    let spec = spec("iso87-ascii");
    let body = b"020060000000000000002040000000000000000002000000";
    let view = View::decode(spec, body).unwrap();
    let fault = Fault { field: 2, offset: 22, structural: false, reason: Reason::TooLong };
    assert_eq!(view.faults(), [fault]);
    assert_eq!(view.text(3).unwrap(), "000000");
    assert_eq!(fault.to_string(), "field 2 at offset 22: longer than the field's maximum");
}

#[test]
fn a_message_without_front_is_an_error() {
    let truncated = |part, offset| Err(DecodeError::Truncated { part, offset });
    let malformed = |part, offset| Err(DecodeError::Malformed { part, offset });
    let rows: [(&str, &[u8], Result<(), DecodeError>); 9] = [
        ("unionpay-pos", &[], truncated(Part::Tpdu, 0)),
        ("unionpay-pos", &[0x60, 0, 3, 0, 0, 0x60], truncated(Part::Header, 5)),
        ("unionpay-pos", &[0; 12], truncated(Part::Mti, 11)),
        ("unionpay-pos", &[0xAA; 13], malformed(Part::Mti, 11)),
        ("unionpay-pos", &[0; 20], truncated(Part::Bitmap, 13)),
        ("edc", &[0; 7], truncated(Part::Bitmap, 7)),
        ("iso87-ascii", b"0200", truncated(Part::Bitmap, 4)),
        ("iso87-ascii", b"02x0", malformed(Part::Mti, 0)),
        ("iso87-ascii", b"0200723804812-C09001", malformed(Part::Bitmap, 4)),
    ];
    for (name, body, expected) in rows {
        assert_eq!(View::decode(spec(name), body).map(|_| ()), expected, "{name} {body:02X?}");
    }
    let long = vec![0; 65536];
    assert_eq!(View::decode(spec("edc"), &long).map(|_| ()), Err(DecodeError::TooLong { length: 65536 }));
}

#[test]
fn a_secondary_bitmap_cut_short() {
    let view = View::decode(spec("iso87-ascii"), b"0800822000000000000004").unwrap();
    assert_eq!(
        view.faults(),
        [Fault { field: 1, offset: 20, structural: true, reason: Reason::SecondaryBitmap }]
    );
}

#[test]
fn what_the_encoder_would_write_otherwise_is_kept() {
    let packed = |digits: &str| hex::decode(digits.replace(' ', "")).unwrap();
    let ascii = |text: &str| text.replace(' ', "").into_bytes();
    let rows = [
        ("pad F before DE 22", "edc", packed("6000030000 0200 0000040000000000 F021")),
        ("pad 9 after DE 22", "unionpay-pos", packed("6000030000 603100311000 0200 0000040000000000 0219")),
        ("pad F before DE 23", "unionpay-pos", packed("6000030000 603100311000 0200 0000020000000000 F001")),
        ("PAN with pad F", "edc", packed("6000030000 0200 4000000000000000 13 4000000000002F")),
        ("PAN with pad 0", "edc", packed("6000030000 0200 4000000000000000 13 40000000000020")),
        ("odd track with pad 0", "edc", packed("6000030000 0200 0000000020000000 05 1234D0")),
        ("odd track with pad F", "edc", packed("6000030000 0200 0000000020000000 05 12D34F")),
        (
            "bitmap in lower case",
            "iso87-ascii",
            ascii("0200 20000000 20c08000 000000 041=22 00000102 898310058120002 156"),
        ),
        ("track with =", "iso87-ascii", ascii("0200 0000000020000000 041=22")),
        ("track with D", "iso87-ascii", ascii("0200 0000000020000000 041D22")),
        ("PIN block in lower case", "iso87-ascii", ascii("0200 0000000000001000 0a1b2c3d4e5f6071")),
        ("empty secondary bitmap", "iso87-ascii", ascii("0200 A000000000000000 0000000000000000 000000")),
        (
            "long form of a TLV length",
            "edc",
            packed("6000030000 0200 0000000000000200 0008 9C810100 8A023030"),
        ),
        ("octets that are no TLV", "edc", packed("6000030000 0200 0000000000000200 0003 9C0501")),
        ("more than the parts hold", "edc", packed("6000030000 0500 0000000000000010 0008 3030303030313233")),
    ];
    for (name, dialect, body) in rows {
        let message = Message::decode(spec(dialect), &body).unwrap_or_else(|error| panic!("{name}: {error}"));
        let again = message.encode(spec(dialect)).unwrap();
        assert_eq!(hex::encode_upper(again), hex::encode_upper(&body), "{name}");
    }
}

#[test]
fn a_field_set_anew_is_written_the_encoders_way() {
    let spec = spec("edc");
    let body = hex::decode("600003000002004000000000000000134000000000002F").unwrap();
    let mut message = Message::decode(spec, &body).unwrap();
    message.set(2, "5555555555554444");
    message.set(11, "000009");
    let written = hex::encode_upper(message.encode(spec).unwrap());
    assert_eq!(written, "600003000002004020000000000000165555555555554444000009");
    message.remove(2);
    assert_eq!(hex::encode_upper(message.encode(spec).unwrap()), "600003000002000020000000000000000009");
}

#[test]
fn nothing_sensitive_is_described() {
    let secrets =
        ["6225880012345675", "605CAB8CE0D1A2B9", "4000000000000002", "521050D6", "0A1B2C3D", "30122010"];
    for vector in GOOD {
        let (body, spec) = (vector.body(), spec(vector.spec));
        let message = Message::decode(spec, &body).unwrap();
        let (masked, clear) =
            (message.describe(spec, Masking::Masked), message.describe(spec, Masking::Clear));
        for secret in secrets {
            assert!(!masked.contains(secret), "{masked}");
        }
        assert!(!format!("{message:?}{:?}", View::decode(spec, &body).unwrap()).contains("62258800"));
        for (de, content) in vector.fields.iter().filter(|(de, _)| !matches!(de, 53 | 60 | 90)) {
            assert!(clear.contains(content), "{} field {de}: {clear}", vector.name);
        }
    }
}

#[test]
fn the_golden_sale_described() {
    let spec = spec("unionpay-pos");
    let message = Message::decode(spec, &GOOD[2].body()).unwrap();
    let text = message.describe(spec, Masking::Masked);
    let rows = [
        "unionpay-pos 0200 financial",
        "    TPDU                                   6000030000",
        "  3 processing code                        000000 (goods and services)",
        " 22 POS entry mode                         021 (magnetic stripe)",
        " 35 track 2                                **********************************",
        " 52 PIN block                              ****************",
        " 64 MAC                                    4441443644393837",
    ];
    for row in rows {
        assert!(text.lines().any(|line| line == row), "{row}\n{text}");
    }
    assert!(text.contains("1=22 (transaction type), 2=000001 (batch number)"), "{text}");
}

/// A value as people write it: parts in brackets.
fn written(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Bytes(octets) => hex::encode_upper(octets),
        Value::Composite(parts) => {
            let parts: Vec<_> =
                parts.iter().map(|(name, part)| format!("{name}={}", written(part))).collect();
            format!("[{}]", parts.join(" "))
        }
    }
}

#[test]
fn composites_by_position_and_by_tag() {
    let item = "00000007000062258800123456750000000100000100000800004000000000000002000000000200";
    let upload = format!("02{item}");
    let totals = "0000000300000030000000100000010".to_owned() + &"0".repeat(31);
    let balance = "1002156C000000012345";
    // (dialect, MTI, field, content, parts, parts masked)
    let rows = [
        ("unionpay-pos", "0200", 60, "22000001000500", "[1=22 2=000001 3=000 4=5 5=0 6=0]", ""),
        ("unionpay-pos", "0200", 60, "2200000", "[1=22 2=00000]", ""),
        ("unionpay-pos", "0200", 61, "000001000007", "[1=000001 2=000007]", ""),
        ("unionpay-pos", "0320", 48, "0002", "0002", ""),
        (
            "unionpay-pos",
            "0320",
            48,
            &upload,
            "[count=02 item=[type=00 stan=000007 pan=00006225880012345675 amount=000000010000] \
             item=[type=01 stan=000008 pan=00004000000000000002 amount=000000000200]]",
            "[count=02 item=[type=00 stan=000007 pan=0000622588******5675 amount=000000010000] \
             item=[type=01 stan=000008 pan=0000400000******0002 amount=000000000200]]",
        ),
        (
            "unionpay-pos",
            "0500",
            48,
            &totals,
            "[1=000000030000 2=003 3=000000010000 4=001 5=0 6=000000000000 7=000 8=000000000000 9=000 10=0]",
            "",
        ),
        (
            "unionpay-pos",
            "0210",
            54,
            balance,
            "[item=[account=10 type=02 currency=156 sign=C amount=000000012345]]",
            "",
        ),
        (
            "unionpay-pos",
            "0200",
            55,
            "9F2608A1A2A3A4A5A6A7A8 5A086225880012345675 5713 6225880012345675D30122010000012345678F 7207 9F180400000001",
            "[9F26=A1A2A3A4A5A6A7A8 5A=6225880012345675 57=6225880012345675D30122010000012345678F \
             72=[9F18=00000001]]",
            "[9F26=A1A2A3A4A5A6A7A8 5A=622588******5675 57=************************************** \
             72=[9F18=00000001]]",
        ),
        ("edc", "0500", 60, "000012", "[1=000012]", ""),
        ("edc", "0320", 60, "0200000042532600000042", "[1=0200 2=000042 3=532600000042]", ""),
        ("edc", "0200", 60, "000000012345", "000000012345", ""),
        (
            "iso87-ascii",
            "0420",
            90,
            "020000004211221234560000012345600000000000",
            "[1=0200 2=000042 3=1122123456 4=00000123456 5=00000000000]",
            "",
        ),
    ];
    for (dialect, mti, de, content, parts, masked) in rows {
        let spec = spec(dialect);
        let mut encoder = Encoder::new(spec, Mti::new(mti).unwrap());
        if spec.tpdu_len() > 0 {
            encoder.tpdu(&[0x60, 0, 3, 0, 0]).unwrap();
        }
        if spec.header_len() > 0 {
            encoder.header(&[0x61; 6]).unwrap();
        }
        match spec.field(de).unwrap().is_binary() {
            true => encoder.bytes(de, &hex::decode(content.replace(' ', "")).unwrap()).unwrap(),
            false => encoder.text(de, content).unwrap(),
        }
        let message = Message::decode(spec, &encoder.finish().unwrap()).unwrap();
        let value = message.get(de).unwrap();
        assert_eq!(written(value), parts, "{dialect} {mti} {de}");
        let shown = message.shown(spec, Masking::Masked);
        assert_eq!(written(&shown[0].1), if masked.is_empty() { parts } else { masked });
        let mut again = message.clone();
        again.set(de, value.clone());
        assert_eq!(again.encode(spec), message.encode(spec), "{dialect} {mti} {de}");
    }
}

#[test]
fn a_composite_with_a_wrong_part_names_it() {
    let part = |name: &str, text: &str| (name.to_owned(), Value::from(text));
    let rows = [
        (vec![part("1", "22"), part("2", "0000011")], "2"),
        (vec![part("1", "22"), part("3", "000001")], "3"),
        (vec![part("1", "2"), part("2", "000001")], "1"),
        (vec![part("9", "22")], "9"),
    ];
    let spec = spec("unionpay-pos");
    let mut message = Message::decode(spec, &GOOD[2].body()).unwrap();
    for (parts, name) in rows {
        message.set(60, parts);
        let expected = EncodeError::Part { field: 60, part: name.to_owned() };
        assert_eq!(message.encode(spec), Err(expected));
    }
    message.set(60, vec![0x22]);
    assert_eq!(message.encode(spec), Err(EncodeError::Kind { field: 60 }));
}
