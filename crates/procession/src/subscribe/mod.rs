//! Hearing what other processes say: durable, ordered, from the mapped journals.
//!
//! A subscription reads the journals of the instances that it names, also while they are down, and waits for
//! those that have never run. Each journal is delivered in its order; several are merged by time.
//! Delivery is at least once: what was not acknowledged comes again after a restart.

mod dead_letter;
mod delivery;
mod discovery;
mod latch;
mod selector;
mod source;

use std::collections::BTreeSet;
use std::future::{Future, IntoFuture, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use journal::{Cause, Codec, Gap, Level, Start};
use tokio::time::Instant;

pub use self::dead_letter::DeadLetter;
pub use self::delivery::{Delivery, Heard, Missing};
pub use self::selector::Sources;

use self::discovery::Discovery;
use self::selector::Selector;
use self::source::{Attempt, Found, Held, OwnedRecord, Source};
use crate::core::{Core, Reading};
use crate::error::{Error, Result};
use crate::event::Payload;
use crate::names;
use crate::outlet::Ear;

/// After so many deliveries in a row it is time to look at the clock,
const LOOK_EVERY: u32 = 64;
/// and after so long a turn other tasks of the process get theirs.
const TURN: Duration = Duration::from_micros(200);

/// A subscription being described; `.await` it to begin.
#[must_use = "await it to begin"]
pub struct Subscribe<P> {
    core: Arc<Core>,
    patterns: Vec<String>,
    name: Option<String>,
    start: Start,
    level: Level,
    strict: bool,
    spin: bool,
    payload: PhantomData<fn() -> P>,
}

impl<P: Payload> Subscribe<P> {
    pub(crate) fn new(core: Arc<Core>, sources: impl Sources) -> Self {
        Self {
            core,
            patterns: sources.patterns(),
            name: None,
            start: Start::Beginning,
            level: Level::Committed,
            strict: false,
            spin: false,
            payload: PhantomData,
        }
    }

    /// Names the subscription: its cursors are kept under this name. Without it, one source gives the name:
    /// `broadcaster.comment`.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Where a new subscription begins; one that exists goes on where it was. The beginning by default.
    pub fn from(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// Delivers only what is safe from power loss at the publisher.
    pub fn durable(self) -> Self {
        Self { level: Level::Durable, ..self }
    }

    /// Ends with an error at a gap, instead of logging it and going on.
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Spins instead of sleeping when it has caught up: lowest latency, for a whole core.
    pub fn spinning(self) -> Self {
        Self { spin: true, ..self }
    }

    fn begin(self) -> Result<Subscription<P>> {
        let refuse = |name: &str, reason: String| Error::Subscription { name: name.to_owned(), reason };
        let mut selectors = Vec::new();
        for pattern in &self.patterns {
            let selector = Selector::parse(pattern, P::TOPIC);
            selectors
                .push(selector.map_err(|reason| refuse(self.name.as_deref().unwrap_or(pattern), reason))?);
        }
        let name = match (self.name, selectors.as_slice()) {
            (Some(name), _) => name,
            (None, [only]) => only.default_name(),
            (None, _) => {
                return Err(refuse("", "give it a name with `.named(…)`: it has not one source".into()));
            }
        };
        names::check_subscription(&name)?;
        let reading = self.core.begin_reading(&name)?;
        let known = self.core.known_journals(&name)?;
        let mut subscription = Subscription {
            discovery: Discovery::watch(&self.core.folders.state, &self.core.folders.runtime)?,
            name: name.into(),
            ear: self.core.outlet.listen(),
            core: self.core,
            selectors,
            sources: Vec::new(),
            journals: BTreeSet::new(),
            level: self.level,
            strict: self.strict,
            spin: self.spin,
            turn: Turn::default(),
            reading,
            ready: None,
            missing: None,
            trouble: None,
        };
        // A journal that appears while the subscription exists is read from its beginning.
        let start = if known { Start::Beginning } else { self.start };
        subscription.discover(start)?;
        Ok(subscription)
    }
}

impl<P: Payload + Send + 'static> IntoFuture for Subscribe<P> {
    type Output = Result<Subscription<P>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let begun = self.begin();
        Box::pin(async { begun })
    }
}

/// A named, durable reader of one or more topics.
pub struct Subscription<P> {
    core: Arc<Core>,
    name: Arc<str>,
    selectors: Vec<Selector>,
    sources: Vec<Source>,
    journals: BTreeSet<String>,
    discovery: Discovery,
    level: Level,
    strict: bool,
    spin: bool,
    turn: Turn,
    ear: Ear,
    reading: Reading,
    ready: Option<Delivery<P>>,
    missing: Option<Missing>,
    trouble: Option<Trouble>,
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
        self.delivered.is_multiple_of(LOOK_EVERY) && self.began.elapsed() >= TURN
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
    /// [`Error::Gap`] if it is strict; [`Error::Journal`] for journals that cannot be read.
    #[inline]
    pub async fn next(&mut self) -> Result<Option<Delivery<P>>> {
        loop {
            match self.wait().await? {
                Some(Look::Delivery) => return Ok(self.ready.take()),
                Some(Look::Missing) => self.miss()?,
                Some(Look::Parked | Look::Nothing) => {}
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
    /// [`Error::Journal`] for journals that cannot be read.
    pub async fn hear(&mut self) -> Result<Option<Heard<P>>> {
        loop {
            match self.wait().await? {
                Some(Look::Delivery) => return Ok(self.ready.take().map(Heard::Delivery)),
                Some(Look::Missing) => return Ok(self.missing.take().map(Heard::Missing)),
                Some(Look::Parked | Look::Nothing) => {}
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
                Look::Parked => {}
                Look::Nothing => return Ok(None),
            }
        }
    }

    /// Waits until there is something; `None` once the process is to stop.
    #[inline]
    async fn wait(&mut self) -> Result<Option<Look>> {
        loop {
            if self.core.is_stopping() {
                return Ok(None);
            }
            if self.ready.is_some() {
                // Left by a caller that gave up while other tasks had their turn.
                return Ok(Some(Look::Delivery));
            }
            let look = self.look()?;
            if look == Look::Nothing {
                self.sleep().await?;
                self.turn = Turn::default();
                continue;
            }
            if self.turn.is_over() {
                tokio::task::yield_now().await;
                self.turn = Turn::default();
            }
            return Ok(Some(look));
        }
    }

    #[inline]
    fn look(&mut self) -> Result<Look> {
        let retries = self.core.retries;
        for source in &mut self.sources {
            if let Some(acks) = source.open(&self.name)? {
                self.reading.add(acks);
            }
            source.repeat(|attempt| retries.pause(attempt))?;
        }
        match self.sources.len() {
            0 => Ok(Look::Nothing),
            1 => self.look_at_one(),
            _ => self.merge(),
        }
    }

    /// One journal: the event is decoded where it lies.
    #[inline]
    fn look_at_one(&mut self) -> Result<Look> {
        let Self { core, selectors, sources, ear, ready, trouble, .. } = self;
        let found = sources[0].find(
            |topic| takes_topic(selectors, topic),
            |found| {
                let mut found = match found {
                    Ok(found) => found,
                    Err(gap) => {
                        *trouble = Some(Trouble::Gap(gap));
                        return false;
                    }
                };
                let attempt = found.count();
                let record = &found.record;
                ear.hear(record.time);
                match take_event(&attempt, core.retries.attempts_max, record.codec, record.payload) {
                    Ok(event) => *ready = Some(deliver(event, &found, attempt.number)),
                    Err(reason) => {
                        *trouble = Some(Trouble::GivenUp(found.to_owned_record(), attempt.number, reason));
                    }
                }
                trouble.is_none()
            },
        )?;
        match found {
            None => Ok(Look::Nothing),
            Some(true) => Ok(Look::Delivery),
            Some(false) => self.not_delivered(),
        }
    }

    #[cold]
    fn not_delivered(&mut self) -> Result<Look> {
        match self.trouble.take() {
            None => Ok(Look::Parked),
            Some(Trouble::Gap(gap)) => Ok(self.miss_at(0, gap)),
            Some(Trouble::GivenUp(record, attempts, reason)) => self.park(0, &record, attempts, reason),
        }
    }

    /// Several journals: of what is there, the earliest by time, then by the journals' names.
    fn merge(&mut self) -> Result<Look> {
        let Self { core, selectors, sources, ear, .. } = self;
        let mut first: Option<(journal::Time, usize)> = None;
        for (index, source) in sources.iter_mut().enumerate() {
            if let Some(time) = source.peek(|topic| takes_topic(selectors, topic))?
                && first.is_none_or(|first| (time, index) < first)
            {
                first = Some((time, index));
            }
        }
        let Some((_, index)) = first else { return Ok(Look::Nothing) };
        let Some((held, attempt)) = sources[index].take_held() else { return Ok(Look::Nothing) };
        let record = match held {
            Held::Gap(gap) => return Ok(self.miss_at(index, gap)),
            Held::Record(record) => record,
        };
        ear.hear(record.time);
        match take_event(&attempt, core.retries.attempts_max, record.codec, &record.payload) {
            Err(reason) => self.park(index, &record, attempt.number, reason),
            Ok(event) => {
                let OwnedRecord { offset, epoch, time, origin, key, cause, .. } = *record;
                let attempt = attempt.number;
                self.ready = Some(Delivery { event, offset, epoch, attempt, time, key, cause, origin });
                Ok(Look::Delivery)
            }
        }
    }

    fn miss_at(&mut self, index: usize, gap: Gap) -> Look {
        let source = &mut self.sources[index];
        source.pass_gap();
        self.missing = Some(Missing { journal: Arc::clone(&source.journal), gap });
        Look::Missing
    }

    /// Gives an event up: it goes to the dead-letter topic and is acknowledged, in one.
    fn park(&mut self, index: usize, record: &OwnedRecord, attempts: u32, reason: String) -> Result<Look> {
        let Some(acks) = self.sources[index].acks() else { return Ok(Look::Nothing) };
        let journal = Arc::clone(&self.sources[index].journal);
        tracing::error!(
            subscription = &*self.name,
            journal = &*journal,
            offset = record.offset.0,
            topic = &*record.origin.topic,
            attempts,
            reason,
            "an event is parked in the dead-letter topic"
        );
        let letter = DeadLetter::new(&self.name, &journal, record, attempts, reason);
        // Should an earlier delivery still be open, the letter may come twice after a crash: better than not at all.
        let cause = Cause { journal: &journal, offset: record.offset };
        match acks.due(&[record.offset]) {
            Ok(due) => drop(self.core.outlet.publish_acking(&letter, &due, cause)?),
            Err(Error::OutOfOrder { .. }) => {
                self.core.outlet.publish_caused(&letter, cause)?;
                acks.acknowledge(record.offset);
            }
            Err(error) => return Err(error),
        }
        acks.count_parked();
        Ok(Look::Parked)
    }

    /// Waits until it is worth looking again.
    async fn sleep(&mut self) -> Result<()> {
        if self.spin {
            return self.spin().await;
        }
        let due = self.sources.iter().filter_map(Source::repeat_due).min();
        let stopping = self.core.shutdown.clone();
        let appeared = tokio::select! {
            biased;
            appeared = poll_fn(|context| self.poll_wake(context)) => appeared,
            () = stopping.cancelled() => {
                // The flag that deliveries look at follows a little later, from another thread.
                self.core.stop_now();
                false
            }
            () = sleep_until(due) => false,
        };
        if appeared { self.look_around() } else { Ok(()) }
    }

    /// Ready with whether a new instance may have appeared.
    fn poll_wake(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if self.discovery.poll_change(context).is_ready() {
            return Poll::Ready(true);
        }
        // All are polled, so that each is waited for.
        let mut woken = false;
        for source in &mut self.sources {
            woken |= source.is_woken(context);
        }
        if woken { Poll::Ready(false) } else { Poll::Pending }
    }

    /// Looks at the marks over and over; lets other tasks in now and then.
    async fn spin(&mut self) -> Result<()> {
        const LOOKS: u32 = 2_000;
        for _ in 0..LOOKS {
            if self.sources.iter().any(Source::has_more) {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        tokio::task::yield_now().await;
        // What spinning does not see: new instances, and journals that are not there yet.
        let appeared = poll_fn(|context| Poll::Ready(self.discovery.poll_change(context).is_ready())).await;
        if appeared { self.look_around() } else { Ok(()) }
    }

    /// A folder or a socket has appeared.
    fn look_around(&mut self) -> Result<()> {
        self.sources.iter_mut().for_each(Source::retry);
        self.discover(Start::Beginning)
    }

    /// Takes in the journals of instances that are named and not read yet.
    fn discover(&mut self, start: Start) -> Result<()> {
        let mut instances = self.discovery.instances();
        // A process that has never run is waited for under its own name.
        instances.extend(self.selectors.iter().filter_map(|selector| selector.process()).map(str::to_owned));
        for instance in instances {
            let own = self.core.instance.to_string();
            let wanted = self.selectors.iter().any(|selector| selector.takes_instance(&instance, &own));
            if !wanted || !self.journals.insert(instance.clone()) {
                continue;
            }
            let cursor = self.core.cursors.claim(&self.name, &instance)?;
            let folder = self.core.folders.state.join(&instance);
            let socket = self.core.folders.runtime.join(format!("{instance}.sock"));
            let mut source = Source::new(&instance, folder, socket, cursor, start, self.level);
            if let Some(acks) = source.open(&self.name)? {
                self.reading.add(acks);
            }
            self.sources.push(source);
        }
        self.sources.sort_by(|a, b| a.journal.cmp(&b.journal));
        Ok(())
    }
}

/// Why a record is not delivered.
enum Trouble {
    Gap(Gap),
    GivenUp(OwnedRecord, u32, String),
}

#[inline]
fn takes_topic(selectors: &[Selector], topic: &str) -> bool {
    selectors.iter().any(|selector| selector.takes_topic(topic))
}

/// The event of a record, or why it is given up.
#[inline]
fn take_event<P: Payload>(
    attempt: &Attempt,
    attempts_max: u32,
    codec: Codec,
    bytes: &[u8],
) -> Result<P, String> {
    if attempt.number > attempts_max {
        let died = || format!("the process ended {attempts_max} times before it was acknowledged");
        return Err(attempt.refusal.clone().unwrap_or_else(died));
    }
    P::take(codec, bytes).map_err(|reason| format!("it cannot be decoded: {reason}"))
}

#[inline]
fn deliver<P>(event: P, found: &Found<'_>, attempt: u32) -> Delivery<P> {
    let record = &found.record;
    Delivery {
        event,
        offset: record.offset,
        epoch: record.epoch,
        time: record.time,
        key: record.key.map(Into::into),
        cause: found.cause(),
        attempt,
        origin: Arc::clone(found.origin),
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
