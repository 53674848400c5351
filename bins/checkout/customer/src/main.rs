//! Simulated customers: each does what a seeded script says, at a lane, by calls of scanner, scale, basket and payment.
//!
//! Says `session-done` for each, with what must have come of it and what has. After a kill it begins the sessions anew
//! that were not done: a script makes the same requests with the same ids, which are answered as the first time.
//! A process that doesn't answer is asked again.

mod ask;
mod script;
mod settings;
mod shopper;
mod summary;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use contracts::checkout::At;
use procession::{Process, Program};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::settings::Settings;
use crate::shopper::{Shop, Shopper};
use crate::summary::{Outcome, Summary};

/// How long a lane stays empty, in customers' paces.
const EMPTY_PACES: u32 = 3;

/// Where a lane is: kept with each session that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// The number of its next session.
    next: u64,
    /// When that begins in the script's time.
    at: Option<At>,
}

fn main() -> ExitCode {
    Program::new("customer").about(env!("CARGO_PKG_DESCRIPTION")).version(env!("CARGO_PKG_VERSION")).run(app)
}

/// A script's time must be well ahead: whoever hears an event takes it that its source has come so far, but for what
/// lies ahead of the clock. There the lanes can be at different times, and only their promises count.
const AHEAD: i64 = 24 * 3600 * 1_000_000;

async fn app(process: Process<Settings>) -> Result<()> {
    if let Some(begin) = process.settings().begin {
        let least = At::now().0 + AHEAD;
        ensure!(
            begin >= least,
            "begin = {begin} is too early: it must be at least a day ahead of now, {least}"
        );
    }
    let mut lanes = JoinSet::new();
    for nth in 1..=process.settings().lanes.get() {
        lanes.spawn(shop_at(process.clone(), nth));
    }
    let all = async {
        while let Some(lane) = lanes.join_next().await {
            lane??;
        }
        anyhow::Ok(())
    };
    let Some(done) = process.shutdown().run_until_cancelled(all).await else { return Ok(()) };
    done?;
    let summary = Summary::recall(&process)?;
    summary.tell();
    match &process.settings().summary {
        Some(path) => summary.write(path),
        None => Ok(()),
    }
}

/// One customer after the other at a lane; the sessions are dealt to the lanes in turn.
async fn shop_at(process: Process<Settings>, nth: u32) -> Result<()> {
    let settings = process.settings();
    let lane = nth.saturating_add(settings.first_lane.get() - 1);
    let kept = format!("lane-{lane}");
    let begin = Place { next: u64::from(nth), at: settings.begin.map(At) };
    let mut place = process.checkpoint(&kept)?.unwrap_or(begin);
    let shop = Shop::of(&process)?;
    while settings.sessions == 0 || place.next <= settings.sessions {
        let (done, at) = Shopper::shop(&shop, settings, lane, place.next, place.at).await;
        if let Outcome::GaveUp { error, reason } = done.outcome() {
            tracing::warn!(session = done.session, error, reason, "a customer has given up");
        }
        place = Place { next: place.next + u64::from(settings.lanes.get()), at };
        let mut batch = process.batch();
        batch.add(&done)?;
        batch.checkpoint(&kept, &place)?;
        batch.commit()?;
        sleep(settings.pace * EMPTY_PACES).await;
    }
    Shopper::leave(&shop, settings, lane, place.at).await;
    Ok(())
}
