//! A publisher that loses what it had said, and those who hear it and live on: proof that each of them hears what is
//! there in the end, once, and is told what is not there any more.
//!
//! ```text
//! living@source ──► living@plain    one delivery after the other, and gaps
//!               ──► living@keyed    by key
//!               ──► living@model    conclusions, taken back if need be
//!               ──► procession tail
//! ```
//!
//! The processes are the example `living` of this crate. [`Run`] lets the source lose its power (its files become an
//! earlier image with some of the pages written since, of another boot), be begun anew, or be put back from an older copy,
//! while the others run or come back before it does. What each of them should have heard is decided by [`View`], from files
//! alone, without the crates that wrote them.

mod disk;
mod listener;
mod report;
mod run;
pub mod script;
mod view;

pub use report::{Loss, Report};
pub use run::Run;
pub use view::View;
