//! The screens of all checkouts: a web page where a customer scans, weighs, bags and pays. It works without any network
//! but this machine's.
//!
//! What a customer does becomes calls of scanner, scale, basket and payment; what they say, and what weight-check says,
//! is shown as it changes. Whoever doesn't answer is named, with what it means for the customer; all else goes on. Which
//! session is at which lane is kept in the process's journal, so a kill loses nobody's basket.

mod actions;
mod assets;
mod http;
mod lane;
mod pages;
mod screens;
mod server;
mod settings;
mod shop;
mod state;
mod trouble;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use procession::{Process, Program};
use tokio::net::TcpListener;

use crate::http::Desk;
use crate::lane::Lanes;
use crate::screens::Screens;
use crate::server::Limits;
use crate::settings::Settings;

fn main() -> ExitCode {
    Program::new("terminal").about(env!("CARGO_PKG_DESCRIPTION")).version(env!("CARGO_PKG_VERSION")).run(app)
}

async fn app(process: Process<Settings>) -> Result<()> {
    let settings = process.settings();
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {}: set `listen` to another address", settings.listen))?;
    let address = listener.local_addr()?;
    let lanes = Arc::new(Lanes::recall(&process)?);
    lanes.watch(&process.shutdown());
    let screens = if settings.open {
        Screens::open()
    } else {
        Screens::recall(&process.folders().state.join(process.instance()), settings.lanes.get(), address)?
    };
    tracing::info!(%address, "listening");
    let connections_max = usize::try_from(settings.connections_max.get())?;
    let desk = Desk::new(lanes, screens, process.shutdown(), connections_max);
    let limits = Limits { connections_max, idle_timeout: settings.idle_timeout };
    server::serve(listener, http::router(desk, settings), limits, process.shutdown()).await;
    Ok(())
}
