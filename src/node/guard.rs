//! One step of a machine, fenced: a panic ends the step, never the task or the process.
//!
//! Owns the catching, its count and what is logged of it. What becomes of the machine is its shell's to decide. The
//! message of a panic is not logged, for it may hold what a citizen said or dialled; its place tells enough.

use std::backtrace::Backtrace;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// Panics caught by all fences of this process.
static CAUGHT: AtomicU64 = AtomicU64::new(0);

/// A step panicked: the machine may be half changed, and what it had said shall be thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// Takes a step of `machine`, which is about the thing numbered `which`.
pub(super) fn fenced<R>(machine: &'static str, which: u128, step: impl FnOnce() -> R) -> Result<R, Panicked> {
    let step = || {
        #[cfg(test)]
        poison::take(machine, which);
        step()
    };
    catch_unwind(AssertUnwindSafe(step)).map_err(|_message| {
        CAUGHT.fetch_add(1, Ordering::Relaxed);
        tracing::error!(machine, which, "a step was cut short by a fault of ours; everything else goes on");
        Panicked
    })
}

/// How many steps were cut short since the start.
pub(super) fn caught() -> u64 {
    CAUGHT.load(Ordering::Relaxed)
}

/// From now on panics are logged, with their place, instead of printed with their message.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, backtrace = %Backtrace::force_capture(), "panicked");
    }));
}

/// How a test makes a given step panic.
#[cfg(test)]
pub(super) mod poison {
    use std::collections::BTreeSet;
    use std::sync::{Mutex, PoisonError};

    static POISONED: Mutex<BTreeSet<(&'static str, u128)>> = Mutex::new(BTreeSet::new());

    /// The next step of this machine about this thing panics.
    pub(in crate::node) fn put(machine: &'static str, which: u128) {
        POISONED.lock().unwrap_or_else(PoisonError::into_inner).insert((machine, which));
    }

    pub(super) fn take(machine: &'static str, which: u128) {
        let taken = POISONED.lock().unwrap_or_else(PoisonError::into_inner).remove(&(machine, which));
        assert!(!taken, "{machine} {which} was poisoned by a test");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_step_panics_alone() {
        poison::put("guard", 7);
        assert_eq!(fenced("guard", 7, || 1), Err(Panicked));
        assert_eq!(fenced("guard", 7, || 1), Ok(1));
        assert!(caught() > 0);
    }
}
