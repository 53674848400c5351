//! The wall clock.

use crate::fault;

/// Nanoseconds since the Unix epoch; 0 for a clock that is set before it.
#[inline]
pub(crate) fn wall_clock_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    let now = seconds.unwrap_or_default() * 1_000_000_000 + nanoseconds.unwrap_or_default();
    now.saturating_add_signed(fault::clock_error_ns())
}
