//! The codec against wire vectors: good ones field by field and byte for byte, bad ones fault by fault.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod vectors;

use iso8583_spec::{
    DecodeError, EncodeError, Encoder, Fault, Masking, Message, Mti, Part, Reason, Spec, Value, ValueFault,
    View,
};
use vectors::{GOOD, Vector};

fn spec(name: &str) -> &'static Spec {
    Spec::builtin(name).unwrap()
}

fn fault(field: u8, offset: usize, structural: bool, reason: Reason) -> Fault {
    Fault { field, part: String::new(), offset, structural, reason }
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
        let trailing = fault(0, offset, true, Reason::Trailing);
        let view = View::decode(spec, &body).unwrap();
        assert_eq!(view.faults(), std::slice::from_ref(&trailing), "{}", vector.name);
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
    let content = |field, offset, reason| fault(field, offset, false, reason);
    let lost = |field, offset, reason| fault(field, offset, true, reason);
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
    let fault = fault(2, 22, false, Reason::TooLong);
    assert_eq!(view.faults(), std::slice::from_ref(&fault));
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
    assert_eq!(view.faults(), [fault(1, 20, true, Reason::SecondaryBitmap)]);
}

#[test]
fn what_could_be_read_of_a_message_is_a_message() {
    let (spec, body) = patched(2, 13, &[0xB0]);
    let view = View::decode(spec, &body).unwrap();
    assert_eq!(view.faults(), [fault(1, 21, true, Reason::SecondaryBitmap)]);
    let again = Message::from_view(&view).encode(spec).unwrap();
    assert_eq!(hex::encode(again), hex::encode(GOOD[2].body()), "no bitmap is announced that is not there");
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
        let view = View::decode(spec, &body).unwrap();
        let (masked, clear) = (view.describe(Masking::Masked), view.describe(Masking::Clear));
        for secret in secrets {
            assert!(!masked.contains(secret), "{masked}");
        }
        assert!(!format!("{message:?}{:?}", View::decode(spec, &body).unwrap()).contains("62258800"));
        for (de, content) in vector.fields.iter().filter(|(de, _)| *de != 55) {
            assert!(clear.contains(content), "{} field {de}: {clear}", vector.name);
        }
    }
}

#[test]
fn the_golden_sale_described() {
    let spec = spec("unionpay-pos");
    let body = GOOD[2].body();
    let text = View::decode(spec, &body).unwrap().describe(Masking::Masked);
    let rows = [
        "unionpay-pos 0200 financial request, 114 octets",
        "    0 6000030000                       TPDU      transport header                   (id 60, to 0003, from 0000)",
        "    7                                  header.3.1 terminal state                     0 (normal)",
        "   11 0200                             MTI       message type                       0200 (financial request)",
        "   21 000000                           3         processing code                    000000 (goods and services)",
        "   33 0210                             22        POS entry mode                     021 (magnetic stripe, PIN entry)",
        "   37 34****************************** 35        track 2                            **********************************",
        "   53 ****",
        "   81 ****************                 52        PIN block                          ****************",
        "   99                                  60.1      transaction type                   22",
        "  106 4441443644393837                 64        MAC                                4441443644393837",
    ];
    for row in rows {
        assert!(text.lines().any(|line| line == row), "{row}\n{text}");
    }
}

/// A value as people write it: parts in brackets.
fn written(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Bytes(octets) => hex::encode_upper(octets),
        Value::Composite(parts) => {
            let parts: Vec<_> =
                parts.parts().map(|(name, part)| format!("{name}={}", written(part))).collect();
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
        if let (_, length @ 1..) = spec.header_lengths() {
            encoder.header(&vec![0x61; length]).unwrap();
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
    let length = |length, of| ValueFault::Length { length, min: of, max: of };
    let rows = [
        (vec![part("1", "22"), part("2", "0000011")], "2", length(7, 6)),
        (vec![part("1", "22"), part("3", "000001")], "3", ValueFault::Misplaced),
        (vec![part("1", "2"), part("2", "000001")], "1", length(1, 2)),
        (vec![part("9", "22")], "9", ValueFault::Misplaced),
    ];
    let spec = spec("unionpay-pos");
    let mut message = Message::decode(spec, &GOOD[2].body()).unwrap();
    for (parts, name, fault) in rows {
        message.set(60, parts);
        let expected = EncodeError::Value { field: 60, part: name.to_owned(), fault };
        assert_eq!(message.encode(spec), Err(expected));
    }
    message.set(60, vec![0x22]);
    assert_eq!(
        message.encode(spec),
        Err(EncodeError::Value { field: 60, part: String::new(), fault: ValueFault::Kind })
    );
}

#[test]
fn a_tag_is_as_long_as_its_value() {
    let spec = spec("ipm-ascii");
    let mut message = Message::new(Mti::new("1240").unwrap());
    message.set(48, vec![("0023".to_owned(), Value::from("PO")), ("0158".to_owned(), Value::from("A"))]);
    assert!(message.encode(spec).unwrap().ends_with(b"0170023002PO0158001A"));
    let fill = r#"48 = { tlv = "pds", tags = { "0001" = { min = 2, max = 2, fill = { side = "left", with = "0" } } } }"#;
    let faults = Spec::parse(&format!("name = \"own\"\nextends = \"ipm\"\n[fields]\n{fill}\n")).unwrap_err();
    assert!(faults[0].reason.contains("only a fixed field is filled up"), "{faults:?}");
}

/// A dialect of fields as they are given, beside others that nobody needs.
fn dialect(fields: &str) -> Spec {
    let source = format!("name = \"own\"\nextends = \"iso87-ascii\"\n[fields]\n{fields}\n");
    Spec::parse(&source).unwrap()
}

#[test]
fn the_view_reads_parts_as_the_message_does() {
    let ebcdic = r#"61 = { content = "b", max = 99, prefix = "LL", encoding = "binary", parts = [
        { name = "1", content = "an", length = 4, encoding = "ebcdic-037", parts = [
            { name = "a", length = 2 }, { name = "b", length = 2 } ] },
        { name = "2", content = "n", length = 3, encoding = "bcd", align = "left", parts = [
            { name = "a", length = 1 }, { name = "b", length = 2 } ] },
        { name = "3", length = 2, encoding = "hex", parts = [ { name = "a", length = 1 }, { name = "b", length = 1 } ] },
    ] }"#;
    let track = r#"61 = { content = "ans", max = 99, prefix = "LL", parts = [
        { name = "1", content = "z", length = 4 } ] }"#;
    let body = |octets: &[u8]| [b"02000000000000000008".as_slice(), octets].concat();
    let octets = b"10\xC1\xF1\x40\xF2\x12\x3002FF";
    // (dialect, body, path, content)
    let rows: [(Spec, Vec<u8>, &str, &str); 10] = [
        (dialect(ebcdic), body(octets), "1", "A1 2"),
        (dialect(ebcdic), body(octets), "1.a", "A1"),
        (dialect(ebcdic), body(octets), "1.b", " 2"),
        (dialect(ebcdic), body(octets), "2.a", "1"),
        (dialect(ebcdic), body(octets), "2.b", "23"),
        (dialect(ebcdic), body(octets), "3", "02FF"),
        (dialect(ebcdic), body(octets), "3.b", "FF"),
        (dialect(track), body(b"0412=4"), "1", "12D4"),
        (dialect(track), body(b"0412D4"), "1", "12D4"),
        (dialect(track), body(b"041234"), "1", "1234"),
    ];
    for (spec, body, path, content) in rows {
        let view = View::decode(&spec, &body).unwrap();
        assert_eq!(view.inspect(), []);
        let text = view.part_text(61, path).map(|text| text.to_string());
        let read = text.or_else(|| view.part_bytes(61, path).map(hex::encode_upper));
        assert_eq!(read.as_deref(), Some(content), "{path}");
        let message = Message::decode(&spec, &body).unwrap();
        match message.at(&format!("61.{path}")).unwrap() {
            Value::Composite(parts) => assert_eq!(parts.parts().count(), 2, "{path}"),
            value @ (Value::Text(_) | Value::Bytes(_)) => assert_eq!(written(value), content, "{path}"),
        }
    }
    let chip = b"0200000000000000020000972079F180400000001";
    let view = View::decode(spec("iso87-ascii"), chip).unwrap();
    assert_eq!(view.part_bytes(55, "72.9F18").unwrap(), [0, 0, 0, 1].as_slice());
}

#[test]
fn the_value_of_a_tag_is_as_long_as_it_is_given() {
    let form = r#"{ tag = 1, tag_encoding = "binary", length = 1, length_encoding = "binary" }"#;
    let field = |tag: &str| {
        format!(
            r#"61 = {{ content = "b", max = 99, prefix = "LL", encoding = "binary", tlv = {form}, tags = {{ 01 = {{ {tag} }} }} }}"#
        )
    };
    let packed = r#"content = "n", encoding = "bcd", align = "right", pad = "0""#;
    // (what the dialect says of the tag, content, the element, or the length in whose place it may be from where)
    type Row = (&'static str, &'static str, Result<&'static str, (usize, usize, usize)>);
    let rows: [Row; 10] = [
        (r#"content = "ans""#, "A", Ok("010141")),
        (r#"content = "ans", max = 3"#, "A", Ok("010141")),
        (r#"content = "ans", length = 3"#, "A", Ok("0103412020")),
        (r#"content = "n", encoding = "ebcdic-037""#, "12", Ok("0102F1F2")),
        (packed, "1234", Ok("01021234")),
        (packed, "123", Err((3, 4, 65_535))),
        (r#"content = "n", encoding = "bcd", align = "right", max = 3"#, "123", Ok("01020123")),
        (r#"content = "n", encoding = "bcd", align = "left", pad = "F""#, "123", Ok("0102123F")),
        (r#"content = "x+n", encoding = "bcd", align = "right""#, "C1234", Ok("0103431234")),
        (
            r#"content = "x+n", encoding = "bcd", align = "right", pad = "F", max = 3"#,
            "D123",
            Ok("010344F123"),
        ),
    ];
    for (tag, content, expected) in rows {
        let spec = dialect(&field(tag));
        let mut message = Message::new(Mti::FINANCIAL);
        message.set(61, vec![("01".to_owned(), Value::from(content))]);
        let written = message.encode(&spec).map(|body| hex::encode_upper(&body[22..]));
        let refused = |(length, min, max)| EncodeError::Value {
            field: 61,
            part: "01".to_owned(),
            fault: ValueFault::Length { length, min, max },
        };
        assert_eq!(written, expected.map(str::to_owned).map_err(refused), "{tag}");
        if let Ok(body) = message.encode(&spec) {
            let read = Message::decode(&spec, &body).unwrap();
            let padded = if tag.contains("length") { "A  " } else { content };
            assert_eq!(read.at("61.01"), Some(&Value::from(padded)), "{tag}");
            assert_eq!(read.tolerated().count(), 0, "{tag}");
        }
    }
    let spec = dialect(&field(r#"content = "b", encoding = "hex""#));
    let body = b"0200000000000000000805\x01\x030A1";
    let half =
        Fault { field: 61, part: "01".to_owned(), offset: 26, structural: false, reason: Reason::NotHex };
    assert_eq!(View::decode(&spec, body).unwrap().inspect(), [half]);
    for (tag, reason) in [
        (r#"content = "ans", fill = { side = "right", with = " " }"#, "only a fixed field is filled up"),
        (
            r#"content = "zx", encoding = "bcd", pad = "F""#,
            "content zx of a tag needs pad 0: its last nibble may be any",
        ),
    ] {
        let source = format!("name = \"own\"\nextends = \"iso87-ascii\"\n[fields]\n{}\n", field(tag));
        assert_eq!(Spec::parse(&source).unwrap_err()[0].reason, reason);
    }
}

/// Field 61 of content ans with letters of ISO 8859-1, and whatever else it is said to be.
fn latin(keys: &str) -> Spec {
    dialect(&format!(r#"61 = {{ content = "ans", characters = "latin-1", {keys} }}"#))
}

const TO_99: &str = r#"max = 99, prefix = "LL""#;
const PARTS: &str = r#"parts = [ { name = "1", length = 4 }, { name = "2", max = 9, prefix = "L" }, { name = "3", length = 2 } ]"#;
const INSIDE_OCTETS: &str = r#"61 = { content = "b", max = 99, prefix = "LL", encoding = "binary", parts = [
    { name = "1", content = "ans", characters = "latin-1", length = 3, encoding = "ebcdic-500", parts = [
        { name = "a", length = 2 }, { name = "b", length = 1 } ] },
    { name = "2", content = "ans", characters = "latin-1", length = 2, encoding = "ascii" } ] }"#;

#[test]
fn letters_beyond_ascii_both_ways() {
    let ebcdic = |page: &str| latin(&format!(r#"{TO_99}, encoding = "ebcdic-{page}""#));
    let octets = r#"encoding = "ebcdic-500", prefix_unit = "octets""#;
    let tags = r#"tlv = "pds", tags = { "0002" = { name = "narrow", characters = "ascii" } }"#;
    let repeated = r#"items = [ { name = "a", length = 2 }, { name = "b", length = 1 } ]"#;
    // (dialect, text, field on the wire)
    let rows: [(Spec, &str, &[u8]); 13] = [
        (latin(TO_99), "CAFE", b"04CAFE"),
        (latin(TO_99), "CAFÉ\u{A0}ÿ", b"06CAF\xC9\xA0\xFF"),
        // What would be UTF-8 of one letter is two letters.
        (latin(TO_99), "Ã©", b"02\xC3\xA9"),
        (latin("length = 6"), "MÜ    ", b"M\xDC    "),
        (ebcdic("037"), "é[^¢¬", b"05\x51\xBA\xB0\x4A\x5F"),
        (ebcdic("500"), "é[^¢¬", b"05\x51\x4A\x5F\xB0\xBA"),
        (ebcdic("1047"), "é[^¨Ý", b"05\x51\xAD\x5F\xBB\xBA"),
        (latin(&format!("{TO_99}, {octets}")), "Üé", b"02\xFC\x51"),
        (latin(&format!("{TO_99}, {PARTS}")), "éÜßñ2öäXY", b"09\xE9\xDC\xDF\xF12\xF6\xE4XY"),
        (
            latin(&format!("{TO_99}, {PARTS}, encoding = \"ebcdic-037\"")),
            "éabc1ÜX",
            b"07\x51\x81\x82\x83\xF1\xFC\xE7",
        ),
        (latin(&format!("{TO_99}, {repeated}")), "äaböcd", b"06\xE4ab\xF6cd"),
        (latin(&format!("{TO_99}, {tags}")), "0001002éè0002002ab", b"180001002\xE9\xE80002002ab"),
        (latin(&format!("{TO_99}, {tags}")), "0002002éè", b"090002002\xE9\xE8"),
    ];
    for (spec, text, wire) in rows {
        let body = [b"02000000000000000008".as_slice(), wire].concat();
        let mut encoder = Encoder::new(&spec, Mti::new("0200").unwrap());
        encoder.text(61, text).unwrap();
        assert_eq!(hex::encode_upper(encoder.finish().unwrap()), hex::encode_upper(&body), "{text}");
        let view = View::decode(&spec, &body).unwrap();
        assert_eq!((view.faults(), view.text(61).unwrap().as_ref()), (&[][..], text));
        let count = text.chars().count();
        assert_eq!(format!("{:?}", view.text(61).unwrap()), format!("Text({count} characters)"));
        let mut message = Message::decode(&spec, &body).unwrap();
        assert_eq!(message.encode(&spec).unwrap(), body, "{text}");
        message.set(61, message.get(61).unwrap().clone());
        assert_eq!(message.encode(&spec).unwrap(), body, "{text}");
        message.set(61, text);
        assert_eq!(message.encode(&spec).unwrap(), body, "{text}");
    }
    let short = latin("length = 6");
    let mut encoder = Encoder::new(&short, Mti::new("0200").unwrap());
    encoder.text(61, "MÜ").unwrap();
    assert!(encoder.finish().unwrap().ends_with(b"M\xDC    "), "filled up to six characters");
}

#[test]
fn parts_behind_a_letter_beyond_ascii() {
    let tags = r#"tlv = "pds", tags = { "0001" = { name = "parted", parts = [
        { name = "a", length = 1 }, { name = "b", length = 1 } ] } }"#;
    let plain = latin(&format!("{TO_99}, {PARTS}"));
    let packed = latin(&format!("{TO_99}, {PARTS}, encoding = \"ebcdic-500\""));
    // (dialect, field on the wire, path, content)
    let rows: [(&Spec, &[u8], &str, &str); 15] = [
        (&plain, b"09\xE9\xDC\xDF\xF12\xF6\xE4XY", "1", "éÜßñ"),
        (&plain, b"09\xE9\xDC\xDF\xF12\xF6\xE4XY", "2", "öä"),
        (&plain, b"09\xE9\xDC\xDF\xF12\xF6\xE4XY", "3", "XY"),
        (&plain, b"09\xE9bcd2\xF6\xE4\xFFZ", "3", "ÿZ"),
        (&plain, b"11\xE9bcd2\xF6\xE4XY\xFFZ", "rest", "ÿZ"),
        (&packed, b"08\x51\x81\x82\x83\xF1\xFC\xE7\xDC", "1", "éabc"),
        (&packed, b"08\x51\x81\x82\x83\xF1\xFC\xE7\xDC", "2", "Ü"),
        (&packed, b"08\x51\x81\x82\x83\xF1\xFC\xE7\xDC", "3", "Xü"),
        (&packed, b"08\x81\x81\x82\x83\xF1\xE7\xE7\xE7", "2", "X"),
        (&latin(&format!("{TO_99}, {tags}")), b"180001002\xE9\xE80002002ab", "0001.b", "è"),
        (&latin(&format!("{TO_99}, {tags}")), b"180001002\xE9\xE80002002ab", "0002", "ab"),
        (&dialect(INSIDE_OCTETS), b"05\x51\xFC\xC1\xE9\xDF", "1", "éÜA"),
        (&dialect(INSIDE_OCTETS), b"05\x51\xFC\xC1\xE9\xDF", "1.a", "éÜ"),
        (&dialect(INSIDE_OCTETS), b"05\x51\xFC\xC1\xE9\xDF", "1.b", "A"),
        (&dialect(INSIDE_OCTETS), b"05\x51\xFC\xC1\xE9\xDF", "2", "éß"),
    ];
    for (spec, wire, path, content) in rows {
        let body = [b"02000000000000000008".as_slice(), wire].concat();
        let view = View::decode(spec, &body).unwrap();
        assert_eq!(view.inspect(), []);
        let message = Message::decode(spec, &body).unwrap();
        let value = message.at(&format!("61.{path}")).unwrap();
        assert_eq!(value.joined().as_deref(), Some(content), "{path}");
        if path != "rest" {
            assert_eq!(view.part_text(61, path).unwrap(), content, "{path}");
        }
        let mut again = message.clone();
        assert!(again.set_part(&format!("61.{path}"), value.clone()));
        assert_eq!(again.encode(spec).unwrap(), body, "{path}");
        assert!(view.describe(Masking::Clear).contains(content), "{path}");
    }
}

#[test]
fn what_is_hidden_is_not_told_in_other_words() {
    let parts = r#"parts = [{ name = "1", max = 9, prefix = "L", sensitivity = "pin" }]"#;
    // (field, content, what must not show)
    let rows = [
        // Its meaning.
        (
            r#"61 = { content = "n", length = 2, sensitivity = "secret", values = { 12 = "a dozen" } }"#
                .to_owned(),
            "12",
            "a dozen",
        ),
        // A PIN in a field that cannot be parted: the length goes beyond its end.
        (format!(r#"61 = {{ content = "n", max = 99, prefix = "LL", {parts} }}"#), "059842", "9842"),
        // Its octets beside the fault of one of them.
        (format!(r#"61 = {{ content = "n", max = 99, prefix = "LL", {parts} }}"#), "0539a42", "42"),
    ];
    for (field, content, hidden) in rows {
        let spec = dialect(&field);
        let body = format!("02000000000000000008{content}");
        let view = View::decode(&spec, body.as_bytes()).unwrap();
        let dump = view.describe(Masking::Masked);
        assert!(!dump.contains(hidden), "{dump}");
        let values = Message::from_view(&view).shown(&spec, Masking::Masked);
        assert!(values.iter().all(|(_, value)| !written(value).contains(hidden)));
    }
}

#[test]
fn what_the_encoder_writes_is_not_tolerated() {
    let track =
        dialect(r#"61 = { content = "z", max = 99, prefix = "LL", parts = [{ name = "1", length = 4 }] }"#);
    let rows: [(&Spec, Mti, u8, Value, &str); 2] = [
        // The last part of a field may be short.
        (
            spec("iso87-ascii"),
            Mti::REVERSAL_ADVICE,
            54,
            Value::from("1002156C0000000123451002156C00001"),
            "54.item.amount",
        ),
        (&track, Mti::FINANCIAL, 61, Value::from("12=4"), "61.1"),
    ];
    for (spec, mti, de, value, part) in rows {
        let mut message = Message::new(mti);
        message.set(de, value);
        let body = message.encode(spec).unwrap();
        let read = Message::decode(spec, &body).unwrap();
        assert!(read.at(part).is_some(), "{part}");
        assert_eq!(read.tolerated().collect::<Vec<_>>(), [] as [u8; 0], "{part}");
        let mut anew = read.clone();
        assert!(anew.set_part(part, read.at(part).unwrap().clone()));
        assert_eq!(anew.encode(spec), Ok(body));
    }
}

#[test]
fn what_is_beyond_the_repertoire_is_refused() {
    let parted = format!("{TO_99}, {PARTS}");
    let ebcdic = format!("{TO_99}, encoding = \"ebcdic-500\"");
    let ascii = r#"61 = { content = "ans", max = 99, prefix = "LL" }"#;
    let fault = |offset| Fault {
        field: 61,
        part: String::new(),
        offset,
        structural: false,
        reason: Reason::Character,
    };
    // (dialect, field on the wire, offset in the body)
    let rows: [(Spec, &[u8], usize); 7] = [
        (latin(TO_99), b"04\xE9\xDC\x85A", 24),
        (latin(TO_99), b"04\xE9\xDC\x7FA", 24),
        (latin(TO_99), b"04\xE9\xDC\x9FA", 24),
        (latin(TO_99), b"04\xE9\xDC\nA", 24),
        (latin(&ebcdic), b"04\x51\xFC\x15A", 24),
        (latin(&ebcdic), b"04\x51\xFC\xFFA", 24),
        (dialect(ascii), b"04ABC\xE9", 25),
    ];
    for (spec, wire, offset) in rows {
        let body = [b"02000000000000000008".as_slice(), wire].concat();
        let view = View::decode(&spec, &body).unwrap();
        assert_eq!(view.faults(), [fault(offset)], "{wire:02X?}");
        assert!(view.text(61).is_none());
    }
    let content = |index| ValueFault::Content { index, reason: Reason::Character };
    let length = |length| ValueFault::Length { length, min: 4, max: 4 };
    // (dialect, text, fault)
    let rows: [(Spec, &str, ValueFault); 9] = [
        (latin(TO_99), "éÜ茶A", content(2)),
        (latin(TO_99), "éÜ€A", content(2)),
        (latin(TO_99), "éÜ\u{85}A", content(2)),
        (latin(TO_99), "éÜ\0A", content(2)),
        (latin(&ebcdic), "é茶", content(1)),
        (latin(&parted), "éÜ茶A", content(2)),
        (dialect(ascii), "ABÉ", content(2)),
        (latin(r#"length = 4, fill = { side = "right", with = "." }"#), "éÜßñö", length(5)),
        (dialect(r#"61 = { content = "n", length = 4 }"#), "éÜßñö", length(5)),
    ];
    for (spec, text, fault) in rows {
        let refused = Err(EncodeError::Value { field: 61, part: String::new(), fault });
        let mut encoder = Encoder::new(&spec, Mti::new("0200").unwrap());
        assert_eq!(encoder.text(61, text), refused, "{text}");
        assert!(encoder.finish().unwrap().ends_with(b"0000000000000000"), "{text}");
        let mut message = Message::new(Mti::new("0200").unwrap());
        message.set(61, text);
        assert_eq!(message.encode(&spec).map(|_| ()), refused, "{text}");
    }
}

#[test]
fn a_star_for_every_character() {
    let spec = latin(&format!("{TO_99}, sensitivity = \"secret\""));
    let view = View::decode(&spec, b"0200000000000000000804\xE9\xDCAB").unwrap();
    let shown = Message::from_view(&view).shown(&spec, Masking::Masked);
    assert_eq!(shown, [(61, Value::from("****"))]);
}

#[test]
fn characters_are_of_content_ans() {
    let source = |defaults: &str, field: &str| {
        format!("name = \"own\"\nextends = \"iso87-ascii\"\n{defaults}\n[fields]\n61 = {{ {field} }}\n")
    };
    let latin = "[defaults]\ncharacters = \"latin-1\"";
    let long = r#"max = 99, prefix = "LL""#;
    // (defaults, field 61, what is wrong)
    let rows = [
        ("", format!(r#"content = "an", {long}, characters = "latin-1""#), "content ans alone"),
        ("", format!(r#"content = "b", {long}, characters = "latin-1""#), "content ans alone"),
        ("", format!(r#"content = "ans", {long}, characters = "utf-8""#), "none of ascii, latin-1"),
        (
            "",
            format!(
                r#"content = "ans", {long}, parts = [ {{ name = "1", length = 2, characters = "latin-1" }} ]"#
            ),
            "the field around it",
        ),
        (latin, format!(r#"content = "an", {long}"#), ""),
        (latin, format!(r#"content = "b", {long}"#), ""),
        (latin, format!(r#"content = "n", {long}, parts = [ {{ name = "1", length = 2 }} ]"#), ""),
    ];
    for (defaults, field, wrong) in rows {
        let faults = Spec::parse(&source(defaults, &field)).err().unwrap_or_default();
        let found = faults.first().map_or(String::new(), ToString::to_string);
        assert!(found.contains(wrong) && found.is_empty() == wrong.is_empty(), "{field}: {found}");
    }
    let spec = Spec::parse(&source(latin, &format!(r#"content = "ans", {long}"#))).unwrap();
    assert_eq!(spec.field(61).unwrap().writing(), "ascii, characters latin-1, prefix LL ascii");
    assert_eq!(spec.field(41).unwrap().writing(), "ascii, characters latin-1");
    assert_eq!(spec.field(39).unwrap().writing(), "ascii");
}

#[test]
fn a_template_is_followed_whatever_the_values_of_the_elements_are() {
    let spec = Spec::parse(
        "name = 'chip'\nextends = 'iso87-ascii'\n[fields]\n\
         62 = { content = 'b', encoding = 'binary', max = 99, prefix = 'LL', tlv = 'ber', value = { content = 'n', encoding = 'bcd' } }\n",
    )
    .unwrap();
    // Template 69 with 55 in it, of one octet, of none, and with zeros behind it.
    for (chip, text) in [("6903550112", "12"), ("69025500", ""), ("6905550112_0000", "12")] {
        let chip = hex::decode(chip.replace('_', "")).unwrap();
        let mut body = b"08000000000000000004".to_vec();
        body.extend(format!("{:02}", chip.len()).bytes());
        body.extend(&chip);
        let view = View::decode(&spec, &body).unwrap();
        assert_eq!(view.inspect(), []);
        assert_eq!(view.part_text(62, "69.55").as_deref(), Some(text));
    }
}
