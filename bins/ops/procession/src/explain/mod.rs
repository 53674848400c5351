//! `procession explain`: why something was said, and why it was taken back.
//!
//! Follows causes from journal to journal, and the sayings of one conclusion through the journal of the model that said
//! it: asserts, retracts, compensations, and what is final.

mod history;
mod tree;

use std::process::ExitCode;

use anyhow::Result;
use procession::names::Instance;

use crate::home::Home;
use crate::output::Output;

/// Why was this said, and why was it taken back?
///
/// Follows the causes of a record through all journals, as far as they are kept. For a conclusion of a model it also shows
/// its whole life: each time it was asserted, retracted or compensated, with the event that led to that, and
/// whether it is final.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The instance in whose journal the record is.
    process: Instance,
    /// The record's offset.
    offset: u64,
    /// Follow so many causes, one after the other, at most.
    #[arg(long, default_value_t = 32, value_name = "N")]
    depth: usize,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `procession explain`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    let home = Home::find()?;
    home.named(std::slice::from_ref(&args.process))?;
    let explained = history::explain(&home, args)?;
    if args.json {
        out.json(&explained)?;
    } else {
        tree::write(&explained, out)?;
    }
    Ok(ExitCode::SUCCESS)
}
