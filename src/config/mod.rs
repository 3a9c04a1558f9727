//! The daemon's settings: one TOML file, read into the options of each room.
//!
//! Every fault is reported at once, with file, line, column and key. No room reads this one; the
//! server hands each its own part.

mod reader;
mod sections;

use crate::flow::KeyLimits;
use crate::link::{LinkOptions, ListenerOptions};
use crate::settlement::SettlementOptions;
use crate::tls::ClientTls;
use crate::transaction::{IssuerId, TerminalDialect};
use reader::Document;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

pub use reader::Fault;

/// Everything that a settings file says, checked.
#[derive(Debug)]
pub struct Config {
    /// This daemon among those that share a store.
    pub node: Node,
    /// Our institution code in answers to terminals (DE 32), 6 to 11 digits.
    pub acquirer_id: String,
    /// Where transactions are kept.
    pub store: StoreUrl,
    /// Keys, PINs and MACs.
    pub hsm: Hsm,
    /// Where terminals call.
    pub listeners: Vec<Listener>,
    /// Where issuers are.
    pub issuers: Vec<Issuer>,
    /// The course of a payment.
    pub switch: Switch,
    /// Clearing files and statements.
    pub settlement: SettlementOptions,
    /// Health and metrics.
    pub console: Console,
    /// What is logged.
    pub log: Log,
}

/// `[node]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// 0 to 63, unique among the daemons on one store.
    pub id: u8,
    /// Local time is so many minutes ahead of UTC.
    pub utc_offset_minutes: i32,
}

/// `[store] url`. Prints without user, password and host.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite:` and the file.
    Sqlite(PathBuf),
    /// A `postgres://` URL, whole.
    Postgres(String),
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
            Self::Postgres(_) => f.write_str("postgres://…"),
        }
    }
}

/// What a store URL must look like.
const STORE_URL: &str = "`sqlite:FILE` or `postgres://…`";

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let postgres = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        match text.strip_prefix("sqlite:") {
            Some(file) if !file.is_empty() => Ok(Self::Sqlite(file.into())),
            None if postgres => Ok(Self::Postgres(text.to_owned())),
            Some(_) | None => Err(format!("expected {STORE_URL}")),
        }
    }
}

/// `[hsm]`.
#[derive(Debug, Clone)]
pub struct Hsm {
    /// The local master key's file, and what opens it. It seals card numbers, whatever the back end.
    pub lmk: crate::hsm::LmkSettings,
    /// The audit file of operations on keys, mode 0600; `audit.jsonl` beside the LMK when it is not said.
    pub audit_file: PathBuf,
    /// Where keys, PINs and MACs are worked on.
    pub backend: HsmBackend,
}

/// `[hsm] backend`.
#[derive(Debug, Clone)]
pub enum HsmBackend {
    /// In this process.
    Software,
    /// On devices that take host commands.
    HostCommands {
        /// The number of their LMK, 0 to 99, when commands are to name it.
        lmk: Option<u8>,
        /// The devices, one at least.
        hosts: Vec<HsmHost>,
    },
}

/// One `[[hsm.host]]`.
#[derive(Debug, Clone)]
pub struct HsmHost {
    /// `HOST:PORT`.
    pub address: String,
    /// Connections of each worker.
    pub connections: usize,
    /// Characters in front of a command.
    pub header: usize,
    /// A connection must be there within this.
    pub connect: Duration,
    /// A command must be answered within this.
    pub command: Duration,
    /// Diagnostics are asked for at this interval.
    pub health: Duration,
    /// Commands in flight on a connection.
    pub max_in_flight: usize,
    /// TLS, when the device speaks it.
    pub tls: Option<ClientTls>,
}

/// One `[[listener]]`.
#[derive(Debug)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// What terminals speak there.
    pub dialect: TerminalDialect,
    /// How it is run.
    pub options: ListenerOptions,
}

/// One `[[issuer]]`.
#[derive(Debug)]
pub struct Issuer {
    /// Its name in the routing table.
    pub id: IssuerId,
    /// How long an answer is waited for.
    pub answer: Duration,
    /// How its link is run.
    pub link: LinkOptions,
    /// After so many hours the keys shared with it are changed; 0: when that is asked for.
    pub key_change_hours: u32,
}

/// `[switch]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    /// A terminal has its answer within this, whatever the issuer does.
    pub total: Duration,
    /// Threads that hold sockets.
    pub workers: usize,
    /// A completion may be so many per cent of its pre-authorization.
    pub completion_ceiling_percent: u32,
    /// After so many MAC failures in a row a terminal must sign on again.
    pub mac_failures_force_sign_on: u32,
    /// When a terminal's working keys are spent.
    pub key_limits: KeyLimits,
}

/// `[console]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Console {
    /// Where it listens.
    pub address: SocketAddr,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A level, or directives such as `info,tollgate::link=debug`.
    pub level: String,
    /// How lines are written.
    pub format: LogFormat,
}

/// What the command line or `TOLLGATE_*` variables put in place of the file's settings.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `NAME=ADDRESS` each, or `ADDRESS` where there is one listener.
    pub listen: Vec<String>,
    /// A store URL.
    pub store: Option<String>,
    /// A log level.
    pub log: Option<String>,
}

/// Reads and checks a file.
///
/// # Errors
/// Every fault there is.
pub fn load(path: &Path) -> Result<Config, Vec<Fault>> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&file, &text),
        Err(error) => {
            Err(vec![Fault { file, line: 0, column: 0, key: String::new(), message: error.to_string() }])
        }
    }
}

/// Every fault of a file; none when it is sound.
#[must_use]
pub fn check(path: &Path) -> Vec<Fault> {
    load(path).err().unwrap_or_default()
}

/// Checks settings that were read from `file`.
///
/// # Errors
/// Every fault there is.
pub fn parse(file: &str, text: &str) -> Result<Config, Vec<Fault>> {
    let document = Document::new(file, text);
    let config = sections::read(document.root());
    let faults = document.into_faults();
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        Some(_) | None => Err(faults),
    }
}

impl Config {
    /// Puts other settings in place of the file's.
    ///
    /// # Errors
    /// Every fault there is; the key is the option.
    pub fn override_with(&mut self, overrides: &Overrides) -> Result<(), Vec<Fault>> {
        let mut faults = Vec::new();
        for listen in &overrides.listen {
            if let Err(message) = self.listen_at(listen) {
                faults.push(option_fault("--listen", message));
            }
        }
        match overrides.store.as_deref().map(StoreUrl::from_str) {
            Some(Ok(url)) => self.store = url,
            Some(Err(message)) => faults.push(option_fault("--store", message)),
            None => {}
        }
        if let Some(level) = &overrides.log {
            self.log.level.clone_from(level);
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn listen_at(&mut self, listen: &str) -> Result<(), String> {
        let (name, address) = listen.split_once('=').map_or((None, listen), |(n, a)| (Some(n), a));
        let address = address.parse().map_err(|_| format!("expected {ADDRESS}"))?;
        let mut named: Vec<_> =
            self.listeners.iter_mut().filter(|l| name.is_none_or(|n| n == l.options.name)).collect();
        match (named.as_mut_slice(), name) {
            ([listener], _) => {
                listener.address = address;
                Ok(())
            }
            (_, Some(name)) => Err(format!("no listener is called `{name}`")),
            (_, None) => Err("expected NAME=ADDRESS, because there is not exactly one listener".to_owned()),
        }
    }
}

fn option_fault(option: &str, message: String) -> Fault {
    Fault { file: option.to_owned(), line: 0, column: 0, key: String::new(), message }
}

/// What a listening address must look like.
const ADDRESS: &str = "an address such as 0.0.0.0:5000 or [::]:5000";

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest sound file.
    const SMALL: &str = r#"acquirer_id = "123456"
store.url = "sqlite:t.db"
hsm.lmk_file = "lmk"
settlement.directory = "out"

[[listener]]
name = "a"
address = "127.0.0.1:0"
dialect = "edc"
"#;

    #[test]
    fn every_sample_of_the_daemons_settings_is_sound() {
        // Seeds and the issuer simulator's samples are loaded by the tests of what reads them.
        let mut files = 0;
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/config")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with("tollgate") && name.ends_with(".toml") {
                assert_eq!(check(&path), [], "{}", path.display());
                files += 1;
            }
        }
        assert!(files >= 1);
    }

    #[test]
    fn the_sample_writes_out_the_defaults() {
        let sample = load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/tollgate.toml"))).unwrap();
        let small = parse("small", SMALL).unwrap();
        assert_eq!((sample.node, sample.switch), (small.node, small.switch));
        assert_eq!((sample.console, &sample.log), (small.console, &small.log));
        assert!(matches!(
            (&sample.hsm.backend, &small.hsm.backend),
            (HsmBackend::Software, HsmBackend::Software)
        ));
        assert_eq!(sample.settlement.format, small.settlement.format);
        assert_eq!(sample.settlement.mark, small.settlement.mark);
        // The first of each kind has every key, the second only those that are needed.
        let [first, second, _] = sample.listeners.as_slice() else { panic!() };
        let plain = |listener: &Listener| {
            let options = &listener.options;
            (options.framing, options.max_frame, options.half_frame, options.idle, options.max_connections)
        };
        assert_eq!(plain(first), plain(second));
        let [first, second] = sample.issuers.as_slice() else { panic!() };
        let named =
            LinkOptions { name: String::new(), address: String::new(), jitter_seed: 0, ..first.link.clone() };
        let bare = LinkOptions {
            name: String::new(),
            address: String::new(),
            jitter_seed: 0,
            ..second.link.clone()
        };
        assert_eq!(format!("{named:?}"), format!("{bare:?}"));
        assert_eq!((first.answer, first.key_change_hours), (second.answer, second.key_change_hours));
        assert_ne!(first.link.jitter_seed, second.link.jitter_seed);
    }

    /// Each row: what is added to the small file, and the faults as `line:column key: message`.
    #[test]
    fn failures_explain_themselves() {
        let rows: &[(&str, &[&str])] = &[
            ("max_frame = 0", &["10:13 listener[0].max_frame: must be 64 to 65535"]),
            ("max_frame = 'x'", &["10:13 listener[0].max_frame: expected a whole number, found string"]),
            ("idle_ms = 0", &["10:11 listener[0].idle_ms: must be 1 to 86400000"]),
            ("idle_ms = 9", &["10:11 listener[0].idle_ms: must not be less than half_frame_ms"]),
            (
                "colour = 'red'\nframing = 'x'",
                &[
                    "10:1 listener[0].colour: unknown key; known here: address, dialect, framing, half_frame_ms, \
                     idle_ms, max_connections, max_frame, name, tls",
                    "11:11 listener[0].framing: expected one of length-2, length-2-inclusive, bcd-2, ascii-4, \
                     ascii-4-inclusive, hex-4, length-4, vap, base24, stx-etx",
                ],
            ),
            (
                "[[listener]]\nname = 'a'\naddress = 'nowhere'\ndialect = 'morse'",
                &[
                    "11:8 listener[1].name: another one has this name",
                    "12:11 listener[1].address: expected an address such as 0.0.0.0:5000 or [::]:5000",
                    "13:11 listener[1].dialect: expected `unionpay-pos` or `edc` or `iso87-ascii`",
                ],
            ),
            (
                "[[listener]]\nname='b'\naddress='[::1]:5'\ndialect='edc'\n\
                 [[listener]]\nname='c'\naddress='[::1]:5'\ndialect='edc'",
                &["16:9 listener[2].address: another listener has this address"],
            ),
            ("tls = { certificate = '/nowhere/c.pem' }", &["10:7 listener[0].tls.key: is missing"]),
            (
                "[[issuer]]\nname = 'twelve chars'\naddress = 'bank'\nanswer_ms = 25000\nbackoff_max_ms = 1",
                &[
                    "11:8 issuer[0].name: expected at most 11 printable characters",
                    "12:11 issuer[0].address: expected HOST:PORT",
                    "13:13 issuer[0].answer_ms: must be less than switch.total_ms",
                    "14:18 issuer[0].backoff_max_ms: must not be less than backoff_min_ms",
                ],
            ),
            (
                "[node]\nid = 64\n[switch]\nworkers = 0\ntotal_ms = true\n[log]\nformat = ''\n[extra]",
                &[
                    "11:6 node.id: must be 0 to 63",
                    "13:11 switch.workers: must be 1 to 64",
                    "14:12 switch.total_ms: expected a whole number, found boolean",
                    "16:10 log.format: must not be empty",
                    "17:2 extra: unknown key; known here: acquirer_id, console, hsm, issuer, listener, log, node, \
                     settlement, store, switch",
                ],
            ),
        ];
        for (added, want) in rows {
            let text = format!("{SMALL}{added}\n");
            let faults = parse("f.toml", &text).unwrap_err();
            let told: Vec<_> =
                faults.iter().map(|f| format!("{}:{} {}: {}", f.line, f.column, f.key, f.message)).collect();
            assert_eq!(told, *want, "{added}");
            assert!(faults.iter().all(|f| f.to_string().starts_with("f.toml:1")));
        }
    }

    /// Each row: what is added to `[hsm]`, and the faults as `line:column key: message`.
    #[test]
    fn an_hsm_that_cannot_be_is_told() {
        let rows: &[(&str, &[&str])] = &[
            ("backend = 'magic'", &["6:11 hsm.backend: expected `software` or `host-commands`"]),
            ("backend = 'host-commands'", &["4:1 hsm.host: at least one [[hsm.host]] is needed"]),
            ("[[hsm.host]]\naddress = 'hsm:1500'", &["6:1 hsm.host: is for backend = \"host-commands\""]),
            (
                "backend = 'host-commands'\nlmk = 100\n[[hsm.host]]\naddress = 'h:1'",
                &["7:7 hsm.lmk: must be 0 to 99"],
            ),
            (
                "backend = 'host-commands'\n[[hsm.host]]\naddress = 'hsm'\nheader = 3\nconnections = 0\n\
                 command_ms = 0\nmax_in_flight = 10001\ncolour = 1\ntls = { ca = 'c' }",
                &[
                    "8:11 hsm.host[0].address: expected HOST:PORT",
                    "9:10 hsm.host[0].header: must be 4 to 16",
                    "10:15 hsm.host[0].connections: must be 1 to 64",
                    "11:14 hsm.host[0].command_ms: must be 1 to 86400000",
                    "12:17 hsm.host[0].max_in_flight: must be 1 to 10000",
                    "13:1 hsm.host[0].colour: unknown key; known here: address, command_ms, connect_ms, connections, \
                     header, health_ms, max_in_flight, tls",
                    "14:7 hsm.host[0].tls.server_name: is missing",
                ],
            ),
        ];
        let small = SMALL.replace("hsm.lmk_file = \"lmk\"\n", "");
        let (top, rest) = small.split_once("\n\n").unwrap();
        for (added, want) in rows {
            let text = format!("{top}\n[hsm]\n{added}\n");
            let text = text.replacen("[hsm]\n", "[hsm]\nlmk_file = 'lmk'\n", 1);
            let faults = parse("f.toml", &format!("{text}{rest}")).unwrap_err();
            let told: Vec<_> =
                faults.iter().map(|f| format!("{}:{} {}: {}", f.line, f.column, f.key, f.message)).collect();
            assert_eq!(told, *want, "{added}");
        }
        let text = format!(
            "{top}\n[hsm]\nlmk_file = 'lmk'\nbackend = 'host-commands'\nlmk = 1\n\
             [[hsm.host]]\naddress = 'one:1500'\nheader = 8\n[[hsm.host]]\naddress = 'two:1500'\n{rest}"
        );
        let HsmBackend::HostCommands { lmk, hosts } = parse("f.toml", &text).unwrap().hsm.backend else {
            panic!("another back end")
        };
        let [one, two] = hosts.as_slice() else { panic!("{hosts:?}") };
        assert_eq!((lmk, one.address.as_str(), one.header), (Some(1), "one:1500", 8));
        assert_eq!((two.header, two.connections, two.max_in_flight), (4, 2, 256));
    }

    #[test]
    fn an_empty_file_names_everything_that_is_needed() {
        let faults = parse("f.toml", "").unwrap_err();
        let keys: Vec<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
        let want = ["acquirer_id", "hsm.lmk_file", "listener", "settlement.directory", "store.url"];
        assert_eq!(keys, want);
    }

    #[test]
    fn bad_toml_is_told_together_with_other_faults() {
        let faults = parse("f.toml", "[store]\nurl = \n[node]\nid = 99\n").unwrap_err();
        assert!(faults.iter().any(|f| f.line == 2 && f.key.is_empty()), "{faults:?}");
        assert!(faults.iter().any(|f| f.key == "node.id"), "{faults:?}");
        let missing = check(Path::new("/nowhere/f.toml"));
        assert_eq!(missing.len(), 1);
        assert!(missing[0].to_string().starts_with("/nowhere/f.toml: "), "{}", missing[0]);
    }

    #[test]
    fn a_store_url_does_not_show_its_password() {
        let mut config = parse("f.toml", SMALL).unwrap();
        let store = Some("postgres://user:secret@db/tollgate".to_owned());
        config.override_with(&Overrides { store, ..Overrides::default() }).unwrap();
        assert!(!format!("{config:?}").contains("secret"));
        let bad = SMALL.replace("sqlite:t.db", "mysql://user:secret@db/x");
        let faults = parse("f.toml", &bad).unwrap_err();
        assert!(!faults[0].to_string().contains("secret"), "{}", faults[0]);
    }

    #[test]
    fn options_of_the_command_line_win() {
        let two = format!("{SMALL}[[listener]]\nname = 'b'\naddress = '127.0.0.1:0'\ndialect = 'edc'");
        type Row<'a> = (&'a str, &'a str, Result<&'a [u16], &'a str>);
        let rows: &[Row<'_>] = &[
            (SMALL, "127.0.0.1:7", Ok(&[7])),
            (SMALL, "a=127.0.0.1:7", Ok(&[7])),
            (&two, "b=127.0.0.1:7", Ok(&[0, 7])),
            (&two, "127.0.0.1:7", Err("expected NAME=ADDRESS, because there is not exactly one listener")),
            (&two, "c=127.0.0.1:7", Err("no listener is called `c`")),
            (SMALL, "7", Err("expected an address such as 0.0.0.0:5000 or [::]:5000")),
        ];
        for (text, listen, want) in rows {
            let mut config = parse("f.toml", text).unwrap();
            let overrides =
                Overrides { listen: vec![(*listen).to_owned()], log: Some("debug".into()), store: None };
            let got = config.override_with(&overrides);
            let ports: Vec<_> = config.listeners.iter().map(|l| l.address.port()).collect();
            match want {
                Ok(want) => assert_eq!((got, ports.as_slice()), (Ok(()), *want), "{listen}"),
                Err(message) => assert_eq!(got.unwrap_err()[0].to_string(), format!("--listen: {message}")),
            }
            assert_eq!(config.log.level, "debug");
        }
    }
}
