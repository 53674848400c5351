//! The basket as a process: what it answers, what it says, and what it knows after it was killed.
#![expect(clippy::unwrap_used, reason = "a test whose preparations fail, fails")]

mod baskets;
mod clients;
mod full_disk;
mod kills;
mod refusals;
