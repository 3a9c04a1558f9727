//! A whole house in a folder of its own: the daemon as its own process on free ports, two issuers,
//! merchants and terminals. The demo plays its story here, and so do the end-to-end tests.
//!
//! The daemon is this same executable (or the one that [`StageOptions::exe`] names) started again under
//! a hidden word, which calls `tollgate`'s own entry point; so `cargo run -p terminal-sim` needs no other
//! binary.

use crate::device::{Device, StageHsm};
use crate::issuer::{Account, IssuerConfig, IssuerHandle, IssuerServer, Rule, ZoneKeys};
use crate::record::Recorder;
use crate::terminal::{Dialect, InjectedKeys, Terminal, TerminalProfile};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use tollgate::transaction::{Currency, Pan};

/// The hidden word under which the simulator is the switch.
pub const DAEMON_WORD: &str = "__tollgate";

/// Test keys of the stage. Public, and so worthless anywhere else.
pub mod keys {
    /// Terminal master key of every UnionPay terminal of the stage.
    pub const TMK: &str = "0123456789ABCDEFFEDCBA9876543210";
    /// Static PIN key of the EDC and ASCII terminals.
    pub const TPK: &str = "2A1F4C7691B3D5E084628CA1C2E5F708";
    /// Static MAC key of the EDC and ASCII terminals.
    pub const TAK: &str = "7C4A1F0D3B5E86A9D0E2F47586B9CDA2";
    /// Zone PIN key shared with the first issuer.
    pub const ZPK_A: &str = "C1D0F8FB4958670DBA40AB1F3752EF0D";
    /// Zone PIN key shared with the second issuer.
    pub const ZPK_B: &str = "5D9B8A4F5B6BB5A7B6C8D9EA01F2A413";
    /// Zone MAC key shared with the second issuer.
    pub const ZAK_B: &str = "6E7A94B5C2D3A8E9F1B0C7D68A9B4C5D";
    /// Zone master key shared with the second issuer.
    pub const ZMK_B: &str = "7A52C4E60D9B3F81ECA8452370B6D91F";
}

/// The issuers of the stage: name, card prefix, zone PIN key, zone MAC key.
pub const ISSUERS: [(&str, &str, &str, Option<&str>); 2] =
    [("BANKA", "622588", keys::ZPK_A, None), ("BANKB", "400000", keys::ZPK_B, Some(keys::ZAK_B))];

/// The merchant of the stage.
pub const MID: &str = "898310058120001";

/// A cardholder of the stage.
#[derive(Debug, Clone, Copy)]
pub struct Holder {
    /// What books call the account.
    pub label: &'static str,
    /// Card number.
    pub pan: &'static str,
    /// PIN.
    pub pin: &'static str,
    /// What the account holds at first, minor units.
    pub balance_minor: i64,
}

/// Expiry of every card of the stage, `YYMM`.
pub const EXPIRY: &str = "3012";

/// The cardholders: the first three bank with BANKA, the others with BANKB.
pub const HOLDERS: [Holder; 6] = [
    Holder { label: "Li Na", pan: "6225880012345675", pin: "123456", balance_minor: 500_000 },
    Holder { label: "Wang Wei", pan: "6225880000000019", pin: "654321", balance_minor: 300_000 },
    Holder { label: "Zhang Min", pan: "6225880000000027", pin: "111222", balance_minor: 5_000 },
    Holder { label: "Alice", pan: "4000000000000002", pin: "1234", balance_minor: 400_000 },
    Holder { label: "Bob", pan: "4000000000000010", pin: "4321", balance_minor: 250_000 },
    Holder { label: "Carol", pan: "4000000000000028", pin: "9876", balance_minor: 1_000 },
];

/// What a stage is built of.
#[derive(Debug, Clone, Default)]
pub struct StageOptions {
    /// Where it stands; the folder must be empty or absent.
    pub dir: PathBuf,
    /// Rules of the first and the second issuer.
    pub rules: [Vec<Rule>; 2],
    /// Terminals of each dialect.
    pub terminals_per_dialect: u32,
    /// Address that the daemon listens at, instead of 127.0.0.1. At one of its own ([`own_host`]) nobody takes its
    /// ports while it is restarted.
    pub host: Option<Ipv4Addr>,
    /// Store, instead of a SQLite file in the folder.
    pub store: Option<String>,
    /// Milliseconds that an issuer may take.
    pub answer_ms: Option<u64>,
    /// Issuers that approve everything without books, for benches.
    pub instant_issuers: Instant,
    /// Where the issuers are, when others run them, in the order of [`ISSUERS`].
    pub issuers_at: Option<[SocketAddr; 2]>,
    /// Worker threads of the daemon, instead of its default.
    pub workers: Option<usize>,
    /// Balance of every account, instead of its own.
    pub balance_minor: Option<i64>,
    /// Crash points and faults of the daemon, as its hidden option takes them.
    pub crash: Option<String>,
    /// The `terminal-sim` executable; this one's own when absent. A test is another executable, and names it.
    pub exe: Option<PathBuf>,
    /// Milliseconds that a frame of a terminal may stay incomplete.
    pub half_frame_ms: Option<u64>,
    /// Messages that a terminal's working keys serve for, instead of any number.
    pub working_key_uses: Option<u32>,
    /// Where the switch has its keys; when absent, the environment's `TOLLGATE_TEST_HSM` chooses.
    pub hsm: Option<StageHsm>,
}

/// A loopback address that no other stage of this process has, and hardly one of another process (Linux has all of
/// 127.0.0.0/8).
#[must_use]
pub fn own_host() -> Ipv4Addr {
    static HOSTS: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 128 | high, low, HOSTS.fetch_add(1, Ordering::Relaxed).max(1))
}

/// Whether the issuers keep books.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Instant {
    /// They do.
    #[default]
    No,
    /// They approve at once and forget.
    Yes,
}

/// A standing stage.
pub struct Stage {
    /// Its folder.
    pub dir: PathBuf,
    /// The issuers, in the order of [`ISSUERS`]; none when others run them.
    pub issuers: Vec<IssuerHandle>,
    /// Every frame of both sides.
    pub recorder: Recorder,
    issuers_at: Vec<SocketAddr>,
    config: PathBuf,
    exe: PathBuf,
    daemon: Option<Daemon>,
    device: Option<Device>,
    ports: BTreeMap<String, SocketAddr>,
}

/// The daemon's process.
struct Daemon {
    child: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The executable that is the switch under its hidden word.
fn executable(options: &StageOptions) -> Result<PathBuf> {
    options.exe.clone().map_or_else(|| std::env::current_exe().context("own path"), Ok)
}

/// This executable again, under a hidden word.
pub(crate) fn own_command(word: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("own path")?);
    command.arg(word);
    Ok(command)
}

impl Stage {
    /// Builds a stage and waits until its daemon is ready and its links are signed on.
    ///
    /// # Errors
    /// Whatever could not be written, started or imported.
    pub async fn build(options: StageOptions) -> Result<Self> {
        fs::create_dir_all(&options.dir)?;
        let dir = fs::canonicalize(&options.dir)?;
        let recorder = Recorder::create(&dir.join("record.jsonl"))?;
        let issuers = match options.issuers_at {
            Some(_) => Vec::new(),
            None => start_issuers(&options, Some(&recorder)).await?,
        };
        let issuers_at = match options.issuers_at {
            Some(at) => at.to_vec(),
            None => issuers.iter().map(|issuer| issuer.addr).collect(),
        };
        let (config, ports) = (dir.join("tollgate.toml"), BTreeMap::new());
        let exe = executable(&options)?;
        let mut stage =
            Self { dir, issuers, recorder, issuers_at, config, exe, daemon: None, device: None, ports };
        let hsm = options.hsm.map_or_else(StageHsm::of_environment, Ok)?;
        if hsm == StageHsm::HostCommands {
            stage.device = Some(Device::start(stage.command(), stage.log()?)?);
        }
        stage.write_config(&options)?;
        stage.seed(&options)?;
        stage.start(options.crash.as_deref()).await?;
        Ok(stage)
    }

    fn write_config(&self, options: &StageOptions) -> Result<()> {
        let store = options
            .store
            .clone()
            .unwrap_or_else(|| format!("sqlite:{}", self.dir.join("tollgate.db").display()));
        let mut text = String::new();
        writeln!(text, "acquirer_id = \"48310000\"\n\n[node]\nid = 1\n")?;
        writeln!(text, "[store]\nurl = {store:?}\n")?;
        writeln!(text, "[hsm]\nlmk_file = {:?}", self.dir.join("lmk"))?;
        if let Some(Device { address, .. }) = &self.device {
            // The number of the test LMK for key blocks under triple DES.
            writeln!(text, "backend = \"host-commands\"\nlmk = 1\n[[hsm.host]]\naddress = \"{address}\"")?;
        }
        writeln!(text)?;
        writeln!(text, "[switch]")?;
        if let Some(workers) = options.workers {
            writeln!(text, "workers = {workers}")?;
        }
        if let Some(uses) = options.working_key_uses {
            writeln!(text, "working_key_uses = {uses}")?;
        }
        writeln!(text)?;
        let host = options.host.unwrap_or(Ipv4Addr::LOCALHOST);
        let address = |name: &str| self.ports.get(name).copied().unwrap_or_else(|| (host, 0).into());
        let answer_ms = options.answer_ms.unwrap_or(15_000);
        for dialect in Dialect::ALL {
            let name = dialect.name();
            let address = address(name);
            writeln!(text, "[[listener]]\nname = {name:?}\naddress = \"{address}\"\ndialect = {name:?}")?;
            if let Some(half_frame_ms) = options.half_frame_ms {
                writeln!(text, "half_frame_ms = {half_frame_ms}")?;
            }
            writeln!(text)?;
        }
        for ((name, ..), at) in ISSUERS.iter().zip(&self.issuers_at) {
            writeln!(text, "[[issuer]]\nname = {name:?}\naddress = \"{at}\"\nanswer_ms = {answer_ms}\n")?;
        }
        writeln!(text, "[console]\naddress = \"{}\"\n", address("console"))?;
        writeln!(text, "[settlement]\ndirectory = {:?}\n", self.dir.join("settlement"))?;
        writeln!(text, "[log]\nlevel = \"warn\"")?;
        fs::write(&self.config, text)?;
        Ok(())
    }

    /// Keys, merchants, terminals, issuers: through the command line, as an operator would.
    fn seed(&self, options: &StageOptions) -> Result<()> {
        let seeds = self.dir.join("seeds");
        fs::create_dir_all(&seeds)?;
        let mut named = vec![("tmk", "tmk", keys::TMK), ("tpk", "tpk", keys::TPK), ("tak", "tak", keys::TAK)];
        named.extend([
            ("zpk-a", "zpk", keys::ZPK_A),
            ("zpk-b", "zpk", keys::ZPK_B),
            ("zak-b", "zak", keys::ZAK_B),
            ("zmk-b", "zmk", keys::ZMK_B),
        ]);
        for (name, usage, key) in named {
            self.import_key(&seeds, name, usage, key)?;
        }
        let merchants = format!(
            "[[merchant]]\nmid = {MID:?}\nname = \"Harbour Tea House\"\ncity = \"Shanghai\"\ncountry = \"CN\"\nmcc = \"5812\"\nfee_basis_points = \"60\"\n"
        );
        let files =
            [("merchant", merchants), ("issuer", issuers_toml()?), ("terminal", terminals_toml(options)?)];
        for (verb, text) in files {
            let file = seeds.join(format!("{verb}s.toml"));
            fs::write(&file, text)?;
            self.tollgate(&[verb, "--config", &path(&self.config), "import", &path(&file)])?;
        }
        Ok(())
    }

    /// Splits a key into two components, as two custodians would bring it.
    fn import_key(&self, seeds: &Path, name: &str, usage: &str, key: &str) -> Result<()> {
        let mask = [0x5A; 16];
        let clear = hex::decode(key)?;
        let other: Vec<u8> = clear.iter().zip(mask).map(|(k, m)| k ^ m).collect();
        let files = [seeds.join(format!("{name}.1")), seeds.join(format!("{name}.2"))];
        fs::write(&files[0], hex::encode_upper(mask))?;
        fs::write(&files[1], hex::encode_upper(other))?;
        let (one, two) = (path(&files[0]), path(&files[1]));
        let components = ["--usage", usage, "--component", &one, "--component", &two];
        if self.device.is_none() {
            return self
                .verb(&[&["key", "import", "--name", name], components.as_slice()].concat())
                .map(drop);
        }
        // What the device's console does; the switch takes the block.
        let formed = self.tollgate(&[&["hsm", "form", "--test-lmk"], components.as_slice()].concat())?;
        let (block, kcv) = formed.trim().split_once("  ").context("a key block and its check value")?;
        let words = ["key", "add", "--name", name, "--usage", usage, "--block", block, "--kcv", kcv];
        self.verb(&words).map(drop)
    }

    /// Where the processes of the stage write what they have to say.
    fn log(&self) -> Result<fs::File> {
        Ok(fs::File::options().create(true).append(true).open(self.dir.join("tollgate.log"))?)
    }

    /// The switch's command line.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.exe);
        command.arg(DAEMON_WORD);
        command
    }

    /// Runs a verb of `tollgate` and gives what it printed.
    ///
    /// # Errors
    /// Its standard error, when it did not exit with 0.
    pub fn tollgate(&self, args: &[&str]) -> Result<String> {
        let done = self.command().args(args).stdin(Stdio::null()).output()?;
        if !done.status.success() {
            bail!("tollgate {} {}: {}", args.join(" "), done.status, String::from_utf8_lossy(&done.stderr));
        }
        Ok(String::from_utf8(done.stdout)?)
    }

    /// A verb of `tollgate` with this stage's configuration, for the caller to run while the issuers,
    /// which live on this runtime, go on answering.
    #[must_use]
    pub fn verb_command(&self, verb: &[&str]) -> Command {
        let mut command = self.command();
        command.args(verb).args(["--config", &path(&self.config)]).stdin(Stdio::null());
        command
    }

    /// As [`Stage::tollgate`], with this stage's configuration.
    ///
    /// # Errors
    /// As there.
    pub fn verb(&self, verb: &[&str]) -> Result<String> {
        let config = path(&self.config);
        let mut args: Vec<&str> = verb.to_vec();
        args.extend(["--config", &config]);
        self.tollgate(&args)
    }

    /// Starts the daemon and waits until it says that it is ready: listening, and signed on to
    /// every issuer.
    ///
    /// # Errors
    /// When it ends instead.
    pub async fn start(&mut self, crash: Option<&str>) -> Result<()> {
        let mut command = self.command();
        command.args(["run", "--config", &path(&self.config)]);
        if let Some(plan) = crash {
            command.args(["--crash", plan]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(self.log()?).spawn()?;
        let stdout = child.stdout.take().context("no standard output")?;
        let daemon = Daemon { child };
        // The issuers answer on this runtime meanwhile, so it must not be blocked.
        let line = tokio::task::spawn_blocking(move || BufReader::new(stdout).lines().next()).await?;
        let Some(line) = line else {
            bail!("the daemon ended before it was ready; see {}", self.dir.join("tollgate.log").display())
        };
        let ready: serde_json::Value = serde_json::from_str(&line?).context("the daemon's ready line")?;
        let listeners = ready["listeners"].as_object().context("listeners of the ready line")?;
        for (name, address) in listeners.iter().chain([(&"console".to_owned(), &ready["console"])]) {
            let address = address.as_str().context("an address")?.parse()?;
            self.ports.insert(name.clone(), address);
        }
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Where the daemon listens: a dialect's name, or `console`.
    ///
    /// # Errors
    /// When it does not.
    pub fn address(&self, name: &str) -> Result<SocketAddr> {
        self.ports.get(name).copied().with_context(|| format!("nothing listens as {name}"))
    }

    /// The daemon's process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(|d| d.child.id())
    }

    /// Kills the daemon at once (SIGKILL).
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// Waits until the daemon has ended by itself; whether it has within the time.
    pub async fn ended(&mut self, within: std::time::Duration) -> bool {
        let give_up = tokio::time::Instant::now() + within;
        while let Some(daemon) = &mut self.daemon {
            if daemon.child.try_wait().ok().flatten().is_some() {
                self.daemon = None;
                return true;
            }
            if tokio::time::Instant::now() >= give_up {
                return false;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        true
    }

    /// Starts the daemon again where it was.
    ///
    /// # Errors
    /// As [`Stage::start`].
    pub async fn restart(&mut self, options: &StageOptions, crash: Option<&str>) -> Result<()> {
        self.kill();
        self.write_config(options)?;
        self.start(crash).await
    }

    /// Asks the daemon to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let pid = rustix::process::Pid::from_child(&daemon.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = tokio::task::spawn_blocking(move || daemon.child.wait()).await??;
        if !status.success() {
            bail!("the daemon ended with {status}");
        }
        Ok(())
    }

    /// The profile of the `n`th terminal of a dialect, from 1.
    ///
    /// # Errors
    /// When the daemon does not listen.
    pub fn profile(&self, dialect: Dialect, n: u32) -> Result<TerminalProfile> {
        let address = self.address(dialect.name())?;
        let mut profile = TerminalProfile::new(dialect, &tid(dialect, n), MID, address, injected(dialect)?);
        profile.state = None;
        Ok(profile)
    }

    /// Switches on the `n`th terminal of a dialect, from 1.
    ///
    /// # Errors
    /// When it cannot connect.
    pub async fn terminal(&self, dialect: Dialect, n: u32) -> Result<Terminal> {
        Ok(Terminal::connect(self.profile(dialect, n)?, Some(self.recorder.clone())).await?)
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// The terminal id of the `n`th terminal of a dialect.
#[must_use]
pub fn tid(dialect: Dialect, n: u32) -> String {
    let series = match dialect {
        Dialect::UnionPay => 1,
        Dialect::Edc => 2,
        Dialect::Ascii => 3,
    };
    format!("{series}{n:07}")
}

fn injected(dialect: Dialect) -> Result<InjectedKeys> {
    let key = |text: &str| -> Result<[u8; 16]> {
        hex::decode(text)?.try_into().map_err(|_| anyhow::anyhow!("a key of the stage is not 16 octets"))
    };
    Ok(match dialect {
        Dialect::UnionPay => InjectedKeys::Master(key(keys::TMK)?),
        Dialect::Edc | Dialect::Ascii => InjectedKeys::Static { tpk: key(keys::TPK)?, tak: key(keys::TAK)? },
    })
}

fn issuers_toml() -> Result<String> {
    let mut text = String::new();
    for (i, (name, prefix, _, zak)) in ISSUERS.iter().enumerate() {
        let letter = if i == 0 { 'a' } else { 'b' };
        writeln!(text, "[[issuer]]\nid = {name:?}\nacquirer_code = \"48310000\"\nzpk = \"zpk-{letter}\"")?;
        if zak.is_some() {
            writeln!(text, "zak = \"zak-{letter}\"\nzmk = \"zmk-{letter}\"")?;
        }
        writeln!(text, "\n[[route]]\nprefix = {prefix:?}\nissuer = {name:?}\n")?;
    }
    Ok(text)
}

fn terminals_toml(options: &StageOptions) -> Result<String> {
    let mut text = String::new();
    for dialect in Dialect::ALL {
        for n in 1..=options.terminals_per_dialect.max(1) {
            let keys = match dialect {
                Dialect::UnionPay => "tmk = \"tmk\"",
                Dialect::Edc | Dialect::Ascii => "tpk = \"tpk\"\ntak = \"tak\"",
            };
            writeln!(
                text,
                "[[terminal]]\ntid = {:?}\nmid = {MID:?}\ndialect = {:?}\ncurrency = \"CNY\"\n{keys}\n",
                tid(dialect, n),
                dialect.name()
            )?;
        }
    }
    Ok(text)
}

/// Starts the stage's issuers in this process, as [`Instant::Yes`] has them: for a process of their own.
///
/// # Errors
/// What keeps an issuer from starting.
pub async fn instant_issuers() -> Result<Vec<IssuerHandle>> {
    let options = StageOptions { instant_issuers: Instant::Yes, ..StageOptions::default() };
    start_issuers(&options, None).await
}

async fn start_issuers(options: &StageOptions, recorder: Option<&Recorder>) -> Result<Vec<IssuerHandle>> {
    let mut started = Vec::new();
    for ((name, prefix, zpk, zak), rules) in ISSUERS.iter().zip(&options.rules) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let mut config = match options.instant_issuers {
            Instant::Yes => IssuerConfig { name: (*name).to_owned(), ..IssuerConfig::instant() },
            Instant::No => IssuerConfig::new(name),
        };
        config.keys = ZoneKeys {
            zpk: Some((*zpk).to_owned()),
            zak: zak.map(str::to_owned),
            zmk: zak.map(|_| keys::ZMK_B.to_owned()),
        };
        config.rules.clone_from(rules);
        config.accounts = HOLDERS
            .iter()
            .filter(|h| h.pan.starts_with(prefix))
            .map(|h| account(h, options.balance_minor))
            .collect::<Result<_>>()?;
        let recorder = recorder.filter(|_| options.instant_issuers == Instant::No).cloned();
        started.push(IssuerServer::start(config, listener, recorder)?);
    }
    Ok(started)
}

fn account(holder: &Holder, balance_minor: Option<i64>) -> Result<Account> {
    Ok(Account {
        label: holder.label.to_owned(),
        pan: Pan::parse(holder.pan)?,
        expiry: EXPIRY.to_owned(),
        pin: Some(holder.pin.to_owned()),
        balance_minor: balance_minor.unwrap_or(holder.balance_minor),
        currency: Currency::CNY,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_of_the_stage_has_a_check_digit() {
        for holder in HOLDERS {
            assert!(Pan::parse(holder.pan).unwrap().luhn_valid(), "{}", holder.label);
        }
    }
}
