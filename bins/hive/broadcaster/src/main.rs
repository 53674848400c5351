//! Streams a chain's blocks from several nodes and publishes every operation.
//!
//! Owns: the position in the chain, kept in its own journal. Hears: the nodes, one at a time (`follow`, `pool`).
//! Says: every operation under its type's name, one atomic batch per block, and `retract` when a fork replaces
//! blocks (`say`). While no block comes for too long, whatever the reason, it says that it waits (`standstill`).
//! Whenever it is killed, it goes on with the block after the last one that it has said.

mod block;
#[cfg(test)]
mod chain;
mod controls;
mod doubt;
mod failure;
mod follow;
mod history;
mod node;
mod operations;
mod pool;
mod position;
mod range;
#[cfg(test)]
mod recordings;
mod retraction;
mod rpc;
mod say;
mod settings;
mod source;
mod standstill;
mod trouble;

use std::error::Error;
use std::process::ExitCode;

use follow::Follow;
use position::{CHECKPOINT, Position};
use procession::{Process, Program};
use settings::Settings;
use standstill::Standstill;

fn main() -> ExitCode {
    Program::new("broadcaster")
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .version(env!("CARGO_PKG_VERSION"))
        .run(app)
}

async fn app(process: Process<Settings>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let position = process.checkpoint::<Position>(CHECKPOINT)?;
    let mut chain = Follow::new(process.settings(), position, say::journal_end(&process)?)?;
    let shutdown = process.shutdown();
    let mut standstill = Standstill::new(&process, &chain);
    while let Some(advance) = shutdown.run_until_cancelled(standstill.next(&mut chain)).await {
        let Some(said) = shutdown.run_until_cancelled(say::say(&process, &advance)).await else { break };
        chain.said(advance.position, said?);
    }
    Ok(())
}
