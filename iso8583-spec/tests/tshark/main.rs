//! tshark judges the codec: random messages go into a capture file, cut into segments as a network would, and
//! tshark must show the MTI, the bitmaps and every value as this crate reads them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: the lint's exemption covers test functions only"
)]

mod capture;
#[path = "../judges/chance.rs"]
mod chance;
mod dissector;

use std::collections::BTreeMap;

use chance::Chance;
use dissector::Preferences;
use iso8583_spec::{Content, Encoder, Mti, Spec, View};
use serde_json::{Map, Value};

/// Random messages of each dialect.
const MESSAGES: usize = 400;
/// How often every field must have been seen in them.
const LEAST: usize = 20;

/// A dialect as tshark can read it.
struct Judged {
    spec: Spec,
    preferences: Preferences,
    /// Whether a variable field may hold an odd number of digits: tshark always takes them for right-aligned.
    may_be_odd: bool,
}

impl Judged {
    fn new(file: &str, charset: &'static str, binary: &'static str, may_be_odd: bool) -> Judged {
        let file = format!("name = \"judged\"\nframing = \"length-2\"\n{file}");
        let spec = Spec::parse(&file).unwrap_or_else(|faults| panic!("{faults:#?}"));
        Judged { spec, preferences: Preferences { charset, binary }, may_be_odd }
    }

    fn all() -> Vec<(&'static str, Judged)> {
        let raw = "extends = \"iso87-ascii\"\nbitmap = { encoding = \"binary\", fields = 128 }";
        let right = "extends = \"iso87-bcd\"\n[defaults]\nalign_variable = \"right\"";
        vec![
            ("iso87-ascii", Judged::new("extends = \"iso87-ascii\"", "ascii", "ascii", true)),
            ("iso87-ascii with raw bitmaps", Judged::new(raw, "ascii", "bin", true)),
            ("iso87-bcd", Judged::new("extends = \"iso87-bcd\"", "bcd", "bin", false)),
            ("iso87-bcd, all right-aligned", Judged::new(right, "bcd", "bin", true)),
        ]
    }

    /// The fields that tshark reads as the standard has them.
    fn fields(&self) -> impl Iterator<Item = u8> {
        let judged = |(de, field)| dissector::is_judged(de, field, self.preferences).then_some(de);
        self.spec.fields().filter_map(judged)
    }

    /// Any value for a field that tshark takes.
    fn value(&self, de: u8, chance: &mut Chance) -> String {
        let field = self.spec.field(de).unwrap();
        let alphabet = dissector::alphabet(de, field.content());
        let units = match field.lengths() {
            (min, max) if min == max => max,
            (_, max) => self.units(max, field.content(), chance),
        };
        match field.content() {
            Content::B => chance.text(units * 2, &alphabet),
            Content::Xn => chance.text(1, "CD") + &chance.text(units - 1, &alphabet),
            Content::N | Content::A | Content::An | Content::Ans | Content::Ns | Content::Z | Content::Zx => {
                chance.text(units, &alphabet)
            }
        }
    }

    /// Units of a variable field; now and then very many.
    fn units(&self, max: usize, content: Content, chance: &mut Chance) -> usize {
        let most = if chance.once_in(50) { 999 } else { 30 };
        let units = chance.within(dissector::least(self.preferences)..=max.min(most));
        let is_odd = content == Content::N && !self.may_be_odd && units % 2 == 1;
        units - usize::from(is_odd)
    }

    /// Any message: its frame, and the values in it.
    fn message(&self, chance: &mut Chance) -> (Vec<u8>, BTreeMap<u8, String>) {
        let last = chance.pick(&[64, 128]);
        let some: Vec<u8> = self.fields().filter(|de| *de <= last && chance.once_in(4)).collect();
        let values: BTreeMap<u8, String> = some.iter().map(|de| (*de, self.value(*de, chance))).collect();
        let mti = "0".to_owned() + &chance.text(3, "0123456789");
        let mut encoder = Encoder::new(&self.spec, Mti::new(&mti).unwrap());
        for (de, value) in &values {
            match self.spec.field(*de).unwrap().is_binary() {
                true => encoder.bytes(*de, &hex::decode(value).unwrap()).unwrap(),
                false => encoder.text(*de, value).unwrap(),
            }
        }
        let mut frame = Vec::new();
        self.spec.framing().encode(&encoder.finish().unwrap(), &mut frame).unwrap();
        (frame, values)
    }

    /// As many messages as are asked for, all such that tshark looks at them.
    fn messages(&self, many: usize, chance: &mut Chance) -> Vec<(Vec<u8>, BTreeMap<u8, String>)> {
        let mut messages = Vec::new();
        while messages.len() < many {
            let (frame, values) = self.message(chance);
            if dissector::is_looked_at(&frame, self.preferences) {
                messages.push((frame, values));
            }
        }
        messages
    }

    /// What tshark must show of a frame by what this crate reads.
    fn expected(&self, frame: &[u8]) -> BTreeMap<String, String> {
        let found = self.spec.framing().decode(frame, 65_535).unwrap().unwrap();
        let body = &frame[found.body];
        let view = View::decode(&self.spec, body).unwrap();
        assert!(view.is_sound(), "{view:?}");
        let mut shown = BTreeMap::from([
            ("iso8583.len".to_owned(), body.len().to_string()),
            ("iso8583.mti".to_owned(), view.mti().to_string()),
        ]);
        let (mut words, has_second) = ([0_u64; 2], view.fields().any(|de| de > 64));
        words[0] = u64::from(has_second) << 63;
        for de in view.fields() {
            words[usize::from((de - 1) / 64)] |= 1 << (63 - (de - 1) % 64);
            let text = view.text(de).map(|text| text.to_string());
            let value = text.or_else(|| view.bytes(de).map(hex::encode_upper)).unwrap();
            shown.insert(format!("iso8583.bit{de}"), self.as_shown(de, &value));
        }
        for (map, word) in [(1, words[0]), (2, words[1])].iter().take(1 + usize::from(has_second)) {
            shown.insert(format!("iso8583.map{map}"), format!("{word:016X}"));
        }
        shown
    }

    /// Characters are shown as they are written: the separator of track data, too.
    fn as_shown(&self, de: u8, value: &str) -> String {
        let is_track = self.spec.field(de).unwrap().content() == Content::Z;
        if is_track { value.replace('D', "=") } else { value.to_owned() }
    }
}

/// Whether tshark shows this and nothing else; what it says of a fault would be something else.
fn agrees(expected: &BTreeMap<String, String>, shown: Option<&Map<String, Value>>) -> Result<(), String> {
    let shown = shown.ok_or("nothing is shown")?;
    let text = |(key, value): (&String, &Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // Raw bitmaps are shown in lower case.
        (key.clone(), if key.starts_with("iso8583.map") { value.to_uppercase() } else { value })
    };
    let shown: BTreeMap<String, String> = shown.iter().map(text).collect();
    if shown == *expected { Ok(()) } else { Err(format!("shown {shown:?}\nexpected {expected:?}")) }
}

/// Cuts a stream anywhere: into pieces of a few octets, or into such that hold several messages.
fn cut<'s>(mut stream: &'s [u8], chance: &mut Chance) -> Vec<&'s [u8]> {
    let mut segments = Vec::new();
    while !stream.is_empty() {
        let most = chance.pick(&[4, 60, 60, 4_000]);
        let (segment, rest) = stream.split_at(chance.within(1..=most).min(stream.len()));
        segments.push(segment);
        stream = rest;
    }
    segments
}

/// What a run of one dialect has seen.
#[derive(Default)]
struct Tally {
    segments: usize,
    /// Segments that end more than one message, and such that end none.
    glued: usize,
    pieces: usize,
    fields: BTreeMap<u8, usize>,
}

impl Judged {
    /// Has tshark read random messages as a network would bring them.
    fn judge(&self, chance: &mut Chance) -> Result<Tally, String> {
        let messages = self.messages(MESSAGES, chance);
        let stream = messages.iter().flat_map(|(frame, _)| frame.clone()).collect::<Vec<u8>>();
        let segments = cut(&stream, chance);
        let shown = dissector::shown(&segments, self.preferences);
        let many = |is_so: fn(usize) -> bool| shown.iter().filter(|messages| is_so(messages.len())).count();
        let (glued, pieces) = (many(|messages| messages > 1), many(|messages| messages == 0));
        let mut tally = Tally { segments: segments.len(), glued, pieces, fields: BTreeMap::new() };
        let shown: Vec<_> = shown.into_iter().flatten().collect();
        if shown.len() != messages.len() {
            return Err(format!("{} of {} messages are shown", shown.len(), messages.len()));
        }
        for ((frame, values), shown) in messages.iter().zip(&shown) {
            let expected = self.expected(frame);
            for (de, value) in values {
                let read = &expected[&format!("iso8583.bit{de}")];
                if *read != self.as_shown(*de, value) {
                    return Err(format!("field {de} was {value} and is read as {read}"));
                }
                *tally.fields.entry(*de).or_default() += 1;
            }
            agrees(&expected, Some(shown)).map_err(|why| format!("{}\n{why}", hex::encode(frame)))?;
        }
        Ok(tally)
    }
}

#[test]
fn tshark_shows_what_is_read() {
    let seed = chance::seed();
    let mut chance = Chance::new(seed);
    for (name, judged) in Judged::all() {
        let tally =
            judged.judge(&mut chance).unwrap_or_else(|why| panic!("JUDGE_SEED={seed}, {name}: {why}"));
        let Tally { segments, glued, pieces, fields } = tally;
        println!(
            "tshark, {name}, seed {seed}: {MESSAGES} messages, {} fields of {} kinds, {segments} segments, {glued} \
             that end more than one message, {pieces} that end none",
            fields.values().sum::<usize>(),
            fields.len(),
        );
        let rare: Vec<u8> =
            judged.fields().filter(|de| fields.get(de).is_none_or(|seen| *seen < LEAST)).collect();
        assert!(rare.is_empty(), "JUDGE_SEED={seed}, {name}: seldom seen: {rare:?}");
        assert!(glued > 20 && pieces > 50, "JUDGE_SEED={seed}, {name}: {glued} {pieces}");
    }
}

#[test]
fn one_altered_octet_is_reported() {
    let seed = chance::seed();
    let mut chance = Chance::new(seed);
    for (name, judged) in Judged::all() {
        let messages = judged.messages(120, &mut chance);
        let mut frames: Vec<Vec<u8>> = messages.iter().map(|(frame, _)| frame.clone()).collect();
        // Every other message has one octet after the length altered.
        for frame in frames.iter_mut().step_by(2) {
            let at = chance.within(2..=frame.len() - 1);
            frame[at] ^= 1;
        }
        let segments: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let shown = dissector::shown(&segments, judged.preferences);
        for (number, ((frame, _), shown)) in messages.iter().zip(&shown).enumerate() {
            let agrees = agrees(&judged.expected(frame), shown.first());
            assert_eq!(
                agrees.is_err(),
                number % 2 == 0,
                "JUDGE_SEED={seed}, {name} {number}: {agrees:?} {}",
                hex::encode(&frames[number])
            );
        }
    }
}
