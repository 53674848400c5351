//! Tests of the crate from outside: real processes, real sockets, real files.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod away;
mod calls;
mod failing;
mod files;
mod identity;
mod interfaces;
mod keyed;
mod letters;
mod letters_open;
mod ordering;
mod parking;
#[cfg(feature = "faults")]
mod poisoned;
mod program;
mod reading;
mod records;
mod replaced;
mod room;
mod sample;
mod settings;
mod stops;
mod subscriptions;
mod swarm;
mod unreadable;
mod unwelcome;
mod unwritable_log;
mod varlink;
