//! When something happened.

/// Event time: microseconds since the Unix epoch, UTC. In JSON a decimal string.
pub use procession::ordering::EventTime as At;
