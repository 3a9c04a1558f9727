//! `tollgate decode` and `encode`: messages for people. Knows the codec only: no store, no key, no socket.

use std::{
    borrow::Cow,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use iso8583_spec::{Fault, Framing, Guess, Masking, Message, Spec, View, detect};
use serde_json::{Value as Json, json};

use super::{
    json::{from_json, to_json},
    spec::{SpecArgs, find_spec, spec},
};

/// Done.
pub(super) const DONE: u8 = 0;
/// The work failed.
pub(super) const FAILED: u8 = 1;
/// A check found faults.
pub(super) const FAULTS: u8 = 3;

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
    /// Dialect: a built-in name or a file; auto tries all that are built in, and says which fit and why
    #[arg(long, value_name = "NAME|FILE|auto")]
    spec: String,
    /// The octets are frames of this framing (length-2, ascii-4, …), one or more
    #[arg(long, value_name = "NAME")]
    framing: Option<String>,
    /// Check the rules of the dialect too: mandatory and forbidden fields, patterns; exit 3 when one is broken
    #[arg(long)]
    check: bool,
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
    /// Write each message in a frame of this framing (length-2, ascii-4, …)
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

/// Runs `tollgate decode`: exit 0, 1 when a message has faults (what can be read of it is printed), or 3 when it
/// breaks a rule that was to be checked.
///
/// # Errors
/// When the dialect, the framing, the hexadecimal or the front of a message cannot be read.
pub fn decode(args: &DecodeArgs, stdout: &mut dyn Write) -> anyhow::Result<u8> {
    let octets = read_hex(&args.hex)?;
    let framing = args.framing.as_deref().map(find_framing).transpose()?;
    let (spec, framing) = match args.spec.as_str() {
        "auto" => guess(&octets, framing, args.json, stdout)?,
        name => (find_spec(name)?, framing),
    };
    let bodies = match framing {
        Some(framing) => unframe(framing, &octets)?,
        None => vec![octets.as_slice()],
    };
    let mut exit = DONE;
    for body in bodies {
        let view = View::decode(&spec, body).with_context(|| hint(&spec, args, body))?;
        let found = decode_one(&view, args, stdout)?;
        exit = if exit == FAILED { FAILED } else { exit.max(found) };
    }
    Ok(exit)
}

fn decode_one(view: &View<'_>, args: &DecodeArgs, stdout: &mut dyn Write) -> anyhow::Result<u8> {
    let masking = if args.unmask { Masking::Clear } else { Masking::Masked };
    let message = Message::from_view(view);
    let broken = if args.check { view.spec().check(&message) } else { Vec::new() };
    if args.json {
        let mut json = decode_json(view, &message, masking);
        if let (false, Some(object)) = (broken.is_empty(), json.as_object_mut()) {
            let broken = broken.iter().map(ToString::to_string).collect::<Vec<_>>();
            object.insert("broken".to_owned(), broken.into());
        }
        writeln!(stdout, "{json}")?;
    } else {
        write!(stdout, "{}", view.describe(masking))?;
        for violation in &broken {
            writeln!(stdout, "broken: {violation}")?;
        }
        if let (true, Some(rule)) = (args.check && broken.is_empty(), view.spec().rule_of(&message)) {
            writeln!(stdout, "keeps the rules of {rule:?}")?;
        }
    }
    Ok(match (view.inspect().is_empty(), broken.is_empty()) {
        (false, _) => FAILED,
        (true, false) => FAULTS,
        (true, true) => DONE,
    })
}

/// Says which dialects and framings fit, and why the others do not. The best of them.
fn guess(
    octets: &[u8],
    framing: Option<Framing>,
    is_json: bool,
    stdout: &mut dyn Write,
) -> anyhow::Result<(Cow<'static, Spec>, Option<Framing>)> {
    let mut guesses = detect(octets);
    if framing.is_some() {
        guesses.retain(|guess| guess.framing == framing);
    }
    for guess in &guesses {
        if is_json {
            writeln!(stdout, "{}", guess_json(guess))?;
        } else {
            writeln!(stdout, "{guess}")?;
        }
    }
    match guesses.first() {
        Some(best) if best.fits() || !best.mti.is_empty() || best.fields > 0 => {
            if !is_json {
                writeln!(stdout)?;
            }
            Ok((Cow::Borrowed(best.spec), best.framing))
        }
        Some(_) | None => bail!("not a message of any dialect"),
    }
}

fn guess_json(guess: &Guess) -> Json {
    json!({
        "guess": guess.spec.name(),
        "framing": guess.framing.map(|framing| framing.to_string()),
        "fits": guess.fits(),
        "why": guess.to_string(),
    })
}

/// Says what may be meant when a message cannot be read at all.
fn hint(spec: &Spec, args: &DecodeArgs, body: &[u8]) -> String {
    let framing = spec.framing();
    match framing.decode(body, body.len()) {
        Ok(Some(frame)) if args.framing.is_none() && frame.consumed == body.len() => {
            let name = framing.name().unwrap_or("with its name");
            format!("not a message of {}; in a frame? try --framing {name}", spec.name())
        }
        Ok(_) | Err(_) => format!("not a message of {}; try --spec auto", spec.name()),
    }
}

/// A message as JSON, with `faults` when it has some.
fn decode_json(view: &View<'_>, message: &Message, masking: Masking) -> Json {
    let mut json = to_json(message, view.spec(), masking);
    let faults = view.inspect();
    if let (false, Some(object)) = (faults.is_empty(), json.as_object_mut()) {
        object.insert("faults".to_owned(), faults.iter().map(fault_json).collect());
    }
    json
}

fn fault_json(fault: &Fault) -> Json {
    let mut json = json!({"field": fault.field, "offset": fault.offset, "reason": fault.reason.to_string()});
    if let (false, Some(object)) = (fault.part.is_empty(), json.as_object_mut()) {
        object.insert("part".to_owned(), fault.part.as_str().into());
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

fn find_framing(name: &str) -> anyhow::Result<Framing> {
    let names: Vec<&str> = Framing::NAMED.iter().map(|(name, _)| *name).collect();
    Framing::by_name(name).with_context(|| format!("{name}: not one of the framings {}", names.join(", ")))
}

/// The bodies of all frames; keep-alives are left out.
fn unframe(framing: Framing, octets: &[u8]) -> anyhow::Result<Vec<&[u8]>> {
    let (mut bodies, mut rest) = (Vec::new(), octets);
    while !rest.is_empty() {
        let Some(frame) = framing.decode(rest, usize::MAX).with_context(|| framing.to_string())? else {
            bail!("{framing}: the last frame is cut short");
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

pub(super) fn read_file(path: &Path) -> anyhow::Result<String> {
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
            r#""3":{"1":"00","2":"00","3":"00"},"4":"000000010000","11":"000007","22":{"1":"02","2":"1"},"25":"00","26":"12","#,
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
        let fault = "fault: field 4 at offset 27: not a digit, expected n12, found 0A\n";
        assert!(text.ends_with(fault), "{text}");
        assert!(text.contains(" 11        system trace audit number          000007\n"), "{text}");
        let (_, json) = run(&[&arguments[..], &["--json"]].concat()).unwrap();
        assert!(json.contains(r#""faults":[{"field":4,"offset":27,"reason":"not a digit"}]"#), "{json}");
    }

    #[test]
    fn dialect_and_framing_are_found() {
        let (exit, text) = run(&["decode", "--spec", "auto", SALE]).unwrap();
        let first = "unionpay-pos in length-2 fits: 0200, 14 fields, keeps the rules of \"sale\"";
        assert_eq!((exit, text.lines().next()), (0, Some(first)), "{text}");
        assert!(text.contains("\nedc: ") && !text.contains("622588"), "{text}");
        let (_, json) = run(&["decode", "--spec", "auto", "--json", SALE]).unwrap();
        let first = r#"{"guess":"unionpay-pos","framing":"length-2","fits":true,"why":"unionpay-pos in length-2 fits"#;
        assert!(json.starts_with(first), "{json}");
        let error = run(&["decode", "--spec", "auto", "FFFF"]).unwrap_err();
        assert_eq!(error.to_string(), "not a message of any dialect");
    }

    #[test]
    fn broken_rules_exit_with_three() {
        let message = hex::encode("08002020000000800000000000000042TERM0001");
        let decode = ["decode", "--spec", "iso87-ascii", "--check", &message];
        let (exit, text) = run(&decode).unwrap();
        assert_eq!(exit, 3, "{text}");
        assert!(text.contains("broken: field 70: is missing\n"), "{text}");
        let (_, json) = run(&[&decode[..], &["--json"]].concat()).unwrap();
        assert!(json.contains(r#""broken":["field"#), "{json}");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let decode = |rest: &[&str]| format!("{:#}", run(&[&["decode"], rest].concat()).unwrap_err());
        let rows = [
            (
                decode(&["--spec", "nope", "00"]),
                "neither a file nor one of the dialects iso87-ascii, iso87-bcd",
            ),
            (decode(&["--spec", "edc", "0x"]), "not hexadecimal"),
            (
                decode(&["--spec", "edc", "--framing", "none", "00"]),
                "not one of the framings length-2, length-2-inclusive",
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
}
