//! Order by event time, and changing one's mind: models that say what follows from what they hear, and take it
//! back when an event arrives that should have come earlier.
//!
//! ```
//! # use std::borrow::Cow;
//! # use serde::{Deserialize, Serialize};
//! use procession::Event;
//! use procession::ordering::{Compensate, EventTime, Heard, Input, Model, Outputs};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Reading { scale: String, at: EventTime, grams: i64 }
//!
//! impl Input for Reading {
//!     fn take(heard: &Heard<'_>) -> Result<Self, String> { heard.decode() }
//!     fn key(&self) -> Cow<'_, [u8]> { self.scale.as_bytes().into() }
//!     fn at(&self) -> Option<EventTime> { Some(self.at) }
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Jumped { by: i64 }
//!
//! impl Event for Jumped { const TOPIC: &'static str = "jumped"; }
//! impl Compensate for Jumped {}
//!
//! #[derive(Clone, Default, Serialize, Deserialize)]
//! struct Jumps { last: Option<i64> }
//!
//! impl Model for Jumps {
//!     type Input = Reading;
//!     type Output = Jumped;
//!     fn apply(&mut self, _at: EventTime, reading: &Reading, out: &mut Outputs<Jumped>) {
//!         let last = self.last.replace(reading.grams).unwrap_or(reading.grams);
//!         if (reading.grams - last).abs() > 100 {
//!             out.say(Jumped { by: reading.grams - last });
//!         }
//!     }
//! }
//!
//! # async fn f(process: procession::Process<procession::NoSettings>) -> procession::Result<()> {
//! process.model::<Jumps>("jumps").hear(["scale/reading"]).run().await
//! # }
//! ```
//!
//! # What holds
//!
//! - What was asserted and not retracted is what one run in the order of event time would have said, in whatever
//!   order inputs come, how often they come, and whoever dies in between.
//! - A correction is one atomic batch, with the acknowledgement of the input that made it necessary.
//! - What lies before the model's *final* does not change any more; irrevocable outputs are said from then on only.
//! - An input that comes after it was final is named under `_late`, never dropped in silence.
//! - Memory is bounded by what is not final.
//!
//! The records are defined in `docs/ordering-records.md`, for other languages too. The parts without a
//! process around them, [`Fold`], [`Reorder`] and [`Watermark`], do no I/O.

mod absent;
mod agenda;
mod conclusions;
mod declare;
mod effect;
mod fold;
mod hash;
mod held;
mod index;
mod intake;
mod isolate;
mod key;
mod ledger;
mod model;
#[cfg(test)]
mod oracle;
mod order;
mod outbox;
mod own_lease;
mod passed;
mod publishing;
mod rebuild;
mod recall;
mod records;
mod reorder;
mod replay;
mod run;
mod running;
mod slots;
mod snapshot;
mod sources;
mod speak;
mod time;
mod timeline;
mod watermark;

pub use effect::Effect;
pub use fold::{Fate, Fold, FoldOptions};
pub use model::{Compensate, Heard, Input, Model, Output, Outputs};
pub use order::{Derivation, Order};
pub use recall::Recall;
pub use records::{Diverged, Final, Heartbeat, Late, Retract, Said};
pub use reorder::Reorder;
pub use run::{Change, RunModel};
pub use speak::{Saying, Speech, Unsayable};
pub use time::EventTime;
pub use watermark::{SourceState, Watermark};
