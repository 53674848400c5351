//! End-to-end tests: the programs that were built, as a user runs them, watched from outside.
//!
//! What they must give is not what they gave before, but what scripts of `python/` read out of the same recording,
//! written from the description of the data alone.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod bad_bits;
mod bad_configuration;
mod bad_disk;
mod bad_journals;
mod bad_peers;
mod blocks;
mod chain;
mod checkout;
mod checkout_abuse;
mod clients;
mod forks;
mod kills;
mod living;
mod models;
mod orders;
mod recordings;
mod second_copy;
mod swarm;
mod tape;
mod zlink_client;
