//! Faults on purpose, between the journal and the application: what comes late, out of order, twice, or with a wrong
//! time.
//!
//! A record that is held back is delivered as far as its acknowledgement goes: it is open, and the cursor waits for it. So
//! nothing is lost, also if the process is killed meanwhile. Deliveries can be acknowledged in any order then; the
//! second acknowledgement of one that came twice says nothing new.

use std::time::Duration;

use journal::Time;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use super::record::OwnedRecord;
use super::source::Attempt;
use crate::settings::FaultSettings;

/// Most records that are held back at a time; beyond them all goes well.
const HELD_MAX: usize = 1024;
/// What waits for others to go ahead waits no longer than this: there may be none.
const LONELY_MAX: Duration = Duration::from_millis(50);

/// The faults of one subscription.
pub(super) struct Faults {
    settings: FaultSettings,
    random: StdRng,
    held: Vec<Held>,
    /// Deliveries so far.
    delivered: u64,
}

/// A record on its way.
pub(super) struct Passing {
    pub(super) record: Box<OwnedRecord>,
    pub(super) attempt: Attempt,
}

struct Held {
    passing: Passing,
    due: Instant,
    /// It is also due once so many have been delivered.
    after: u64,
}

impl Faults {
    pub(super) fn new(settings: &FaultSettings, subscription: &str) -> Self {
        let seed = settings.seed.unwrap_or_else(|| rand::rng().random());
        tracing::warn!(
            subscription,
            seed,
            delay_one_in = settings.delay_one_in,
            reorder_one_in = settings.reorder_one_in,
            duplicate_one_in = settings.duplicate_one_in,
            redeliver_one_in = settings.redeliver_one_in,
            clock_step_one_in = settings.clock_step_one_in,
            "FAULTS ARE ON: deliveries are delayed, reordered, repeated or mistimed on purpose; \
             to end that, remove subscription.faults from the settings"
        );
        let random = StdRng::seed_from_u64(u64::from(seed) ^ crate::beyond::hash(&[subscription]));
        Self { settings: settings.clone(), random, held: Vec::new(), delivered: 0 }
    }

    /// What was held back, and is due.
    pub(super) fn take_due(&mut self) -> Option<Passing> {
        if self.held.is_empty() {
            return None;
        }
        let now = Instant::now();
        let delivered = self.delivered;
        let due = self.held.iter().position(|held| held.due <= now || held.after <= delivered)?;
        self.delivered += 1;
        Some(self.held.remove(due).passing)
    }

    /// When something that is held back is due, whatever else comes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.due).min()
    }

    /// Lets a record through, now or later, once or twice.
    pub(super) fn pass(&mut self, mut passing: Passing) -> Option<Passing> {
        if self.held.len() >= HELD_MAX {
            self.delivered += 1;
            return Some(passing);
        }
        if self.strikes(self.settings.clock_step_one_in) {
            let widest = u64::try_from(self.settings.clock_step_max.as_nanos()).unwrap_or(u64::MAX / 4);
            let step = self.random.random_range(0..=widest);
            let time = passing.record.time.0;
            let forward = self.random.random_bool(0.5);
            passing.record.time =
                Time(if forward { time.saturating_add(step) } else { time.saturating_sub(step) });
        }
        if self.strikes(self.settings.redeliver_one_in) {
            passing.attempt.number += 1;
            let due = self.later();
            self.hold(passing, due, u64::MAX);
            return None;
        }
        if self.strikes(self.settings.delay_one_in) {
            let due = self.later();
            self.hold(passing, due, u64::MAX);
            return None;
        }
        if self.strikes(self.settings.duplicate_one_in) {
            let attempt = Attempt { number: passing.attempt.number, refusal: None };
            let (due, after) = self.behind_some();
            self.hold(Passing { record: passing.record.clone(), attempt }, due, after);
        }
        if self.strikes(self.settings.reorder_one_in) {
            let (due, after) = self.behind_some();
            self.hold(passing, due, after);
            return None;
        }
        self.delivered += 1;
        Some(passing)
    }

    fn strikes(&mut self, one_in: u32) -> bool {
        one_in > 0 && self.random.random_range(0..one_in) == 0
    }

    fn later(&mut self) -> Instant {
        Instant::now() + self.settings.delay_max.mul_f64(self.random.random_range(0.0..=1.0))
    }

    fn behind_some(&mut self) -> (Instant, u64) {
        let ahead = u64::from(self.random.random_range(1..=self.settings.reorder_max.max(1)));
        (Instant::now() + LONELY_MAX, self.delivered + ahead)
    }

    fn hold(&mut self, passing: Passing, due: Instant, after: u64) {
        self.held.push(Held { passing, due, after });
    }
}
