//! Compares what lies on the scales with what is in the baskets.
//!
//! A model, keyed by session, over what basket and scale say: it says `mismatch` and `weight-ok`, and
//! `mismatch-withdrawn` where an event that came late shows that there was none. Answers
//! `io.procession.checkout.WeightCheck` with the verdict on a session, and up to when verdicts are final.
//!
//! Nobody needs it in order to buy. Where it was stopped, it catches up: its verdicts follow from the events' times and
//! from nothing else.

mod desk;
mod finding;
mod observation;
mod settings;
mod weighing;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use contracts::checkout::WEIGHT_CHECK;
use desk::Desk;
use procession::calls::Interface;
use procession::{Process, Program};
use settings::Settings;
use weighing::Weighing;

/// What it hears.
const HEARD: [&str; 6] = [
    "basket/item-added",
    "basket/item-removed",
    "basket/basket-closed",
    "basket/basket-reopened",
    "basket/session-ended",
    "scale/weight-changed",
];

fn main() -> ExitCode {
    Program::new("weight-check")
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .version(env!("CARGO_PKG_VERSION"))
        .run(app)
}

async fn app(process: Process<Settings>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let settings = process.settings();
    weighing::set_tolerance(settings.tolerance_grams);
    let desk = Arc::new(Desk::default());
    let serving = process.offer(Interface::new(WEIGHT_CHECK, Arc::clone(&desk)).on(Desk::verdict))?;
    process
        .model::<Weighing>("weight-check")
        .hear(HEARD)
        .lateness(settings.lateness)
        .final_every(settings.final_every)
        .snapshot_after(settings.snapshot_after.get())
        .watch(move |change| desk.note(change))
        .run()
        .await?;
    serving.finished().await;
    Ok(())
}
