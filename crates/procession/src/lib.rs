//! What a micro-process is made of.
//!
//! A process says things in its own journal and hears what others say in theirs. What it says is durable the moment
//! it says it, costs it about as much as writing to memory, and reaches every listener in order, also the
//! one that was dead at the time.
//!
//! A publisher, whole:
//!
//! ```no_run
#![doc = include_str!("../examples/greeter.rs")]
//! ```
//!
//! A subscriber, whole:
//!
//! ```no_run
#![doc = include_str!("../examples/listener.rs")]
//! ```
//!
//! `cargo run --example greeter -- run` and `cargo run --example listener -- run` start them, in either
//! order; kill either with `kill -9` as often as you like, and each greeting still has exactly one answer.
//!
//! | to | see |
//! | --- | --- |
//! | start | [`run`], [`Program`]; settings and flags: [`settings`]; folders: [`folders`]; exit codes: [`exit`] |
//! | say | [`Process::publish`], [`Process::publish_acking`], [`Process::publish_durable`], [`Process::publish_when_there_is_room`], [`Process::batch`] |
//! | hear | [`Process::subscribe`], [`Subscription::next`], [`Delivery::ack`], [`Delivery::nack`] |
//! | call, and be called | [`Process::caller`], [`Process::offer`], [`calls`] |
//! | serve | [`Process::serve`], [`varlink`] |
//! | ask a process what every process answers | [`interfaces`], [`calls::ask`] |
//! | say that it can't do its work | [`Process::waiting`] |
//!
//! # What holds
//!
//! - An event is one record of the publisher's journal: every reader can read it when `publish` returns, and
//!   no death of a process can undo it. The journal's promises are in the documentation of crate `journal`.
//! - Delivery is at least once and in the journal's order. Outputs that acknowledge their input
//!   ([`Process::publish_acking`], [`Batch::ack`]) are said exactly once.
//! - Nobody waits for a subscriber, and no subscriber can harm a publisher.
//! - A publisher that is down is read all the same; one that has never run is waited for.
//! - What cannot be delivered is a [`Gap`], never silence; what cannot be dealt with is a [`DeadLetter`].

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod acks;
mod aside;
mod beyond;
pub mod calls;
mod codec;
mod core;
mod death;
mod error;
mod event;
pub mod exit;
pub mod files;
pub mod folders;
mod forgetting;
mod guarded;
pub mod interfaces;
pub mod json;
mod leftovers;
mod letters;
mod logging;
pub mod names;
mod notify;
mod open;
pub mod ordering;
mod outlet;
mod process;
mod program;
mod room;
mod services;
pub mod settings;
mod signals;
mod small_file;
mod starts;
mod subscribe;
mod users;
pub mod varlink;
mod waiting;

pub use journal::{
    AtPath, Codec, Epoch, Gap, GapReason, Item, Level, Offset, Position, Reader, Record, Start, Time,
};

pub use death::Death;
pub use error::{Error, Result};
pub use event::{Any, Event, Message, Payload};
pub use outlet::Batch;
pub use process::Process;
pub use program::{Program, run};
pub use settings::{NoSettings, Settings};
pub use starts::recent_starts;
pub use subscribe::{DeadLetter, Delivery, Heard, Missing, PayloadKept, Sources, Subscribe, Subscription};
pub use waiting::Waiting;

/// Compiled with the documentation's tests: a page that shows what does not compile is no help.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/keyed.md")]
struct KeyedPage;
