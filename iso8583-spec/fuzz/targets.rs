//! What the fuzz targets do with octets, through the public interface of the crate alone. The tests replay the corpus
//! through the same functions.

use iso8583_spec::{
    Deframer, FrameError, Framing, FramingParts, Guess, LengthForm, Message, Spec, Value, detect, jpos,
    tlv::{self, TlvError},
};

mod check;
mod fields;
mod generator;
mod inside;
mod model;
mod packager;
mod properties;
mod source;
mod tags;

use source::Source;

/// A stream of any framing in pieces of any size gives the frames that the whole gives.
pub(crate) fn frames(data: &[u8]) {
    let mut source = Source::new(data);
    let framing = framing(&mut source);
    let max = source.one(&[300, 0, 1, 12, 70_000, usize::MAX]);
    let takes_all = source.one_in(4);
    let cuts: Vec<usize> = (0..source.below(16)).map(|_| 1 + source.below(40)).collect();
    let stream = match source.flag() {
        true => source.rest().to_vec(),
        false => stream(framing, source.rest()),
    };
    let (bodies, end) = whole(framing, max, &stream);
    // Parts of a framing that are not counted in a body: at most 8 of length, 4 of filler and 4 of trailer.
    let bound = max.saturating_add(16);
    let mut deframer = Deframer::new(framing, max);
    let (mut given, mut longest, mut rest) = (0, 0, stream.as_slice());
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(cuts.next().map_or(rest.len(), |cut| rest.len().min(*cut)));
        (rest, longest) = (after, piece.len().max(longest));
        deframer.push(piece);
        let most = if takes_all { usize::MAX } else { 1 };
        for _ in 0..most {
            let Ok(Some(body)) = deframer.next_frame() else { break };
            assert!(body == bodies[given] && body.len() <= max);
            given += 1;
        }
        assert!(deframer.pending() <= bound.saturating_add(if takes_all { 0 } else { longest }));
    }
    while let Ok(Some(body)) = deframer.next_frame() {
        assert!(body == bodies[given]);
        given += 1;
    }
    match deframer.next_frame().map(|_| ()) {
        Err(FrameError::Backlog { held, max: most }) => assert!(!takes_all && held > most && most >= max),
        lost => {
            assert_eq!(given, bodies.len());
            assert_eq!(deframer.finish(), end);
            assert_eq!(lost.err(), end.err().filter(|end| !matches!(end, FrameError::CutShort { .. })));
        }
    }
    assert_eq!(deframer.next_frame().map(|_| ()), deframer.next_frame().map(|_| ()), "an error stays");
    round_trip(framing, source.rest());
}

/// A framing by name, or of parts.
fn framing(source: &mut Source<'_>) -> Framing {
    let named = source.below(Framing::NAMED.len() + 10);
    if let Some((_, framing)) = Framing::NAMED.get(named) {
        return *framing;
    }
    let length = source.one(&[LengthForm::Ascii, LengthForm::Bcd, LengthForm::Binary, LengthForm::Hex]);
    let trailer: Vec<u8> = (0..source.below(5)).map(|_| source.octet()).collect();
    let parts = FramingParts {
        length,
        octets: source.one(&[2, 1, 3, 4, 5, 6, 7, 8]),
        inclusive: source.flag(),
        filler: source.one(&[0, 1, 2, 3, 4]),
        trailer: &trailer,
    };
    let most = if length == LengthForm::Binary { 4 } else { 8 };
    Framing::new(parts).unwrap_or_else(|_| {
        assert!(parts.octets > most);
        Framing::LENGTH_2
    })
}

/// Frames with bodies out of octets: the first octet of each says its length.
fn stream(framing: Framing, octets: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), octets);
    while let Some((length, after)) = rest.split_first() {
        let (body, after) = after.split_at(after.len().min(usize::from(*length)));
        // What cannot be framed stands as it is.
        if framing.encode(body, &mut out).is_err() {
            out.extend_from_slice(body);
        }
        rest = after;
    }
    out
}

/// The bodies of a stream that is all there, and how it ends.
fn whole(framing: Framing, max: usize, stream: &[u8]) -> (Vec<Vec<u8>>, Result<(), FrameError>) {
    let (mut bodies, mut rest) = (Vec::new(), stream);
    loop {
        match framing.decode(rest, max) {
            Ok(Some(frame)) => {
                assert!(frame.body.end <= frame.consumed && frame.consumed > 0);
                bodies.push(rest[frame.body].to_vec());
                rest = &rest[frame.consumed..];
            }
            Ok(None) if rest.is_empty() => return (bodies, Ok(())),
            Ok(None) => return (bodies, Err(FrameError::CutShort { octets: rest.len() })),
            Err(error) => return (bodies, Err(error)),
        }
    }
}

/// What is framed is found again, and not before its last octet.
fn round_trip(framing: Framing, body: &[u8]) {
    let mut out = vec![0xAA];
    match framing.encode(body, &mut out) {
        Ok(()) => {
            let frame = &out[1..];
            let found = framing.decode(frame, body.len()).expect("a frame").expect("all of it");
            assert!(&frame[found.body] == body && found.consumed == frame.len());
            assert_eq!(framing.decode(&frame[..frame.len() - 1], body.len()), Ok(None));
        }
        Err(error) => {
            assert!(matches!(error, FrameError::TooLong { .. } | FrameError::Control { .. }));
            assert_eq!(out, [0xAA], "nothing is written");
        }
    }
}

/// Any octets as a message of a dialect of the crate.
pub(crate) fn decode(data: &[u8]) {
    let Some((dialect, body)) = data.split_first() else { return };
    let names = Spec::builtin_names();
    let name = names[usize::from(*dialect) % names.len()];
    check::body(Spec::builtin(name).expect("its own name"), body);
    // Every dialect is tried, in every frame: seldom.
    if body.len() % 64 == 5 {
        let guesses = detect(body);
        assert!(guesses.iter().all(|guess| !guess.to_string().is_empty()));
        let fits = |guess: &Guess| guess.fits() && guess.framing.is_none();
        for guess in guesses.iter().filter(|guess| fits(guess)) {
            assert!(Message::decode(guess.spec, body).is_ok());
        }
    }
}

/// Chip data: as a walk over elements, and as a field of a message.
pub(crate) fn tlv(data: &[u8]) {
    let found: Vec<Result<tlv::Tlv<'_>, TlvError>> = tlv::elements(data).collect();
    assert!(found.len() <= data.len(), "the walk ends");
    let sound: Vec<tlv::Tlv<'_>> = found.iter().map_while(|element| element.ok()).collect();
    if let Some(Err(TlvError::Truncated { offset } | TlvError::Overlong { offset })) = found.last() {
        assert!(*offset < data.len());
    }
    assert!(found.len() - sound.len() <= 1, "an error is the last");
    let mut pushed = Vec::new();
    for element in &sound {
        let first = sound.iter().find(|other| other.tag == element.tag).map(|first| first.value);
        assert_eq!(tlv::find(data, element.tag), first);
        tlv::push(element.tag, element.value, &mut pushed);
    }
    let again: Vec<tlv::Tlv<'_>> = tlv::elements(&pushed).map(|element| element.expect("pushed")).collect();
    assert!(again == sound, "what is pushed is found");
    let Ok(length) = u16::try_from(data.len()) else { return };
    if let 1..=999 = length {
        // DE 55 of a terminal: 3 packed digits of length, then BER-TLV.
        let digits = [(length / 100) as u8, ((length / 10 % 10) << 4 | (length % 10)) as u8];
        let head = [0x60, 0, 3, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0, 0x02, 0];
        let body = [&head[..], &digits, data].concat();
        let spec = Spec::builtin("edc").expect("a dialect of the crate");
        check::body(spec, &body);
        let message = Message::decode(spec, &body).expect("any octets are content of it");
        as_elements(message.get(55).expect("announced"), &found);
    }
}

/// A field's parts are the elements of its octets.
fn as_elements(value: &Value, elements: &[Result<tlv::Tlv<'_>, TlvError>]) {
    match value {
        Value::Composite(composite) => {
            let names: Vec<String> = composite.parts().map(|(name, _)| name.to_owned()).collect();
            let sound = elements.iter().map(|element| element.expect("parts that hold together"));
            let tags: Vec<String> = sound.map(|element| format!("{:02X}", element.tag)).collect();
            assert_eq!(names, tags);
        }
        Value::Bytes(octets) => {
            let is_filler = octets.iter().all(|octet| *octet == 0);
            assert!(is_filler || elements.iter().any(Result::is_err));
        }
        Value::Text(_) => unreachable!("chip data is octets"),
    }
}

/// Any text as a dialect, or a dialect of the crate with some lines changed; what compiles reads a message.
pub(crate) fn spec(data: &[u8]) {
    let mut source = Source::new(data);
    let text = match source.below(2) {
        0 => {
            let end = source.rest().iter().position(|octet| *octet == 0).unwrap_or(source.rest().len());
            let text = String::from_utf8_lossy(&source.rest()[..end]).into_owned();
            source = Source::new(&source.rest()[end..]);
            text
        }
        _ => changed(&mut source),
    };
    // Seldom all of what it extends, which takes long.
    let is_whole = source.one_in(16);
    let parent = |name: &str| (!is_whole).then(|| Spec::builtin_source(name).map(few)).flatten();
    match Spec::parse_with(&text, &parent) {
        Ok(spec) => {
            for (de, field) in spec.fields() {
                assert!((2..=192).contains(&de));
                let words = [field.notation(), field.writing(), field.inside()];
                assert!(words[..2].iter().all(|words| !words.is_empty()));
            }
            check::body(&spec, source.rest());
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in faults {
                let line = text.split('\n').nth(fault.line - 1).expect("a line of the file");
                assert!((1..=line.chars().count() + 1).contains(&fault.column), "{fault}");
                assert!(!fault.reason.is_empty() && !fault.to_string().is_empty());
            }
        }
    }
}

/// The head of a dialect, its defaults and a few of its fields.
fn few(source: &str) -> String {
    let is_single = |line: &&str| line.contains(" = {") && line.ends_with('}') && !line.starts_with(' ');
    let (head, fields) = source.split_once("[fields]").unwrap_or((source, ""));
    let fields: Vec<&str> = fields.lines().filter(is_single).take(8).collect();
    format!("{head}[fields]\n{}\n", fields.join("\n"))
}

/// A dialect of the crate, of which not everything is there, in which words of some lines stand in others, lines are
/// missing or there twice.
fn changed(source: &mut Source<'_>) -> String {
    let name = source.one(&Spec::builtin_names());
    let file = Spec::builtin_source(name).expect("its own name");
    let mut lines: Vec<String> = few(file).lines().map(str::to_owned).collect();
    let tables: Vec<&str> = file.split("\n[").skip(2).collect();
    for _ in 0..source.below(4) {
        if !tables.is_empty() {
            let table = tables[source.below(tables.len())];
            lines.extend(format!("[{table}").lines().map(str::to_owned));
        }
    }
    for _ in 0..source.within(1, 4) {
        let (at, from) = (source.below(lines.len()), source.below(lines.len()));
        match source.below(4) {
            0 => lines[at] = with_word_of(source, &lines[at], &lines[from]),
            1 => lines[at] = with_number(source, &lines[at]),
            2 => drop(lines.remove(at)),
            _ => lines.insert(at, lines[from].clone()),
        }
        if lines.is_empty() {
            break;
        }
    }
    lines.join("\n")
}

/// A line with a word that stands in another.
fn with_word_of(source: &mut Source<'_>, line: &str, other: &str) -> String {
    let words = |line: &str| line.split_inclusive(' ').map(str::to_owned).collect::<Vec<_>>();
    let (mut into, from) = (words(line), words(other));
    if into.is_empty() || from.is_empty() {
        return other.to_owned();
    }
    let at = source.below(into.len());
    into[at] = from[source.below(from.len())].clone();
    into.concat()
}

/// A line with another number in the place of one of its own.
fn with_number(source: &mut Source<'_>, line: &str) -> String {
    let number =
        source.one(&["0", "1", "2", "7", "64", "65", "99", "128", "255", "256", "1000", "65535", "65536"]);
    let digits: Vec<usize> = (0..line.len()).filter(|at| line.as_bytes()[*at].is_ascii_digit()).collect();
    if digits.is_empty() {
        return format!("{line}{number}");
    }
    let start = digits[source.below(digits.len())];
    let end = start + line[start..].bytes().take_while(u8::is_ascii_digit).count();
    format!("{}{number}{}", &line[..start], &line[end..])
}

/// A packager file: any text, or one that the octets choose. What it is made into compiles.
pub(crate) fn import(data: &[u8]) {
    let mut source = Source::new(data);
    let text = match source.one_in(4) {
        true => String::from_utf8_lossy(source.rest()).into_owned(),
        false => packager::file(&mut source),
    };
    match jpos::import(&text, "imported") {
        Ok(import) => {
            for note in &import.notes {
                assert!(text.split('\n').nth(note.line - 1).is_some() && !note.to_string().is_empty());
            }
            let spec = Spec::parse(&import.toml);
            let spec = spec.unwrap_or_else(|faults| panic!("{faults:?}\n{text}\n{}", import.toml));
            check::body(&spec, source.rest());
        }
        Err(fault) => {
            let line = text.split('\n').nth(fault.line - 1).expect("a line of the file");
            assert!((1..=line.chars().count() + 2).contains(&fault.column), "{fault}\n{text}");
        }
    }
}

/// A dialect and a message that the octets choose, and what is done to it.
pub(crate) fn generated(data: &[u8]) {
    let (choices, octets) = data.split_at(data.len().min(16));
    let (case, mut source) = (generator::case(octets), Source::new(choices));
    let place = usize::from(source.octet()) << 8 | usize::from(source.octet());
    match source.below(5) {
        0 => properties::written_and_read(&case),
        1 => properties::masked(&case),
        2 => properties::cut(&case, place % case.message.body().len()),
        3 => properties::changed(&case, place, source.octet()),
        _ => properties::kept(&case, &mut source),
    }
    properties::lengthened(&case, source.octet());
}
