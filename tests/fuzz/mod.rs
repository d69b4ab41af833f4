//! Fuzzing of everything that eats bytes from strangers or from a disk.
//!
//! Each module holds bodies, plain functions `fn(&[u8])` that panic when something does not hold, and the seeds they
//! start from. [`fuzz`] runs a body on its seeds and on mutants of them: always the same ones, a minute's worth at most;
//! with `JIESU_SOAK=1` fifty times as many. Bodies that drive a machine read the bytes as a script ([`script`]): what to
//! do next, and with which message.
//!
//! What holds for all of them: nothing panics, what goes in bounds what comes out and what is kept, a machine's own
//! `check` holds after every input, and once all timers ran nothing is left.
//!
//! That this finds mistakes was seen by putting some in by hand, one at a time:
//!
//! | Put in | Found by |
//! |---|---|
//! | the rest behind a quoted string begins one byte late (`lex::quoted`) | `message`: a slice out of range |
//! | no bound on the number of headers | `message`: more than `HEADERS_MAX` were kept |
//! | a backslash is not escaped in a display name that we write | `message`, `headers` and `oracle`: read back as another name |
//! | the NTP time of a sender report is sliced without asking for its length | `packet`: a slice out of range |

mod corpus;
mod files;
mod media;
mod message;
mod mutate;
mod oracle;
mod peers;
mod script;
mod sdp;
mod streams;
mod user_agent;

use mutate::{Kind, Mutator};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How many times more a soak runs.
const SOAK: usize = 50;

/// Runs `body` on every seed, and on so many mutants of them.
fn fuzz(kind: &Kind, seeds: &[Vec<u8>], mutants: usize, body: fn(&[u8])) {
    for seed in seeds {
        tried(seed, body);
    }
    let mut mutator = Mutator::new(kind, seeds);
    for _ in 0..sized(mutants) {
        tried(&mutator.mutant(), body);
    }
}

fn sized(usual: usize) -> usize {
    if std::env::var("JIESU_SOAK").is_ok() { usual * SOAK } else { usual }
}

/// Shows the input that broke something, as a Rust byte string.
fn tried(bytes: &[u8], body: fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(bytes))) {
        eprintln!("broken by b\"{}\"", bytes.escape_ascii());
        resume_unwind(panic);
    }
}
