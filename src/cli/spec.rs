//! `tollgate spec`: dialects for people. Knows the codec only.

use std::{
    borrow::Cow,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use iso8583_spec::{Spec, SpecError, jpos};

use super::message::{DONE, FAULTS, read_file};

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
    /// Print a jPOS GenericPackager file as a dialect; what it says and a dialect cannot is told on standard error
    ImportJpos {
        /// The packager, XML
        file: PathBuf,
        /// The name of the dialect; that of the file when not given
        #[arg(long)]
        name: Option<String>,
    },
}

/// Runs `tollgate spec`: exit 0, or 3 when a checked file has a fault.
///
/// # Errors
/// When a dialect to be shown is unknown or faulty, or a file cannot be read.
pub(super) fn spec(args: &SpecArgs, stdout: &mut dyn Write) -> anyhow::Result<u8> {
    match &args.command {
        SpecCommand::List => {
            for spec in Spec::builtins() {
                let (framing, fields) = (spec.framing().to_string(), spec.fields().count());
                writeln!(stdout, "{:<14} {framing:<9} {fields:>3} fields", spec.name())?;
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
        SpecCommand::ImportJpos { file, name } => {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            let import = jpos::import(&read_file(file)?, name.as_deref().unwrap_or(&stem))
                .with_context(|| file.display().to_string())?;
            write!(stdout, "{}", import.toml)?;
            let mut stderr = std::io::stderr().lock();
            for note in &import.notes {
                writeln!(stderr, "{}: {note}", file.display())?;
            }
            Ok(DONE)
        }
        SpecCommand::Check { file } => match parse(file)? {
            Ok(spec) => {
                writeln!(stdout, "{}: {}, {} fields", file.display(), spec.name(), spec.fields().count())?;
                Ok(DONE)
            }
            Err(errors) => {
                for error in &errors {
                    writeln!(stdout, "{}", located(file, error))?;
                }
                Ok(FAULTS)
            }
        },
    }
}

/// The fields of a dialect, a line each.
fn spec_table(spec: &Spec) -> String {
    let header = match spec.header_lengths() {
        (min, max) if min == max => max.to_string(),
        (min, max) => format!("{min} to {max}"),
    };
    let mut text =
        format!("{}: framing {}, TPDU {}, header {header}\n", spec.name(), spec.framing(), spec.tpdu_len());
    for (de, field) in spec.fields() {
        let (name, notation) = (field.name(), field.notation());
        let inside = match field.inside() {
            inside if inside.is_empty() => inside,
            inside => format!(", {inside}"),
        };
        text += &format!("{de:>3} {name:<38} {notation:<10} {}{inside}\n", field.writing());
    }
    text
}

/// A dialect by its built-in name, or else out of a file.
pub(super) fn find_spec(name: &str) -> anyhow::Result<Cow<'static, Spec>> {
    if let Some(spec) = Spec::builtin(name) {
        return Ok(Cow::Borrowed(spec));
    }
    let path = Path::new(name);
    if !path.exists() {
        bail!("{name}: neither a file nor one of the dialects {}", Spec::builtin_names().join(", "));
    }
    match parse(path)? {
        Ok(spec) => Ok(Cow::Owned(spec)),
        Err(errors) => {
            let lines: Vec<String> = errors.iter().map(|error| located(path, error)).collect();
            bail!("{}", lines.join("\n"))
        }
    }
}

/// A dialect file. What it extends is a built-in dialect, or a file beside it.
fn parse(path: &Path) -> anyhow::Result<Result<Spec, Vec<SpecError>>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let beside = |name: &str| {
        let file = folder.join(name);
        file.extension().filter(|extension| *extension == "toml").and_then(|_| fs::read_to_string(&file).ok())
    };
    Ok(Spec::parse_with(&read_file(path)?, &beside))
}

/// The fault of a dialect file as editors read it.
fn located(file: &Path, error: &SpecError) -> String {
    let field = match error.field.as_str() {
        "" => String::new(),
        field => format!("field {field}: "),
    };
    format!("{}:{}:{}: {field}{}", file.display(), error.line, error.column, error.reason)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::message::Verb;

    /// The command line of these verbs alone.
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
            let faulty = source + "\n[[messages]]\nmti = [\"9x\"]\n";
            fs::write(file.path(), faulty).unwrap();
            let (exit, fault) = run(&["spec", "check", path]).unwrap();
            assert_eq!(exit, 3);
            assert!(fault.contains(": an MTI begins with up to four digits"), "{fault}");
        }
        let (_, table) = run(&["spec", "show", "unionpay-pos"]).unwrap();
        let row = "  2 primary account number                 n..19      bcd left pad 0, prefix LL bcd";
        assert!(table.lines().any(|line| line == row), "{table}");
    }

    #[test]
    fn every_fault_of_a_file_is_told_with_its_place() {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        let text = "name = \"x\"\nextends = \"iso87-ascii\"\n[fields]\n63 = { max = 1000 }\n2 = { contnt = \"n\" }\n";
        fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap();
        let (exit, told) = run(&["spec", "check", path]).unwrap();
        let expected = [
            format!("{path}:4:14: field 63: a prefix that ends at 999 cannot say 1000"),
            format!("{path}:5:7: field 2: `contnt` is none of the keys content, length, max"),
        ];
        assert_eq!(exit, 3);
        assert_eq!(told.lines().count(), 2, "{told}");
        for (line, expected) in told.lines().zip(expected) {
            assert!(line.starts_with(&expected), "{told}");
        }
    }

    #[test]
    fn a_file_may_extend_one_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let base = "name = \"base\"\nextends = \"iso87-ascii\"\nframing = \"length-2\"\n";
        fs::write(folder.path().join("base.toml"), base).unwrap();
        let child = folder.path().join("child.toml");
        fs::write(&child, "name = \"child\"\nextends = \"base.toml\"\nwithout = [55]\n").unwrap();
        let (exit, told) = run(&["spec", "show", child.to_str().unwrap()]).unwrap();
        assert_eq!(exit, 0);
        assert!(told.starts_with("child: framing length-2, TPDU 0, header 0\n"), "{told}");
        assert!(!told.contains("\n 55 "), "{told}");
    }

    #[test]
    fn a_packager_becomes_a_dialect_that_checks() {
        let packager = r#"<isopackager>
            <isofield id="0" length="4" name="MTI" class="org.jpos.iso.IFB_NUMERIC"/>
            <isofield id="1" length="8" name="BIT MAP" class="org.jpos.iso.IFB_BITMAP"/>
            <isofield id="2" length="19" name="PAN" class="org.jpos.iso.IFB_LLNUM" pad="false"/>
            <isofield id="41" length="8" name="TERMINAL" class="org.jpos.iso.IF_CHAR"/>
        </isopackager>"#;
        let folder = tempfile::tempdir().unwrap();
        let (xml, toml) = (folder.path().join("host.xml"), folder.path().join("host.toml"));
        fs::write(&xml, packager).unwrap();
        let (exit, text) = run(&["spec", "import-jpos", xml.to_str().unwrap()]).unwrap();
        assert_eq!(exit, 0);
        fs::write(&toml, text).unwrap();
        let (exit, told) = run(&["spec", "show", toml.to_str().unwrap()]).unwrap();
        assert_eq!(exit, 0);
        assert!(told.starts_with("host: framing length-2") && told.contains("  2 PAN"), "{told}");
        fs::write(&xml, "<no/>").unwrap();
        assert!(run(&["spec", "import-jpos", xml.to_str().unwrap()]).is_err());
    }
}
