//! The call: one citizen's contact from INVITE to the last leg.

pub mod event;
