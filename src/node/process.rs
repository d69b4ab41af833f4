//! What the operating system says of this process: processor time, memory, threads, open files (`/proc/self`).

use serde::Serialize;
use std::fs;
use utoipa::ToSchema;

/// The process as `/proc` shows it; zeros where there is no `/proc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Figures {
    /// Processor time since the start, user and system.
    pub cpu_s: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open files and sockets.
    pub open_files: u64,
}

/// Reads them now.
pub fn read() -> Figures {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let open_files = fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64);
    // The folder being read is itself open.
    Figures { open_files: open_files.saturating_sub(1), ..parse(&stat) }
}

/// Resident memory alone, in bytes: for whoever asks often.
pub fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Fields of `proc_pid_stat(5)`, counted behind the name, which may itself hold spaces and brackets.
fn parse(stat: &str) -> Figures {
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Figures {
        cpu_s: (field(14) + field(15)) as f64 / rustix::param::clock_ticks_per_second() as f64,
        resident_bytes: field(24) * rustix::param::page_size() as u64,
        threads: field(20),
        open_files: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "1 (a) b) S 1 1 1 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 9 0 11 12000 300 18";
        let figures = parse(stat);
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!((figures.cpu_s, figures.threads), (200.0 / ticks, 9));
        assert_eq!(figures.resident_bytes, 300 * rustix::param::page_size() as u64);
        assert_eq!(parse(""), Figures::default());
    }

    #[test]
    fn this_process_is_alive() {
        let figures = read();
        assert!(resident_bytes() > 0);
        assert!(figures.resident_bytes > 0 && figures.threads > 0 && figures.open_files > 0);
    }
}
