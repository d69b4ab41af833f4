//! The shell of one node: it alone reads clocks and owns threads, tasks and queues between the machines.

pub mod live;
