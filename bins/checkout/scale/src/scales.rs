//! The scales of all lanes: what they are told, what they show, what they say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use contracts::checkout::names::{self, Invalid};
use contracts::checkout::{
    Advance, At, Bag, EventClock, GetBag, LaneClock, LanePace, PlaceProduce, ScaleError, Weigh, Weight,
    WeightChanged, check_clock,
};
use procession::calls::NoReply;
use procession::ordering::{EventTime, Heartbeat};
use procession::{Error, Event as _, Item, Process, Start};

use crate::bags::Bags;
use crate::settings::Settings;

/// What lies on the produce scales, and what the lanes have promised: each is kept whole whenever it changes.
const PRODUCE: &str = "produce";
const LANES: &str = "lanes";

pub(crate) struct Scales {
    process: Process<Settings>,
    /// Locked while a change is judged, said and taken in: these are one step, also against the heartbeat, which must
    /// not overtake a weight that it would make late.
    state: Mutex<State>,
}

struct State {
    bags: Bags,
    /// Grams, by lane.
    produce: BTreeMap<u32, i64>,
    clock: LaneClock,
    pace: LanePace,
}

impl Scales {
    /// As the process's own journal says.
    ///
    /// # Errors
    /// It can't be read.
    pub(crate) fn recall(process: Process<Settings>) -> procession::Result<Self> {
        let mut bags = Bags::default();
        let mut clock: LaneClock = process.checkpoint(LANES)?.unwrap_or_default();
        let mut own = process.read_own(Start::Beginning)?;
        while let Some(item) = own.next()? {
            match item {
                Item::Record(record) if record.topic == WeightChanged::TOPIC => {
                    match serde_json::from_slice(record.payload) {
                        Ok(change) => bags.apply(&change),
                        Err(error) => {
                            tracing::error!(offset = record.offset.0, %error, "a weight can't be read")
                        }
                    }
                }
                Item::Record(record) if record.topic == Heartbeat::TOPIC => {
                    if let Ok(Heartbeat { at }) = serde_json::from_slice(record.payload) {
                        clock.has_promised(At(at.0));
                    }
                }
                Item::Record(_) => {}
                Item::Gap(gap) => {
                    let (from, to, reason) = (gap.from.0, gap.to.0, gap.reason);
                    tracing::warn!(from, to, %reason, "bags weighed there are forgotten");
                }
            }
        }
        let produce = process.checkpoint(PRODUCE)?.unwrap_or_default();
        let pace = LanePace::new(process.settings().events_per_second);
        Ok(Scales { process, state: Mutex::new(State { bags, produce, clock, pace }) })
    }

    /// What lies on a lane's produce scale.
    pub(crate) async fn weigh(self: Arc<Self>, asked: Weigh) -> Result<Weight, ScaleError> {
        let state = self.begin(asked.lane)?;
        match state.produce.get(&asked.lane) {
            Some(grams) => Ok(Weight { grams: *grams }),
            None => Err(ScaleError::NothingToWeigh { lane: asked.lane }),
        }
    }

    /// The customer puts something on the produce scale.
    pub(crate) async fn place(self: Arc<Self>, asked: PlaceProduce) -> Result<NoReply, ScaleError> {
        names::check_grams(asked.grams)?;
        let mut state = self.begin(asked.lane)?;
        let mut produce = state.produce.clone();
        match asked.grams {
            0 => produce.remove(&asked.lane),
            grams => produce.insert(asked.lane, grams),
        };
        let mut batch = self.process.batch();
        batch.checkpoint(PRODUCE, &produce).map_err(not_recorded)?;
        batch.commit().map_err(not_recorded)?;
        state.produce = produce;
        Ok(NoReply {})
    }

    /// The customer puts something in the bag, or takes it out.
    pub(crate) async fn bag(self: Arc<Self>, asked: Bag) -> Result<Weight, ScaleError> {
        asked.check()?;
        let at = self.time_of(asked.at)?;
        let mut state = self.begin(asked.lane)?;
        if let Some(grams) = state.bags.answered(&asked) {
            return Ok(Weight { grams });
        }
        let grams = state.bags.after(&asked)?;
        let Bag { session, lane, request, .. } = asked;
        let change = WeightChanged { session, lane, at: state.clock.admit(at), grams, request };
        self.process.publish(&change).map_err(not_recorded)?;
        state.bags.apply(&change);
        Ok(Weight { grams })
    }

    /// What lies in a session's bag.
    pub(crate) async fn show(self: Arc<Self>, asked: GetBag) -> Result<Weight, ScaleError> {
        names::check_session(&asked.session)?;
        Ok(Weight { grams: self.lock().bags.grams(&asked.session) })
    }

    /// A lane promises that nothing earlier comes from it.
    pub(crate) async fn advance(self: Arc<Self>, asked: Advance) -> Result<NoReply, ScaleError> {
        let settings = self.process.settings();
        if settings.event_clock != EventClock::Lanes {
            let reason = "is the machine's here: event_clock = \"lanes\" makes it the lanes'".to_owned();
            return Err(Invalid { field: "at", reason }.into());
        }
        let mut state = self.begin(asked.lane)?;
        let mut clock = state.clock.clone();
        let promise = clock.advance(asked.lane, asked.at, settings.lanes.get());
        let mut batch = self.process.batch();
        if let Some(At(micros)) = promise {
            batch.add(&Heartbeat { at: EventTime(micros) }).map_err(not_recorded)?;
        }
        batch.checkpoint(LANES, &clock).map_err(not_recorded)?;
        batch.commit().map_err(not_recorded)?;
        state.clock = clock;
        Ok(NoReply {})
    }

    /// The machine's clock goes on.
    ///
    /// # Errors
    /// The journal can't be written.
    pub(crate) fn tick(&self) -> procession::Result<()> {
        let mut state = self.lock();
        let mut clock = state.clock.clone();
        if let Some(At(micros)) = clock.tick(At::now(), self.process.settings().heartbeat_lag) {
            self.process.publish(&Heartbeat { at: EventTime(micros) })?;
            state.clock = clock;
        }
        Ok(())
    }

    /// When something happened, if that can be.
    fn time_of(&self, at: Option<At>) -> Result<At, Invalid> {
        let settings = self.process.settings();
        let refused = |reason| Invalid { field: "at", reason };
        match (settings.event_clock, at) {
            (EventClock::Lanes, Some(at)) => Ok(at),
            (EventClock::Lanes, None) => {
                Err(refused("is missing: event time is that of the lanes".to_owned()))
            }
            (EventClock::Machine, None) => Ok(At::now()),
            (EventClock::Machine, Some(at)) => {
                check_clock(at, At::now(), settings.clock_tolerance).map_err(refused)?;
                Ok(at)
            }
        }
    }

    /// Takes in what a lane says, if it is one and doesn't babble.
    fn begin(&self, lane: u32) -> Result<MutexGuard<'_, State>, ScaleError> {
        let settings = self.process.settings();
        let lanes = settings.lanes.get();
        if !(1..=lanes).contains(&lane) {
            let reason = format!("is {lane}: there are scales at lanes 1 to {lanes}");
            return Err(Invalid { field: "lane", reason }.into());
        }
        let mut state = self.lock();
        state.pace.take(lane, Instant::now()).map_err(|wait| ScaleError::RateLimited {
            lane,
            per_second: settings.events_per_second.get(),
            retry_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1),
        })?;
        Ok(state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_recorded(error: Error) -> ScaleError {
    ScaleError::NotRecorded { reason: error.to_string() }
}
