//! The readers of all lanes: what they read, and what the basket says to it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use contracts::checkout::names::Invalid;
use contracts::checkout::{
    AddItem, Answers, At, BasketError, EventClock, ItemReply, ItemScanned, LanePace, Scan, ScannerError,
    check_clock,
};
use procession::calls::{Caller, Failure};
use procession::{Event as _, Item, Process, Start};

use crate::settings::Settings;

/// As many customers are remembered, and so many scans of each.
const SESSIONS_MAX: usize = 20_000;
const SCANS_MAX: usize = 2_000;

pub(crate) struct Readers {
    process: Process<Settings>,
    basket: Caller,
    /// Locked for the time of one publication, never while the basket is asked.
    state: Mutex<State>,
}

struct State {
    /// Which requests have been published.
    scanned: Answers<()>,
    pace: LanePace,
}

impl Readers {
    /// As the process's own journal says.
    ///
    /// # Errors
    /// It can't be read.
    pub(crate) fn recall(process: Process<Settings>, basket: Caller) -> procession::Result<Self> {
        let mut scanned = Answers::new(SESSIONS_MAX, SCANS_MAX);
        let mut own = process.read_own(Start::Beginning)?;
        while let Some(item) = own.next()? {
            match item {
                Item::Record(record) if record.topic == ItemScanned::TOPIC => {
                    match serde_json::from_slice(record.payload) {
                        Ok(ItemScanned { session, request, .. }) => drop(scanned.put(&session, &request, ())),
                        Err(error) => {
                            tracing::error!(offset = record.offset.0, %error, "a scan can't be read")
                        }
                    }
                }
                Item::Record(_) => {}
                Item::Gap(gap) => {
                    let (from, to, reason) = (gap.from.0, gap.to.0, gap.reason);
                    tracing::warn!(from, to, %reason, "what was scanned there is published again if it is asked again");
                }
            }
        }
        let pace = LanePace::new(process.settings().events_per_second);
        Ok(Readers { process, basket, state: Mutex::new(State { scanned, pace }) })
    }

    /// A customer holds something before the reader of a lane.
    pub(crate) async fn scan(self: Arc<Self>, asked: Scan) -> Result<ItemReply, ScannerError> {
        asked.check()?;
        let at = self.time_of(asked.at)?;
        self.publish(&asked, at)?;
        let Scan { session, product, grams, request, .. } = asked;
        let item = AddItem { session, product, grams, at: Some(at), request };
        self.basket.call(&item).await.map_err(refused)
    }

    /// Says what was read, unless it was said for this request before.
    fn publish(&self, asked: &Scan, at: At) -> Result<(), ScannerError> {
        let settings = self.process.settings();
        let lanes = settings.lanes.get();
        if asked.lane > lanes {
            let reason = format!("is {}: there are readers at lanes 1 to {lanes}", asked.lane);
            return Err(Invalid { field: "lane", reason }.into());
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pace.take(asked.lane, Instant::now()).map_err(|wait| ScannerError::RateLimited {
            lane: asked.lane,
            per_second: settings.events_per_second.get(),
            retry_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1),
        })?;
        let Scan { session, lane, product, request, .. } = asked.clone();
        if state.scanned.get(&session, &request).is_some() {
            return Ok(());
        }
        if let Err(error) = state.scanned.check(&session) {
            return Err(Invalid { field: "session", reason: error.to_string() }.into());
        }
        let scanned = ItemScanned { session, lane, at, product, request };
        self.process
            .publish(&scanned)
            .map_err(|error| ScannerError::NotRecorded { reason: error.to_string() })?;
        state.scanned.put(&scanned.session, &scanned.request, ());
        Ok(())
    }

    /// When something happened, if that can be.
    fn time_of(&self, at: Option<At>) -> Result<At, Invalid> {
        let settings = self.process.settings();
        let now = At::now();
        let Some(at) = at else { return Ok(now) };
        if settings.event_clock == EventClock::Machine {
            check_clock(at, now, settings.clock_tolerance)
                .map_err(|reason| Invalid { field: "at", reason })?;
        }
        Ok(at)
    }
}

/// What the customer is told when the basket has not taken the item.
fn refused(failure: Failure<BasketError>) -> ScannerError {
    match failure {
        Failure::Refused(error) => {
            let reason = error.to_string();
            let named = serde_json::to_value(&error).unwrap_or_default();
            let error = named["error"].as_str().unwrap_or("NotAdded").to_owned();
            ScannerError::Refused { error, reason }
        }
        failure => {
            ScannerError::BasketUnavailable { reason: failure.to_string(), uncertain: failure.is_uncertain() }
        }
    }
}
