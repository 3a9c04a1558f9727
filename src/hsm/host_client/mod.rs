//! An HSM that is asked by host commands: a payShield, or another process that answers as one.
//!
//! Keys are key blocks under that device's LMK and never come in clear; nor does a PIN. Card numbers at rest are sealed
//! here, under the data keys of the local LMK file, as the software HSM does. One client belongs to one worker: its
//! connections are on that worker's thread.

mod device_key;
mod key;
mod line;
mod message;
mod pool;
#[cfg(test)]
mod tests;
mod verbs;
mod zone_key;

pub use device_key::form_for_device;

use super::lmk::DataKey;
use super::seal::DataKeys;
use super::{HsmError, OpenSslRandom, self_test};
use message::Command;
use pool::Pool;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// A connection, whatever it goes through.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection to a device.
pub type Stream = Box<dyn Duplex>;

/// A connection that is being made.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + 'a>>;

/// How a device is reached: this room opens no sockets towards others.
pub trait Dial: Send + Sync {
    /// Connects.
    ///
    /// # Errors (of the future)
    /// What the system or TLS says.
    fn dial(&self) -> Dialing<'_>;
}

/// A device, and how it is spoken to.
#[derive(Clone)]
pub struct Host {
    /// What the log calls it.
    pub name: String,
    /// How it is reached.
    pub dial: Arc<dyn Dial>,
    /// Connections of each worker, 1 or more.
    pub connections: usize,
    /// Characters in front of a command, 4 to 16: the command's number.
    pub header: usize,
    /// A connection must be there within this.
    pub connect: Duration,
    /// A command must be answered within this.
    pub command: Duration,
    /// Diagnostics are asked for at this interval.
    pub health: Duration,
    /// Commands in flight on a connection, 1 to 10,000; more are refused at once.
    pub max_in_flight: usize,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Host({})", self.name)
    }
}

/// The devices, which stand under one LMK.
#[derive(Debug, Clone)]
pub struct Hosts {
    /// The LMK's number, which commands then name (`%nn`); none: the one that a device takes by itself.
    pub lmk: Option<u8>,
    /// The devices.
    pub hosts: Vec<Host>,
}

/// An HSM behind host commands.
pub struct HostClient {
    pool: Pool,
    lmk: Option<u8>,
    data_keys: DataKeys,
    random: OpenSslRandom,
}

impl HostClient {
    /// Starts connecting, on the runtime that this is called on. `data` seals card numbers: it is the local LMK file's.
    ///
    /// # Errors
    /// [`HsmError::Failure`] when a known answer of the room's own algorithms does not come out.
    pub fn start(data: &DataKey, hosts: Hosts) -> Result<Self, HsmError> {
        self_test::passed()?;
        Ok(Self {
            pool: Pool::start(hosts.hosts),
            lmk: hosts.lmk,
            data_keys: DataKeys::new(data),
            random: OpenSslRandom,
        })
    }

    /// Waits until a device answers; whether one does within the time.
    pub async fn ready(&self, within: Duration) -> bool {
        self.pool.ready(within).await
    }

    /// How many connections to devices answer, as it changes.
    #[must_use]
    pub fn connections(&self) -> watch::Receiver<usize> {
        self.pool.watch()
    }

    fn command(&self, letters: [u8; 2]) -> Command {
        Command::new(letters, self.lmk)
    }
}
