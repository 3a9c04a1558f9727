//! What each table of the settings file may say, its bounds and its defaults.

use super::reader::{At, Section};
use super::{
    ADDRESS, Config, Console, Hsm, HsmBackend, HsmHost, Issuer, Listener, Log, LogFormat, Node, STORE_URL,
    StoreUrl, Switch,
};
use crate::flow::KeyLimits;
use crate::hsm::LmkSettings;
use crate::hsm::lmk::TokenSettings;
use crate::link::{LinkOptions, ListenerOptions};
use crate::settlement::{SettlementOptions, ipm};
use crate::tls::{ClientTls, ClientTlsFiles, ServerTls, ServerTlsFiles};
use crate::transaction::{IssuerId, TerminalDialect};
use iso8583_spec::{Framing, Spec};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

/// The longest body that a two-octet length can announce.
const FRAME_MAX: usize = 65_535;
/// What issuer links speak.
const ISSUER_DIALECT: &str = "iso87-ascii";

/// Reads every table, whatever is wrong in the others.
pub(super) fn read(root: Section<'_>) -> Option<Config> {
    let acquirer_id = root.need_parsed("acquirer_id", "6 to 11 digits", |text| digits(text, 6..=11));
    let node = node(root.section("node"));
    let switch = switch(root.section("switch"));
    let store = store(root.section("store"));
    let hsm = hsm(root.section("hsm"));
    let listeners = listeners(&root);
    let issuers = issuers(&root, node, switch);
    let settlement = settlement(root.section("settlement"));
    let console = console(root.section("console"));
    let log = log(root.section("log"));
    root.finish();
    let (acquirer_id, store, hsm, settlement) = (acquirer_id?.value, store?, hsm?, settlement?);
    Some(Config { node, acquirer_id, store, hsm, listeners, issuers, switch, settlement, console, log })
}

fn node(section: Section<'_>) -> Node {
    let id = section.number("id", 0..=63, 0);
    // From UTC-12 to UTC+14.
    let utc_offset_minutes = section.number("utc_offset_minutes", -720..=840, 0);
    section.finish();
    Node { id, utc_offset_minutes }
}

fn store(section: Section<'_>) -> Option<StoreUrl> {
    let url = section.need_parsed("url", STORE_URL, |text| text.parse().ok());
    section.finish();
    url.map(|url| url.value)
}

fn hsm(section: Section<'_>) -> Option<Hsm> {
    let file = section.need_path("lmk_file");
    let passphrase_file = section.text("passphrase_file").map(|at| at.value.into());
    let audit_file = section.text("audit_file").map(|text| PathBuf::from(text.value));
    let token = token(section.section("token"));
    let is_software = section.parsed("backend", "`software` or `host-commands`", |text| match text {
        "software" => Some(true),
        "host-commands" => Some(false),
        _ => None,
    });
    let lmk = section.is_set("lmk").then(|| section.number("lmk", 0..=99, 0_u8));
    let hosts = section.sections("host");
    let is_software = is_software.is_none_or(|at| at.value);
    if is_software && !hosts.is_empty() {
        section.fault("host", "is for backend = \"host-commands\"");
    }
    if !is_software && hosts.is_empty() {
        section.fault("host", "at least one [[hsm.host]] is needed");
    }
    let hosts: Vec<_> = hosts.into_iter().filter_map(hsm_host).collect();
    section.finish();
    let backend = if is_software { HsmBackend::Software } else { HsmBackend::HostCommands { lmk, hosts } };
    let file = file?;
    let audit_file = audit_file.unwrap_or_else(|| file.with_file_name("audit.jsonl"));
    Some(Hsm { lmk: LmkSettings { file, passphrase_file, token }, audit_file, backend })
}

fn hsm_host(section: Section<'_>) -> Option<HsmHost> {
    let address = section.need_parsed("address", "HOST:PORT", host_and_port);
    let host = HsmHost {
        address: address.map(|at| at.value).unwrap_or_default(),
        connections: section.number("connections", 1..=64, 2),
        header: section.number("header", 4..=16, 4),
        connect: section.millis("connect_ms", 2_000),
        command: section.millis("command_ms", 2_000),
        health: section.millis("health_ms", 10_000),
        max_in_flight: section.number("max_in_flight", 1..=10_000, 256),
        tls: client_tls(&section),
    };
    section.finish().then_some(host)
}

fn token(section: Section<'_>) -> Option<TokenSettings> {
    if !section.is_there() {
        return None;
    }
    let (module, token, key) =
        (section.need_path("module"), section.need_text("token"), section.need_text("key"));
    let pin_file = section.need_path("pin_file");
    section.finish();
    Some(TokenSettings { module: module?, token: token?.value, key: key?.value, pin_file: pin_file? })
}

fn switch(section: Section<'_>) -> Switch {
    let switch = Switch {
        total: section.millis("total_ms", 25_000),
        workers: section.number("workers", 1..=64, 1),
        completion_ceiling_percent: section.number("completion_ceiling_percent", 100..=999, 115),
        mac_failures_force_sign_on: section.number("mac_failures_force_sign_on", 1..=1000, 3),
        key_limits: KeyLimits {
            hours: section.number("working_key_hours", 0..=87_600, 0),
            uses: section.number("working_key_uses", 0..=1_000_000_000, 0),
        },
    };
    section.finish();
    switch
}

fn console(section: Section<'_>) -> Console {
    let default = ([127, 0, 0, 1], 9090).into();
    let address = section.parsed("address", ADDRESS, |text| text.parse().ok());
    section.finish();
    Console { address: address.map_or(default, |at| at.value) }
}

fn log(section: Section<'_>) -> Log {
    let level = section.text("level").map_or_else(|| "info".to_owned(), |at| at.value);
    let format = section.parsed("format", "`text` or `json`", |text| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    section.finish();
    Log { level, format: format.map_or(LogFormat::Text, |at| at.value) }
}

fn settlement(section: Section<'_>) -> Option<SettlementOptions> {
    let directory = section.need_path("directory");
    let encoding = section.parsed("encoding", "`cp500` or `latin1`", |text| match text {
        "cp500" => Some(ipm::Encoding::Cp500),
        "latin1" => Some(ipm::Encoding::Latin1),
        _ => None,
    });
    let blocked = section.flag("blocked", true);
    let mark = section.parsed("mark", "`test` or `production`", ipm::TestMark::from_name);
    section.finish();
    let encoding = encoding.map_or(ipm::Encoding::Cp500, |at| at.value);
    let blocking = if blocked { ipm::Blocking::Blocked } else { ipm::Blocking::Vbs };
    Some(SettlementOptions {
        dir: directory?,
        format: ipm::Format { encoding, blocking },
        mark: mark.map_or(ipm::TestMark::Test, |at| at.value),
    })
}

fn digits(text: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<String> {
    let sound = lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    sound.then(|| text.to_owned())
}

fn listeners(root: &Section<'_>) -> Vec<Listener> {
    let sections = root.sections("listener");
    if sections.is_empty() {
        root.fault("listener", "at least one [[listener]] is needed");
    }
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    sections
        .into_iter()
        .filter_map(|section| {
            let name = unique_name(&section, &mut names);
            let address = section.need_parsed("address", ADDRESS, |text| text.parse().ok());
            let address: Option<At<std::net::SocketAddr>> = address;
            if let Some(At { value, span }) = &address
                && value.port() != 0
                && !addresses.insert(*value)
            {
                section.fault_at(span.clone(), "address", "another listener has this address");
            }
            listener(section, name?, address)
        })
        .collect()
}

fn listener(
    section: Section<'_>,
    name: String,
    address: Option<At<std::net::SocketAddr>>,
) -> Option<Listener> {
    let dialect = section.need_parsed("dialect", &dialect_names(), TerminalDialect::from_name);
    let framing = framing(&section, dialect.as_ref().map_or(ISSUER_DIALECT, |at| at.value.name()));
    let half_frame = section.millis("half_frame_ms", 10_000);
    let idle = section.millis("idle_ms", 120_000);
    if idle < half_frame {
        section.fault("idle_ms", "must not be less than half_frame_ms");
    }
    let max_frame = section.number("max_frame", 64..=FRAME_MAX, 4096);
    let max_connections = section.number("max_connections", 1..=1_000_000, 10_000);
    let tls = server_tls(&section);
    section.finish();
    let (dialect, framing) = (dialect?.value, framing?);
    let options = ListenerOptions {
        name,
        dialect: dialect.name(),
        framing,
        max_frame,
        half_frame,
        idle,
        max_connections,
        tls,
    };
    Some(Listener { address: address?.value, dialect, options })
}

fn dialect_names() -> String {
    let names: Vec<_> = TerminalDialect::ALL.iter().map(|dialect| format!("`{}`", dialect.name())).collect();
    names.join(" or ")
}

/// The framing named, else the dialect's own.
fn framing(section: &Section<'_>, dialect: &str) -> Option<Framing> {
    let names: Vec<_> = Framing::NAMED.iter().map(|(name, _)| *name).collect();
    let named = section.parsed("framing", &format!("one of {}", names.join(", ")), Framing::by_name);
    named.map(|at| at.value).or_else(|| Spec::builtin(dialect).map(Spec::framing))
}

fn unique_name(section: &Section<'_>, names: &mut BTreeSet<String>) -> Option<String> {
    let At { value, span } = section.need_text("name")?;
    if !names.insert(value.clone()) {
        section.fault_at(span, "name", "another one has this name");
    }
    Some(value)
}

fn issuers(root: &Section<'_>, node: Node, switch: Switch) -> Vec<Issuer> {
    let mut names = BTreeSet::new();
    let sections = root.sections("issuer").into_iter();
    sections
        .filter_map(|section| {
            let name = unique_name(&section, &mut names);
            issuer(section, name, (node, switch))
        })
        .collect()
}

fn issuer(section: Section<'_>, name: Option<String>, (node, switch): (Node, Switch)) -> Option<Issuer> {
    let id = section.parsed("name", "at most 11 printable characters", |text| IssuerId::new(text).ok());
    let address = section.need_parsed("address", "HOST:PORT", host_and_port);
    let answer = section.millis("answer_ms", 15_000);
    if answer >= switch.total {
        section.fault("answer_ms", "must be less than switch.total_ms");
    }
    let backoff_min = section.millis("backoff_min_ms", 250);
    let backoff_max = section.millis("backoff_max_ms", 30_000);
    if backoff_max < backoff_min {
        section.fault("backoff_max_ms", "must not be less than backoff_min_ms");
    }
    let name = name.unwrap_or_default();
    let framing = framing(&section, ISSUER_DIALECT);
    let link = LinkOptions {
        jitter_seed: seed(node, &name),
        name,
        address: address.map(|at| at.value).unwrap_or_default(),
        framing: framing.unwrap_or(Framing::ASCII_4),
        max_frame: section.number("max_frame", 64..=FRAME_MAX, 8192),
        max_in_flight: section.number("max_in_flight", 1..=100_000, 1000),
        sign_on: section.flag("sign_on", true),
        connect: section.millis("connect_ms", 5_000),
        echo_after: Duration::from_millis(section.number("echo_ms", 0..=86_400_000, 30_000)),
        echo_misses: section.number("echo_misses", 1..=100, 3),
        backoff_min,
        backoff_max,
        tls: client_tls(&section),
    };
    let key_change_hours = section.number("key_change_hours", 0..=87_600, 0);
    section.finish();
    Some(Issuer { id: id?.value, answer, link, key_change_hours })
}

/// `HOST:PORT`; the host is looked up when the link connects.
fn host_and_port(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    (!host.is_empty() && port != 0).then(|| text.to_owned())
}

/// Links of one node differ, and nodes differ.
fn seed(node: Node, issuer: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (node.id, issuer).hash(&mut hasher);
    hasher.finish()
}

fn server_tls(listener: &Section<'_>) -> Option<ServerTls> {
    let section = listener.section("tls");
    if !section.is_there() {
        return None;
    }
    let certificate = section.need_path("certificate");
    let key = section.need_path("key");
    let client_ca = section.text("client_ca").map(|at| at.value.into());
    if !section.finish() {
        return None;
    }
    let files = ServerTlsFiles { certificate: certificate?, key: key?, client_ca };
    ServerTls::load(&files).map_err(|error| listener.fault("tls", error.to_string())).ok()
}

fn client_tls(issuer: &Section<'_>) -> Option<ClientTls> {
    let section = issuer.section("tls");
    if !section.is_there() {
        return None;
    }
    let ca = section.need_path("ca");
    let server_name = section.need_text("server_name");
    let certificate = section.text("certificate");
    let key = section.text("key");
    if certificate.is_some() != key.is_some() {
        section.fault("certificate", "certificate and key must be given together");
    }
    if !section.finish() {
        return None;
    }
    let identity = certificate.zip(key).map(|(c, k)| (c.value.into(), k.value.into()));
    let files = ClientTlsFiles { ca: ca?, server_name: server_name?.value, identity };
    ClientTls::load(&files).map_err(|error| issuer.fault("tls", error.to_string())).ok()
}
