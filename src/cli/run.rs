//! `tollgate run`, and the settings of every room out of the configuration file.

use super::{Place, memory};
use crate::config::{Config, HsmBackend, HsmHost, LogFormat, Overrides, StoreUrl};
use crate::crash;
use crate::flow::FlowOptions;
use crate::hsm::host_client::{Host, Hosts};
use crate::server::{self, Addresses, HsmOptions, IssuerLink, ServerOptions, TcpDevice, TerminalListener};
use crate::store::StoreOptions;
use crate::transaction::{Day, NodeId};
use anyhow::{Context as _, Result};
use clap::Args;
use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// `tollgate run`
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Listen here instead: NAME=ADDRESS, or ADDRESS when there is one listener
    #[arg(long, env = "TOLLGATE_LISTEN", value_delimiter = ',')]
    listen: Vec<String>,
    /// Log level or directives, instead of the configured ones
    #[arg(long, env = "TOLLGATE_LOG")]
    log: Option<String>,
    /// For crash tests: where the process shall die, and which safety wait is taken out
    #[arg(long, hide = true)]
    crash: Option<String>,
}

/// Runs the daemon. When it is ready it prints one line of JSON with the addresses it listens on.
pub(super) fn run(place: &Place, args: &RunArgs, out: &mut dyn Write) -> Result<u8> {
    let pages = memory::protect()?;
    let overrides =
        Overrides { listen: args.listen.clone(), store: place.store.clone(), log: args.log.clone() };
    let config = place.load(&overrides)?;
    if let Some(plan) = &args.crash {
        crash::arm(plan)?;
    }
    log(&config)?;
    tracing::info!("{}", pages.text());
    make_folders(&config)?;
    let options = server_options(&config)?;
    if options.hsm.devices.is_none() {
        tracing::warn!("PINs are checked by a software HSM, which is not for production PINs");
    }
    server::run(options, |addresses| {
        writeln!(out, "{}", ready_line(addresses))?;
        Ok(out.flush()?)
    })?;
    Ok(0)
}

fn ready_line(addresses: &Addresses) -> serde_json::Value {
    let listeners: serde_json::Map<_, _> =
        addresses.listeners.iter().map(|(name, at)| (name.clone(), at.to_string().into())).collect();
    serde_json::json!({
        "ready": true,
        "listeners": listeners,
        "console": addresses.console.map(|at| at.to_string()),
    })
}

fn log(config: &Config) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.level).context("log.level")?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match config.log.format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    set.map_err(|error| anyhow::anyhow!("log: {error}"))
}

/// Makes the folders that hold the store and the local master key, for this user alone.
pub(super) fn make_folders(config: &Config) -> Result<()> {
    let store = match &config.store {
        StoreUrl::Sqlite(path) => Some(path.as_path()),
        StoreUrl::Postgres(_) => None,
    };
    for folder in store
        .into_iter()
        .chain([config.hsm.lmk.file.as_path(), &config.hsm.audit_file])
        .filter_map(Path::parent)
    {
        if !folder.as_os_str().is_empty() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.with_context(|| folder.display().to_string())?;
        }
    }
    Ok(())
}

/// The store's settings. A store that is made now begins with today's business day.
pub(super) fn store_options(config: &Config) -> Result<StoreOptions> {
    let url = match &config.store {
        StoreUrl::Sqlite(path) => format!("sqlite:{}", path.display()),
        StoreUrl::Postgres(url) => url.clone(),
    };
    let first_day = Day(super::clock(config)?.today());
    Ok(StoreOptions { url, first_day, ca_file: None })
}

/// The HSM's settings.
pub(super) fn hsm_options(config: &Config) -> HsmOptions {
    HsmOptions {
        lmk: config.hsm.lmk.clone(),
        audit_file: config.hsm.audit_file.clone(),
        devices: devices(config),
    }
}

/// The devices that keys are worked on by; none: the software HSM.
pub(super) fn devices(config: &Config) -> Option<Hosts> {
    match &config.hsm.backend {
        HsmBackend::Software => None,
        HsmBackend::HostCommands { lmk, hosts } => {
            Some(Hosts { lmk: *lmk, hosts: hosts.iter().map(device).collect() })
        }
    }
}

fn device(host: &HsmHost) -> Host {
    let HsmHost { address, connections, header, connect, command, health, max_in_flight, tls } = host.clone();
    let name = address.clone();
    let dial = Arc::new(TcpDevice { address, tls });
    Host { name, dial, connections, header, connect, command, health, max_in_flight }
}

fn server_options(config: &Config) -> Result<ServerOptions> {
    let listeners = config.listeners.iter().map(|l| TerminalListener {
        address: l.address,
        dialect: l.dialect,
        options: l.options.clone(),
    });
    let issuers = config.issuers.iter().map(|i| IssuerLink {
        issuer: i.id,
        options: i.link.clone(),
        answer: i.answer,
        key_change_hours: i.key_change_hours,
    });
    Ok(ServerOptions {
        utc_offset_minutes: config.node.utc_offset_minutes,
        workers: config.switch.workers,
        store: store_options(config)?,
        hsm: hsm_options(config),
        listeners: listeners.collect(),
        issuers: issuers.collect(),
        console: Some(config.console.address),
        flow: FlowOptions {
            node: NodeId(config.node.id),
            acquirer: config.acquirer_id.clone(),
            completion_ceiling_percent: config.switch.completion_ceiling_percent,
            mac_failures_force_sign_on: config.switch.mac_failures_force_sign_on,
            key_limits: config.switch.key_limits,
            settle_wait: Duration::from_secs(3),
        },
    })
}
