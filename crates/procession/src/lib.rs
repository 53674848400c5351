//! What a micro-process is made of.

mod acks;
mod codec;
mod core;
mod error;
mod event;
pub mod exit;
pub mod folders;
pub mod json;
mod logging;
pub mod names;
mod notify;
mod outlet;
mod process;
mod program;
mod services;
pub mod settings;
mod signals;
mod subscribe;
pub mod varlink;

pub use journal::{Codec, Epoch, Gap, GapReason, Item, Level, Offset, Position, Reader, Record, Start, Time};

pub use error::{Error, Result};
pub use event::{Any, Event, Message, Payload};
pub use outlet::Batch;
pub use process::Process;
pub use program::{Program, run};
pub use settings::{NoSettings, Settings};
pub use subscribe::{DeadLetter, Delivery, Heard, Missing, Sources, Subscribe, Subscription};
