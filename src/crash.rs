//! Named places at which the process may be told to die, and waits that may be taken out.
//!
//! They are in the product because the promise they test is about the product: whatever
//! instruction a crash falls on, no approved payment is lost and none is doubled. A test double
//! would crash somewhere else. Nothing is armed unless a hidden option of the command line says
//! so at start; a point that is not armed costs one relaxed load.
//!
//! This file knows no other room.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Set once a plan is; read on every point.
static ARMED: AtomicBool = AtomicBool::new(false);
static PLAN: OnceLock<Plan> = OnceLock::new();

/// Why a plan cannot be armed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrashPlanError {
    /// Neither `name:count` nor `fault=name`.
    #[error("`{0}` is neither `name:count` nor `fault=name`")]
    Unreadable(String),
    /// A plan is armed already.
    #[error("a crash plan is armed already")]
    Armed,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    points: Vec<(String, u64)>,
    faults: Vec<String>,
}

/// What is left of a point's count; parallel to [`Plan::points`], at most [`MAX_POINTS`].
static LEFT: [AtomicU64; MAX_POINTS] = [const { AtomicU64::new(0) }; MAX_POINTS];
const MAX_POINTS: usize = 8;

/// Arms a plan, once in the life of a process: a list, separated by commas, of `name:count` (the
/// process kills itself when it reaches point `name` for the `count`th time) and `fault=name`
/// (the safety wait `name` is taken out).
///
/// # Errors
/// [`CrashPlanError`]; nothing is armed then.
pub fn arm(plan: &str) -> Result<(), CrashPlanError> {
    let plan = parse(plan)?;
    for (left, (_, count)) in LEFT.iter().zip(&plan.points) {
        left.store(*count, Ordering::Relaxed);
    }
    PLAN.set(plan).map_err(|_| CrashPlanError::Armed)?;
    ARMED.store(true, Ordering::Release);
    Ok(())
}

/// Dies here by SIGKILL if the plan says so: no destructor runs, no buffer is flushed.
#[inline]
pub fn point(name: &str) {
    if ARMED.load(Ordering::Relaxed) {
        reached(name);
    }
}

/// Whether the safety wait `name` is taken out.
#[inline]
#[must_use]
pub fn fault(name: &str) -> bool {
    ARMED.load(Ordering::Relaxed) && PLAN.get().is_some_and(|plan| plan.faults.iter().any(|f| f == name))
}

fn parse(text: &str) -> Result<Plan, CrashPlanError> {
    let mut plan = Plan::default();
    for part in text.split(',').map(str::trim) {
        let unreadable = || CrashPlanError::Unreadable(part.to_owned());
        if let Some(name) = part.strip_prefix("fault=") {
            plan.faults.push(name.to_owned());
            continue;
        }
        let (name, count) = part.rsplit_once(':').ok_or_else(unreadable)?;
        let count: u64 = count.parse().map_err(|_| unreadable())?;
        if name.is_empty() || count == 0 || plan.points.len() == MAX_POINTS {
            return Err(unreadable());
        }
        plan.points.push((name.to_owned(), count));
    }
    Ok(plan)
}

#[cold]
fn reached(name: &str) {
    let Some(plan) = PLAN.get() else { return };
    let armed = plan.points.iter().zip(&LEFT).filter(|((point, _), _)| point == name);
    for (_, left) in armed {
        if left.fetch_sub(1, Ordering::Relaxed) == 1 {
            die();
        }
    }
}

fn die() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    // The signal is delivered before the call returns to user code of this thread; should it be
    // refused, the next best thing to a crash is an abort.
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const CHILD: &str = "TOLLGATE_TEST_CRASH_PLAN";

    /// In the child: arms what the parent asked for and passes three points.
    fn child(plan: &str) {
        arm(plan).unwrap();
        for step in 1..=3 {
            point("elsewhere");
            point("here");
            println!("came past {step} {}", fault("wait"));
        }
    }

    #[test]
    fn a_process_dies_at_the_point_and_count_that_were_armed() {
        if let Ok(plan) = std::env::var(CHILD) {
            return child(&plan);
        }
        let rows = [
            ("here:1", Some(9), 0, false),
            ("here:3", Some(9), 2, false),
            ("here:4", None, 3, false),
            ("nowhere:1", None, 3, false),
            ("fault=wait,here:2", Some(9), 1, true),
        ];
        for (plan, signal, passed, fault) in rows {
            let run = Command::new(std::env::current_exe().unwrap())
                .args(["crash::tests::a_process_dies_at_the_point_and_count_that_were_armed", "--exact"])
                .arg("--nocapture")
                .env(CHILD, plan)
                .output()
                .unwrap();
            let said = String::from_utf8(run.stdout).unwrap();
            assert_eq!(run.status.signal(), signal, "{plan}");
            assert_eq!(said.matches("came past").count(), passed, "{plan}");
            assert_eq!(said.contains("true"), fault, "{plan}");
        }
    }

    #[test]
    fn a_plan_that_makes_no_sense_is_refused() {
        for bad in ["", "here", "here:", "here:0", "here:x", ":1", "here:1,,"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let good = parse("a:b:2, fault=x").unwrap();
        assert_eq!(good, Plan { points: vec![("a:b".into(), 2)], faults: vec!["x".into()] });
    }
}
