//! `tollgate lmk` as custodians use it: components, a passphrase, a PKCS#11 token (SoftHSM, Debian's softhsm2).

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use terminal_sim::stage::DAEMON_WORD;

const PIN: &str = "271828";
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A switch's folder, and the token store in it.
struct House(tempfile::TempDir);

impl House {
    fn new(hsm: &str) -> Self {
        let house = Self(tempfile::tempdir().unwrap());
        fs::create_dir(house.path("tokens")).unwrap();
        fs::create_dir(house.path("var")).unwrap();
        house.put("softhsm2.conf", &format!("directories.tokendir = {}\n", house.text("tokens")));
        house.put("passphrase", "correct horse battery staple\n");
        house.put("pin", &format!("{PIN}\n"));
        house.configure(hsm);
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// `@` stands for the folder.
    fn configure(&self, hsm: &str) {
        let text = "acquirer_id = \"48310000\"\nstore.url = \"sqlite:@/var/t.db\"\nsettlement.directory = \"@/out\"\n\
                    console.address = \"127.0.0.1:0\"\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n\
                    dialect = \"edc\"\n[hsm]\nlmk_file = \"@/var/lmk\"\n";
        let folder = self.0.path().display().to_string();
        self.put("tollgate.toml", &format!("{text}{hsm}").replace('@', &folder));
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_terminal-sim"));
        command.arg(DAEMON_WORD).args(line.replace('@', &self.0.path().display().to_string()).split(' '));
        command.args(["--config", &self.text("tollgate.toml")]).stdin(Stdio::null());
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command
    }

    /// What a verb prints, or why it does not run.
    fn tollgate(&self, line: &str) -> Result<String, String> {
        let done = self.command(line).output().unwrap();
        let (out, talk) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
        for secret in [PIN, "horse"] {
            assert!(!out.contains(secret) && !talk.contains(secret), "{line} tells a secret");
        }
        if done.status.success() { Ok(out) } else { Err(talk) }
    }

    /// Runs lines in turn; each must say its part, or be refused with it.
    fn table(&self, rows: &[(&str, Result<&str, &str>)]) {
        for (line, want) in rows {
            let got = self.tollgate(line);
            match want {
                Ok(part) => assert!(got.as_ref().is_ok_and(|out| out.contains(part)), "{line}: {got:?}"),
                Err(part) => assert!(got.as_ref().is_err_and(|why| why.contains(part)), "{line}: {got:?}"),
            }
        }
    }

    /// What the record says of operations that end so, but for loading: operation and outcome.
    fn recorded(&self, end: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path("var/audit.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let lines = lines.filter(|line| {
            let operation = line["operation"].as_str().unwrap();
            operation.ends_with(end) && operation != "load-lmk"
        });
        let word = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap().to_owned();
        lines.map(|line| format!("{} {}", word(&line, "operation"), word(&line, "outcome"))).collect()
    }

    /// The daemon starts, and is killed.
    fn runs(&self) {
        let mut child = self.command("run").stdout(Stdio::piped()).spawn().unwrap();
        let line = BufReader::new(child.stdout.take().unwrap()).lines().next();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(line.unwrap().unwrap().contains("\"ready\":true"));
    }
}

#[test]
fn custodians_form_the_lmk_and_a_passphrase_seals_it() {
    let house = House::new("passphrase_file = \"@/passphrase\"\n");
    house.put("other", "another long passphrase\n");
    house.put("short", "too short\n");
    house.put("a", "AE8F54BA29CD2CC73883D373DFF7A8B5\n");
    house.put("b", "75B6A89BC7946DD06186A89DCE9B5D9B\n");
    house.put("wrong", "75B6A89BC7946DD06186A89DCE9B5D9B\n000000\n");
    house.table(&[
        ("lmk status", Err("lmk: No such file")),
        ("lmk component --out @/1", Ok("component  ")),
        ("lmk component --out @/2", Ok("component  ")),
        ("lmk component --out @/2", Err("File exists")),
        ("lmk component --out @/3", Ok("component  ")),
        ("lmk form --component @/1", Err("at least two components")),
        ("lmk form --component @/1 --component @/2 --component @/1", Err("the same component as")),
        ("lmk form --component @/1 --component @/2", Ok("  passphrase\n")),
        ("lmk form --component @/1 --component @/2", Err("File exists")),
        ("lmk status", Ok("protection  passphrase\n")),
        ("lmk status --json", Ok("\"memory_kib\":65536,\"passes\":3,\"lanes\":1")),
        ("key generate --name k --usage zpk", Ok("k  zpk  ")),
        (
            "key import --name p --usage zpk --component @/a --component @/wrong",
            Err("the component's check value is"),
        ),
        (
            "key import --name p --usage zpk --component @/a --component @/b --kcv 000000",
            Err("2AE082, not 000000"),
        ),
        ("hsm form --usage zpk --component @/a --component @/wrong", Err("the component's check value is")),
        ("hsm form --usage zpk --component @/a --component @/b", Ok("  2AE082\n")),
        ("lmk passphrase --new-file @/short", Err("at least 12 characters")),
        ("lmk passphrase --new-file @/other", Ok("  passphrase\n")),
        ("key generate --name l --usage zpk", Err("wrong passphrase, or the file is altered")),
        ("lmk seal --protection token", Err("wrong passphrase")),
    ]);
    house.configure("passphrase_file = \"@/other\"\n");
    house.table(&[
        ("key generate --name l --usage zpk", Ok("l  zpk  ")),
        ("lmk rotate --component @/1 --component @/2", Err("the new LMK is the one in force")),
        ("lmk rotate --component @/2 --component @/3 --file-only", Ok("former ")),
        ("lmk rotate --component @/1 --component @/3", Err("a rotation is under way")),
        ("key generate --name m --usage zpk", Ok("m  zpk  ")),
        ("lmk rotate", Ok("2 key blocks moved\n")),
        ("lmk rotate", Ok("0 key blocks moved\n")),
        ("lmk rotate --finish", Ok("dropped\n")),
        ("lmk rotate --finish", Ok("no rotation is under way")),
        ("lmk status", Ok("protection  passphrase\n")),
    ]);
    house.runs();
    house.table(&[("hsm audit verify @/var/audit.jsonl", Ok(" records, the last "))]);
    let of_lmk = [
        ("form-lmk", "components"),
        ("form-lmk", "components"),
        ("form-lmk", "done"),
        ("seal-lmk", "done"),
        ("seal-lmk", "passphrase"),
        ("rotate-lmk", "done"),
        ("drop-lmk", "done"),
    ];
    assert_eq!(house.recorded("-lmk"), of_lmk.map(|(what, came)| format!("{what} {came}")));
    let formed = ["form check-value", "form done", "form check-value", "form check-value", "form done"];
    assert_eq!(house.recorded("form"), formed);
    house.configure("");
    house.table(&[("key generate --name n --usage zpk", Err("hsm.passphrase_file"))]);
    fs::set_permissions(house.path("other"), fs::Permissions::from_mode(0o644)).unwrap();
    house.configure("passphrase_file = \"@/other\"\n");
    house.table(&[("key generate --name n --usage zpk", Err("its mode must be 0600"))]);
}

fn token(token: &str, key: &str, pin_file: &str) -> String {
    format!(
        "[hsm.token]\nmodule = {MODULE:?}\ntoken = {token:?}\nkey = {key:?}\npin_file = \"@/{pin_file}\"\n"
    )
}

#[test]
fn a_token_seals_the_lmk() {
    let house = House::new("");
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "tollgate", "--pin", PIN, "--so-pin", "314159"])
        .env("SOFTHSM2_CONF", house.path("softhsm2.conf"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    house.put("wrong", "000000\n");
    house.table(&[("key generate --name k --usage zpk", Ok("k  zpk  ")), ("lmk status", Ok("plain"))]);
    let plain = fs::read_to_string(house.path("var/lmk")).unwrap();
    let digits = plain.rsplit('"').nth(1).unwrap().to_owned();
    assert_eq!(digits.len(), 64);

    house.table(&[("lmk seal --protection token", Err("hsm.token is not set"))]);
    house.configure(&token("tollgate", "lmk-seal", "wrong"));
    house.table(&[("lmk seal", Err("wrong: wrong PIN"))]);
    house.configure(&token("elsewhere", "lmk-seal", "pin"));
    house.table(&[("lmk seal", Err("there is no token \"elsewhere\""))]);
    assert_eq!(fs::read_to_string(house.path("var/lmk")).unwrap(), plain, "the file is as it was");

    house.configure(&token("tollgate", "lmk-seal", "pin"));
    house.table(&[
        ("lmk seal", Ok("  token\n")),
        ("lmk status", Ok("protection  token\n")),
        ("key generate --name l --usage zpk", Ok("l  zpk  ")),
        ("lmk rotate", Ok("2 key blocks moved\n")),
        ("lmk rotate --finish", Ok("dropped\n")),
        ("key generate --name m --usage zpk", Ok("m  zpk  ")),
    ]);
    house.runs();
    let sealed = fs::read_to_string(house.path("var/lmk")).unwrap();
    assert!(!sealed.contains(&digits) && sealed.contains("protection = \"token\""));

    house.configure(&token("tollgate", "absent", "pin"));
    house.table(&[("key generate --name n --usage zpk", Err("there is no AES key \"absent\""))]);
    house.configure(&token("tollgate", "lmk-seal", "wrong"));
    house.table(&[("key generate --name n --usage zpk", Err("wrong PIN"))]);
    house.configure(&token("tollgate", "lmk-seal", "pin"));
    // An octet of the comment, of a check value, of the keys.
    for at in [2, 250, sealed.len() - 10] {
        let mut altered = sealed.clone().into_bytes();
        altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
        house.put("var/lmk", &String::from_utf8(altered).unwrap());
        house.table(&[("key generate --name n --usage zpk", Err("sealed by another key of the token, or"))]);
    }
    house.put("var/lmk", &sealed);
    house.table(&[("key generate --name n --usage zpk", Ok("n  zpk  "))]);
}
