//! Keeps the customers' baskets.
//!
//! Answers `io.procession.checkout.Basket`, and says every change: `session-started`, `item-added`, `item-removed`,
//! `basket-closed`, `basket-reopened`, `basket-held`, `basket-released`, `session-ended`. Its journal is the truth: a
//! change is written down before it is answered, and after a restart the baskets are what the journal says. Each
//! request has an id, so that asking twice, also with a restart in between, changes nothing the second time.

mod counter;
mod session;
mod sessions;
mod settings;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use contracts::checkout::EventClock;
use counter::Counter;
use procession::{Process, Program};
use settings::Settings;
use tokio::time::{MissedTickBehavior, interval};

/// How often old sessions are forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    Program::new("basket").about(env!("CARGO_PKG_DESCRIPTION")).version(env!("CARGO_PKG_VERSION")).run(app)
}

async fn app(process: Process<Settings>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let counter = Counter::open(process.clone())?;
    let serving = process.offer(counter.interface())?;
    tokio::select! {
        () = serving.finished() => {}
        () = keep(&counter, process.settings()) => {}
    }
    Ok(counter.tidy()?)
}

/// Goes on until it is dropped. A disk that is full now may have room later.
async fn keep(counter: &Counter, settings: &Settings) {
    let [mut beats, mut tidies] = [settings.heartbeat_every, TIDY_EVERY].map(interval);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let done = tokio::select! {
            _ = beats.tick(), if settings.event_clock == EventClock::Machine => counter.tick(),
            _ = tidies.tick() => counter.tidy(),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "the journal takes nothing at the moment");
        }
    }
}
