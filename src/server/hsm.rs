//! The HSM of a process: the software one with its LMK and its audit file, or devices that take host commands.

use super::PATIENCE;
use crate::clock::Clock;
use crate::console::Health;
use crate::hsm::audit::{Audit, KeyName, Operation};
use crate::hsm::host_client::{Dial, Dialing, HostClient, Hosts, Stream};
use crate::hsm::lmk::DataKey;
use crate::hsm::{Hsm, LmkError, LmkFile, LmkSettings, SoftHsm};
use crate::link;
use crate::metrics;
use crate::tls::ClientTls;
use crate::transaction::NodeId;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Which HSM.
#[derive(Debug, Clone)]
pub struct HsmOptions {
    /// The local master key's file, which is made when it is not there, and what opens it.
    pub lmk: LmkSettings,
    /// The audit file of operations on keys.
    pub audit_file: PathBuf,
    /// The devices that take host commands; none: the software HSM.
    pub devices: Option<Hosts>,
}

/// Opens the software HSM under the local master key of that file, which is made when it is not there. Card numbers are
/// sealed under it whatever HSM works on keys.
///
/// # Errors
/// A file that others may read, that does not hold a key or cannot be opened; a failed self-test; an audit file that is
/// damaged or cannot be written.
pub fn open_hsm(options: &HsmOptions, clock: &Clock, node: NodeId) -> Result<SoftHsm> {
    let audit = Audit::open(&options.audit_file, clock.clone(), node.0);
    let audit = Arc::new(audit.with_context(|| options.audit_file.display().to_string())?);
    audit.done(Operation::Start, &KeyName::default())?;
    let hsm = SoftHsm::of_file(lmk_file(&options.lmk));
    if let Err(LmkError::Hsm(_)) = &hsm {
        audit.said(Operation::SelfTest, &KeyName::default(), "failed")?;
    }
    let hsm = hsm?;
    for check_value in hsm.lmks().check_values() {
        audit.done(Operation::LoadLmk, &KeyName::text(check_value.as_bytes()))?;
    }
    audit.done(Operation::SelfTest, &KeyName::default())?;
    Ok(hsm.with_audit(audit))
}

/// Connects to devices that take host commands, on the runtime that this is called on, and waits for one to answer.
///
/// # Errors
/// As [`open_hsm`]; or no device answers in time.
pub async fn open_devices(lmk: &LmkSettings, devices: &Hosts) -> Result<HostClient> {
    let client = HostClient::start(&lmk_file(lmk).load_or_create()?.data, devices.clone())?;
    if !client.ready(PATIENCE).await {
        let names: Vec<_> = devices.hosts.iter().map(|host| host.name.as_str()).collect();
        bail!("no HSM answers: {}", names.join(", "));
    }
    Ok(client)
}

/// A device over TCP, with TLS or without.
pub struct TcpDevice {
    /// `HOST:PORT`.
    pub address: String,
    /// TLS.
    pub tls: Option<ClientTls>,
}

impl Dial for TcpDevice {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(async move {
            let stream = link::connect(&self.address).await?;
            Ok(match &self.tls {
                None => Box::new(stream) as Stream,
                Some(tls) => Box::new(tls.connect(stream).await.map_err(std::io::Error::other)?),
            })
        })
    }
}

/// The HSM as workers get it: one for all in this process, or connections of their own to devices.
pub(super) enum Hsms {
    Software(Arc<SoftHsm>),
    Devices(DataKey, Hosts),
}

impl Hsms {
    pub(super) fn open(options: &HsmOptions, clock: &Clock, node: NodeId) -> Result<Self> {
        match &options.devices {
            None => Ok(Self::Software(Arc::new(open_hsm(options, clock, node)?))),
            Some(devices) => {
                Ok(Self::Devices(lmk_file(&options.lmk).load_or_create()?.data, devices.clone()))
            }
        }
    }

    /// The one of this process.
    pub(super) fn software(&self) -> Option<Arc<SoftHsm>> {
        match self {
            Self::Software(hsm) => Some(Arc::clone(hsm)),
            Self::Devices(..) => None,
        }
    }

    /// One worker's, on whose runtime this is called. A device that does not answer yet may do so later: until then
    /// what needs it is refused.
    pub(super) async fn of_worker(&self, health: &Arc<Health>) -> Result<Arc<dyn Hsm>> {
        match self {
            Self::Software(hsm) => Ok(Arc::<SoftHsm>::clone(hsm)),
            Self::Devices(data, devices) => {
                let client = HostClient::start(data, devices.clone())?;
                tokio::spawn(follow(client.connections(), Arc::clone(health)));
                if !client.ready(PATIENCE).await {
                    tracing::error!("no HSM answers yet: what needs keys is refused until one does");
                }
                Ok(Arc::new(client))
            }
        }
    }
}

/// Tells of a worker's connections to devices, for as long as it has any to speak of.
async fn follow(mut connections: watch::Receiver<usize>, health: Arc<Health>) {
    let mut told = 0;
    health.hsm_went_down();
    loop {
        let up = *connections.borrow_and_update();
        metrics::hsm_connections(told, up);
        match (told, up) {
            (0, 1..) => health.hsm_came_up(),
            (1.., 0) => health.hsm_went_down(),
            (_, _) => {}
        }
        told = up;
        if connections.changed().await.is_err() {
            metrics::hsm_connections(told, 0);
            return;
        }
    }
}

/// The local master key's file. Whoever sits at the terminal is asked for its passphrase.
#[must_use]
pub fn lmk_file(lmk: &LmkSettings) -> LmkFile {
    LmkFile::new(lmk.clone(), || rpassword::prompt_password("passphrase of the LMK: ").map(Zeroizing::new))
}
