//! Hearing what other processes say: durable, ordered, from the mapped journals.
//!
//! A subscription reads the journals of the instances that it names, also while they are down, and waits for
//! those that have never run. Each journal is delivered in its order; several are merged by time.
//! Delivery is at least once: what was not acknowledged comes again after a restart.

mod begin;
mod breaker;
mod dead_letter;
mod delivery;
mod discovery;
mod faults;
mod journals;
mod keyed;
mod latch;
mod look;
mod parking;
mod pause;
mod recall;
mod record;
mod selector;
mod source;
mod unheard;

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use journal::{Level, Offset};
use tokio::time::Instant;

pub use self::begin::Subscribe;
pub(crate) use self::breaker::Breaker;
pub use self::dead_letter::{DeadLetter, PayloadKept};
pub(crate) use self::dead_letter::{Parked, identity};
pub use self::delivery::{Delivery, Heard, Missing};
pub(crate) use self::keyed::{checkpoint_name as parked_checkpoint, parked_keys};
pub use self::selector::Sources;

use self::discovery::Discovery;
use self::faults::Faults;
use self::journals::Overdue;
use self::look::{Trouble, take_event};
use self::parking::Room;
use self::record::OwnedRecord;
pub(crate) use self::selector::Selector;
use self::source::Source;
use crate::acks::{Acks, Origin, Refused};
use crate::core::{Core, Reading};
use crate::error::{Error, Result};
use crate::event::Payload;
use crate::outlet::Ear;
use crate::waiting::Waiting;

/// After so many deliveries in a row it is time to look at the clock,
const LOOK_EVERY: u32 = 64;
/// and after so long a turn other tasks of the process get theirs.
const TURN: Duration = Duration::from_micros(200);
/// Nobody tells a spinning subscription that a journal is another one.
const COMPARE_EVERY: Duration = Duration::from_secs(1);

/// A named, durable reader of one or more topics.
pub struct Subscription<P> {
    core: Arc<Core>,
    name: Arc<str>,
    selectors: Vec<Selector>,
    sources: Vec<Source>,
    journals: BTreeSet<String>,
    discovery: Discovery,
    overdue: Overdue,
    level: Level,
    strict: bool,
    spin: bool,
    /// Deliveries may be acknowledged in any order.
    any_order: bool,
    /// Whoever takes a gap of what was heard acknowledges it.
    keeps_diverged: bool,
    /// Its deliveries are taken by key: what is given up, refused or ended over is the keys' affair.
    keyed: bool,
    faults: Option<Box<Faults>>,
    turn: Turn,
    /// When a spinning subscription last compared what it reads with what lies at its path.
    compared: Instant,
    ear: Ear,
    reading: Reading,
    /// Refused deliveries that wait to be repeated, where those behind them need not wait.
    again: Vec<Again>,
    /// Acknowledgements of dead letters that are delivered once more, by journal.
    recalled: Vec<Arc<Acks>>,
    ready: Option<Delivery<P>>,
    missing: Option<Missing>,
    given_up: Option<GivenUp>,
    breaker: Breaker,
    /// An event that is given up, and not parked yet for want of room. Where deliveries are taken by key, it is the
    /// key that waits.
    unparked: Option<GivenUp>,
    room: Room,
    /// Nothing more can be read of a journal before an old delivery is done.
    stuck: Option<Waiting>,
    skipped: Option<(Arc<Origin>, Offset)>,
    trouble: Option<Trouble>,
    /// None of its publishers has ever run.
    unheard: Option<Waiting>,
}

/// A refused delivery, to be repeated by itself.
struct Again {
    acks: Arc<Acks>,
    refused: Refused,
    due: Instant,
}

/// An event that nobody can deal with.
struct GivenUp {
    record: Box<OwnedRecord>,
    attempts: u32,
    reason: String,
}

/// How long deliveries have gone on without a pause.
#[derive(Debug)]
struct Turn {
    delivered: u32,
    began: Instant,
}

impl Default for Turn {
    fn default() -> Self {
        Self { delivered: 0, began: Instant::now() }
    }
}

impl Turn {
    /// Counts a delivery, and says whether others are to have their turn.
    #[inline]
    fn is_over(&mut self) -> bool {
        self.delivered = self.delivered.wrapping_add(1);
        self.delivered.is_multiple_of(LOOK_EVERY) && self.has_been_long()
    }

    fn has_been_long(&self) -> bool {
        self.began.elapsed() >= TURN
    }
}

/// What looking at the sources gave. What belongs to it lies in the subscription: handing large values
/// through many layers costs more than the rest of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// `ready` holds a delivery.
    Delivery,
    /// `missing` holds a gap.
    Missing,
    /// An event was given up; look again.
    Parked,
    /// `given_up` holds one that a key is to be parked for.
    GivenUp,
    /// `skipped` holds the place of an event that nobody has a place for now.
    Skipped,
    Nothing,
}

impl<P: Payload> Subscription<P> {
    /// The subscription's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next delivery, waiting for it; `None` once the process is to stop.
    ///
    /// A gap is logged, counted and acknowledged, or ends a strict subscription. To be called in a loop; may be
    /// dropped while it waits.
    ///
    /// # Errors
    /// [`Error::Gap`] if it is strict. A journal that cannot be read is waited for, and the process says so, while the
    /// others go on.
    #[inline]
    pub async fn next(&mut self) -> Result<Option<Delivery<P>>> {
        loop {
            match self.wait().await? {
                Some(Look::Delivery) => return Ok(self.ready.take()),
                Some(Look::Missing) => self.miss()?,
                Some(Look::Parked | Look::GivenUp | Look::Skipped | Look::Nothing) => {}
                None => return Ok(None),
            }
        }
    }

    /// Nobody takes the gap: it is logged, or ends a strict subscription.
    #[cold]
    fn miss(&mut self) -> Result<()> {
        let Some(Missing { journal, gap }) = self.missing.take() else { return Ok(()) };
        if self.strict {
            let (subscription, journal) = (self.name.to_string(), journal.to_string());
            return Err(Error::Gap { subscription, journal, gap });
        }
        let (subscription, journal, reason) = (&*self.name, &*journal, gap.reason);
        tracing::error!(subscription, journal, from = gap.from.0, to = gap.to.0, %reason, "records are missing");
        Ok(())
    }

    /// The next delivery or gap, waiting for it; `None` once the process is to stop.
    ///
    /// # Errors
    /// [`Error::Journal`] if this process cannot keep how far it has come. A journal that cannot be read is waited for.
    pub async fn hear(&mut self) -> Result<Option<Heard<P>>> {
        loop {
            match self.wait().await? {
                Some(Look::Delivery) => return Ok(self.ready.take().map(Heard::Delivery)),
                Some(Look::Missing) => return Ok(self.missing.take().map(Heard::Missing)),
                Some(Look::Parked | Look::GivenUp | Look::Skipped | Look::Nothing) => {}
                None => return Ok(None),
            }
        }
    }

    /// What is there right now, without waiting.
    ///
    /// # Errors
    /// Those of [`Self::hear`].
    pub fn try_hear(&mut self) -> Result<Option<Heard<P>>> {
        loop {
            match self.look()? {
                Look::Delivery => return Ok(self.ready.take().map(Heard::Delivery)),
                Look::Missing => return Ok(self.missing.take().map(Heard::Missing)),
                Look::Parked | Look::GivenUp | Look::Skipped => {}
                Look::Nothing => return Ok(None),
            }
        }
    }

    /// Acknowledges that a journal has lost what was heard of it.
    ///
    /// # Errors
    /// Those of [`Self::hear`].
    pub(crate) fn pass_diverged(&mut self, missing: &Missing) -> Result<()> {
        let index = self.sources.iter().position(|source| source.journal == missing.journal);
        index.map_or(Ok(()), |index| self.diverge(index))
    }

    /// Waits until there is something; `None` once the process is to stop.
    #[inline]
    async fn wait(&mut self) -> Result<Option<Look>> {
        loop {
            if self.core.is_stopping() {
                return Ok(None);
            }
            if self.turn.is_over() {
                // Before looking: a caller that gives up meanwhile leaves nothing behind that was found.
                tokio::task::yield_now().await;
                self.turn = Turn::default();
            }
            let look = self.look()?;
            if look != Look::Nothing {
                return Ok(Some(look));
            }
            self.sleep().await?;
            self.turn = Turn::default();
        }
    }

    /// Waits until it is worth looking again.
    async fn sleep(&mut self) -> Result<()> {
        self.tell_of_publishers();
        let held = self.held_until();
        if self.spin && held.is_none() && self.stuck.is_none() {
            return self.spin().await;
        }
        let faults = self.faults.as_ref().and_then(|faults| faults.due());
        let again = self.again.iter().map(|again| again.due).min();
        let repeated = self.sources.iter().filter_map(Source::repeat_due).min();
        let due = held.or_else(|| [faults, again, repeated].into_iter().flatten().min());
        let stopping = self.core.shutdown.clone();
        let desk = Arc::clone(self.reading.desk());
        let appeared = tokio::select! {
            biased;
            appeared = poll_fn(|context| self.poll_wake(context)), if held.is_none() => appeared,
            () = stopping.cancelled() => {
                // The flag that deliveries look at follows a little later, from another thread.
                self.core.stop_now();
                false
            }
            () = desk.wait() => false,
            () = sleep_until(due) => false,
        };
        if appeared { self.look_around() } else { Ok(()) }
    }

    /// Ready with whether a new instance may have appeared.
    fn poll_wake(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if self.poll_appeared(context).is_ready() {
            return Poll::Ready(true);
        }
        // All are polled, so that each is waited for.
        let mut woken = false;
        for source in &mut self.sources {
            woken |= match source.too_far().filter(|_| !self.keyed) {
                Some((acks, offset)) => acks.beyond().is_none_or(|beyond| beyond.poll_reach(offset, context)),
                None => source.is_woken(context),
            };
        }
        if woken { Poll::Ready(false) } else { Poll::Pending }
    }

    /// Looks at the marks over and over; lets other tasks in now and then.
    async fn spin(&mut self) -> Result<()> {
        const LOOKS: u32 = 2_000;
        for _ in 0..LOOKS {
            if self.sources.iter_mut().any(Source::seems_to_have_more) {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        tokio::task::yield_now().await;
        if self.compared.elapsed() >= COMPARE_EVERY {
            self.compared = Instant::now();
            self.sources.iter_mut().for_each(Source::suspect);
        }
        // What spinning does not see: new instances, and journals that are not there yet.
        let appeared = poll_fn(|context| Poll::Ready(self.poll_appeared(context).is_ready())).await;
        if appeared { self.look_around() } else { Ok(()) }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
