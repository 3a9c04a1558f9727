//! The command line: results on standard output, talk on standard error; exit 0 done, 1 failed,
//! 2 usage, 3 a check found faults.

mod hsm;
mod json;
mod key;
mod listing;
mod lmk;
mod memory;
pub mod message;
mod reference;
mod run;
mod settle;
mod spec;
mod zone;

use crate::clock::Clock;
use crate::config::{self, Config, Fault, Overrides};
use crate::hsm::SoftHsm;
use crate::server;
use crate::store::{self, Backend, Reader};
use crate::transaction::NodeId;
use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

/// Exit code of a check that found faults.
const FAULTS: u8 = 3;

/// An ISO 8583 acquiring switch: authorization, reversals, batches, settlement files.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Run(run::RunArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    #[command(flatten)]
    Message(message::Verb),
    /// Keys: generate, import by components, export as a key block, list with check values
    #[command(subcommand)]
    Key(key::KeyVerb),
    /// The local master key: components, sealing, rotation
    #[command(subcommand)]
    Lmk(lmk::LmkVerb),
    /// The software HSM by itself
    #[command(subcommand)]
    Hsm(hsm::HsmVerb),
    /// Merchants
    #[command(subcommand)]
    Merchant(reference::MerchantVerb),
    /// Terminals
    #[command(subcommand)]
    Terminal(reference::TerminalVerb),
    /// Issuers and the card numbers that go to them
    #[command(subcommand)]
    Issuer(reference::IssuerVerb),
    #[command(flatten)]
    Day(settle::Verb),
    /// The database
    #[command(subcommand)]
    Db(DbVerb),
}

impl Command {
    /// Whether keys come into this process's memory. The daemon says in its log what came of it.
    fn holds_keys(&self) -> bool {
        match self {
            Command::Key(_) | Command::Lmk(_) | Command::Hsm(_) | Command::Issuer(_) | Command::Day(_) => {
                true
            }
            Command::Run(_)
            | Command::Config(_)
            | Command::Message(_)
            | Command::Merchant(_)
            | Command::Terminal(_)
            | Command::Db(_) => false,
        }
    }
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Report every fault at once, as file:line:column; exit 3 when there is one
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum DbVerb {
    /// Create the tables, or bring them up to this version
    Migrate,
    /// Whether the database can be reached, its business day and its revision
    Status,
}

/// Where the daemon and its data are.
#[derive(Debug, Clone, Args)]
struct Place {
    /// Configuration file
    #[arg(long, global = true, env = "TOLLGATE_CONFIG", default_value = "config/tollgate.toml")]
    config: PathBuf,
    /// Store, instead of the configured one: sqlite:PATH or postgres://…
    #[arg(long, global = true, env = "TOLLGATE_STORE")]
    store: Option<String>,
}

/// What the verbs beside a running daemon work with: short commits and a read-only connection.
struct Tools {
    config: Config,
    backend: Box<dyn Backend>,
    reader: Box<dyn Reader>,
}

impl Place {
    fn load(&self, overrides: &Overrides) -> Result<Config> {
        let mut config = config::load(&self.config).map_err(every)?;
        config.override_with(overrides).map_err(every)?;
        Ok(config)
    }

    fn tools(&self) -> Result<Tools> {
        let config = self.load(&Overrides { store: self.store.clone(), ..Overrides::default() })?;
        run::make_folders(&config)?;
        let (backend, reader) =
            store::open(&run::store_options(&config)?).context("cannot open the store")?;
        Ok(Tools { config, backend, reader })
    }
}

/// Every fault, one a line.
fn every(faults: Vec<Fault>) -> anyhow::Error {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    anyhow::anyhow!("{}", lines.join("\n"))
}

impl Tools {
    fn hsm(&self) -> Result<SoftHsm> {
        let hsm = run::hsm_options(&self.config);
        server::open_hsm(&hsm, &clock(&self.config)?, NodeId(self.config.node.id))
    }
}

fn clock(config: &Config) -> Result<Clock> {
    Clock::system(config.node.utc_offset_minutes).context("utc_offset_minutes is out of range")
}

/// Parses these arguments, the program's name first, and runs them. The exit code.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no failure.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let mut out = std::io::stdout().lock();
    match dispatch(&cli, &mut out) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tollgate: {error:#}");
            1
        }
    }
}

fn dispatch(cli: &Cli, out: &mut dyn Write) -> Result<u8> {
    let place = &cli.place;
    if cli.command.holds_keys() {
        memory::protect()?;
    }
    match &cli.command {
        Command::Run(args) => run::run(place, args, out),
        Command::Config(ConfigVerb::Check { json }) => check(place, *json, out),
        Command::Message(verb) => verb.run(out),
        Command::Key(verb) => key::run(&mut place.tools()?, verb, out),
        Command::Lmk(verb) => verb.run(place, out),
        Command::Hsm(verb) => verb.run(place, out),
        Command::Merchant(verb) => reference::merchant(&mut place.tools()?, verb, out),
        Command::Terminal(verb) => reference::terminal(&mut place.tools()?, verb, out),
        Command::Issuer(verb) => reference::issuer(&mut place.tools()?, verb, out),
        Command::Day(verb) => day(place, verb, out),
        Command::Db(DbVerb::Migrate) => {
            place.tools()?;
            writeln!(out, "the database is up to date")?;
            Ok(0)
        }
        Command::Db(DbVerb::Status) => {
            let (day, revision) = place.tools()?.reader.day()?;
            writeln!(out, "business day {day}, revision {revision}")?;
            Ok(0)
        }
    }
}

fn day(place: &Place, verb: &settle::Verb, out: &mut dyn Write) -> Result<u8> {
    if let Some(code) = verb.run_alone(out)? {
        return Ok(code);
    }
    let mut tools = place.tools()?;
    let hsm = tools.hsm()?;
    let now_ms = clock(&tools.config)?.now_ms();
    let mut context = settle::Context {
        reader: tools.reader.as_mut(),
        backend: tools.backend.as_mut(),
        hsm: &hsm,
        options: &tools.config.settlement,
        now_ms,
    };
    verb.run(&mut context, out)
}

fn check(place: &Place, json: bool, out: &mut dyn Write) -> Result<u8> {
    let faults = config::check(&place.config);
    if json {
        let rows: Vec<_> = faults
            .iter()
            .map(|f| serde_json::json!({"file": f.file, "line": f.line, "column": f.column, "key": f.key, "message": f.message}))
            .collect();
        writeln!(out, "{}", serde_json::Value::Array(rows))?;
    } else {
        for fault in &faults {
            writeln!(out, "{fault}")?;
        }
        if faults.is_empty() {
            writeln!(out, "{}: no faults", place.config.display())?;
        }
    }
    Ok(if faults.is_empty() { 0 } else { FAULTS })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    /// What a verb prints, or why it does not run.
    fn tollgate(dir: &Path, line: &str) -> Result<String, String> {
        let config = dir.join("tollgate.toml");
        let words = ["tollgate", "--config"].into_iter().map(str::to_owned);
        let words = words.chain([config.display().to_string()]).chain(line.split(' ').map(str::to_owned));
        let cli = Cli::try_parse_from(words).map_err(|e| e.to_string())?;
        let mut out = Vec::new();
        dispatch(&cli, &mut out).map_err(|e| format!("{e:#}"))?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn home() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let text = format!(
            "acquirer_id = \"48310000\"\nstore.url = \"sqlite:{}\"\nhsm.lmk_file = {:?}\nsettlement.directory = {:?}\n\
             [[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\ndialect = \"edc\"\n",
            at("var/t.db"),
            at("var/lmk"),
            at("out")
        );
        std::fs::write(dir.path().join("tollgate.toml"), text).unwrap();
        let bad = [
            ("short", "0123456789ABCDEF"),
            ("text", "not hexadecimal"),
            ("wrong", "5A5A5A5A5A5A5A5AA5A5A5A5A5A5A5A5\n000000"),
        ];
        for (name, text) in bad {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let merchant = "[[merchant]]\nmid = \"M1\"\nname = \"A\"\ncity = \"B\"\ncountry = \"CN\"\nmcc = \"58\"\nfee_basis_points = \"1\"\n";
        std::fs::write(dir.path().join("merchant.toml"), merchant).unwrap();
        dir
    }

    #[test]
    fn keys_and_seeds_go_in_and_every_fault_is_named() {
        let dir = home();
        let file = |name: &str| dir.path().join(name).display().to_string();
        let (short, text, wrong, merchant) =
            (file("short"), file("text"), file("wrong"), file("merchant.toml"));
        let import = |name: &str, usage: &str| {
            let key = |n| format!("config/test-keys/{name}.{n}");
            format!("key import --name {name} --usage {usage} --component {} --component {}", key(1), key(2))
        };
        let with = |component: &str| {
            format!(
                "key import --name k --usage tmk --component config/test-keys/tmk.1 --component {component}"
            )
        };
        let rows: Vec<(String, Result<&str, &str>)> = vec![
            ("terminal import config/seeds/terminals.toml".into(), Err("no key \"tmk\"")),
            (import("tmk", "tmk"), Ok("tmk  tmk  08D7B4\n")),
            (import("tpk", "tpk"), Ok("tpk  tpk  F869CD\n")),
            (import("tak", "tmk"), Ok("tak  tmk  634351\n")),
            ("terminal import config/seeds/terminals.toml".into(), Err("key \"tak\" is a tmk, not a tak")),
            (import("tak", "tak"), Ok("tak  tak  634351\n")),
            (with(&short), Err("components differ in length")),
            (with(&text), Err("line 1 is not hexadecimal")),
            (with(&wrong), Err("the component's check value is")),
            (with("config/test-keys/absent"), Err("cannot read config/test-keys/absent")),
            (
                with("config/test-keys/tmk.2") + " --kcv 000000",
                Err("the key's check value is 08D7B4, not 000000"),
            ),
            (
                "key import --name k --usage tmk --component config/test-keys/tmk.1".into(),
                Err("at least two components"),
            ),
            (format!("merchant import {merchant}"), Err("category code \"58\" is not four digits")),
            ("merchant import config/seeds/merchants.toml".into(), Ok("1 merchants\n")),
            ("terminal import config/seeds/terminals.toml".into(), Ok("3 terminals\n")),
            ("issuer import config/seeds/issuers.toml".into(), Err("no key \"zpk-banka\"")),
            (
                "terminal show 00000101".into(),
                Ok("00000101  898310058120001  unionpay-pos  CNY  not signed on  active\n"),
            ),
            ("terminal block 00000101".into(), Ok("")),
            (
                "terminal show 00000101".into(),
                Ok("00000101  898310058120001  unionpay-pos  CNY  not signed on  blocked\n"),
            ),
            ("terminal block 99999999".into(), Err("no terminal 99999999")),
            ("merchant show 898310058120001 --json".into(), Ok("{\"mid\":\"898310058120001\",")),
            ("db status".into(), Ok("business day ")),
            ("config check".into(), Ok("")),
        ];
        for (line, want) in rows {
            let got = tollgate(dir.path(), &line);
            match want {
                Ok(start) => assert!(got.as_ref().is_ok_and(|out| out.starts_with(start)), "{line}: {got:?}"),
                Err(part) => assert!(got.as_ref().is_err_and(|why| why.contains(part)), "{line}: {got:?}"),
            }
        }
    }

    /// What is written goes to whoever waits for it.
    struct Told(std::sync::mpsc::Sender<Vec<u8>>);

    impl Write for Told {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(octets.to_vec());
            Ok(octets.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// `tollgate hsm serve` on a thread that lasts as long as the tests; where it takes commands.
    fn device() -> String {
        let (told, hears) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let words = "tollgate hsm serve --test-lmk --listen 127.0.0.1:0";
            dispatch(&Cli::try_parse_from(words.split(' ')).unwrap(), &mut Told(told)).unwrap()
        });
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.extend(hears.recv_timeout(std::time::Duration::from_secs(30)).unwrap());
        }
        let ready: serde_json::Value = serde_json::from_slice(&line).unwrap();
        ready["listen"].as_str().unwrap().to_owned()
    }

    #[test]
    fn keys_stand_on_a_device_when_one_is_configured() {
        let dir = home();
        let form = "hsm form --test-lmk --usage tmk --component config/test-keys/tmk.1 --component config/test-keys/tmk.2";
        let formed = tollgate(dir.path(), form).unwrap();
        let (block, kcv) = formed.trim().split_once("  ").unwrap();
        assert_eq!((&block[..17], kcv), ("S0007251TB00E0001", "08D7B4"));
        let add = |usage: &str, block: &str, kcv: &str| {
            format!("key add --name tmk --usage {usage} --block {block} --kcv {kcv}")
        };
        let without = tollgate(dir.path(), &add("tmk", block, kcv)).unwrap_err();
        assert!(without.contains("no device is configured"), "{without}");

        let path = dir.path().join("tollgate.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let backend = format!(
            "hsm.backend = \"host-commands\"\nhsm.lmk = 1\nhsm.host = [{{ address = {:?} }}]\n",
            device()
        );
        std::fs::write(&path, format!("{backend}{text}")).unwrap();
        let altered = format!("{}0", &block[..block.len() - 1]);
        let altered = if altered == block { format!("{}1", &block[..block.len() - 1]) } else { altered };
        let import = "key import --name k --usage tmk --component config/test-keys/tmk.1 --component config/test-keys/tmk.2";
        let rows = [
            ("config check".to_owned(), Ok("")),
            (add("tmk", block, "08d7b4"), Ok("tmk  tmk  08D7B4\n")),
            (add("tmk", block, "08D7B5"), Err("check value does not match")),
            (add("zpk", block, kcv), Err("not of the usage")),
            (add("tmk", &altered, kcv), Err("key block is not authentic")),
            (add("tmk", &block[1..], kcv), Err("key block is malformed")),
            ("key generate --name zpk --usage zpk".to_owned(), Ok("zpk  zpk  ")),
            (
                "key generate --name zpk --usage zpk --length 8".to_owned(),
                Err("key is not acceptable: length"),
            ),
            (import.to_owned(), Err("tollgate key add")),
            ("key export --name tmk".to_owned(), Ok("S0007251TB00E0001")),
            // The local LMK is another: the device's key blocks stay as they are.
            ("lmk rotate".to_owned(), Ok("lmk  ")),
            ("key export --name tmk".to_owned(), Ok("S0007251TB00E0001")),
        ];
        for (line, want) in rows {
            let got = tollgate(dir.path(), &line);
            match want {
                Ok(start) => assert!(got.as_ref().is_ok_and(|out| out.starts_with(start)), "{line}: {got:?}"),
                Err(part) => assert!(got.as_ref().is_err_and(|why| why.contains(part)), "{line}: {got:?}"),
            }
        }
    }

    #[test]
    fn no_verb_prints_a_key() {
        let dir = home();
        let import = "key import --name tmk --usage tmk --component config/test-keys/tmk.1 --component config/test-keys/tmk.2";
        let mut said = tollgate(dir.path(), import).unwrap();
        for verb in ["key list", "key list --json", "key export --name tmk"] {
            said += &tollgate(dir.path(), verb).unwrap();
        }
        for half in ["0123456789ABCDEF", "FEDCBA9876543210"] {
            assert!(!said.to_uppercase().contains(half), "{said}");
        }
    }
}
