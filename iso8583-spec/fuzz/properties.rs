//! What holds of every dialect that can be declared and of every message of it.

use iso8583_spec::{DecodeError, Encoder, Masking, Message, Mti, Reason, Spec, Value, View};

use super::{
    check::{self, same},
    generator::{Case, Draft},
    model::{Class, Data, Extent, Form, Inside, Node, Number, Style, Unit, hex},
    source::Source,
};

fn message(draft: &Draft) -> Message {
    let mut message = Message::new(Mti::new(&draft.mti).expect("four digits"));
    (message.tpdu, message.header) = (draft.tpdu.clone(), draft.header.clone());
    for (de, node) in &draft.fields {
        message.set(*de, node.given());
    }
    message
}

fn shown(case: &Case) -> String {
    format!("{}{}", case.parent.as_deref().unwrap_or_default(), case.source)
}

/// What is written has the octets that the documentation asks for, and is read back with equal values.
pub(crate) fn written_and_read(case: &Case) {
    let (spec, body) = (&case.spec, case.message.body());
    let dialect = shown(case);
    let message = message(&case.message);
    let written = message.encode(spec).unwrap_or_else(|error| panic!("{error}\n{dialect}"));
    assert_eq!(hex(&written), hex(&body), "{dialect}");
    assert_eq!(hex(&encoded(case)), hex(&body), "{dialect}");
    let read =
        Message::decode(spec, &body).unwrap_or_else(|error| panic!("{error}\n{dialect}\n{}", hex(&body)));
    assert_eq!(read.encode(spec).as_deref(), Ok(body.as_slice()));
    assert_eq!(read.tolerated().collect::<Vec<_>>(), [] as [u8; 0], "{dialect}\n{}", hex(&body));
    holds(&case.message, &read, &dialect);
    let view = View::decode(spec, &body).expect("decoded before");
    assert!(view.is_sound());
    let has_short = case.message.fields.values().any(has_short);
    assert!(has_short || view.inspect().is_empty(), "{:?}\n{dialect}", view.inspect());
    for (de, node) in &case.message.fields {
        parts(&view, *de, "", node, &dialect);
    }
    framed(spec, &body);
    check::body(spec, &body);
}

/// Field by field, the characters or octets of parts all together.
fn encoded(case: &Case) -> Vec<u8> {
    let mut encoder = Encoder::new(&case.spec, Mti::new(&case.message.mti).expect("four digits"));
    if let Some(tpdu) = &case.message.tpdu {
        encoder.tpdu(tpdu).expect("5 octets");
    }
    if let Some(header) = &case.message.header {
        encoder.header(header).expect("of its length");
    }
    let last = case.message.fields.keys().last();
    for (de, node) in &case.message.fields {
        let is_mac = matches!((node.shape.class, node.shape.extent), (Class::B, Extent::Fixed(_)));
        if let (Value::Bytes(mac), true, true) = (node.given(), is_mac, last == Some(de)) {
            let data = encoder.mac_data(*de).expect("octets of a fixed length").to_vec();
            encoder.mac(&mac).expect("of their length");
            let body = case.message.body();
            let head =
                [&case.message.tpdu, &case.message.header].map(|part| part.as_ref().map_or(0, Vec::len));
            assert_eq!(data, body[head[0] + head[1]..body.len() - node.wire().len()]);
            let view = View::decode(&case.spec, &body).expect("as it is written");
            assert!(![64, 128, 192].contains(de) || view.mac_data() == Some(&data));
            continue;
        }
        let written = match node.given() {
            Value::Text(text) => encoder.text(*de, &text),
            Value::Bytes(octets) => encoder.bytes(*de, &octets),
            Value::Composite(_) if case.spec.field(*de).expect("declared").is_binary() => {
                encoder.bytes(*de, &node.content())
            }
            Value::Composite(_) => {
                let text: String = node.content().into_iter().map(char::from).collect();
                encoder.text(*de, &text)
            }
        };
        written.unwrap_or_else(|error| panic!("{error}\n{}", shown(case)));
    }
    encoder.finish().expect("head and fields")
}

/// Whether a message has the fields of a draft, with equal values.
fn holds(draft: &Draft, read: &Message, dialect: &str) {
    assert_eq!((&read.tpdu, &read.header), (&draft.tpdu, &draft.header));
    assert_eq!(read.mti.as_str(), draft.mti);
    assert!(read.fields().map(|(de, _)| de).eq(draft.fields.keys().copied()));
    for (de, node) in &draft.fields {
        let value = read.get(*de).expect("as in the draft");
        assert!(
            same(value, &node.read()),
            "field {de}: {}, not {}\n{dialect}",
            told(value),
            told(&node.read())
        );
    }
}

/// A value as a test may tell it: there is nothing real in it.
fn told(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(octets) => hex(octets),
        Value::Composite(parts) => {
            let parts: Vec<_> = parts.parts().map(|(name, part)| format!("{name}={}", told(part))).collect();
            format!("[{}]", parts.join(" "))
        }
    }
}

fn has_short(node: &Node) -> bool {
    node.is_short || node.nodes().iter().any(has_short)
}

/// Every part is found at its path; of parts with the same name the first.
fn parts(view: &View<'_>, de: u8, above: &str, node: &Node, dialect: &str) {
    let mut seen = Vec::new();
    for part in node.nodes() {
        if seen.contains(&&part.key) || part.key == "rest" || part.is_short {
            continue;
        }
        seen.push(&part.key);
        let path = format!("{above}{}", part.key);
        match part.read() {
            Value::Text(text) => {
                let found = view.part_text(de, &path);
                assert_eq!(found.as_deref(), Some(text.as_str()), "{de}.{path}\n{dialect}");
            }
            Value::Bytes(octets) => {
                let found = view.part_bytes(de, &path);
                assert_eq!(found.as_deref(), Some(octets.as_slice()), "{de}.{path}\n{dialect}");
            }
            Value::Composite(_) => parts(view, de, &format!("{path}."), part, dialect),
        }
    }
}

fn framed(spec: &Spec, body: &[u8]) {
    let mut frame = Vec::new();
    if spec.framing().encode(body, &mut frame).is_ok() {
        let found = spec.framing().decode(&frame, body.len()).expect("a frame").expect("all of it");
        assert_eq!((&frame[found.body], found.consumed), (body, frame.len()));
    }
}

/// Cut anywhere a message is refused, with a fault inside what is left; nothing sensitive shows.
pub(crate) fn cut(case: &Case, end: usize) {
    let body = case.message.body();
    let Some(rest) = body.get(..end).filter(|_| end < body.len()) else { return };
    match View::decode(&case.spec, rest) {
        Ok(view) => {
            let last = view.faults().last().unwrap_or_else(|| panic!("cut at {end}\n{}", shown(case)));
            assert!(last.structural && last.offset <= end, "{last:?}\n{}", shown(case));
            hidden(case, &view);
        }
        Err(DecodeError::Truncated { offset, .. }) => assert!(offset <= end),
        Err(error) => panic!("{error}\n{}", shown(case)),
    }
    check::body(&case.spec, rest);
}

/// One octet more is refused where it stands.
pub(crate) fn lengthened(case: &Case, octet: u8) {
    let mut body = case.message.body();
    let end = body.len();
    body.push(octet);
    if is_too_long(&body) {
        return;
    }
    let view = View::decode(&case.spec, &body).expect("its head is there");
    let [fault] = view.faults() else { panic!("{:?}", view.faults()) };
    assert_eq!((fault.field, fault.offset, fault.reason), (0, end, Reason::Trailing));
    assert_eq!(view.fields().count(), case.message.fields.len());
    assert_eq!(Message::decode(&case.spec, &body), Err(DecodeError::Unsound(fault.clone())));
}

/// No message is longer than 65,535 octets.
fn is_too_long(body: &[u8]) -> bool {
    body.len() > 65_535
}

/// With one octet changed it is byte-exact, or there is a fault inside the octets.
pub(crate) fn changed(case: &Case, at: usize, octet: u8) {
    let mut body = case.message.body();
    let place = at % body.len();
    body[place] = octet;
    match Message::decode(&case.spec, &body) {
        Ok(message) => assert_eq!(message.encode(&case.spec).as_deref(), Ok(body.as_slice())),
        Err(DecodeError::Unsound(fault)) => assert!(fault.offset <= body.len(), "{fault:?}"),
        Err(DecodeError::Truncated { offset, .. } | DecodeError::Malformed { offset, .. }) => {
            assert!(offset <= body.len());
        }
        Err(error @ DecodeError::TooLong { .. }) => panic!("{error}"),
    }
    check::body(&case.spec, &body);
}

/// Runs that only sensitive content has, as characters and in every encoding.
const RUNS: [&str; 6] =
    ["7777777", "37373737373737", "F7F7F7F7F7F7F7", "QQQQQQQ", "51515151515151", "D8D8D8D8D8D8D8"];

/// What is sensitive is not to be seen in what is described, neither when its own field has a fault.
pub(crate) fn masked(case: &Case) {
    let mut bad = case.message.clone();
    bad.fields.values_mut().for_each(|node| spoil(node, false));
    for body in [case.message.body(), bad.body()] {
        let view = View::decode(&case.spec, &body).expect("as it is written");
        hidden(case, &view);
        let message = Message::from_view(&view);
        let values = message.shown(&case.spec, Masking::Masked);
        let values: Vec<String> = values.iter().map(|(_, value)| told(value)).collect();
        no_runs(case, &values.join(" "));
        no_runs(case, &format!("{view:?} {message:?}"));
    }
}

/// Puts a character first in what is sensitive that its class does not have.
fn spoil(node: &mut Node, is_within_packed: bool) {
    let is_packed = is_within_packed && node.shape.class != Class::B || node.shape.data == Data::Bcd;
    node.nodes_mut().iter_mut().for_each(|part| spoil(part, is_packed));
    let other = match (node.shape.class, is_packed) {
        (Class::N | Class::Z, true) => "A",
        (Class::Ns, _) => "x",
        (Class::Ans | Class::Latin | Class::B | Class::Xn | Class::Zx, _) | (Class::A | Class::An, true) => {
            return;
        }
        (Class::N | Class::A | Class::An | Class::Z, _) => "/",
    };
    if let (Inside::Text { read, .. }, true) = (&mut node.inside, node.is_secret)
        && read.len() > 8
    {
        read.replace_range(..1, other);
    }
}

fn hidden(case: &Case, view: &View<'_>) {
    no_runs(case, &view.describe(Masking::Masked));
}

fn no_runs(case: &Case, text: &str) {
    for run in RUNS.iter().chain(&["TOLD"]) {
        assert!(!text.contains(run), "{run}\n{text}\n{}", shown(case));
    }
}

/// What is written otherwise than the encoder writes it is kept octet for octet, and so it is beside a part that is
/// set anew.
pub(crate) fn kept(case: &Case, source: &mut Source<'_>) {
    let (spec, draft, dialect) = (&case.spec, lenient(&case.message, source), shown(case));
    let body = draft.body();
    if is_too_long(&body) {
        return;
    }
    let read =
        Message::decode(spec, &body).unwrap_or_else(|error| panic!("{error}\n{dialect}\n{}", hex(&body)));
    assert_eq!(read.encode(spec).as_deref(), Ok(body.as_slice()));
    holds(&draft, &read, &dialect);
    let differs = |(de, node): (&u8, &Node)| (node.wire() != case.message.fields[de].wire()).then_some(*de);
    let tolerated: Vec<u8> = draft.fields.iter().filter_map(differs).collect();
    assert_eq!(read.tolerated().collect::<Vec<_>>(), tolerated, "{dialect}\n{}", hex(&body));
    check::body(spec, &body);
    for de in draft.fields.keys() {
        let (mut anew, mut message) = (draft.clone(), read.clone());
        let mut path = de.to_string();
        let Some(value) = set_one(anew.fields.get_mut(de).expect("its own"), source, &mut path) else {
            continue;
        };
        assert!(message.set_part(&path, value), "{path}\n{dialect}");
        let written = message.encode(spec).unwrap_or_else(|error| panic!("{path}: {error}\n{dialect}"));
        assert_eq!(hex(&written), hex(&anew.body()), "{path} set in {}\n{dialect}", hex(&body));
    }
}

/// A draft in which some content is written otherwise than the encoder does.
fn lenient(draft: &Draft, source: &mut Source<'_>) -> Draft {
    let mut other = draft.clone();
    other.is_lower = source.flag();
    other.empty = source.below(3);
    for node in other.fields.values_mut() {
        let before = node.clone();
        loosen(node, source);
        if !fits(node) {
            *node = before;
        }
    }
    other
}

fn loosen(node: &mut Node, source: &mut Source<'_>) {
    node.nodes_mut().iter_mut().for_each(|part| loosen(part, source));
    let (shape, style) = (node.shape, &mut node.style);
    let counts_pad = match shape.extent {
        Extent::Fixed(_) => false,
        Extent::Variable { prefix, .. } => prefix.unit == Unit::Octets,
        Extent::Told { .. } => true,
    };
    style.pad = (!counts_pad && source.flag()).then(|| source.octet() & 15);
    style.case = shape.class == Class::B && source.flag();
    style.separator = source.flag();
    style.prefix_case = source.flag();
    style.map_case = source.flag();
    if matches!(node.inside, Inside::Tags(Form::Ber, _)) {
        style.tail = if source.one_in(4) { source.within(1, 3) } else { 0 };
        for element in node.nodes_mut() {
            element.style.long = source.below(3);
            element.style.filler = if source.one_in(4) { source.within(1, 3) } else { 0 };
        }
    }
}

/// Whether content is still as long as everything around it lets it be.
fn fits(node: &Node) -> bool {
    let units = node.content().len();
    let is_fitting = match node.shape.extent {
        Extent::Fixed(length) => units == length,
        Extent::Variable { max, prefix, .. } => {
            units <= max && node.shape.count(prefix, units) <= prefix.number.limit(prefix.letters)
        }
        Extent::Told { max, .. } => units <= max,
    };
    let said = |form: &Form, element: &Node| match form {
        Form::Ber => true,
        Form::Simple { length, length_octets, .. } => {
            let letters = if *length == Number::Bcd { length_octets * 2 } else { *length_octets };
            // Beside the length a tag of 4 octets may be counted.
            *length == Number::Binary || element.wire().len() + 4 <= length.limit(letters)
        }
    };
    is_fitting
        && node.nodes().iter().all(fits)
        && match &node.inside {
            Inside::Tags(form, nodes) => nodes.iter().all(|element| said(form, element)),
            Inside::Text { .. } | Inside::Octets(_) | Inside::Parts(_) | Inside::Mapped(..) => true,
        }
}

/// Gives a part somewhere inside another value of the same length, and the way to it the encoder's own writing.
fn set_one(node: &mut Node, source: &mut Source<'_>, path: &mut String) -> Option<Value> {
    let Style { tail, map_case, .. } = node.style;
    node.style = Style { tail, map_case, ..Style::default() };
    if node.nodes().is_empty() {
        return set_anew(node, source).filter(|_| path.contains('.'));
    }
    let at = source.below(node.nodes().len());
    let key = node.nodes()[at].key.clone();
    let first = node.nodes_mut().iter_mut().find(|part| part.key == key)?;
    *path += &format!(".{key}");
    set_one(first, source, path)
}

fn set_anew(node: &mut Node, source: &mut Source<'_>) -> Option<Value> {
    let alphabet: Vec<char> = node.alphabet.chars().collect();
    match &mut node.inside {
        Inside::Text { given, read } => {
            let sign = usize::from(node.shape.class == Class::Xn).min(read.len());
            let drawn = (sign..read.chars().count()).map(|_| source.one(&alphabet));
            let drawn: String = drawn.collect();
            *read = format!("{}{drawn}", &read[..sign]);
            given.clone_from(read);
        }
        Inside::Octets(octets) => octets.iter_mut().for_each(|octet| *octet = source.octet()),
        Inside::Parts(_) | Inside::Tags(..) | Inside::Mapped(..) => return None,
    }
    Some(node.read())
}
