//! Books charges, each once: a stand-in for the bank behind the card terminal.
//!
//! Answers `io.procession.checkout.Bank`, and says each booking: `booked`. A charge has a key; asked again with the same
//! key, the bank answers as the first time and books nothing. What is booked is what its journal says.

mod desk;
mod ledger;
mod settings;

use std::error::Error;
use std::process::ExitCode;

use desk::Desk;
use procession::{Process, Program};
use settings::Settings;

fn main() -> ExitCode {
    Program::new("bank").about(env!("CARGO_PKG_DESCRIPTION")).version(env!("CARGO_PKG_VERSION")).run(app)
}

async fn app(process: Process<Settings>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let desk = Desk::open(process.clone())?;
    process.offer(desk.interface())?.finished().await;
    Ok(())
}
