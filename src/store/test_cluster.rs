//! A PostgreSQL server of a test's own, from Debian's packages, in a temporary folder.
//!
//! It listens on a socket in that folder alone, writes nothing through to the disk, and ends with
//! the value that holds it. Built for tests only (feature `test-support`).

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long the server may take to answer for the first time, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs. Dropped, it ends and its folder goes.
#[derive(Debug)]
pub struct Cluster {
    server: Child,
    folder: PathBuf,
    programs: PathBuf,
    user: User,
}

/// The account that the server runs under: PostgreSQL refuses to run as root.
#[derive(Debug, Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
    /// Whether it is somebody else than the one who runs the test.
    other: bool,
}

impl Cluster {
    /// Makes and starts a server, and waits until it answers.
    ///
    /// # Errors
    /// What is missing, and how to install it; or what the server said when it did not start.
    pub fn start() -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let programs = programs()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tollgate-pg-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        let user = user(&folder)?;
        if user.other {
            chown(&folder, Some(user.uid), Some(user.gid))?;
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        let data = folder.join("data");
        let mut init = user.command(&programs.join("initdb"));
        init.args([
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
        ]);
        let made = init.arg(&data).output()?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        let server = Self::spawn(&programs, &folder, user)?;
        let cluster = Self { server, folder, programs, user };
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    fn spawn(programs: &Path, folder: &Path, user: User) -> io::Result<Child> {
        let log = fs::File::create(folder.join("log"))?;
        let mut server = user.command(&programs.join("postgres"));
        server.arg("-D").arg(folder.join("data"));
        server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off"]);
        server.args(["-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c"]);
        server.arg(format!("unix_socket_directories={}", folder.display()));
        server.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
    }

    fn wait_until_ready(&self) -> io::Result<()> {
        let since = Instant::now();
        while !self.psql("postgres", "SELECT 1")?.status.success() {
            if since.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("PostgreSQL does not answer: {log}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn psql(&self, database: &str, sql: &str) -> io::Result<std::process::Output> {
        let mut psql = self.user.command(&self.programs.join("psql"));
        psql.arg("-h").arg(&self.folder);
        psql.args([
            "-U",
            "postgres",
            "-X",
            "-q",
            "-t",
            "-A",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
            "-c",
            sql,
        ]);
        psql.output()
    }

    /// Runs a statement as the server's owner; what it printed.
    ///
    /// # Errors
    /// What the server said.
    pub fn run(&self, database: &str, sql: &str) -> io::Result<String> {
        let done = self.psql(database, sql)?;
        if done.status.success() {
            Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&done.stderr).into_owned()))
        }
    }

    /// Makes an empty database and gives its URL, as [`crate::store::StoreOptions::url`] takes it.
    ///
    /// # Errors
    /// What the server said.
    pub fn database(&self, name: &str) -> io::Result<String> {
        self.run("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(name))
    }

    /// Makes a copy of a database to which nobody is connected, and gives its URL.
    ///
    /// # Errors
    /// What the server said.
    pub fn copy(&self, name: &str, of: &str) -> io::Result<String> {
        self.run("postgres", &format!("CREATE DATABASE {name} TEMPLATE {of}"))?;
        Ok(self.url(name))
    }

    /// The URL of a database.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}/{name}")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A fast shutdown: it disconnects who is left. If it cannot be asked, it is ended.
        let mut stop = self.user.command(&self.programs.join("pg_ctl"));
        stop.args(["stop", "-m", "immediate", "-D"]).arg(self.folder.join("data"));
        let asked = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl User {
    /// A program under this account; `setpriv` belongs to Debian's essential packages.
    fn command(self, program: &Path) -> Command {
        if !self.other {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={}", self.uid)).arg(format!("--regid={}", self.gid));
        command.args(["--clear-groups", "--"]).arg(program).current_dir("/");
        command
    }
}

/// The account of a new folder's owner, unless that is root: then Debian's `postgres`.
fn user(folder: &Path) -> io::Result<User> {
    let own = fs::metadata(folder)?;
    if own.uid() != 0 {
        return Ok(User { uid: own.uid(), gid: own.gid(), other: false });
    }
    let accounts = fs::read_to_string("/etc/passwd")?;
    let numbers = accounts.lines().find_map(|line| {
        let mut parts = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    let (uid, gid) = numbers.ok_or_else(|| missing("the account `postgres`"))?;
    Ok(User { uid, gid, other: true })
}

/// The newest version's programs.
fn programs() -> io::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").map_err(|_| missing("/usr/lib/postgresql"))?;
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin"))).filter(|(_, bin)| bin.join("initdb").exists())
        })
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin).ok_or_else(|| missing("initdb"))
}

fn missing(what: &str) -> io::Error {
    let text = format!("{what} is missing: this test needs PostgreSQL, `apt-get install postgresql`");
    io::Error::new(io::ErrorKind::NotFound, text)
}
