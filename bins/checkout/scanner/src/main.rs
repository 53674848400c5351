//! The bar-code readers of all checkouts, simulated: a call says what a customer holds before the reader, where a real
//! driver would be told by its device. What follows is the same.
//!
//! Answers `io.procession.checkout.Scanner`: says `item-scanned`, once for each request, and asks the basket to add the
//! item. Which requests it has seen it knows from its own journal, also after a kill; the basket knows them, too, so
//! whoever asks again adds nothing twice.

mod readers;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;

use contracts::checkout::SCANNER;
use procession::calls::Interface;
use procession::{Process, Program};

use crate::readers::Readers;
use crate::settings::Settings;

fn main() -> ExitCode {
    Program::new("scanner").about(env!("CARGO_PKG_DESCRIPTION")).version(env!("CARGO_PKG_VERSION")).run(app)
}

async fn app(process: Process<Settings>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let basket = process.caller("basket")?;
    let readers = Arc::new(Readers::recall(process.clone(), basket)?);
    let serving = process.offer(Interface::new(SCANNER, readers).on(Readers::scan))?;
    serving.finished().await;
    Ok(())
}
