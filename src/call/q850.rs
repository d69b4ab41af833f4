//! Causes of ITU-T Q.850 §2.2.7 that calls end with, as the Reason header carries them (RFC 3326).

/// Unallocated number.
pub(super) const UNALLOCATED: u8 = 1;
/// No route to destination.
pub(super) const NO_ROUTE: u8 = 3;
/// Normal call clearing.
pub(super) const NORMAL: u8 = 16;
/// User busy.
pub(super) const USER_BUSY: u8 = 17;
/// No answer from user.
pub(super) const NO_ANSWER: u8 = 19;
/// Call rejected.
pub(super) const REJECTED: u8 = 21;
/// No circuit available.
pub(super) const NO_CIRCUIT: u8 = 34;
/// Network out of order.
pub(super) const NETWORK_OUT_OF_ORDER: u8 = 38;
/// Temporary failure.
pub(super) const TEMPORARY_FAILURE: u8 = 41;
/// Switching equipment congestion.
pub(super) const CONGESTION: u8 = 42;
/// Resource unavailable, unspecified.
pub(super) const NO_RESOURCE: u8 = 47;
/// Incompatible destination.
pub(super) const INCOMPATIBLE: u8 = 88;
/// Recovery on timer expiry.
pub(super) const TIMER_EXPIRED: u8 = 102;
