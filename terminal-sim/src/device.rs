//! The HSM of a stage as a process of its own, which answers host commands under the public test LMKs.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// Where the switch of a stage has its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StageHsm {
    /// In its own process.
    Software,
    /// In another process, that it sends host commands to.
    HostCommands,
}

/// The variable that chooses the HSM of every stage that does not choose itself: for running a test with either.
const CHOICE: &str = "TOLLGATE_TEST_HSM";

impl StageHsm {
    /// What the environment chooses; the software HSM when it does not.
    ///
    /// # Errors
    /// When it names none.
    pub(crate) fn of_environment() -> Result<Self> {
        match std::env::var(CHOICE).as_deref() {
            Err(std::env::VarError::NotPresent) | Ok("software") => Ok(Self::Software),
            Ok("host-commands") => Ok(Self::HostCommands),
            Ok(_) | Err(_) => bail!("{CHOICE} must be `software` or `host-commands`"),
        }
    }
}

/// A running HSM. It ends with this.
pub(crate) struct Device {
    child: Child,
    /// Where it takes commands.
    pub(crate) address: SocketAddr,
}

impl Device {
    /// Starts it by the switch's command line, and waits until it takes commands.
    ///
    /// # Errors
    /// When it ends instead.
    pub(crate) fn start(mut switch: Command, log: File) -> Result<Self> {
        switch.args(["hsm", "serve", "--test-lmk", "--permit", "x917-export", "--listen", "127.0.0.1:0"]);
        let mut child = switch.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut device = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let line = BufReader::new(stdout).lines().next().context("the HSM ended before it was ready")??;
        let ready: serde_json::Value = serde_json::from_str(&line).context("the HSM's ready line")?;
        device.address = ready["listen"].as_str().context("the HSM's address")?.parse()?;
        Ok(device)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
