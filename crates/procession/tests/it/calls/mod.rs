//! Calls between real processes: the example `kitchen`, killed, stopped and overrun.

mod bounds;
mod deadlines;
pub(crate) mod kitchen;
mod losses;
mod replies;
