//! `tollgate hsm`: the software HSM behind host commands.

use super::key::{UsageArg, component};
use crate::hsm::Algorithm;
use crate::hsm::audit;
use crate::hsm::host_client::form_under_test_lmk;
use crate::hsm::host_command::HostHsm;
use crate::hsm::host_command::server::{self, Limits};
use anyhow::{Context as _, Result};
use clap::Subcommand;
use std::fs::File;
use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// `tollgate hsm …`
#[derive(Debug, Subcommand)]
pub(super) enum HsmVerb {
    /// Answer payShield-compatible host commands over TCP
    Serve {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:1500")]
        listen: SocketAddr,
        /// Characters in front of every command and answer
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(0..=255))]
        header: u8,
        /// Serve under the public test LMKs, which everybody knows: for tests only
        #[arg(long, required = true)]
        test_lmk: bool,
    },
    /// Form a key of components under the public test LMK, as a device's console does under its own
    Form {
        /// What it is for
        #[arg(long)]
        usage: UsageArg,
        /// A file with one component: hexadecimal digits on the first line, its check value on the second
        #[arg(long = "component", required = true, num_args = 1)]
        components: Vec<PathBuf>,
        /// Under the public test LMK, which everybody knows: for tests only
        #[arg(long, required = true)]
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

impl HsmVerb {
    /// Runs the verb.
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<u8> {
        // There are no other LMKs so far: the flag is asked for, so that nobody is surprised.
        match self {
            HsmVerb::Audit(verb) => verb.run(out),
            HsmVerb::Serve { listen, header, test_lmk: _ } => Self::serve(*listen, *header, out),
            HsmVerb::Form { usage, components, test_lmk: _ } => {
                let parts: Vec<_> =
                    components.iter().map(|file| component(file, Algorithm::Des)).collect::<Result<_>>()?;
                let (block, kcv) = form_under_test_lmk(usage.usage().0, &parts)?;
                writeln!(out, "{}  {kcv}", block.as_str())?;
                Ok(0)
            }
        }
    }

    /// Runs until it is interrupted. When it is ready it prints one line of JSON with its address.
    fn serve(listen: SocketAddr, header: u8, out: &mut dyn Write) -> Result<u8> {
        let hsm = Arc::new(HostHsm::with_test_keys(usize::from(header))?);
        let _ = writeln!(
            std::io::stderr(),
            "host commands under the public test LMKs: whatever stands under them is known to everybody"
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener =
                server::listen(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
            let ready = serde_json::json!({ "ready": true, "listen": listener.local_addr()?.to_string() });
            writeln!(out, "{ready}")?;
            out.flush()?;
            tokio::select! {
                never = server::serve(hsm, listener, Limits::default()) => match never {},
                interrupted = tokio::signal::ctrl_c() => interrupted?,
            }
            anyhow::Ok(())
        })?;
        Ok(0)
    }
}
