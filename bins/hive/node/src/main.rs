//! A stand-in for a public Hive node: JSON-RPC over HTTP from a recording or a generator, with faults
//! on demand.
//!
//! It owns when its chain began (kept in its journal as the checkpoint `chain`, so that after a kill
//! it serves the same blocks and no lower head), hears nobody and publishes nothing. Faults come by
//! flag and by calls of `io.procession.hive.Node`.

mod assets;
mod block;
mod chain;
mod control;
mod draw;
mod faults;
mod forms;
mod generator;
mod http;
mod json;
mod node;
mod pace;
#[cfg(test)]
mod recorded_data_tests;
mod recording;
mod rpc;
mod settings;
mod view;

use std::process::ExitCode;
use std::sync::Arc;

use procession::{Process, Program};

use crate::control::Control;
use crate::http::Server;
use crate::node::Node;
use crate::settings::Settings;

fn main() -> ExitCode {
    let program = Program::new("hive-node").about(env!("CARGO_PKG_DESCRIPTION"));
    program.version(env!("CARGO_PKG_VERSION")).run(app)
}

async fn app(process: Process<Settings>) -> anyhow::Result<()> {
    let settings = process.settings();
    let keeper = process.clone();
    let keep = Box::new(move |kept: &chain::Kept| {
        let mut batch = keeper.batch();
        batch.checkpoint("chain", kept)?;
        batch.commit()?;
        Ok(())
    });
    let node = Arc::new(Node::open(settings, process.checkpoint("chain")?, keep)?);
    let server = Server::bind(settings.listen, Arc::clone(&node))?;
    let address = server.address();
    process.serve(Arc::new(Control::new(Arc::clone(&node), address)))?;
    tracing::info!(%address, "listening");
    let ended = server.run(process.shutdown()).await;
    node.retire();
    ended
}
