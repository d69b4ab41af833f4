//! Failing system calls of a running engine, by strace: the real program meets the error at the very call, and the release
//! build carries nothing for it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What fails, where and how.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    /// How the names of the threads begin whose calls are meant. Each of them counts for itself.
    pub threads: &'static [&'static str],
    /// System calls, with commas between.
    pub calls: &'static str,
    /// What they say.
    pub error: &'static str,
    /// How many in a row fail.
    pub times: u32,
    /// Only calls about these files or sockets (`socket:[INODE]`); all, if none is named.
    pub about: Vec<String>,
}

/// A strace that makes one call fail.
pub struct Strace {
    child: Child,
    log: PathBuf,
}

impl Strace {
    /// The `nth` call from now on fails. Returns when every thread is watched.
    pub fn fail(folder: &Path, process: u32, fault: &Fault, nth: u32) -> Strace {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let log = folder.join(format!("strace-{}.log", NEXT.fetch_add(1, Ordering::Relaxed)));
        let threads = named(process, fault.threads);
        assert!(!threads.is_empty(), "no thread is called {:?}", fault.threads);
        let (Fault { calls, error, .. }, last) = (fault, nth + fault.times - 1);
        let mut command = Command::new("strace");
        command.args([
            "-e",
            &format!("trace={calls}"),
            "-e",
            &format!("inject={calls}:error={error}:when={nth}..{last}"),
        ]);
        command.arg("-o").arg(&log);
        command.args(fault.about.iter().flat_map(|about| ["-P", about]));
        command.args(threads.iter().flat_map(|thread| ["-p", thread]));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace runs (Debian package strace)");
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        for _ in &threads {
            let line = said.find(|line| !line.contains("Requested path")).unwrap_or_default();
            assert!(
                line.contains(" attached"),
                "strace cannot watch the engine ({line}): run as root, or with CAP_SYS_PTRACE, or set \
                 kernel.yama.ptrace_scope to 0"
            );
        }
        Strace { child, log }
    }

    /// Ends it; true if a call was made to fail.
    pub fn ended(mut self) -> bool {
        let pid = rustix::process::Pid::from_child(&self.child);
        // It lets go of the threads, which kill -9 would do too, but not before the log is written.
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
        std::fs::read_to_string(&self.log).unwrap_or_default().contains("(INJECTED)")
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ids of the threads of `process` whose names begin so.
fn named(process: u32, prefixes: &[&str]) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("the engine runs").flatten();
    let is = |name: &Path| {
        std::fs::read_to_string(name.join("comm"))
            .is_ok_and(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
    };
    tasks.filter(|task| is(&task.path())).map(|task| task.file_name().into_string().unwrap()).collect()
}

/// The name by which `/proc` knows the UDP socket at this port of the loopback.
pub fn socket_at(port: u16) -> String {
    let (table, at) = (std::fs::read_to_string("/proc/net/udp").unwrap(), format!("0100007F:{port:04X}"));
    let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let inode = table.lines().map(fields).find(|line| line.get(1) == Some(&at)).map(|line| line[9].clone());
    format!("socket:[{}]", inode.expect("the socket is open"))
}
