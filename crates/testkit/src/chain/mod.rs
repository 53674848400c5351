//! A chain of processes that is killed over and over, and proof that nothing of what it said is lost or comes twice.
//!
//! ```text
//! chain@source ──► chain@left  ──┐
//!        │                       ├──► chain@sink
//!        └───────► chain@right ──┘
//! ```
//!
//! The processes are the example `chain` of this crate. [`Run`] starts them, hits them with [`Fault`]s, and starts
//! them again; [`Auditor`] follows their journals all the while, by the description of the format and without the
//! crate that writes them, and checks each record against the [`script`].

mod audit;
mod claims;
mod crc;
mod decode;
mod follow;
mod report;
mod run;
pub mod script;
mod sight;

pub use audit::{Auditor, Tally};
pub(crate) use decode::Event;
pub use follow::Trouble;
pub(crate) use follow::{Follower, Result};
pub use report::{Aim, Fault, Report};
pub use run::Run;
pub(crate) use sight::Sight;
