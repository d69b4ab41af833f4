//! What every other module stands on: ids, time, timers, telephone numbers, keyed maps and facts.
//!
//! Owns no behaviour of telephony and never reads a clock, a file, a socket or a random source: time is an argument,
//! randomness is a seed.

pub mod fact;
pub mod hours;
pub mod id;
pub mod map;
pub mod number;
pub mod snapshot;
pub mod table;
pub mod time;
pub mod wheel;

pub use fact::Fact;
pub use id::{
    AgentId, CallId, CallbackId, ContactId, FactId, LegId, MediaThreadId, Mint, OrderId, PromptId, QueueId,
    RecordingId, ShardId, SiteId, SkillId, TrunkId,
};
pub use time::{Mono, Now, Wall};
