//! Properties: what the encoder writes the view reads, and what the message reads it writes again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use iso8583_spec::{Content, Encoder, Field, Message, Mti, Spec, View};
use proptest::{collection::vec, prelude::*, sample::subsequence};

/// Content for a field: characters, or octets as hexadecimal.
fn content(field: &Field) -> BoxedStrategy<String> {
    let (min, max) = field.lengths();
    let lengths = min..=max.min(min.max(40));
    let of = |class: &'static str| proptest::string::string_regex(class).unwrap();
    let chars =
        |class: &'static str| vec(of(class), lengths.clone()).prop_map(|chars| chars.concat()).boxed();
    match field.content() {
        Content::N => chars("[0-9]"),
        Content::A => chars("[A-Za-z ]"),
        Content::An => chars("[A-Za-z0-9 ]"),
        Content::Ans if field.writing().contains("latin-1") => chars("[ -~\u{A0}-ÿ]"),
        Content::Ans => chars("[ -~]"),
        Content::Ns => chars("[0-9/.-]"),
        Content::Z => chars("[0-9D]"),
        Content::Zx => chars("[0-9A-F]"),
        Content::Xn => {
            (of("[CD]"), vec(of("[0-9]"), max - 1)).prop_map(|(sign, n)| sign + &n.concat()).boxed()
        }
        Content::B => vec(any::<u8>(), lengths).prop_map(hex::encode_upper).boxed(),
    }
}

/// Some fields of a dialect with content.
type Fields = Vec<(u8, String)>;

fn fields(spec: &'static Spec) -> BoxedStrategy<Fields> {
    let all: Vec<u8> = spec.fields().map(|(de, _)| de).collect();
    let count = 0..all.len().min(20);
    subsequence(all, count)
        .prop_flat_map(|some| {
            let contents: Vec<_> = some.iter().map(|de| content(spec.field(*de).unwrap())).collect();
            (Just(some), contents)
        })
        .prop_map(|(some, contents)| some.into_iter().zip(contents).collect())
        .boxed()
}

fn message() -> BoxedStrategy<(&'static Spec, String, Fields)> {
    let dialects: Vec<_> = Spec::builtin_names()
        .iter()
        .map(|name| {
            let spec = Spec::builtin(name).unwrap();
            (Just(spec), "0[1-8][0-4][0-5]", fields(spec)).boxed()
        })
        .collect();
    proptest::strategy::Union::new(dialects).boxed()
}

fn encode(spec: &Spec, mti: &str, fields: &[(u8, String)]) -> Vec<u8> {
    let mut encoder = Encoder::new(spec, Mti::new(mti).unwrap());
    if spec.tpdu_len() > 0 {
        encoder.tpdu(&[0x60, 0, 3, 0, 0]).unwrap();
    }
    if let (_, length @ 1..) = spec.header_lengths() {
        encoder.header(&vec![u8::try_from(length).unwrap(); length]).unwrap();
    }
    for (de, content) in fields {
        match spec.field(*de).unwrap().is_binary() {
            true => encoder.bytes(*de, &hex::decode(content).unwrap()).unwrap(),
            false => encoder.text(*de, content).unwrap(),
        }
    }
    encoder.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read((spec, mti, fields) in message()) {
        let body = encode(spec, &mti, &fields);
        let view = View::decode(spec, &body).unwrap();
        prop_assert_eq!(view.faults(), &[]);
        let numbers: Vec<u8> = fields.iter().map(|(de, _)| *de).collect();
        prop_assert_eq!(view.fields().collect::<Vec<_>>(), numbers);
        for (de, content) in &fields {
            let text = view.text(*de).map(|text| text.to_string());
            let read = text.or_else(|| view.bytes(*de).map(hex::encode_upper));
            prop_assert_eq!(read.as_ref(), Some(content), "field {}", de);
        }
        let message = Message::decode(spec, &body).unwrap();
        prop_assert_eq!(message.encode(spec).unwrap(), body);
    }

    #[test]
    fn any_octets_give_an_answer(dialect in 0..Spec::builtin_names().len(), octets in vec(any::<u8>(), 0..300)) {
        let spec = Spec::builtin(Spec::builtin_names()[dialect]).unwrap();
        if let Ok(view) = View::decode(spec, &octets) {
            let _ = view.describe(iso8583_spec::Masking::Masked);
            let _ = Message::from_view(&view).shown(spec, iso8583_spec::Masking::Masked);
        }
    }

    #[test]
    fn one_octet_changed_is_still_byte_exact((spec, mti, fields) in message(), at in any::<prop::sample::Index>(), octet in any::<u8>()) {
        let mut body = encode(spec, &mti, &fields);
        let place = at.index(body.len());
        body[place] = octet;
        if let Ok(message) = Message::decode(spec, &body) {
            prop_assert_eq!(message.encode(spec).unwrap(), body);
        }
    }
}
