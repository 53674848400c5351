//! The bagging scales and produce scales of all checkouts, simulated: a call says what a customer puts down, where
//! a real driver would read its devices. What follows is the same.
//!
//! Hears nobody, answers `io.procession.checkout.Scale`, and says `weight-changed` whenever a bag has come to rest at
//! another weight, with the time that it happened. It promises by heartbeats that nothing earlier comes. What lies in
//! the bags, and which requests have been answered, it knows from its own journal, also after a kill.

mod bags;
mod scales;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;

use contracts::checkout::{EventClock, SCALE};
use procession::calls::Interface;
use procession::{Process, Program};
use tokio::time::{MissedTickBehavior, interval};

use crate::scales::Scales;
use crate::settings::Settings;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    Program::new("scale").about(env!("CARGO_PKG_DESCRIPTION")).version(env!("CARGO_PKG_VERSION")).run(app)
}

async fn app(process: Process<Settings>) -> Outcome {
    let scales = Arc::new(Scales::recall(process.clone())?);
    let interface = Interface::new(SCALE, Arc::clone(&scales))
        .on(Scales::weigh)
        .on(Scales::place)
        .on(Scales::bag)
        .on(Scales::show)
        .on(Scales::advance);
    let serving = process.offer(interface)?;
    tokio::select! {
        beat = beat(&process, &scales) => beat?,
        () = serving.finished() => {}
    }
    Ok(())
}

/// Promises that nothing earlier comes, as the machine's clock goes on. With a script's time the lanes do that.
async fn beat(process: &Process<Settings>, scales: &Scales) -> Outcome {
    let settings = process.settings();
    if settings.event_clock == EventClock::Lanes {
        return std::future::pending().await;
    }
    let mut ticks = interval(settings.heartbeat_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A full disk passes: what can't be promised now is promised later.
        if let Err(error) = scales.tick() {
            tracing::warn!(%error, "no heartbeat");
        }
    }
}
