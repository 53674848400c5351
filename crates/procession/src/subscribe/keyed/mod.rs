//! Deliveries by key: those with the same key one after the other, others side by side.
//!
//! One loop owns all of it and runs as part of the caller's task. An event whose key is idle goes straight to the
//! application, and costs little more than any delivery if that is done with it at once. One whose key is at work
//! queues up in its key's lane ([`lanes`]), and reading goes on past it. Acknowledgements complete in any
//! order, and what is done is remembered (`crate::beyond`), so that a restart repeats only what is not.

mod failing;
mod lanes;
mod parked;
mod reading;
mod release;
mod slots;

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::sync::Arc;

use journal::Offset;
use tokio::time::Instant;

use self::failing::failure;
use self::lanes::{Bounds, Key, LaneId, Lanes, Work};
use self::parked::Parked;
pub(crate) use self::parked::{checkpoint_name, parked_keys};
use self::reading::Newest;
use self::slots::Slots;
use super::source::{Attempt, Fetched};
use super::{Delivery, GivenUp, Subscription, Turn, sleep_until, take_event};
use crate::acks::Origin;
use crate::error::Result;
use crate::event::Payload;
use crate::waiting::Waiting;

/// Events in memory, as long as the application does not do more at a time.
const HELD_MIN: usize = 4096;
/// Events of one key in memory.
const LANE_HELD_MAX: usize = 64;

impl<P: Payload> Subscription<P> {
    /// Gives every delivery to `handler`: those with the same key one after the other, in order; of
    /// different keys up to `concurrency` at a time. Returns once the process is to stop and what is in hand is
    /// finished.
    ///
    /// A delivery is acknowledged when its future ends with `Ok`, unless that has happened before
    /// ([`Process::publish_acking`], [`Delivery::ack`]). An error, or [`Delivery::nack`], brings it back after a pause
    /// that grows with each attempt; its key waits meanwhile, the others do not. After `subscription.max_attempts`
    /// the key is parked: the event, and all later ones of the key, go to the dead-letter topic until the key is
    /// released. Events without a key are kept in order with each other, and are parked one by one.
    ///
    /// A restart, also after SIGKILL, repeats only deliveries that were not acknowledged. Those that a process has
    /// ended over come first one at a time, so that one that ends the process again and again is found and parked.
    ///
    /// The futures are polled by the task that awaits this. Work that takes the processor's time is best given to other
    /// threads by the handler (`tokio::spawn` on a runtime with several, `spawn_blocking`) and awaited there.
    ///
    /// ```no_run
    /// # use std::num::NonZeroUsize;
    /// # use procession::{Any, Delivery, Process, NoSettings};
    /// # async fn f(process: Process<NoSettings>) -> procession::Result<()> {
    /// let baskets = process.subscribe_any("basket/*").await?;
    /// let at_a_time = NonZeroUsize::new(64).expect("not zero");
    /// baskets
    ///     .for_each_keyed(at_a_time, async |delivery: Delivery<Any>| {
    ///         // Whatever takes its time; other baskets go on meanwhile.
    ///         process.publish_message(&procession::Message::json("seen", &delivery.offset.0)?.caused_by(&delivery))?;
    ///         procession::Result::<()>::Ok(())
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Self::next`], and [`Error::Subscription`] if a delivery that was taken before is not acknowledged.
    ///
    /// [`Process::publish_acking`]: crate::Process::publish_acking
    /// [`Error::Subscription`]: crate::Error::Subscription
    pub async fn for_each_keyed<H, F, E>(mut self, concurrency: NonZeroUsize, handler: H) -> Result<()>
    where
        H: Fn(Delivery<P>) -> F,
        F: Future<Output = Result<(), E>>,
        E: Display,
    {
        (self.any_order, self.keyed) = (true, true);
        self.forget_other_sources()?;
        for source in &mut self.sources {
            source.allow_any_order(&self.core, false)?;
        }
        let parked = Parked::load(&self.core, &self.name)?;
        if parked.len() > 0 {
            let (subscription, keys) = (&*self.name, parked.len());
            tracing::warn!(subscription, keys, "keys are parked: `procession dead-letters` shows them");
        }
        let held = HELD_MIN.max(concurrency.get().saturating_mul(4));
        let keyed = Keyed {
            subscription: self,
            handler,
            lanes: Lanes::new(Bounds { held, lane: LANE_HELD_MAX }),
            slots: Slots::new(concurrency.get()),
            parked,
            releasing: HashMap::new(),
            paused: Vec::new(),
            waiting: VecDeque::new(),
            alone: false,
            crowded: None,
            stuck: None,
        };
        keyed.run().await
    }
}

/// The loop and what it owns.
struct Keyed<P, H, F> {
    subscription: Subscription<P>,
    handler: H,
    lanes: Lanes<Delivery<P>, Place>,
    slots: Slots<F, Ticket>,
    parked: Parked,
    /// Parked keys whose letters are being dealt with again one by one, and those that are left.
    releasing: HashMap<Box<[u8]>, VecDeque<Offset>>,
    /// Lanes whose event has failed, until it is tried again.
    paused: Vec<Paused>,
    /// The newest event, if there is no place for it yet, and perhaps one that faults have held back until now.
    waiting: VecDeque<Newest<P>>,
    /// A delivery that a process has ended over is at work, or the one after many that have failed, and nothing else.
    alone: bool,
    /// More keys would have to be parked than can be.
    crowded: Option<Waiting>,
    /// Nothing more can be read before an old delivery is done.
    stuck: Option<Waiting>,
}

/// Where an event lies that is to be read again.
#[derive(Debug)]
struct Place {
    origin: Arc<Origin>,
    offset: Offset,
    failed: Option<Box<Failed>>,
}

/// The last attempt of an event.
#[derive(Debug)]
struct Failed {
    attempt: u32,
    reason: String,
    /// It is to be parked.
    is_given_up: bool,
}

/// A delivery at work.
#[derive(Debug)]
struct Ticket {
    /// None if it has come to its end at once.
    lane: Option<LaneId>,
    origin: Arc<Origin>,
    offset: Offset,
    attempt: u32,
    /// How often there was no room in the process's own journal, before it began.
    times_full: u64,
}

struct Paused {
    lane: LaneId,
    place: Place,
    due: Instant,
}

impl<P, H, F, E> Keyed<P, H, F>
where
    P: Payload,
    H: Fn(Delivery<P>) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    async fn run(mut self) -> Result<()> {
        let mut turn = Turn::default();
        loop {
            let woken = self.slots.count_woken();
            let mut moved = self.finish_woken(woken)?;
            let stopping = self.subscription.core.is_stopping();
            if !stopping {
                moved |= !self.alone && self.follow_orders()?;
                self.resume();
                moved |= self.start_ready()?;
                moved |= self.read()?;
            } else if self.slots.is_idle() {
                return Ok(());
            }
            if !moved && woken == 0 {
                self.wait(stopping).await?;
                turn = Turn::default();
            } else if !moved || turn.has_been_long() {
                // Not moved, though woken: what they wait for may need the runtime to have its turn.
                tokio::task::yield_now().await;
                turn = Turn::default();
            }
        }
    }

    /// Polls each future that was woken, once.
    fn finish_woken(&mut self, woken: usize) -> Result<bool> {
        let mut finished = false;
        for _ in 0..woken {
            if let Some((ticket, outcome)) = self.slots.poll_woken() {
                self.alone = false;
                self.conclude(ticket, outcome)?;
                finished = true;
            }
        }
        Ok(finished)
    }

    /// Puts events whose pause is over back into their lanes.
    fn resume(&mut self) {
        if self.paused.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(index) = self.paused.iter().position(|paused| paused.due <= now) {
            let Paused { lane, place, .. } = self.paused.swap_remove(index);
            self.lanes.put_back(lane, Work::Deferred(place));
        }
    }

    /// Begins with lanes whose turn it is.
    fn start_ready(&mut self) -> Result<bool> {
        let mut started = false;
        while !self.alone && self.slots.has_room() && self.lanes.has_ready() && !self.is_held() {
            let Some((lane, work)) = self.lanes.next() else { break };
            started = true;
            match work {
                Work::Held(delivery) => self.start(Some(lane), delivery)?,
                Work::Deferred(place) => self.start_deferred(lane, place)?,
            }
        }
        Ok(started)
    }

    fn start_deferred(&mut self, lane: LaneId, place: Place) -> Result<()> {
        if place.origin.acks.settling().is_some() {
            return self.start_recalled(lane, &place);
        }
        let record = match self.subscription.fetch(&place.origin.acks, place.offset)? {
            Fetched::Record(record) => record,
            Fetched::Lost(_) => {
                self.lanes.finish(lane);
                return Ok(());
            }
            Fetched::Unknown(due) => {
                self.paused.push(Paused { lane, place, due });
                return Ok(());
            }
        };
        let Place { failed, .. } = place;
        let attempt = match failed.map(|failed| *failed) {
            None => Attempt::first(),
            Some(Failed { attempt, reason, is_given_up: true }) => {
                let key = record.key.clone();
                return self.park(
                    Some(lane),
                    &key,
                    GivenUp { record: Box::new(record), attempts: attempt, reason },
                );
            }
            Some(Failed { attempt, reason, .. }) => {
                Attempt { number: attempt.saturating_add(1), refusal: Some(reason) }
            }
        };
        let attempts_max = self.subscription.core.hearing.retries.attempts_max;
        match take_event(&attempt, attempts_max, record.codec, &record.payload) {
            Ok(event) => self.start(Some(lane), record.into_delivery(event, attempt.number)),
            Err(reason) => {
                let key = record.key.clone();
                if attempt.number == 1 {
                    let core = Arc::clone(&self.subscription.core);
                    self.subscription.breaker.fail(&core, &self.subscription.name, &reason);
                }
                self.park(
                    Some(lane),
                    &key,
                    GivenUp { record: Box::new(record), attempts: attempt.number, reason },
                )
            }
        }
    }

    /// Whether nothing is to begin now, for too many have failed.
    #[inline]
    fn is_held(&mut self) -> bool {
        self.subscription.breaker.is_armed() && self.subscription.breaker.until().is_some()
    }

    /// Gives a delivery to the application. Its key has a lane, or is idle.
    #[inline]
    fn start(&mut self, lane: Option<LaneId>, mut delivery: Delivery<P>) -> Result<()> {
        if self.is_parked(&delivery.key) {
            return self.park_successor(lane, &delivery);
        }
        let (origin, offset, key) = (Arc::clone(&delivery.origin), delivery.offset, delivery.key.clone());
        if let Some(beyond) = origin.acks.beyond() {
            delivery.attempt = delivery.attempt.max(beyond.begin(offset, origin.acks.cursor()));
        }
        let attempt = delivery.attempt;
        let times_full = self.subscription.core.outlet.times_full();
        let attempts_max = self.subscription.core.hearing.retries.attempts_max;
        if attempt > attempts_max && origin.acks.settling().is_none() {
            let reason = format!("the process ended {} times before it was acknowledged", attempt - 1);
            return self.fail(lane, key, &Ticket { lane: None, origin, offset, attempt, times_full }, reason);
        }
        let future = (self.handler)(delivery);
        let (lanes, mut kept) = (&mut self.lanes, Some(key));
        let note = || Ticket {
            lane: Some(lane.unwrap_or_else(|| lanes.occupy(kept.take().flatten()))),
            origin: Arc::clone(&origin),
            offset,
            attempt,
            times_full,
        };
        let Some(outcome) = self.slots.start(future, note) else {
            // After many that have failed, one at a time.
            self.alone |= self.subscription.breaker.is_open();
            return Ok(());
        };
        self.alone = false;
        match failure(&origin, offset, outcome) {
            None => self.succeed(lane, &kept.flatten(), &origin),
            Some(reason) => {
                let ticket = Ticket { lane: None, origin, offset, attempt, times_full };
                self.fail(lane, kept.flatten(), &ticket, reason)
            }
        }
    }

    /// A delivery is dealt with.
    #[inline]
    fn succeed(&mut self, lane: Option<LaneId>, key: &Key, origin: &Origin) -> Result<()> {
        if self.subscription.breaker.is_armed() {
            self.subscription.breaker.succeed();
        }
        if origin.acks.settling().is_some() && self.settled(lane, key)? {
            return Ok(());
        }
        self.leave(lane);
        Ok(())
    }

    /// A delivery that was at work has come to its end.
    fn conclude(&mut self, ticket: Ticket, outcome: Result<(), E>) -> Result<()> {
        let Some(lane) = ticket.lane else { return Ok(()) };
        match failure(&ticket.origin, ticket.offset, outcome) {
            None => {
                let is_letter = ticket.origin.acks.settling().is_some();
                let key = if is_letter { self.lanes.key(lane).clone() } else { None };
                self.succeed(Some(lane), &key, &ticket.origin)
            }
            Some(reason) => {
                let key = self.lanes.key(lane).clone();
                self.fail(Some(lane), key, &ticket, reason)
            }
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self, stopping: bool) -> Result<()> {
        let held = if self.is_held() { self.subscription.breaker.until() } else { None };
        let reads =
            !(stopping || self.alone || held.is_some() || self.lanes.is_full() || !self.waiting.is_empty());
        let paused = self.paused.iter().map(|paused| paused.due).min();
        let held_back = self.subscription.faults.as_ref().and_then(|faults| faults.due());
        let due = paused.into_iter().chain(held_back).chain(held).min().filter(|_| !stopping);
        let obeys = !stopping && !self.alone;
        let Self { subscription, slots, .. } = self;
        let shutdown = subscription.core.shutdown.clone();
        let core = Arc::clone(&subscription.core);
        let desk = Arc::clone(subscription.reading.desk());
        tokio::select! {
            biased;
            () = poll_fn(|context| slots.poll_wake(context)) => Ok(()),
            slept = subscription.sleep(), if reads => slept,
            () = shutdown.cancelled(), if !stopping => {
                core.stop_now();
                Ok(())
            }
            () = desk.wait(), if obeys => Ok(()),
            () = sleep_until(due) => Ok(()),
        }
    }
}
