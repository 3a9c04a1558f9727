//! `tollgate decode`, `encode` and `spec`: messages and dialects for people.
//!
//! The JSON of a message lives here and nowhere else. Knows the codec only: no store, no key, no socket.

use std::{
    borrow::Cow,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use iso8583_spec::{Fault, Field, Framing, Masking, Message, Mti, Spec, SpecError, Value, View};
use serde_json::{Map, Value as Json, json};

/// Done.
const DONE: u8 = 0;
/// The work failed.
const FAILED: u8 = 1;
/// A check found faults.
const FAULTS: u8 = 3;

/// The verbs of messages and dialects. None needs a configuration or a store.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show a message in hexadecimal, field by field
    Decode(DecodeArgs),
    /// Write a message from the JSON that decode prints
    Encode(EncodeArgs),
    /// List, show and check dialects
    Spec(SpecArgs),
}

impl Verb {
    /// Runs the verb. The exit code: 0 done, 1 a message has faults, 3 a checked dialect has.
    ///
    /// # Errors
    /// When the input or the dialect cannot be read.
    pub fn run(&self, stdout: &mut dyn Write) -> anyhow::Result<u8> {
        match self {
            Verb::Decode(args) => decode(args, stdout),
            Verb::Encode(args) => encode(args, stdout),
            Verb::Spec(args) => spec(args, stdout),
        }
    }
}

/// `tollgate decode`: a message in hexadecimal, field by field.
#[derive(Debug, Args)]
pub struct DecodeArgs {
    /// Dialect: a built-in name or a file
    #[arg(long, value_name = "NAME|FILE")]
    spec: String,
    /// The octets are frames with this length prefix (length-2, ascii-4), one or more
    #[arg(long, value_name = "NAME")]
    framing: Option<String>,
    /// One line of JSON a message
    #[arg(long)]
    json: bool,
    /// Show PAN, track data and PIN blocks as they are
    #[arg(long)]
    unmask: bool,
    /// The message in hexadecimal, or - for standard input; white space is ignored
    #[arg(value_name = "HEX|-")]
    hex: String,
}

/// `tollgate encode`: the JSON that decode prints, as a message.
#[derive(Debug, Args)]
pub struct EncodeArgs {
    /// Dialect: a built-in name or a file
    #[arg(long, value_name = "NAME|FILE")]
    spec: String,
    /// Write this length prefix (length-2, ascii-4) before each message
    #[arg(long, value_name = "NAME")]
    framing: Option<String>,
    /// Write hexadecimal, one line a message (the default)
    #[arg(long, conflicts_with = "raw")]
    hex: bool,
    /// Write octets
    #[arg(long)]
    raw: bool,
    /// JSON of one or more messages, or - for standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
}

/// `tollgate spec`: dialects.
#[derive(Debug, Args)]
pub struct SpecArgs {
    #[command(subcommand)]
    command: SpecCommand,
}

#[derive(Debug, Subcommand)]
enum SpecCommand {
    /// Name the built-in dialects
    List,
    /// Show the fields of a dialect
    Show {
        /// A built-in name or a file
        #[arg(value_name = "NAME|FILE")]
        name: String,
        /// Print the declaration itself, the model for a new dialect
        #[arg(long)]
        toml: bool,
    },
    /// Check a dialect file; exit 3 when something is wrong with it
    Check {
        /// The file
        file: PathBuf,
    },
}

/// Why JSON is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// A key is missing or its value has the wrong shape.
    #[error("{key}: {reason}")]
    Shape {
        /// The key.
        key: &'static str,
        /// What was expected.
        reason: &'static str,
    },
    /// A key that a message does not have.
    #[error("{key:?} is not a key of a message")]
    Unknown {
        /// The key.
        key: String,
    },
    /// The message is of another dialect.
    #[error("the message is of dialect {found:?}, not {expected:?}")]
    Dialect {
        /// The dialect named in the JSON.
        found: String,
        /// The dialect asked for.
        expected: String,
    },
    /// A field that is not one of the dialect.
    #[error("field {key:?} is not defined in this dialect")]
    Undefined {
        /// The key.
        key: String,
    },
    /// The value of a field has the wrong shape.
    #[error("field {field}: {reason}")]
    Field {
        /// The data element.
        field: u8,
        /// What was expected.
        reason: &'static str,
    },
}

/// Runs `tollgate decode`: exit 0, or 1 when a message has faults (what can be read of it is printed).
///
/// # Errors
/// When the dialect, the framing, the hexadecimal or the front of a message cannot be read.
pub fn decode(args: &DecodeArgs, stdout: &mut dyn Write) -> anyhow::Result<u8> {
    let spec = find_spec(&args.spec)?;
    let masking = if args.unmask { Masking::Clear } else { Masking::Masked };
    let octets = read_hex(&args.hex)?;
    let bodies = match &args.framing {
        Some(name) => unframe(find_framing(name)?, &octets)?,
        None => vec![octets.as_slice()],
    };
    let mut exit = DONE;
    for body in bodies {
        let view = View::decode(&spec, body).with_context(|| hint(&spec, args, body))?;
        if args.json {
            writeln!(stdout, "{}", decode_json(&view, masking))?;
        } else {
            write!(stdout, "{}", decode_text(&view, masking))?;
        }
        if !view.is_sound() {
            exit = FAILED;
        }
    }
    Ok(exit)
}

/// Says what may be meant when a message cannot be read at all.
fn hint(spec: &Spec, args: &DecodeArgs, body: &[u8]) -> String {
    let framing = spec.framing();
    match framing.decode(body, body.len()) {
        Ok(Some(frame)) if args.framing.is_none() && frame.consumed == body.len() => {
            format!(
                "not a message of {}; with a length prefix? try --framing {}",
                spec.name(),
                framing.name()
            )
        }
        Ok(_) | Err(_) => format!("not a message of {}", spec.name()),
    }
}

/// A message line by line, its faults at the end.
pub fn decode_text(view: &View<'_>, masking: Masking) -> String {
    let mut text = Message::from_view(view).describe(view.spec(), masking);
    for fault in view.faults() {
        text += &format!("fault: {fault}\n");
    }
    text
}

/// A message as JSON, with `faults` when it has some.
fn decode_json(view: &View<'_>, masking: Masking) -> Json {
    let mut json = to_json(&Message::from_view(view), view.spec(), masking);
    if let (false, Some(object)) = (view.is_sound(), json.as_object_mut()) {
        let fault = |fault: &Fault| json!({"field": fault.field, "offset": fault.offset, "reason": fault.reason.to_string()});
        object.insert("faults".to_owned(), view.faults().iter().map(fault).collect());
    }
    json
}

/// Runs `tollgate encode`.
///
/// # Errors
/// When the dialect, the framing or the JSON cannot be read, or a message cannot be written.
pub fn encode(args: &EncodeArgs, stdout: &mut dyn Write) -> anyhow::Result<u8> {
    let spec = find_spec(&args.spec)?;
    let framing = args.framing.as_deref().map(find_framing).transpose()?;
    let text = if args.file == Path::new("-") {
        read_stdin()?
    } else {
        fs::read_to_string(&args.file).with_context(|| args.file.display().to_string())?
    };
    for json in serde_json::Deserializer::from_str(&text).into_iter::<Json>() {
        let message = from_json(&json.context("JSON")?, &spec)?;
        let body = message.encode(&spec)?;
        let mut octets = Vec::with_capacity(body.len() + 4);
        match framing {
            Some(framing) => framing.encode(&body, &mut octets)?,
            None => octets = body,
        }
        match args.raw {
            true => stdout.write_all(&octets)?,
            false => writeln!(stdout, "{}", hex::encode_upper(&octets))?,
        }
    }
    Ok(DONE)
}

/// Runs `tollgate spec`: exit 0, or 3 when a checked file has a fault.
///
/// # Errors
/// When a dialect to be shown is unknown or faulty, or a file cannot be read.
pub fn spec(args: &SpecArgs, stdout: &mut dyn Write) -> anyhow::Result<u8> {
    match &args.command {
        SpecCommand::List => {
            for spec in Spec::builtin_names().iter().filter_map(|name| Spec::builtin(name)) {
                writeln!(
                    stdout,
                    "{:<14} {:<9} {} fields",
                    spec.name(),
                    spec.framing().name(),
                    spec.fields().count()
                )?;
            }
            Ok(DONE)
        }
        SpecCommand::Show { name, toml: true } => {
            let source =
                Spec::builtin_source(name).map_or_else(|| read_file(Path::new(name)), |text| Ok(text.into()));
            write!(stdout, "{}", source?)?;
            Ok(DONE)
        }
        SpecCommand::Show { name, toml: false } => {
            let spec = find_spec(name)?;
            write!(stdout, "{}", spec_table(&spec))?;
            Ok(DONE)
        }
        SpecCommand::Check { file } => match Spec::parse(&read_file(file)?) {
            Ok(spec) => {
                writeln!(stdout, "{}: {}, {} fields", file.display(), spec.name(), spec.fields().count())?;
                Ok(DONE)
            }
            Err(error) => {
                writeln!(stdout, "{}", located(file, &error))?;
                Ok(FAULTS)
            }
        },
    }
}

/// The fields of a dialect, a line each.
fn spec_table(spec: &Spec) -> String {
    let head = format!("TPDU {}, header {}", spec.tpdu_len(), spec.header_len());
    let mut text = format!("{}: framing {}, {head}\n", spec.name(), spec.framing().name());
    for (de, field) in spec.fields() {
        let (name, notation) = (field.name(), field.notation());
        text += &format!("{de:>3} {name:<38} {notation:<10} {}\n", field.writing());
    }
    text
}

/// A message as JSON: text as text, octets as upper-case hexadecimal, composites and TLV as objects in wire
/// order, a repeated name's values as an array.
pub fn to_json(message: &Message, spec: &Spec, masking: Masking) -> Json {
    let mut json = Map::new();
    json.insert("spec".to_owned(), spec.name().into());
    json.insert("mti".to_owned(), message.mti.as_str().into());
    for (key, octets) in [("tpdu", &message.tpdu), ("header", &message.header)] {
        if let Some(octets) = octets {
            json.insert(key.to_owned(), hex::encode_upper(octets).into());
        }
    }
    let fields: Map<String, Json> = message
        .shown(spec, masking)
        .iter()
        .map(|(de, value)| (de.to_string(), value_to_json(value)))
        .collect();
    json.insert("fields".to_owned(), fields.into());
    json.into()
}

fn value_to_json(value: &Value) -> Json {
    let parts = match value {
        Value::Text(text) => return text.as_str().into(),
        Value::Bytes(octets) => return hex::encode_upper(octets).into(),
        Value::Composite(parts) => parts,
    };
    let mut object = Map::new();
    for (name, part) in parts {
        let part = value_to_json(part);
        match object.get_mut(name) {
            None => drop(object.insert(name.clone(), part)),
            Some(Json::Array(values)) => values.push(part),
            Some(first) => *first = Json::Array(vec![first.take(), part]),
        }
    }
    object.into()
}

/// A message from the JSON of [`to_json`].
///
/// # Errors
/// When the JSON has not that form, or names a field that the dialect does not define. Lengths and characters are
/// judged when the message is encoded.
pub fn from_json(json: &Json, spec: &Spec) -> Result<Message, JsonError> {
    let shape = |key, reason| JsonError::Shape { key, reason };
    let object = json.as_object().ok_or(shape("message", "is not an object"))?;
    let known = ["spec", "mti", "tpdu", "header", "fields"];
    if let Some(key) = object.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(JsonError::Unknown { key: key.clone() });
    }
    if let Some(found) = object.get("spec") {
        let found = found.as_str().ok_or(shape("spec", "is not a name"))?;
        if found != spec.name() {
            let (found, expected) = (found.to_owned(), spec.name().to_owned());
            return Err(JsonError::Dialect { found, expected });
        }
    }
    let mti = object.get("mti").and_then(Json::as_str).and_then(Mti::new);
    let mut message = Message::new(mti.ok_or(shape("mti", "needs four digits"))?);
    let octets = |key| match object.get(key) {
        None => Ok(None),
        Some(json) => json
            .as_str()
            .and_then(|text| hex::decode(text).ok())
            .map(Some)
            .ok_or(shape(key, "is not hexadecimal")),
    };
    message.tpdu = octets("tpdu")?;
    message.header = octets("header")?;
    let fields = object.get("fields").and_then(Json::as_object);
    for (key, json) in fields.ok_or(shape("fields", "needs an object"))? {
        let undefined = || JsonError::Undefined { key: key.clone() };
        let de = key.parse().ok().filter(|de: &u8| de.to_string() == *key).ok_or_else(undefined)?;
        let field = spec.field(de).ok_or_else(undefined)?;
        message
            .set(de, value_from_json(json, field).map_err(|reason| JsonError::Field { field: de, reason })?);
    }
    Ok(message)
}

fn value_from_json(json: &Json, field: &Field) -> Result<Value, &'static str> {
    match json {
        Json::String(text) if field.is_binary() => {
            let octets = hex::decode(text).map_err(|_| "is masked or not hexadecimal")?;
            Ok(Value::Bytes(octets))
        }
        Json::String(text) => Ok(Value::Text(text.clone())),
        Json::Object(object) => {
            let mut parts = Vec::new();
            for (name, json) in object {
                let values = json.as_array().map_or(std::slice::from_ref(json), Vec::as_slice);
                for json in values {
                    parts.push((name.clone(), value_from_json(json, field)?));
                }
            }
            Ok(Value::Composite(parts))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) => Err("needs a string or an object"),
    }
}

/// A dialect by its built-in name, or else out of a file.
fn find_spec(name: &str) -> anyhow::Result<Cow<'static, Spec>> {
    if let Some(spec) = Spec::builtin(name) {
        return Ok(Cow::Borrowed(spec));
    }
    let path = Path::new(name);
    if !path.exists() {
        bail!("{name}: neither a file nor one of the dialects {}", Spec::builtin_names().join(", "));
    }
    match Spec::parse(&read_file(path)?) {
        Ok(spec) => Ok(Cow::Owned(spec)),
        Err(error) => bail!("{}", located(path, &error)),
    }
}

/// The fault of a dialect file as editors read it.
fn located(file: &Path, error: &SpecError) -> String {
    let field = error.field.map_or(String::new(), |de| format!("field {de}: "));
    format!("{}:{}:{}: {field}{}", file.display(), error.line, error.column, error.reason)
}

fn find_framing(name: &str) -> anyhow::Result<Framing> {
    let names: Vec<&str> = Framing::ALL.iter().map(Framing::name).collect();
    Framing::by_name(name).with_context(|| format!("{name}: not one of the framings {}", names.join(", ")))
}

/// The bodies of all frames; keep-alives are left out.
fn unframe(framing: Framing, octets: &[u8]) -> anyhow::Result<Vec<&[u8]>> {
    let (mut bodies, mut rest) = (Vec::new(), octets);
    while !rest.is_empty() {
        let Some(frame) = framing.decode(rest, usize::MAX).context(framing.name())? else {
            bail!("{}: the last frame is cut short", framing.name());
        };
        bodies.extend(rest.get(frame.body).filter(|body| !body.is_empty()));
        rest = rest.get(frame.consumed..).unwrap_or_default();
    }
    Ok(bodies)
}

fn read_hex(argument: &str) -> anyhow::Result<Vec<u8>> {
    let text = if argument == "-" { read_stdin()? } else { argument.to_owned() };
    let digits: String = text.split_whitespace().collect();
    hex::decode(digits).context("the message is not hexadecimal")
}

fn read_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input")?;
    Ok(text)
}

fn read_file(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        verb: Verb,
    }

    fn run(arguments: &[&str]) -> anyhow::Result<(u8, String)> {
        let mut out = Vec::new();
        let exit = Cli::try_parse_from([&["tollgate"], arguments].concat())?.verb.run(&mut out)?;
        Ok((exit, String::from_utf8(out)?))
    }

    const SALE: &str = "007260000300006031003110000200302004C020C0981100000000000001000000\
        000702100012346225880012345675AA5A7881CAF9ED9A00303030303031303138\
        3938333130303538313230303031313536605CAB8CE0D1A2B92610000000000000\
        0014220000010005004441443644393837";

    #[test]
    fn the_golden_sale_as_json() {
        let arguments = ["decode", "--spec", "unionpay-pos", "--framing", "length-2", "--json", SALE];
        let (exit, masked) = run(&arguments).unwrap();
        let expected = concat!(
            r#"{"spec":"unionpay-pos","mti":"0200","tpdu":"6000030000","header":"603100311000","fields":{"#,
            r#""3":"000000","4":"000000010000","11":"000007","22":"021","25":"00","26":"12","#,
            r#""35":"**********************************","41":"00000101","42":"898310058120001","49":"156","#,
            r#""52":"****************","53":{"1":"2","2":"6","3":"1","4":"0000000000000"},"#,
            r#""60":{"1":"22","2":"000001","3":"000","4":"5","5":"0","6":"0"},"64":"4441443644393837"}}"#,
            "\n"
        );
        assert_eq!((exit, masked.as_str()), (0, expected));
        let (_, clear) = run(&[&arguments[..], &["--unmask"]].concat()).unwrap();
        assert!(clear.contains(r#""35":"6225880012345675AA5A7881CAF9ED9A00""#), "{clear}");
        assert!(clear.contains(r#""52":"605CAB8CE0D1A2B9""#), "{clear}");
    }

    /// Decodes to JSON and encodes again.
    fn there_and_back(spec: &str, framing: &str, digits: &str) -> String {
        let decode = ["decode", "--spec", spec, "--framing", framing, "--json", "--unmask", digits];
        let (_, json) = run(&decode).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), json).unwrap();
        let path = file.path().to_str().unwrap();
        run(&["encode", "--spec", spec, "--framing", framing, path]).unwrap().1
    }

    #[test]
    fn what_decode_prints_encode_reads() {
        // A repeated tag, nested tags, two frames, both bitmaps of an ASCII message.
        let chip = "002A 6000120000 0200 0000000000000200 0030\
            9F2602A1A2 7106 9F1801AA 8600 7106 9F1801BB 8600 9F36020001 82025C00";
        let network = hex::encode_upper("00550800822000000000000004000000000000001122123456000001001");
        let rows = [
            ("unionpay-pos", "length-2", SALE.to_owned()),
            ("edc", "length-2", chip.replace(' ', "")),
            ("iso87-ascii", "ascii-4", network.clone()),
            ("iso87-ascii", "ascii-4", network.repeat(2)),
        ];
        for (spec, framing, digits) in rows {
            let digits = match framing {
                "length-2" => reframe(&digits),
                _ => digits,
            };
            let back = there_and_back(spec, framing, &digits).replace('\n', "");
            assert_eq!(back, digits, "{spec}");
        }
    }

    /// The frame with the length it has.
    fn reframe(digits: &str) -> String {
        format!("{:04X}{}", digits.len() / 2 - 2, &digits[4..])
    }

    #[test]
    fn faults_are_printed_and_end_with_one() {
        let sale = SALE.replace("000000010000000007", "0000000A0000000007");
        let arguments = ["decode", "--spec", "unionpay-pos", "--framing", "length-2", &sale];
        let (exit, text) = run(&arguments).unwrap();
        assert_eq!(exit, 1);
        assert!(text.ends_with("fault: field 4 at offset 27: not a digit\n"), "{text}");
        assert!(text.contains(" 11 system trace audit number              000007\n"), "{text}");
        let (_, json) = run(&[&arguments[..], &["--json"]].concat()).unwrap();
        assert!(json.contains(r#""faults":[{"field":4,"offset":27,"reason":"not a digit"}]"#), "{json}");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let decode = |rest: &[&str]| format!("{:#}", run(&[&["decode"], rest].concat()).unwrap_err());
        let rows = [
            (decode(&["--spec", "nope", "00"]), "neither a file nor one of the dialects unionpay-pos, edc"),
            (decode(&["--spec", "edc", "0x"]), "not hexadecimal"),
            (
                decode(&["--spec", "edc", "--framing", "none", "00"]),
                "not one of the framings length-2, ascii-4",
            ),
            (decode(&["--spec", "edc", "--framing", "length-2", "000500"]), "cut short"),
            (decode(&["--spec", "edc", "6000"]), "TPDU at offset 0"),
            (decode(&["--spec", "iso87-ascii", &hex::encode("00080800x")]), "not a message of iso87-ascii"),
            (decode(&["--spec", "iso87-ascii", &hex::encode("0006080x82")]), "try --framing ascii-4"),
        ];
        for (error, part) in rows {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn json_that_is_no_message() {
        let edc = Spec::builtin("edc").unwrap();
        let rows = [
            (json!([]), "message: is not an object"),
            (json!({"fields": {}}), "mti: needs four digits"),
            (json!({"mti": "02", "fields": {}}), "mti: needs four digits"),
            (json!({"mti": "0200"}), "fields: needs an object"),
            (json!({"mti": "0200", "tpdu": "6", "fields": {}}), "tpdu: is not hexadecimal"),
            (json!({"mti": "0200", "felds": {}}), "\"felds\" is not a key of a message"),
            (
                json!({"spec": "ipm", "mti": "0200", "fields": {}}),
                "the message is of dialect \"ipm\", not \"edc\"",
            ),
            (json!({"mti": "0200", "fields": {"01": "x"}}), "field \"01\" is not defined in this dialect"),
            (json!({"mti": "0200", "fields": {"65": "x"}}), "field \"65\" is not defined in this dialect"),
            (json!({"mti": "0200", "fields": {"3": 0}}), "field 3: needs a string or an object"),
            (json!({"mti": "0200", "fields": {"52": "****"}}), "field 52: is masked or not hexadecimal"),
        ];
        for (json, expected) in rows {
            assert_eq!(from_json(&json, edc).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn dialects_are_listed_shown_and_checked() {
        let (_, list) = run(&["spec", "list"]).unwrap();
        for name in Spec::builtin_names() {
            assert!(list.lines().any(|line| line.starts_with(name)), "{list}");
            let (_, source) = run(&["spec", "show", name, "--toml"]).unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), &source).unwrap();
            let path = file.path().to_str().unwrap();
            assert_eq!(run(&["spec", "check", path]).unwrap().0, 0);
            fs::write(file.path(), source.replace("length = 6 }", "length = 0 }")).unwrap();
            let (exit, fault) = run(&["spec", "check", path]).unwrap();
            assert_eq!(exit, 3);
            assert!(fault.contains(": cannot be empty"), "{fault}");
        }
        let (_, table) = run(&["spec", "show", "unionpay-pos"]).unwrap();
        let row = "  2 primary account number                 n..19      bcd left pad 0, prefix LL bcd";
        assert!(table.lines().any(|line| line == row), "{table}");
    }
}
