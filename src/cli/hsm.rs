//! `tollgate hsm`: the software HSM behind host commands.

use super::key::{OtherCheckValue, UsageArg, component};
use super::{Place, clock};
use crate::clock::Clock;
use crate::config::{Config, Overrides};
use crate::hsm::audit::{self, Audit, KeyName, Operation};
use crate::hsm::host_client::form_for_device;
use crate::hsm::host_command::server::{self, Limits, Server};
use crate::hsm::host_command::{AttemptLimits, HostHsm, Permit};
use crate::hsm::{Algorithm, KeyBlock, LmkKeys, Usage};
use crate::server::{EndSignals, lmk_file};
use crate::tls::{ServerTls, ServerTlsFiles};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use std::fs::File;
use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// `tollgate hsm …`
#[derive(Debug, Subcommand)]
pub(super) enum HsmVerb {
    /// Answer payShield-compatible host commands over TCP or TLS, until SIGTERM or SIGINT
    Serve(Box<Serve>),
    /// Form a key of components under the LMK of a host-command server, as a device's console does under its own
    Form {
        /// What it is for
        #[arg(long)]
        usage: UsageArg,
        /// A file with one component: hexadecimal digits on the first line, its check value on the second
        #[arg(long = "component", required = true, num_args = 1)]
        components: Vec<PathBuf>,
        /// Under the public test LMK, which everybody knows, instead of the configured one
        #[arg(long)]
        test_lmk: bool,
    },
    /// The record of operations on keys
    #[command(subcommand)]
    Audit(AuditVerb),
}

/// `tollgate hsm audit …`
#[derive(Debug, Subcommand)]
pub(super) enum AuditVerb {
    /// Check that no record is altered, missing or out of order; exit 3 and its first line when one is
    Verify {
        /// The audit file
        file: PathBuf,
    },
}

impl AuditVerb {
    fn run(&self, out: &mut dyn Write) -> Result<u8> {
        let AuditVerb::Verify { file } = self;
        let opened = File::open(file).with_context(|| file.display().to_string())?;
        let verdict = audit::verify(BufReader::new(opened)).with_context(|| file.display().to_string())?;
        if let Some((line, fault)) = verdict.fault {
            writeln!(out, "{}:{line}: {fault}", file.display())?;
            return Ok(super::FAULTS);
        }
        writeln!(out, "{} records, the last {}", verdict.records, verdict.last)?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:1500")]
    listen: SocketAddr,
    /// Characters in front of every command and answer
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(0..=255))]
    header: u8,
    /// Serve under the public test LMKs, which everybody knows, instead of the configured one
    #[arg(long)]
    test_lmk: bool,
    /// Threads that answer
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
    /// Connections at once; a further one is closed
    #[arg(long, default_value_t = 4096)]
    max_connections: u32,
    /// Octets of a command without its length; a longer one closes its connection
    #[arg(long, default_value_t = 32_768)]
    max_message: u16,
    /// Milliseconds that a connection may be open without a command; 0 for ever
    #[arg(long, default_value_t = 3_600_000)]
    idle_ms: u64,
    /// Milliseconds that the rest of a command, a TLS handshake or taking the answers may take, and the end
    #[arg(long, default_value_t = 30_000)]
    patience_ms: u64,
    /// Record operations on keys, and refusals for a key's sake, in this file; in the configured one when absent, and
    /// under the test LMKs in none
    #[arg(long)]
    audit_file: Option<PathBuf>,
    /// Serve this too; may be said again
    #[arg(long = "permit", value_enum)]
    permits: Vec<PermitArg>,
    /// Answer 68 to these commands, commas between them
    #[arg(long = "disable", value_delimiter = ',', value_name = "COMMAND", value_parser = letters)]
    disabled: Vec<[u8; 2]>,
    #[command(flatten)]
    tls: Tls,
    #[command(flatten)]
    attempts: Attempts,
    /// What is told on stderr: error, warn, info, debug
    #[arg(long, default_value = "info")]
    log: tracing::Level,
}

/// The two letters of a command that is served.
fn letters(text: &str) -> Result<[u8; 2], String> {
    let letters =
        text.as_bytes().try_into().ok().filter(|letters| HostHsm::commands().any(|known| known == *letters));
    letters.ok_or_else(|| {
        let known = HostHsm::commands().map(|letters| String::from_utf8_lossy(&letters).into_owned());
        format!("one of {}", known.collect::<Vec<_>>().join(" "))
    })
}

/// What is served only where it is asked for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PermitArg {
    /// Keys under the variant LMK (schemes U, T, X, Y, and 16 digits), of the public test LMKs
    VariantKeys,
    /// Keys from a ZMK without a header: whoever brings one says what it is for
    X917Import,
    /// Keys to a ZMK or TMK without a header, as terminals take them that know no key blocks
    X917Export,
    /// PINs in clear: BA and NG
    ClearPins,
}

impl PermitArg {
    fn permit(self) -> Permit {
        match self {
            Self::VariantKeys => Permit::VariantKeys,
            Self::X917Import => Permit::X917Import,
            Self::X917Export => Permit::X917Export,
            Self::ClearPins => Permit::ClearPins,
        }
    }
}

#[derive(Debug, Args)]
struct Tls {
    /// Certificate and its chain, PEM: connections are under TLS 1.2 or 1.3 then, and no others are served
    #[arg(long, requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Authorities, PEM: a client must show a certificate that one of them signed
    #[arg(long, requires = "tls_certificate")]
    tls_client_ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Attempts {
    /// Verifications of one card under one key that may fail in a row before they are answered 39; 0 for no limit
    #[arg(long, default_value_t = 5)]
    failures_in_a_row: u32,
    /// Minutes that such a card is locked, and that a failure counts
    #[arg(long, default_value_t = 1440, value_parser = clap::value_parser!(u32).range(1..=525_600))]
    lock_minutes: u32,
    /// Verifications of all cards that may fail within 60 seconds before all are answered 39; 0 for no limit
    #[arg(long, default_value_t = 1000)]
    failures_per_minute: u32,
}

impl HsmVerb {
    /// Runs the verb.
    pub(super) fn run(&self, place: &Place, out: &mut dyn Write) -> Result<u8> {
        match self {
            HsmVerb::Serve(serve) => serve.run(place, out),
            HsmVerb::Audit(verb) => verb.run(out),
            HsmVerb::Form { usage, components, test_lmk } => {
                let parts: Result<Vec<_>> =
                    components.iter().map(|file| component(file, Algorithm::Des)).collect();
                let (block, kcv) = if *test_lmk {
                    form_for_device(None, usage.usage().0, &parts?)?
                } else {
                    form(&place.load(&Overrides::default())?, usage.usage().0, parts)?
                };
                writeln!(out, "{}  {kcv}", block.as_str())?;
                Ok(0)
            }
        }
    }
}

/// Forms a key under the configured LMK, and records it, or why there is none.
fn form(
    config: &Config,
    usage: Usage,
    components: Result<Vec<Zeroizing<Vec<u8>>>>,
) -> Result<(KeyBlock, String)> {
    let keys = own_lmk(config)?;
    let path = &config.hsm.audit_file;
    let audit =
        Audit::open(path, clock(config)?, config.node.id).with_context(|| path.display().to_string())?;
    if components.as_ref().is_err_and(|error| error.is::<OtherCheckValue>()) {
        audit.refused(Operation::Form, &KeyName::for_usage(usage), "check-value");
    }
    let formed = form_for_device(Some(&keys.data), usage, &components?);
    match &formed {
        Ok((block, kcv)) => {
            audit.done(Operation::Form, &KeyName::of_block(block.as_str().as_bytes(), kcv.as_bytes()))?;
        }
        Err(error) => {
            if let Some(word) = audit::refusal(*error) {
                audit.refused(Operation::Form, &KeyName::for_usage(usage), word);
            }
        }
    }
    Ok(formed?)
}

/// What the configured LMK file holds.
fn own_lmk(config: &Config) -> Result<LmkKeys> {
    let keys = lmk_file(&config.hsm.lmk).load();
    keys.context("no LMK to serve under: tollgate lmk form makes one, --test-lmk takes the public ones")
}

impl Serve {
    /// Runs until it is asked to end. When it is ready it prints one line of JSON with its address.
    fn run(&self, place: &Place, out: &mut dyn Write) -> Result<u8> {
        let _ = tracing_subscriber::fmt().with_max_level(self.log).with_writer(std::io::stderr).try_init();
        self.say_what_is_short();
        let server = self.server(self.hsm(place)?)?;
        let listener =
            server::bind(self.listen).with_context(|| format!("cannot listen on {}", self.listen))?;
        let (signals, stop) = (EndSignals::watch()?, CancellationToken::new());
        let ended = stop.clone();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            signals.wait();
            ended.cancel();
        })?;
        let ready = serde_json::json!({ "ready": true, "listen": listener.local_addr()?.to_string() });
        writeln!(out, "{ready}")?;
        out.flush()?;
        server::serve(&server, listener, &stop)?;
        Ok(0)
    }
}

impl Serve {
    fn server(&self, hsm: HostHsm) -> Result<Server> {
        let limits = Limits {
            connections: usize::try_from(self.max_connections)?,
            message: usize::from(self.max_message),
            patience: Duration::from_millis(self.patience_ms),
            idle: (self.idle_ms > 0).then(|| Duration::from_millis(self.idle_ms)),
        };
        let permits: Vec<Permit> = self.permits.iter().map(|permit| permit.permit()).collect();
        let hsm = hsm.with_permits(&permits).without_commands(&self.disabled);
        let hsm = Arc::new(hsm.with_attempt_limits(self.attempts.limits()));
        Ok(Server { hsm, limits, threads: self.threads, tls: self.tls.load()? })
    }

    /// The HSM under the LMKs that are asked for, with its record.
    fn hsm(&self, place: &Place) -> Result<HostHsm> {
        let header = usize::from(self.header);
        if self.test_lmk {
            tracing::warn!(
                "host commands under the public test LMKs: whatever stands under them is known to everybody"
            );
            let hsm = HostHsm::with_test_keys(header)?;
            return Ok(match &self.audit_file {
                Some(file) => hsm.with_audit(Arc::new(audit(file, None)?)),
                None => hsm,
            });
        }
        if self.permits.iter().any(|permit| permit.permit() == Permit::VariantKeys) {
            bail!("--permit variant-keys: only the public test LMKs have a variant LMK (--test-lmk)");
        }
        let config = place.load(&Overrides::default())?;
        super::run::make_folders(&config)?;
        let keys = own_lmk(&config)?;
        let lmk = keys.current.check_value()?;
        tracing::info!(lmk, "host commands under the configured LMK");
        let hsm = HostHsm::with_data_key(header, &keys.data)?;
        let file = self.audit_file.as_ref().unwrap_or(&config.hsm.audit_file);
        Ok(hsm.with_audit(Arc::new(audit(file, Some(&lmk))?)))
    }

    /// Tells what the system or the settings do not let it keep.
    fn say_what_is_short(&self) {
        // The listener, the runtimes' own, the standard streams, and some to spare.
        let needed = u64::from(self.max_connections) + 64 + 8 * self.threads.get() as u64;
        match server::raise_open_files() {
            Ok(files) if files < needed => {
                tracing::warn!(
                    files,
                    needed,
                    "fewer files may be open than the connections that are allowed"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
        }
        if self.attempts.failures_in_a_row > 0 && !self.attempts.limits().are_kept() {
            tracing::warn!(
                "more verifications may fail than are remembered until they do not count any more"
            );
        }
    }
}

/// The record of a server, which begins with its start and the LMK that it has loaded.
fn audit(file: &Path, lmk: Option<&String>) -> Result<Audit> {
    let clock = Clock::system(0).context("clock")?;
    let audit = Audit::open(file, clock, 0).with_context(|| file.display().to_string())?;
    audit.done(Operation::Start, &KeyName::default())?;
    if let Some(check_value) = lmk {
        audit.done(Operation::LoadLmk, &KeyName::text(check_value.as_bytes()))?;
    }
    Ok(audit)
}

impl Tls {
    fn load(&self) -> Result<Option<ServerTls>> {
        let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) else { return Ok(None) };
        let (certificate, key) = (certificate.clone(), key.clone());
        Ok(Some(ServerTls::load(&ServerTlsFiles {
            certificate,
            key,
            client_ca: self.tls_client_ca.clone(),
        })?))
    }
}

impl Attempts {
    fn limits(&self) -> AttemptLimits {
        AttemptLimits {
            in_a_row: self.failures_in_a_row,
            lock: Duration::from_mins(u64::from(self.lock_minutes)),
            per_minute: self.failures_per_minute,
        }
    }
}
