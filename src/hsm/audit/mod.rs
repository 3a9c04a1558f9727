//! The audit file: a record of every operation on keys, durable before its result is handed out, and of every refusal
//! for a key's sake (PCI DSS 10.2 and 10.3). Its lines are drawn in `chain`.
//!
//! Several processes may append to one file: each takes the file's lock, and reads its end anew when another wrote.
//! What a crash left of a last line is cut off, and a record says so; nothing else is ever taken from the file.

mod chain;

use crate::clock::Clock;
use crate::hsm::{HsmError, KeyBlock, KeyDefect, Usage, policy};
use chain::{LONGEST, Link};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

pub use chain::{Fault, Verdict, verify};

/// Characters of a key block that a record shows: its header.
const HEADER: usize = 16;
/// Equal refusals of one second are one record with a count.
const TOGETHER_MS: i64 = 1000;
/// Different refusals that are kept apart in one second; what is more is counted together.
const MOST_KINDS: usize = 8;

/// What was done, or tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A process opened the HSM.
    Start,
    /// The local master key was loaded, or made.
    LoadLmk,
    /// The local master key was formed of components.
    FormLmk,
    /// Something else seals the local master key's file.
    SealLmk,
    /// The local master key was replaced by another.
    RotateLmk,
    /// The local master key before it was dropped.
    DropLmk,
    /// The known answers were computed.
    SelfTest,
    /// A key was drawn.
    Generate,
    /// A key was formed of components.
    Form,
    /// A key came in whole.
    Import,
    /// A key went out under another key, or as a block.
    Export,
    /// Working keys were made for a terminal.
    Issue,
    /// A key was used in a payment.
    Use,
    /// A host command, by its two letters.
    Host([u8; 2]),
    /// What a crash left was cut off.
    Repair,
    /// Refusals of more kinds than a second's records tell apart.
    Many,
}

impl Operation {
    fn text(self) -> String {
        match self {
            Self::Start => "start".into(),
            Self::LoadLmk => "load-lmk".into(),
            Self::FormLmk => "form-lmk".into(),
            Self::SealLmk => "seal-lmk".into(),
            Self::RotateLmk => "rotate-lmk".into(),
            Self::DropLmk => "drop-lmk".into(),
            Self::SelfTest => "self-test".into(),
            Self::Generate => "generate".into(),
            Self::Form => "form".into(),
            Self::Import => "import".into(),
            Self::Export => "export".into(),
            Self::Issue => "issue".into(),
            Self::Use => "use".into(),
            Self::Host(letters) => format!("host-{}", shown(&letters)),
            Self::Repair => "repair".into(),
            Self::Many => "many".into(),
        }
    }
}

/// A refusal's word in a record, when it is for a key's sake.
#[must_use]
pub fn refusal(error: HsmError) -> Option<&'static str> {
    match error {
        HsmError::KeyBlock => Some("key-block"),
        HsmError::KeyBlockForm => Some("key-block-form"),
        HsmError::KeyUsage => Some("key-usage"),
        HsmError::KeyMode => Some("key-mode"),
        HsmError::Export => Some("export"),
        HsmError::Key(KeyDefect::Length) => Some("key-length"),
        HsmError::Key(KeyDefect::Parity) => Some("key-parity"),
        HsmError::Key(KeyDefect::Weak) => Some("key-weak"),
        HsmError::Key(KeyDefect::Repeats) => Some("key-repeats"),
        HsmError::Key(KeyDefect::TooFewComponents) => Some("too-few-components"),
        HsmError::Key(KeyDefect::ComponentLengths) => Some("component-lengths"),
        HsmError::Key(KeyDefect::Components) => Some("components"),
        HsmError::Key(KeyDefect::CheckValue) => Some("check-value"),
        HsmError::Key(KeyDefect::Algorithm) => Some("key-algorithm"),
        HsmError::MacMismatch
        | HsmError::PinBlock
        | HsmError::Track
        | HsmError::Mismatch
        | HsmError::PinLength
        | HsmError::PinTranslation
        | HsmError::Account
        | HsmError::DecimalizationTable
        | HsmError::KeySerialNumber
        | HsmError::Input(_)
        | HsmError::Sealed
        | HsmError::Failure(_) => None,
    }
}

/// What a record says of a key: a check value, or its block's header. Never more of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyName {
    usage: &'static str,
    text: String,
}

impl KeyName {
    /// A new key: what it is for, and its check value.
    #[must_use]
    pub fn checked(usage: Usage, check_value: &str) -> Self {
        let usage = std::str::from_utf8(policy::code(usage)).unwrap_or_default();
        Self { usage, text: shown(check_value.as_bytes()) }
    }

    /// A key that was not made: what it should have been for.
    #[must_use]
    pub fn for_usage(usage: Usage) -> Self {
        Self::checked(usage, "")
    }

    /// A key whose block is not to be trusted, perhaps.
    #[must_use]
    pub fn header(block: &KeyBlock) -> Self {
        Self::text(block.as_str().as_bytes())
    }

    /// A key by its block's header and its check value.
    #[must_use]
    pub fn of_block(block: &[u8], check_value: &[u8]) -> Self {
        let text = [shown(block), shown(check_value)].into_iter().filter(|part| !part.is_empty());
        Self { usage: "", text: text.collect::<Vec<_>>().join(" ") }
    }

    /// The first characters of what may be a key block, or a check value.
    #[must_use]
    pub fn text(text: &[u8]) -> Self {
        Self { usage: "", text: shown(text) }
    }
}

/// At most a header's characters, and of them letters and digits: what came from outside cannot break a line.
fn shown(text: &[u8]) -> String {
    let plain = |octet: &u8| if octet.is_ascii_alphanumeric() { char::from(*octet) } else { '?' };
    text.iter().take(HEADER).map(plain).collect()
}

/// An audit file, open for appending.
pub struct Audit {
    clock: Clock,
    node: u8,
    state: Mutex<State>,
}

struct State {
    file: File,
    /// Where this process last saw the file end, and the chain.
    end: u64,
    link: Link,
    seconds: Vec<Second>,
}

/// A refusal, and how often it came again in its second.
struct Second {
    operation: Operation,
    key: KeyName,
    outcome: &'static str,
    since_ms: i64,
    more: u64,
}

impl Audit {
    /// Opens the file, or makes it with mode 0600. Cuts a torn last line off and says so in a record.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] when its last whole line is no record, or what the system says.
    pub fn open(path: &Path, clock: Clock, node: u8) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidData, "the audit file is not a regular file"));
        }
        if let Some(folder) = path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            File::open(folder)?.sync_all()?;
        }
        let state = State { file, end: u64::MAX, link: Link::start(), seconds: Vec::new() };
        let audit = Self { clock, node, state: Mutex::new(state) };
        audit.locked(|state| audit.catch_up(state))?;
        Ok(audit)
    }

    /// Records what was done; when this returns it is on disk.
    ///
    /// # Errors
    /// [`HsmError::Failure`]: the result must not be handed out.
    pub fn done(&self, operation: Operation, key: &KeyName) -> Result<(), HsmError> {
        self.said(operation, key, "done")
    }

    /// As [`Audit::done`], with another outcome.
    ///
    /// # Errors
    /// As [`Audit::done`].
    pub fn said(&self, operation: Operation, key: &KeyName, outcome: &str) -> Result<(), HsmError> {
        let written = self.locked(|state| {
            self.append(state, operation, key, outcome, 1)?;
            state.file.sync_data()
        });
        written.map_err(|error| {
            tracing::error!(%error, "the audit file cannot be written");
            HsmError::Failure("audit record")
        })
    }

    /// Records a refusal. Equal ones of a second are counted, so that a flood fills no disk; their record follows with
    /// the first call after that second, [`Audit::flush`] or the end. It reaches the disk with the next operation's.
    pub fn refused(&self, operation: Operation, key: &KeyName, outcome: &'static str) {
        let now_ms = self.clock.now_ms();
        let written = self.locked(|state| {
            self.write_counted(state, |second| {
                now_ms.abs_diff(second.since_ms) >= TOGETHER_MS.unsigned_abs()
            })?;
            let same = |s: &&mut Second| s.operation == operation && s.outcome == outcome && s.key == *key;
            if let Some(second) = state.seconds.iter_mut().find(same) {
                second.more = second.more.saturating_add(1);
                return Ok(());
            }
            if state.seconds.len() >= MOST_KINDS {
                let many = state.seconds.iter_mut().find(|second| second.operation == Operation::Many);
                match many {
                    Some(second) => second.more = second.more.saturating_add(1),
                    None => state.seconds.push(Second {
                        operation: Operation::Many,
                        key: KeyName::default(),
                        outcome: "refused",
                        since_ms: now_ms,
                        more: 1,
                    }),
                }
                return Ok(());
            }
            let key = key.clone();
            self.append(state, operation, &key, outcome, 1)?;
            state.seconds.push(Second { operation, key, outcome, since_ms: now_ms, more: 0 });
            Ok(())
        });
        if let Err(error) = written {
            tracing::error!(%error, "the audit file cannot be written");
        }
    }

    /// Writes the counts of refusals that are still open.
    pub fn flush(&self) {
        let written = self.locked(|state| self.write_counted(state, |_| true));
        if let Err(error) = written {
            tracing::error!(%error, "the audit file cannot be written");
        }
    }

    /// Writes the counts of the seconds that are over, and forgets them.
    fn write_counted(&self, state: &mut State, over: impl Fn(&Second) -> bool) -> io::Result<()> {
        let (over, open) = std::mem::take(&mut state.seconds).into_iter().partition(|second| over(second));
        state.seconds = open;
        let over: Vec<Second> = over;
        for second in over.into_iter().filter(|second| second.more > 0) {
            self.append(state, second.operation, &second.key, second.outcome, second.more)?;
        }
        Ok(())
    }

    fn locked<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        flock(&state.file, FlockOperation::LockExclusive)?;
        let done = work(&mut state);
        flock(&state.file, FlockOperation::Unlock)?;
        done
    }

    /// Appends one record, behind what others wrote meanwhile.
    fn append(
        &self,
        state: &mut State,
        operation: Operation,
        key: &KeyName,
        outcome: &str,
        count: u64,
    ) -> io::Result<()> {
        self.catch_up(state)?;
        self.write(state, operation, key, outcome, count)
    }

    fn write(
        &self,
        state: &mut State,
        operation: Operation,
        key: &KeyName,
        outcome: &str,
        count: u64,
    ) -> io::Result<()> {
        let fields = format!(
            "\"time\":\"{}\",\"node\":{},\"operation\":\"{}\",\"usage\":\"{}\",\"key\":\"{}\",\"outcome\":\"{outcome}\",\
             \"count\":{count}",
            self.clock.rfc3339_of(self.clock.now_ms()),
            self.node,
            operation.text(),
            key.usage,
            key.text,
        );
        let (line, link) = state.link.line(&fields);
        if let Err(error) = state.file.write_all(line.as_bytes()) {
            // Half a line: on a full disk there is room to take it back. Else the next start cuts it off.
            let _ = state.file.set_len(state.end);
            return Err(error);
        }
        let written = u64::try_from(line.len()).unwrap_or(u64::MAX);
        (state.end, state.link) = (state.end.saturating_add(written), link);
        Ok(())
    }

    /// Reads the file's end, when it is not where this process left it.
    fn catch_up(&self, state: &mut State) -> io::Result<()> {
        let length = state.file.metadata()?.len();
        if length == state.end {
            return Ok(());
        }
        let window = u64::try_from(2 * LONGEST).unwrap_or(u64::MAX);
        let from = length.saturating_sub(window);
        let mut end = vec![0; usize::try_from(length - from).unwrap_or_default()];
        state.file.read_exact_at(&mut end, from)?;
        let whole = end.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
        let torn = end.len() - whole;
        end.truncate(whole);
        if whole == 0 && from > 0 {
            return Err(damaged());
        }
        state.link = match end.strip_suffix(b"\n") {
            None => Link::start(),
            Some(lines) => {
                let last = lines.rsplit(|octet| *octet == b'\n').next().unwrap_or_default();
                let found = std::str::from_utf8(last).ok().and_then(chain::read);
                found.ok_or_else(damaged)?.link
            }
        };
        state.end = length - u64::try_from(torn).unwrap_or_default();
        if torn > 0 {
            state.file.set_len(state.end)?;
            let outcome = format!("torn line of {torn} octets cut off");
            self.write(state, Operation::Repair, &KeyName::default(), &outcome, 1)?;
            state.file.sync_data()?;
            tracing::warn!("audit file: a {outcome}");
        }
        Ok(())
    }
}

fn damaged() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the audit file's last line is not a record as it was written")
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    struct Place {
        _folder: tempfile::TempDir,
        path: PathBuf,
        clock: Clock,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("audit.jsonl");
            Self { _folder: folder, path, clock: Clock::manual(1_763_927_284_123) }
        }

        fn open(&self) -> io::Result<Audit> {
            Audit::open(&self.path, self.clock.clone(), 7)
        }

        fn lines(&self) -> Vec<String> {
            fs::read_to_string(&self.path).unwrap().lines().map(str::to_owned).collect()
        }

        fn verdict(&self) -> Verdict {
            verify(&fs::read(&self.path).unwrap()[..]).unwrap()
        }
    }

    fn key() -> KeyName {
        KeyName::checked(Usage::Zpk, "2AE082")
    }

    #[test]
    fn records_are_chained_across_processes() {
        let place = Place::new();
        let (one, two) = (place.open().unwrap(), place.open().unwrap());
        for _ in 0..3 {
            one.done(Operation::Generate, &key()).unwrap();
            two.done(Operation::Form, &key()).unwrap();
            two.done(Operation::Issue, &key()).unwrap();
        }
        assert_eq!(fs::metadata(&place.path).unwrap().permissions().mode() & 0o7777, 0o600);
        let lines = place.lines();
        assert!(
            lines[0].starts_with(
                "{\"sequence\":1,\"time\":\"2025-11-23T19:48:04.123+00:00\",\"node\":7,\"operation\":\"generate\",\
                 \"usage\":\"72\",\"key\":\"2AE082\",\"outcome\":\"done\",\"count\":1,\"previous\":\"0000"
            ),
            "{}",
            lines[0]
        );
        drop((one, two));
        place.open().unwrap().done(Operation::Start, &KeyName::default()).unwrap();
        let verdict = place.verdict();
        assert_eq!((verdict.records, verdict.fault), (10, None));
    }

    #[test]
    fn threads_of_two_handles_keep_one_chain() {
        let place = Place::new();
        let (one, two) = (place.open().unwrap(), place.open().unwrap());
        std::thread::scope(|scope| {
            for audit in [&one, &one, &two, &two] {
                scope.spawn(|| (0..25).for_each(|_| audit.done(Operation::Use, &key()).unwrap()));
            }
        });
        let verdict = place.verdict();
        assert_eq!((verdict.records, verdict.fault), (100, None));
    }

    /// A script of its own, that knows the lines and nothing of this room, says the same of what was done to a file.
    #[test]
    fn an_outside_judge_agrees() {
        let place = Place::new();
        let audit = place.open().unwrap();
        (0..5).for_each(|_| audit.done(Operation::Generate, &key()).unwrap());
        drop(audit);
        let lines = place.lines();
        let of = |order: &[usize]| order.iter().map(|at| format!("{}\n", lines[*at])).collect::<String>();
        let whole = of(&[0, 1, 2, 3, 4]);
        let rows = [
            ("as it was written", whole.clone(), None),
            ("one octet altered", whole.replacen("\"node\":7", "\"node\":8", 1), Some(1)),
            ("a line removed", of(&[0, 1, 3, 4]), Some(3)),
            ("two lines swapped", of(&[0, 2, 1, 3, 4]), Some(2)),
            ("the end torn", whole[..whole.len() - 3].to_owned(), Some(5)),
        ];
        let script = include_str!("../judges/audit.py");
        for (name, text, line) in rows {
            fs::write(&place.path, text).unwrap();
            assert_eq!(place.verdict().fault.map(|(line, _)| line), line, "{name}");
            let judge =
                std::process::Command::new("python3").args(["-c", script]).arg(&place.path).output().unwrap();
            let said = String::from_utf8(judge.stdout).unwrap();
            let expected =
                line.map_or((Some(0), "5\n".to_owned()), |line| (Some(3), format!("line {line}\n")));
            assert_eq!((judge.status.code(), said), expected, "{name}");
        }
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_told_wherever_it_tore() {
        let place = Place::new();
        let audit = place.open().unwrap();
        (0..3).for_each(|_| audit.done(Operation::Generate, &key()).unwrap());
        drop(audit);
        let whole = fs::read(&place.path).unwrap();
        let second = place.lines()[..2].iter().map(|line| line.len() + 1).sum::<usize>();
        for cut in (second + 1..whole.len()).filter(|cut| cut % 16 == 0 || whole.len() - cut < 8) {
            fs::write(&place.path, &whole[..cut]).unwrap();
            assert_eq!(place.verdict().fault, Some((3, Fault::Torn)), "{cut}");
            drop(place.open().unwrap());
            let (verdict, lines) = (place.verdict(), place.lines());
            assert_eq!((verdict.records, verdict.fault), (3, None), "{cut}");
            assert_eq!(fs::read(&place.path).unwrap()[..second], whole[..second], "{cut}");
            assert!(
                lines[2].contains(&format!("torn line of {} octets cut off", cut - second)),
                "{}",
                lines[2]
            );
        }
        // Cut between two lines it is whole, and nothing is said.
        fs::write(&place.path, &whole[..second]).unwrap();
        drop(place.open().unwrap());
        assert_eq!(place.verdict().records, 2);
    }

    #[test]
    fn a_file_whose_end_is_no_record_is_refused_and_kept() {
        let place = Place::new();
        place.open().unwrap().done(Operation::Generate, &key()).unwrap();
        let good = fs::read_to_string(&place.path).unwrap();
        for text in [
            "\n".to_owned(),
            format!("{good}\n"),
            format!("{good}x\n"),
            good.replace("2AE082", "2AE083"),
            "x".repeat(5 * LONGEST),
        ] {
            fs::write(&place.path, &text).unwrap();
            assert_eq!(place.open().err().unwrap().kind(), ErrorKind::InvalidData, "{text:.40}");
            assert_eq!(fs::read_to_string(&place.path).unwrap(), text);
        }
    }

    #[test]
    fn a_result_is_not_handed_out_when_its_record_cannot_be_written() {
        let place = Place::new();
        let audit = place.open().unwrap();
        audit.done(Operation::Generate, &key()).unwrap();
        // Somebody spoils the end while the process runs.
        fs::write(&place.path, "spoilt\n").unwrap();
        assert_eq!(audit.done(Operation::Generate, &key()), Err(HsmError::Failure("audit record")));
        assert_eq!(fs::read_to_string(&place.path).unwrap(), "spoilt\n");
    }

    #[test]
    fn a_flood_of_refusals_is_counted() {
        let place = Place::new();
        let audit = place.open().unwrap();
        let tampered = KeyName::header(&KeyBlock::new("D0112\"72\nTB00E0000DEADBEEF"));
        for _ in 0..10_000 {
            audit.refused(Operation::Use, &tampered, "key-block");
            audit.refused(Operation::Use, &tampered, "key-usage");
        }
        assert_eq!(place.lines().len(), 2);
        assert!(place.lines()[0].contains("\"key\":\"D0112?72?TB00E00\""), "{}", place.lines()[0]);
        place.clock.set_ms(1_763_927_285_123);
        audit.refused(Operation::Use, &tampered, "key-block");
        let lines = place.lines();
        assert_eq!(lines.len(), 5);
        assert!(lines[2..4].iter().all(|line| line.contains("\"count\":9999,")), "{lines:?}");
        // Of many kinds, some are told apart, the others are counted together.
        for kind in 0..1000_u32 {
            audit.refused(Operation::Use, &KeyName::text(kind.to_string().as_bytes()), "key-block");
        }
        drop(audit);
        let lines = place.lines();
        assert_eq!(lines.len(), 5 + 7 + 1);
        assert!(
            lines[12].contains("\"operation\":\"many\"") && lines[12].contains("\"count\":993,"),
            "{lines:?}"
        );
        assert_eq!(place.verdict().fault, None);
    }
}
