//! What the operating system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;

/// Raises the number of files and sockets to the hard limit; returns what is allowed now.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    // No limit at all reads as `None`.
    allowed.unwrap_or(u64::MAX)
}

/// Memory that this process may have, in bytes: the limit of its control group, or all of the machine's; unlimited where
/// neither is told.
pub fn memory_max() -> u64 {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    memory_max_of(&text("/sys/fs/cgroup/memory.max"), &text("/proc/meminfo"))
}

fn memory_max_of(group: &str, machine: &str) -> u64 {
    let total_kib =
        machine.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    let machine = total_kib.map_or(u64::MAX, |kib: u64| kib.saturating_mul(1_024));
    // A group without a limit says "max".
    group.trim().parse().map_or(machine, |group: u64| group.min(machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_bounds_memory_and_the_machine_where_it_does_not() {
        let machine = "MemTotal:       4000000 kB\nMemFree: 1 kB\n";
        assert_eq!(memory_max_of("max\n", machine), 4_096_000_000);
        assert_eq!(memory_max_of("1073741824\n", machine), 1 << 30);
        assert_eq!(memory_max_of("9223372036854771712", machine), 4_096_000_000);
        assert_eq!(memory_max_of("", ""), u64::MAX);
        assert!(memory_max() > 0);
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let allowed = super::raise_open_files();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(limit.current.unwrap_or(u64::MAX), allowed);
    }
}
