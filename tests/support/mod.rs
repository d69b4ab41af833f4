//! What integration tests stand on: an engine of their own, real SIP clients, and ears.

pub mod api;
pub mod baresip;
pub mod disk;
pub mod engine;
pub mod hotline;
pub mod phone;
pub mod player;
pub mod proxy;
pub mod scenario;
pub mod sip;
pub mod sipp;
pub mod sql;
pub mod strace;
pub mod stream;
pub mod wav;

use std::time::{Duration, Instant};

/// Looks again and again, until `look` finds something or the time is up; only for what no event announces.
pub fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
