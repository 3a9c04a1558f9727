//! What keeps the memory of a process that holds keys to itself: no core image, no other process that reads it, no page
//! on a swap device. That freed memory is wiped is the allocator's part.

use anyhow::{Context as _, Result};
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Whether pages may reach a swap device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pages {
    /// All of them stay in memory.
    Locked,
    /// Locking everything under a limit would make a later allocation fail.
    Limited,
}

impl Pages {
    /// For the log.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Locked => "memory is locked: no page goes to a swap device",
            Self::Limited => {
                "memory is not locked: RLIMIT_MEMLOCK is limited; set LimitMEMLOCK=infinity or switch swap off"
            }
        }
    }
}

/// Switches core images and tracing by other users off, and locks the pages when the limit lets it. Pages are locked as
/// they are touched, so that what is reserved and never used costs nothing.
///
/// # Errors
/// The system's, when it does not switch core images off.
pub(super) fn protect() -> Result<Pages> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).context("cannot switch core images off")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot switch core images off")?;
    let everything = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    Ok(if unlimited && mlockall(everything).is_ok() { Pages::Locked } else { Pages::Limited })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::dumpable_behavior;

    #[test]
    fn there_is_no_core_image() {
        let pages = protect().unwrap();
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let locked = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
        assert_eq!(pages == Pages::Locked, !locked.ends_with(" 0 kB"), "{locked}");
    }
}
