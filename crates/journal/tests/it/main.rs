//! Tests of the journal through its public interface: real files, real processes, real signals.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod batches;
mod bytes;
mod cursors;
mod cut;
mod disk;
mod displaced;
#[cfg(feature = "faults")]
mod faults;
mod forged;
mod growth;
mod hostile;
mod kills;
mod latches;
mod limits;
mod links;
mod lock;
mod missing;
mod model;
mod power_loss;
mod recycling;
mod release;
mod repair;
mod replaced;
mod restored;
mod retention;
mod support;
mod versions;
