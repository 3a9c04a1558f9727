//! What codecs of such messages are known to get wrong, a table each.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use iso8583_spec::{
    Content, DecodeError, EncodeError, Encoder, Fault, Field, FrameError, Framing, Masking, Message, Mti,
    Reason, Spec, Value, ValueFault, View,
};

fn spec(name: &str) -> &'static Spec {
    Spec::builtin(name).unwrap()
}

fn hex_of(digits: &str) -> Vec<u8> {
    hex::decode(digits.replace(char::is_whitespace, "")).unwrap()
}

/// A dialect of ASCII with a binary bitmap, and these fields.
fn dialect(bitmap: &str, fields: &str) -> Spec {
    let source = format!("name = \"own\"\nextends = \"iso87-ascii\"\n{bitmap}\n[fields]\n{fields}\n");
    Spec::parse(&source).unwrap_or_else(|faults| panic!("{faults:?}\n{source}"))
}

const BINARY: &str = r#"bitmap = { encoding = "binary", fields = 128 }"#;

/// Octets as a field of content `b`, binary and with 3 digits of length, read by a dialect that says this of it.
fn within(keys: &str, octets: &[u8]) -> (Spec, Vec<u8>) {
    let field =
        format!(r#"61 = {{ content = "b", max = 999, prefix = "LLL", encoding = "binary", {keys} }}"#);
    let body = [b"0200\0\0\0\0\0\0\0\x08", format!("{:03}", octets.len()).as_bytes(), octets].concat();
    (dialect(BINARY, &field), body)
}

const BER: &str = r#"tlv = "ber""#;
/// Octets before the content of such a field.
const FRONT: usize = 15;

/// Content that a field takes: as many digits, letters or octets as it must have, and some more.
fn sample(field: &Field) -> String {
    let (min, max) = field.lengths();
    let units = max.min(min + 7);
    let run = |of: &str| of.chars().cycle().take(units).collect::<String>();
    match field.content() {
        Content::N => run("1234567890"),
        Content::A => run("ABC xyz"),
        Content::An => run("A1b2 "),
        Content::Ans => run("A1-b2 ."),
        Content::Ns => run("1-2/ "),
        Content::Z => run("12345D67890"),
        Content::Zx => run("0123456789ABCDEF"),
        Content::Xn => format!("D{}", "0123456789".repeat(2).chars().take(units - 1).collect::<String>()),
        Content::B => "9C".repeat(units),
    }
}

/// A message with every field of a dialect.
fn whole(spec: &Spec) -> Vec<u8> {
    let mut encoder = Encoder::new(spec, Mti::FINANCIAL);
    if spec.tpdu_len() > 0 {
        encoder.tpdu(&[0x60, 0, 3, 0, 0]).unwrap();
    }
    if let (_, length @ 1..) = spec.header_lengths() {
        encoder.header(&vec![u8::try_from(length).unwrap(); length]).unwrap();
    }
    for (de, field) in spec.fields() {
        match field.is_binary() {
            true => encoder.bytes(de, &hex::decode(sample(field)).unwrap()).unwrap(),
            false => encoder.text(de, &sample(field)).unwrap(),
        }
    }
    encoder.finish().unwrap()
}

#[test]
fn octets_after_the_last_field_are_not_ignored() {
    for spec in Spec::builtins() {
        let mut body = whole(spec);
        assert!(View::decode(spec, &body).unwrap().is_sound(), "{}", spec.name());
        let offset = body.len();
        for more in [&[0][..], b" ", &[0xFF; 40]] {
            body.truncate(offset);
            body.extend_from_slice(more);
            let part = String::new();
            let trailing = Fault { field: 0, part, offset, structural: true, reason: Reason::Trailing };
            let view = View::decode(spec, &body).unwrap();
            assert_eq!(view.faults(), std::slice::from_ref(&trailing), "{}", spec.name());
            assert_eq!(Message::decode(spec, &body), Err(DecodeError::Unsound(trailing)));
        }
    }
}

#[test]
fn short_data_is_never_a_message() {
    for spec in Spec::builtins() {
        let body = whole(spec);
        for end in 0..body.len() {
            let offset = match View::decode(spec, &body[..end]) {
                Ok(view) => view.faults().last().filter(|fault| fault.structural).map(|fault| fault.offset),
                Err(DecodeError::Truncated { offset, .. }) => Some(offset),
                Err(_) => None,
            };
            assert!(offset.is_some_and(|offset| offset <= end), "{} cut at {end}", spec.name());
        }
    }
}

#[test]
fn fields_of_every_bitmap_come_back() {
    let fields = (2..=192)
        .filter(|de| *de != 65)
        .map(|de| format!(r#"{de} = {{ name = "{de}", content = "n", length = 3, encoding = "ascii" }}"#));
    let fields = fields.collect::<Vec<_>>().join("\n");
    let places = ["", r#", tertiary = "after-secondary""#, r#", tertiary = "field-65""#];
    let encodings = ["binary", "hex", "ebcdic-hex"];
    for (place, encoding) in places.iter().flat_map(|place| encodings.map(|encoding| (place, encoding))) {
        let bitmap = format!(r#"bitmap = {{ encoding = "{encoding}", fields = 192{place} }}"#);
        let source =
            format!("name = \"own\"\nextends = \"base1\"\nheader = {{ length = 1 }}\n{bitmap}\n[fields]\n");
        let without = (2..=192).filter(|de| spec("base1").field(*de).is_some()).map(|de: u8| de.to_string());
        let without = without.collect::<Vec<_>>().join(", ");
        let source = source.replace("\nheader", &format!("\nwithout = [{without}]\nheader"));
        let spec = Spec::parse(&format!("{source}{fields}")).unwrap();
        // The fields, the octets of bitmaps, and where the third one is among them.
        for fields in [
            &[2][..],
            &[2, 64],
            &[2, 64, 66],
            &[66, 128],
            &[128],
            &[129],
            &[2, 64, 129, 192],
            &[2, 64, 66, 128, 129, 192],
            &[192],
        ] {
            let (mut encoder, mut message) =
                (Encoder::new(&spec, Mti::FINANCIAL), Message::new(Mti::FINANCIAL));
            message.header = Some(vec![9]);
            for de in fields {
                encoder.text(*de, &format!("{de:03}")).unwrap();
                message.set(*de, format!("{de:03}"));
            }
            encoder.header(&[9]).unwrap();
            let body = encoder.finish().unwrap();
            assert_eq!(message.encode(&spec).as_deref(), Ok(body.as_slice()), "{fields:?}{place}");
            let view = View::decode(&spec, &body).unwrap();
            assert_eq!(view.faults(), [], "{fields:?}{place} {encoding}");
            assert_eq!(view.fields().collect::<Vec<_>>(), fields);
            assert_eq!(view.placed().collect::<Vec<_>>(), fields);
            assert!(fields.iter().all(|de| view.text(*de).unwrap() == format!("{de:03}").as_str()));
            let read = Message::decode(&spec, &body).unwrap();
            assert_eq!((read.encode(&spec), read.tolerated().count()), (Ok(body), 0));
        }
    }
    // A bit that no field is read for is a fault.
    let body = b"0200\x80\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0";
    let spec = dialect(BINARY, "");
    let view = View::decode(&spec, body).unwrap();
    let part = String::new();
    let undefined = Fault { field: 65, part, offset: 20, structural: true, reason: Reason::Undefined };
    assert_eq!(view.faults(), [undefined]);
}

#[test]
fn a_number_is_digits_and_keeps_its_zeros() {
    let spec = spec("iso87-ascii");
    for bad in ["+00123", "-00123", " 00123", "00123 ", "0_0123", "0x0123", "1e0005", "000.12", "00012\0"] {
        let mut message = Message::new(Mti::FINANCIAL);
        message.set(3, bad);
        let index = bad.find(|digit: char| !digit.is_ascii_digit()).unwrap();
        let fault = ValueFault::Content { index, reason: Reason::NotDigit };
        let refused = EncodeError::Value { field: 3, part: String::new(), fault };
        assert_eq!(message.encode(spec), Err(refused.clone()), "{bad:?}");
        assert_eq!(Encoder::new(spec, Mti::FINANCIAL).text(3, bad), Err(refused), "{bad:?}");
        let body = format!("02002000000000000000{bad}");
        let view = View::decode(spec, body.as_bytes()).unwrap();
        let found = view.faults().iter().map(|fault| (fault.field, fault.offset, fault.reason));
        assert_eq!(found.collect::<Vec<_>>(), [(3, 20 + index, Reason::NotDigit)], "{bad:?}");
    }
    for good in ["000000", "000100", "999999"] {
        let body = format!("02002000000000000000{good}");
        assert_eq!(Message::decode(spec, body.as_bytes()).unwrap().joined(3).as_deref(), Some(good));
    }
}

#[test]
fn a_letter_among_packed_digits_is_a_fault() {
    // (dialect, field, head, content, nibbles that are no fault)
    let rows = [
        ("edc", 3, "6000030000 0200 2000000000000000", "123456", ""),
        ("edc", 35, "6000030000 0200 0000000020000000 06", "123456", "D"),
        ("unionpay-pos", 35, "6000030000 603100311000 0200 0000000020000000 06", "123456", "ABCDEF"),
        ("edc", 2, "6000030000 0200 4000000000000000 06", "123456", ""),
    ];
    for (name, de, head, content, good) in rows {
        for (place, letter) in (0..6).flat_map(|place| "ABCDEF".chars().map(move |letter| (place, letter))) {
            let mut digits: Vec<char> = content.chars().collect();
            digits[place] = letter;
            let head = hex_of(head);
            let body = [head.as_slice(), &hex_of(&digits.iter().collect::<String>())].concat();
            let view = View::decode(spec(name), &body).unwrap();
            let found: Vec<_> = view.faults().iter().map(|fault| (fault.field, fault.offset)).collect();
            let expected = if good.contains(letter) { vec![] } else { vec![(de, head.len() + place / 2)] };
            assert_eq!(found, expected, "{name} {de} {digits:?}");
        }
    }
}

#[test]
fn a_pad_nibble_is_kept_and_told() {
    let rows = [("edc", "6000030000 0200 4000000000000000 13 400000000000", 2, "0", 'F')];
    for (name, head, de, last, canonical) in rows {
        for nibble in "0123456789ABCDEF".chars() {
            let body = hex_of(&format!("{head}{last}{nibble}"));
            let message = Message::decode(spec(name), &body).unwrap();
            assert_eq!(message.text(de), Some("4000000000000"), "{nibble}");
            assert_eq!(message.encode(spec(name)), Ok(body), "{nibble}");
            let told: Vec<u8> = message.tolerated().collect();
            assert_eq!(told, if nibble == canonical { vec![] } else { vec![de] }, "{nibble}");
        }
    }
}

/// Chip data by its octets: `(tag and value)`, templates in brackets.
fn written(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Bytes(octets) => hex::encode_upper(octets),
        Value::Composite(parts) => {
            let parts = parts.parts().map(|(name, part)| format!("{name}={}", written(part)));
            format!("[{}]", parts.collect::<Vec<_>>().join(" "))
        }
    }
}

#[test]
fn chip_data_comes_back_octet_for_octet() {
    // (octets, parts)
    let rows = [
        // A value of no octets.
        ("5F2A00", "[5F2A=]"),
        ("9500 9C0101 8600", "[95= 9C=01 86=]"),
        // Order and repeats.
        ("9F3602001E 9C0101 9F3602001D 8201AA 9C0102", "[9F36=001E 9C=01 9F36=001D 82=AA 9C=02]"),
        // Tags of three and four octets, and of the largest numbers.
        ("DF812903010203 DF81290102", "[DF8129=010203 DF8129=02]"),
        ("DFFFFF7F0101 FFFFFF7F00 1F01 0100", "[DFFFFF7F=01 FFFFFF7F=[] 1F01=00]"),
        // Templates that nobody knows, one in another, and empty ones.
        ("E106E204E3029C00", "[E1=[E2=[E3=[9C=]]]]"),
        ("7000 BF0C00 9C00", "[70=[] BF0C=[] 9C=]"),
        ("BF0C059F5D021234", "[BF0C=[9F5D=1234]]"),
        // Constructed by its tag, and no elements inside: octets.
        ("E1039C0501", "[E1=9C0501]"),
        ("E101FF", "[E1=FF]"),
        // Zeros between elements, and at the end.
        ("00 9C0101 0000 9500 000000", "[9C=01 95=]"),
        // Lengths longer than they need to be.
        ("9C810101 95820001AA", "[9C=01 95=AA]"),
        ("E1810 3 9C8100".replace(' ', "").leak(), "[E1=[9C=]]"),
    ];
    for (octets, parts) in rows {
        let octets = hex_of(octets);
        let (spec, body) = within(BER, &octets);
        let message = Message::decode(&spec, &body).unwrap();
        let value = message.get(61).unwrap();
        assert_eq!(written(value), parts);
        assert_eq!(message.encode(&spec).as_deref(), Ok(body.as_slice()), "{parts}");
        let mut anew = message.clone();
        anew.set(61, value.clone());
        assert_eq!(anew.encode(&spec).as_deref(), Ok(body.as_slice()), "{parts}");
    }
    let (spec, body) = within(BER, &hex_of("5F2A020156 9C0101"));
    let mut message = Message::decode(&spec, &body).unwrap();
    assert!(message.set_part("61.5F2A", Vec::<u8>::new()));
    assert_eq!(message.encode(&spec), Ok(within(BER, &hex_of("5F2A00 9C0101")).1));
}

#[test]
fn chip_data_that_is_cut_short_is_a_fault() {
    let octets =
        hex_of("9F2608A1A2A3A4A5A6A7A8 DF8129020102 5F2A00 7207 9F180400000001 9C8101AA 95820002BBCC");
    let borders = [0, 11, 17, 20, 29, 33, octets.len()];
    for name in ["edc", "iso87-bcd", "unionpay-pos"] {
        let mut encoder = Encoder::new(spec(name), Mti::FINANCIAL);
        let _ = encoder.tpdu(&[0; 5]);
        let _ = encoder.header(&[0; 6]);
        encoder.bytes(55, &octets).unwrap();
        let body = encoder.finish().unwrap();
        let front = body.len() - octets.len();
        for end in front..body.len() {
            let fault = View::decode(spec(name), &body[..end]).unwrap().faults()[0].clone();
            assert_eq!((fault.field, fault.offset, fault.reason), (55, front, Reason::BeyondEnd));
        }
    }
    // With a length that says how much there is.
    for end in 1..octets.len() {
        let (spec, body) = within(BER, &octets[..end]);
        let view = View::decode(&spec, &body).unwrap();
        let at = *borders.iter().rfind(|border| **border <= end).unwrap();
        // Within the template its own element is the one that is cut.
        let expected = if at == end { vec![] } else { vec![(61, FRONT + at, Reason::BeyondEnd)] };
        let found: Vec<_> =
            view.inspect().iter().map(|fault| (fault.field, fault.offset, fault.reason)).collect();
        assert_eq!(found, expected, "cut at {end}");
        // What is no chip data is kept as it is.
        let message = Message::decode(&spec, &body).unwrap();
        assert_eq!(matches!(message.get(61), Some(Value::Bytes(_))), at != end, "cut at {end}");
        assert_eq!(message.encode(&spec), Ok(body));
    }
}

#[test]
fn tags_and_lengths_that_chip_data_does_not_use_are_faults() {
    // (octets, the part and the octet that are at fault, why)
    let rows = [
        ("9C84FFFFFFFF00", "", 0, Reason::Overlong),
        ("9C88FFFFFFFFFFFFFFFF", "", 0, Reason::Overlong),
        ("9C83000001AA", "", 0, Reason::Overlong),
        ("9C80AA0000", "", 0, Reason::Overlong),
        ("9CFFAA", "", 0, Reason::Overlong),
        ("9C0101 9584FFFFFFFF", "", 3, Reason::Overlong),
        ("9C82FFFF00", "", 0, Reason::BeyondEnd),
        ("9C81FF00", "", 0, Reason::BeyondEnd),
        ("9C7F00", "", 0, Reason::BeyondEnd),
        ("9C82FF", "", 0, Reason::BeyondEnd),
        ("9F", "", 0, Reason::BeyondEnd),
        ("DF81", "", 0, Reason::BeyondEnd),
        ("DF8181810100", "", 0, Reason::Overlong),
        ("DFFFFFFFFF", "", 0, Reason::Overlong),
        // Inside a template it is the template that cannot be parted.
        ("9C0101 E1049C84FFFF", "E1", 5, Reason::Overlong),
        ("E105E2039C7FAA", "E1.E2", 4, Reason::BeyondEnd),
    ];
    for (octets, part, at, reason) in rows {
        let (spec, body) = within(BER, &hex_of(octets));
        let view = View::decode(&spec, &body).unwrap();
        assert!(view.is_sound());
        let offset = FRONT + at;
        let fault = Fault { field: 61, part: part.to_owned(), offset, structural: false, reason };
        assert_eq!(view.inspect(), [fault], "{octets}");
        assert!(view.part_bytes(61, "DF01").is_none());
        assert_eq!(Message::decode(&spec, &body).unwrap().encode(&spec), Ok(body), "{octets}");
    }
}

#[test]
fn templates_inside_templates_do_not_exhaust_the_stack() {
    let field = r#"61 = { content = "b", max = 65535, prefix = "LLLLL", encoding = "binary", tlv = "ber" }"#;
    let spec = dialect(BINARY, field);
    let mut octets = Vec::new();
    while octets.len() < 65_000 {
        let mut outer = Vec::new();
        iso8583_spec::tlv::push(0xE1, &octets, &mut outer);
        octets = outer;
    }
    let head = [b"0200\0\0\0\0\0\0\0\x08", format!("{:05}", octets.len()).as_bytes()].concat();
    let body = [head.as_slice(), &octets].concat();
    let view = View::decode(&spec, &body).unwrap();
    assert_eq!(view.inspect(), []);
    let lines = view.lines(Masking::Masked);
    assert_eq!(lines.last().unwrap().path, format!("61{}", ".E1".repeat(8)), "looked into so deep");
    let message = Message::decode(&spec, &body).unwrap();
    assert_eq!(message.encode(&spec), Ok(body.clone()));
    let path = "E1.".repeat(10_000);
    assert!(view.part_bytes(61, path.trim_end_matches('.')).is_none_or(|octets| octets.len() < 40_000));
}

#[test]
fn content_of_another_length_is_not_written() {
    for spec in Spec::builtins() {
        for (de, field) in spec.fields() {
            let (min, max) = field.lengths();
            let long = format!("{}{}", sample(field), "1".repeat(max));
            let write = |encoder: &mut Encoder<'_>, text: &str| match field.is_binary() {
                true => encoder.bytes(de, text.as_bytes()),
                false => encoder.text(de, text),
            };
            let mut encoder = Encoder::new(spec, Mti::FINANCIAL);
            let mut message = Message::new(Mti::FINANCIAL);
            let length = long.len();
            let fault = ValueFault::Length { length, min, max };
            let refused = EncodeError::Value { field: de, part: String::new(), fault };
            assert_eq!(write(&mut encoder, &long), Err(refused.clone()), "{} {de}", spec.name());
            if spec.tpdu_len() == 0 && spec.header_lengths().1 == 0 {
                match field.is_binary() {
                    true => message.set(de, long.into_bytes()),
                    false => message.set(de, long),
                }
                assert_eq!(message.encode(spec), Err(refused), "{} {de}", spec.name());
                assert_eq!(encoder.finish(), Message::new(Mti::FINANCIAL).encode(spec), "nothing is left");
            }
        }
    }
}

#[test]
fn a_bitmap_within_a_field_is_read_as_it_is_written() {
    let fields = r#"fields = {
        1 = { content = "n", length = 2, encoding = "ascii" }, 2 = { content = "b", max = 9, prefix = "L" },
        16 = { content = "b", length = 1 } }"#;
    let part = |name: &str, value: Value| (name.to_owned(), value);
    let one = || part("1", Value::from("07"));
    let (two, none) = (|| part("2", Value::from(vec![1, 2])), || part("2", Value::from(Vec::<u8>::new())));
    let last = || part("16", Value::from(vec![0xAA]));
    // (parts, the bitmap, the octets after it)
    let rows = [
        (vec![], "0000", ""),
        (vec![one()], "8000", "3037"),
        (vec![one(), two()], "C000", "3037 320102"),
        (vec![none()], "4000", "30"),
        (vec![last()], "0001", "AA"),
        (vec![one(), none(), last()], "C001", "3037 30 AA"),
    ];
    for (parts, bits, octets) in rows {
        for encoding in ["binary", "hex", "ebcdic-hex"] {
            let bitmap = match encoding {
                "binary" => hex_of(bits),
                "hex" => bits.as_bytes().to_vec(),
                _ => {
                    bits.bytes().map(|digit| if digit < b'A' { digit | 0xF0 } else { digit + 0x80 }).collect()
                }
            };
            let octets = [bitmap, hex_of(octets)].concat();
            let keys = format!(r#"bitmap = {{ encoding = "{encoding}", bits = 16, {fields} }}"#);
            let (spec, body) = within(&keys.replace('\n', " "), &octets);
            let mut message = Message::new(Mti::FINANCIAL);
            message.set(61, parts.clone());
            assert_eq!(message.encode(&spec).as_deref(), Ok(body.as_slice()), "{encoding} {bits}");
            let read = Message::decode(&spec, &body).unwrap();
            assert_eq!(read.get(61), Some(&Value::from(parts.clone())), "{encoding} {bits}");
            assert_eq!((read.encode(&spec), read.tolerated().count()), (Ok(body.clone()), 0));
            assert_eq!(View::decode(&spec, &body).unwrap().inspect(), []);
        }
    }
    let keys = format!(r#"bitmap = {{ encoding = "binary", bits = 16, {} }}"#, fields.replace('\n', " "));
    // (octets, where the fault is, why)
    let rows = [
        ("C0", 0, Reason::BeyondEnd),
        ("2000", 2, Reason::Undefined),
        ("8000 30", 2, Reason::BeyondEnd),
        ("4000 33 0102", 2, Reason::BeyondEnd),
        ("4000 FF", 2, Reason::Prefix),
    ];
    for (octets, at, reason) in rows {
        let (spec, body) = within(&keys, &hex_of(octets));
        let fault = Fault { field: 61, part: String::new(), offset: FRONT + at, structural: false, reason };
        assert_eq!(View::decode(&spec, &body).unwrap().inspect(), [fault], "{octets}");
        assert_eq!(Message::decode(&spec, &body).unwrap().encode(&spec), Ok(body), "{octets}");
    }
}

#[test]
fn every_prefix_goes_with_every_encoding() {
    let contents = [
        ("n", "1234567", &["ascii", "ebcdic-037", "ebcdic-500", "ebcdic-1047", "bcd"][..]),
        ("z", "1234D67", &["ascii", "ebcdic-037", "ebcdic-500", "ebcdic-1047", "bcd"]),
        ("zx", "12ABCDE", &["ascii", "ebcdic-037", "ebcdic-500", "ebcdic-1047", "bcd"]),
        ("a", "Abcdefg", &["ascii", "ebcdic-037", "ebcdic-500", "ebcdic-1047"]),
        ("an", "Abc 123", &["ascii", "ebcdic-037", "ebcdic-500", "ebcdic-1047"]),
        ("ans", "[a!1^|]", &["ascii", "ebcdic-037", "ebcdic-500", "ebcdic-1047"]),
        ("ns", "12-34/5", &["ascii", "ebcdic-037", "ebcdic-500", "ebcdic-1047"]),
        ("b", "00FF1234567890", &["binary", "hex", "hex-lower", "ebcdic-hex"]),
    ];
    let units = ["content", "nibbles", "octets"];
    let (mut fields, mut tried) = (Vec::new(), 0);
    for (content, value, encodings) in contents {
        for encoding in encodings {
            for prefix in ["ascii", "ebcdic", "hex", "bcd", "binary"] {
                for (unit, inclusive) in units.iter().flat_map(|unit| [(unit, false), (unit, true)]) {
                    let is_refused = (*unit == "content" && inclusive)
                        || (content == "zx" && *encoding == "bcd" && *unit == "octets");
                    for letters in 2..=6 {
                        let field = format!(
                            r#"content = "{content}", encoding = "{encoding}", max = 9, prefix = "{}",
                               prefix_encoding = "{prefix}", prefix_unit = "{unit}", inclusive = {inclusive}, pad = "F""#,
                            "L".repeat(letters)
                        );
                        tried += 1;
                        if !is_refused {
                            fields.push((field.replace('\n', " "), content, value));
                        }
                    }
                }
            }
        }
    }
    assert_eq!(tried, 35 * 5 * 6 * 5);
    // As many in a dialect as there is room for.
    for fields in fields.chunks(120) {
        let numbered = || (2..=64).chain(66..=128).zip(fields);
        let tables: Vec<String> =
            numbered().map(|(de, (field, ..))| format!("{de} = {{ name = \"x\", {field} }}")).collect();
        let without: Vec<String> = spec("iso87-ascii").fields().map(|(de, _)| de.to_string()).collect();
        let source = format!(
            "name = \"own\"\nextends = \"iso87-ascii\"\nwithout = [{}]\n[fields]\n{}",
            without.join(", "),
            tables.join("\n")
        );
        let spec = Spec::parse(&without_rules(&source)).unwrap_or_else(|faults| panic!("{faults:?}"));
        let mut message = Message::new(Mti::FINANCIAL);
        for (de, (_, content, value)) in numbered() {
            match *content {
                "b" => message.set(de, hex_of(value)),
                _ => message.set(de, *value),
            }
        }
        let body = message.encode(&spec).unwrap();
        let read = Message::decode(&spec, &body).unwrap();
        assert!(read.fields().eq(message.fields()));
        assert_eq!((read.encode(&spec), read.tolerated().count()), (Ok(body), 0));
    }
}

/// The same file with nothing of a parent but what it says of the head and of defaults: its rules name fields.
fn without_rules(source: &str) -> String {
    let parent = Spec::builtin_source("iso87-ascii").unwrap();
    let (head, _) = parent.split_once("[fields]").unwrap();
    let (_, own) = source.split_once("[fields]").unwrap();
    format!("{head}[fields]{own}")
}

#[test]
fn chip_data_is_octets_in_every_dialect() {
    let mut found = 0;
    for spec in Spec::builtins() {
        if let Some(field) = spec.field(55) {
            assert!(field.is_tlv() && field.content() == Content::B, "{}", spec.name());
            assert_eq!(field.sensitivity(), iso8583_spec::Sensitivity::Icc, "{}", spec.name());
            found += 1;
        }
    }
    assert!(found >= 10);
}

#[test]
fn an_error_tells_where_and_never_what() {
    // Content that no error may repeat.
    const SECRET: &str = "8371946205";
    let spec = spec("iso87-ascii");
    let sound = format!("0200600000000000000019{SECRET}12345678900000");
    let mut texts: Vec<(String, &str)> = Vec::new();
    // (body, what must be told)
    let bodies = [
        (format!("02004000000000000000x9{SECRET}123456789"), "field 2 at offset 20"),
        (format!("0200400000000000000019{SECRET}"), "field 2 at offset 22"),
        (format!("0200400000000000000016{SECRET}12x456"), "field 2 at offset 34"),
        (format!("0200400000000000000099{}", &SECRET.repeat(10)[1..]), "field 2 at offset 22"),
        (format!("{sound}{SECRET}"), "offset 47"),
        (format!("0200000000000000020001000{SECRET}"), "field 55 at offset 23"),
        (format!("0200C000000000000000{SECRET}"), "field 1 at offset 20"),
        (format!("02000000000000000008{SECRET}"), "field 61 at offset 23"),
        (format!("02x0{SECRET}"), "MTI at offset 0"),
        (format!("0200{SECRET}"), "bitmap at offset 4"),
        (format!("0200zz{SECRET}"), "bitmap at offset 4"),
    ];
    for (body, place) in &bodies {
        match View::decode(spec, body.as_bytes()) {
            Ok(view) => {
                for fault in view.inspect() {
                    texts.push((fault.to_string(), place));
                    texts.push((view.explain(&fault), place));
                    texts.push((format!("{fault:?}"), ""));
                }
                texts.push((Message::decode(spec, body.as_bytes()).unwrap_err().to_string(), place));
                texts.push((format!("{view:?}"), ""));
            }
            Err(error) => texts.extend([(error.to_string(), *place), (format!("{error:?}"), "")]),
        }
    }
    let (own, body) = within(
        r#"parts = [{ name = "1", content = "n", length = 16, encoding = "ascii", parts = [
        { name = "2", length = 10 }, { name = "3", length = 6 } ] }]"#,
        format!("{SECRET}12x456").as_bytes(),
    );
    for fault in View::decode(&own, &body).unwrap().inspect() {
        texts.push((fault.to_string(), "field 61.1 at offset 27"));
    }
    let part = |name: &str, value: &str| (name.to_owned(), Value::from(value));
    // (field, value, what must be told)
    let values = [
        (2, Value::from(format!("{SECRET}x")), "field 2: character 10"),
        (2, Value::from(SECRET.repeat(2)), "field 2: length 20"),
        (52, Value::from(SECRET), "field 52: "),
        (3, Value::from(vec![part("1", "00"), part("2", SECRET)]), "field 3.2: length 10"),
        (1, Value::from(SECRET), "field 1: "),
        (66, Value::from(SECRET), "field 66: "),
        (55, Value::from(vec![(SECRET.to_owned(), Value::from(vec![0]))]), "field 55."),
    ];
    for (de, value, place) in values {
        let mut message = Message::new(Mti::FINANCIAL);
        message.set(de, value);
        let error = message.encode(spec).unwrap_err();
        // A tag is a name, which is told.
        if de != 55 {
            texts.extend([(error.to_string(), place), (format!("{error:?} {message:?}"), "")]);
        }
    }
    let mut frame = Vec::new();
    let framed = Framing::STX_ETX.encode(format!("{SECRET}\x03").as_bytes(), &mut frame).unwrap_err();
    assert_eq!(framed, FrameError::Control { offset: 10 });
    let length = Framing::ASCII_4.decode(b"83x1946205", 100).unwrap_err();
    texts.extend([(framed.to_string(), "octet 10"), (length.to_string(), "octet 2")]);
    assert!(texts.len() > 40);
    for (text, place) in texts {
        assert!(text.contains(place), "{text}: {place}");
        assert!(!text.contains(&SECRET[..4]) && !text.contains("38333731"), "{text}");
    }
}

#[test]
fn what_a_chip_holds_of_a_card_is_masked_in_every_template() {
    let chip = hex_of(
        "9F2608A1A2A3A4A5A6A7A8 5A086225880012345675 57136225880012345675D30122010000012345678F
         7027 5A084000000000000002 7713 57114000000000000002D30122010000012345 5F200541424344 45
         E10A 9F1F0712345678901234 9C0100",
    );
    let hidden = ["62258800", "40000000000000", "D3012", "4142434445", "ABCDE", "1234567890", "0012345675"];
    let check = |dump: &str, what: &str| {
        for secret in hidden {
            assert!(!dump.contains(secret), "{what}: {secret} in\n{dump}");
        }
    };
    for keys in [BER, r#"tlv = "ber", sensitivity = "icc""#, r#"tlv = "ber", sensitivity = "secret""#] {
        for end in 1..=chip.len() {
            let (spec, body) = within(keys, &chip[..end]);
            let view = View::decode(&spec, &body).unwrap();
            check(&view.describe(Masking::Masked), &format!("{keys} cut at {end}"));
            let message = Message::decode(&spec, &body).unwrap();
            let shown = message.shown(&spec, Masking::Masked);
            check(&written(&shown[0].1), &format!("{keys} cut at {end}"));
        }
        // One octet that breaks what holds it: the length of each element in turn.
        for at in [2, 12, 22, 43, 45, 55, 57, 77, 84, 87] {
            let mut octets = chip.clone();
            octets[at] = 0x7F;
            let (spec, body) = within(keys, &octets);
            let view = View::decode(&spec, &body).unwrap();
            check(&view.describe(Masking::Masked), &format!("{keys} broken at {at}"));
        }
    }
    let (spec, body) = within(BER, &chip);
    let dump = View::decode(&spec, &body).unwrap().describe(Masking::Masked);
    assert!(dump.contains("622588******5675") && dump.contains("400000******0002"), "{dump}");
}
