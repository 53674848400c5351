//! The process's own journal: everything it says goes through here.

mod letters;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal::{
    Ack, Batch as JournalBatch, Cause, Checkpoint, Codec, Entry, Offset, SyncPolicy, Time, Watch, Writer,
};
use serde::Serialize;

use crate::acks::{Acks, Due};
use crate::beyond::Stored;
use crate::codec;
use crate::error::{Error, Result};
use crate::event::{Event, Message};
use crate::letters::{Register, Settled};
use crate::names;
use crate::subscribe::Delivery;
use crate::waiting::{Waiting, Waits};

/// Most checkpoints that end in one batch: it must fit into the smallest segment.
const REMOVED_MAX: usize = 32;

/// The one way to the writer, shared by all of a process's tasks and threads.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// Locked for the time of one append: tasks on several threads may publish.
    inner: Mutex<Inner>,
    pub(crate) watch: Watch,
    /// Publishing waits until it is durable.
    always: bool,
    /// How often there was no room for something.
    times_full: AtomicU64,
    waits: Waits,
    /// Which letters are open.
    pub(crate) letters: Arc<Register>,
    /// There is no room. A lock, because whoever says something again, on any thread, ends it.
    full: Arc<Mutex<Option<Waiting>>>,
}

#[derive(Debug)]
struct Inner {
    writer: Writer,
    /// Payloads are encoded here: kept, so that publishing allocates nothing.
    scratch: Vec<u8>,
    /// The topic that was checked last: most processes say the same thing again.
    checked: String,
    /// What is said is later than what any of them has heard.
    ears: Vec<Ear>,
}

/// The latest time that a subscription has heard. It alone moves it, so moving it is a plain store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ear(Arc<AtomicU64>);

impl Ear {
    #[inline]
    pub(crate) fn hear(&self, time: Time) {
        if self.0.load(Ordering::Relaxed) < time.0 {
            self.0.store(time.0, Ordering::Relaxed);
        }
    }
}

/// One record to be said.
struct Said<'a> {
    topic: &'a str,
    key: Option<&'a [u8]>,
    cause: Option<Cause<'a>>,
    codec: Codec,
}

impl Outlet {
    pub(crate) fn new(writer: Writer, sync: SyncPolicy, waits: &Waits) -> Self {
        let watch = writer.watch();
        let inner =
            Mutex::new(Inner { writer, scratch: Vec::new(), checked: String::new(), ears: Vec::new() });
        let (always, times_full) = (sync == SyncPolicy::Always, AtomicU64::new(0));
        let (waits, letters, full) = (waits.clone(), Arc::default(), Arc::default());
        Self { inner, watch, always, times_full, waits, letters, full }
    }

    /// How often there was no room for something: whatever has failed while this grew may have failed for that.
    #[inline]
    pub(crate) fn times_full(&self) -> u64 {
        self.times_full.load(Ordering::Relaxed)
    }

    #[cold]
    fn note_full(&self, error: &journal::Error) {
        if matches!(error, journal::Error::Full { .. }) {
            self.times_full.fetch_add(1, Ordering::Relaxed);
            self.wait_for_room(error);
        }
    }

    /// For a subscription that begins.
    pub(crate) fn listen(&self) -> Ear {
        let ear = Ear::default();
        let mut inner = self.lock();
        inner.ears.retain(|ear| Arc::strong_count(&ear.0) > 1);
        inner.ears.push(ear.clone());
        ear
    }

    #[inline]
    pub(crate) fn publish<E: Event>(&self, event: &E) -> Result<Offset> {
        let offset = self.say(event, None, None)?;
        self.settle(offset.plus(1))?;
        Ok(offset)
    }

    pub(crate) fn publish_acking<E: Event>(
        &self,
        event: &E,
        due: &Due<'_>,
        cause: Cause<'_>,
    ) -> Result<Offset> {
        let offset = self.say(event, Some(cause), Some(due)).inspect_err(|error| forgive(error, due))?;
        self.settle(offset.plus(1))?;
        Ok(offset)
    }

    /// Appends with an acknowledgement, without waiting: for [`Self::settled`] to follow. That there was no room is not
    /// taken back from the delivery's attempts: it is still being dealt with.
    pub(crate) fn say_acking<E: Event>(&self, event: &E, due: &Due<'_>, cause: Cause<'_>) -> Result<Offset> {
        self.say(event, Some(cause), Some(due))
    }

    #[inline]
    fn say<E: Event>(&self, event: &E, cause: Option<Cause<'_>>, due: Option<&Due<'_>>) -> Result<Offset> {
        let key = event.key();
        let mut inner = self.lock();
        let Inner { writer, scratch, checked, ears } = &mut *inner;
        check_topic(checked, E::TOPIC)?;
        scratch.clear();
        codec::encode(E::CODEC, event, scratch)
            .map_err(|reason| Error::Encode { topic: E::TOPIC.to_owned(), reason })?;
        let said = Said { topic: E::TOPIC, key: key.as_deref(), cause, codec: E::CODEC };
        let entry = said.entry(scratch);
        observe(writer, ears);
        let Some(due) = due else {
            return Ok(writer.append(&entry).inspect_err(|error| self.note_full(error))?);
        };
        let stored = due.store()?;
        let checkpoints: Vec<Checkpoint<'_>> = stored.checkpoints().collect();
        let acks = stored.position.map(|position| due.ack(position));
        let batch = JournalBatch {
            entries: std::slice::from_ref(&entry),
            acks: acks.as_slice(),
            checkpoints: &checkpoints,
        };
        let said = if stored.settled.is_empty() {
            writer.commit(&batch)
        } else {
            let entries: Vec<Entry<'_>> = std::iter::once(entry).chain(stored.entries()).collect();
            let said = writer.commit(&JournalBatch { entries: &entries, ..batch });
            said.inspect(|said| self.note_letters(&entries, said.start))
        };
        let said = said.inspect_err(|error| self.note_full(error))?;
        // With the writer locked: what is stored for another delivery tells of this one, too.
        due.acknowledge();
        Ok(said.start)
    }

    fn commit(&self, batch: &Batch<'_>) -> Result<Range<Offset>> {
        let due = batch.due()?;
        let own = batch.checkpoints.iter().map(|(name, value)| Checkpoint { name, value });
        let mut inner = self.lock();
        let Inner { writer, ears, .. } = &mut *inner;
        observe(writer, ears);
        let stored = due.iter().map(Due::store).collect::<Result<Vec<_>>>()?;
        let given_up = self.given_up(&batch.given_up)?;
        let entries: Vec<Entry<'_>> = batch
            .messages
            .iter()
            .map(entry_of)
            .chain(stored.iter().flat_map(Stored::entries))
            .chain(given_up.iter().map(|payload| Settled::entry(payload)))
            .collect();
        let acks: Vec<Ack<'_>> = due
            .iter()
            .zip(&stored)
            .filter_map(|(due, stored)| stored.position.map(|position| due.ack(position)))
            .collect();
        let checkpoints: Vec<Checkpoint<'_>> =
            own.chain(stored.iter().flat_map(Stored::checkpoints)).collect();
        let said = writer.commit(&JournalBatch { entries: &entries, acks: &acks, checkpoints: &checkpoints });
        let said = said.inspect_err(|error| self.note_full(error));
        let offsets =
            said.map_err(Error::from).inspect_err(|error| due.iter().for_each(|due| forgive(error, due)))?;
        self.note_letters(&entries, offsets.start);
        // With the writer locked: see `say`.
        due.iter().for_each(Due::acknowledge);
        drop(inner);
        self.settle(offsets.end)?;
        Ok(offsets)
    }

    pub(crate) fn message(&self, message: &Message<'_>) -> Result<Offset> {
        let mut inner = self.lock();
        let Inner { writer, checked, ears, .. } = &mut *inner;
        check_topic(checked, &message.topic)?;
        observe(writer, ears);
        let entry = entry_of(message);
        let offset = writer.append(&entry).inspect_err(|error| self.note_full(error))?;
        self.note_letters(std::slice::from_ref(&entry), offset);
        drop(inner);
        self.settle(offset.plus(1))?;
        Ok(offset)
    }

    /// Without room the process can't do its work, until it says something again. To be called with the writer locked, so
    /// that nothing is said meanwhile.
    fn wait_for_room(&self, error: &journal::Error) {
        let mut full = lock(&self.full);
        if full.is_some() {
            return;
        }
        *full = Some(self.waits.begin(error.to_string()));
        drop(full);
        let full = Arc::clone(&self.full);
        self.watch.when_committed(self.watch.marks().committed, move |_| drop(lock(&full).take()));
    }

    /// With `sync = "always"`, publishing returns when it is durable; waiting happens outside of the lock, so
    /// one sync serves every thread that publishes.
    fn settle(&self, end: Offset) -> Result<()> {
        if !self.always {
            return Ok(());
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        self.watch.when_durable(end, move || {
            let _ = sender.send(());
        });
        let _ = receiver.recv();
        Ok(self.watch.check()?)
    }

    /// Waits as [`Self::publish`] does, for whoever must not block.
    pub(crate) async fn settled(&self, end: Offset) -> Result<()> {
        if self.always { self.durable(end).await } else { Ok(()) }
    }

    pub(crate) async fn durable(&self, end: Offset) -> Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.watch.when_durable(end, move || {
            let _ = sender.send(());
        });
        let _ = receiver.await;
        Ok(self.watch.check()?)
    }

    /// Why nothing can be said any more, once that is so.
    pub(crate) async fn poisoned(&self) -> Error {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.watch.when_poisoned(move || {
            let _ = sender.send(());
        });
        let _ = receiver.await;
        match self.watch.check() {
            Err(error) => error.into(),
            Ok(()) => std::future::pending().await,
        }
    }

    /// Appends without waiting, whatever the sync policy: for [`Self::durable`] or [`Self::settled`] to follow.
    pub(crate) fn publish_only<E: Event>(&self, event: &E) -> Result<Offset> {
        self.say(event, None, None)
    }

    pub(crate) fn checkpoint(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().writer.checkpoint(name).map(<[u8]>::to_vec)
    }

    /// Takes back what was acknowledged of a journal with outputs.
    pub(crate) fn forget(&self, subscription: &str, journal: &str) -> Result<()> {
        Ok(self.lock().writer.forget(subscription, journal)?)
    }

    pub(crate) fn checkpoint_names(&self) -> Vec<String> {
        self.lock().writer.checkpoint_names().map(str::to_owned).collect()
    }

    /// Ends checkpoints.
    pub(crate) fn remove_checkpoints(&self, names: &[String]) -> Result<()> {
        for names in names.chunks(REMOVED_MAX) {
            let ended: Vec<_> = names.iter().map(|name| Checkpoint { name, value: &[] }).collect();
            self.lock().writer.commit(&JournalBatch { checkpoints: &ended, ..JournalBatch::default() })?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while encoding leaves the writer as it was: appending is all or nothing.
        lock(&self.inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[inline]
fn observe(writer: &mut Writer, ears: &[Ear]) {
    for ear in ears {
        writer.observe(Time(ear.0.load(Ordering::Relaxed)));
    }
}

/// A full disk is no fault of the delivery whose outcome could not be said.
fn forgive(error: &Error, due: &Due<'_>) {
    if matches!(error, Error::Journal(journal::Error::Full { .. })) {
        due.offsets.iter().for_each(|offset| due.acks.forgive(*offset));
    }
}

impl<'a> Said<'a> {
    fn entry(&self, payload: &'a [u8]) -> Entry<'a> {
        Entry { topic: self.topic, key: self.key, cause: self.cause, codec: self.codec, payload }
    }
}

#[inline]
fn check_topic(checked: &mut String, topic: &str) -> Result<()> {
    if *checked != topic {
        names::check_topic(topic)?;
        topic.clone_into(checked);
    }
    Ok(())
}

fn entry_of<'a>(message: &'a Message<'_>) -> Entry<'a> {
    Entry {
        topic: &message.topic,
        key: message.key.as_deref(),
        cause: message.cause.as_ref().map(|(journal, offset)| Cause { journal, offset: *offset }),
        codec: message.codec,
        payload: &message.payload,
    }
}

/// Records, acknowledgements and checkpoints that are said together or not at all.
///
/// ```no_run
/// # fn f(process: &procession::Process<procession::NoSettings>) -> procession::Result<()> {
/// use procession::Message;
///
/// let mut batch = process.batch();
/// batch.add_message(Message::json("vote", &serde_json::json!({"voter": "alice"}))?)?;
/// batch.checkpoint("chain", &4711_u64)?;
/// let offsets = batch.commit()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is said before `commit`"]
pub struct Batch<'a> {
    outlet: &'a Outlet,
    messages: Vec<Message<'a>>,
    deliveries: Vec<(Arc<Acks>, Offset)>,
    /// Dead letters that are dropped, unless something else has become of them by then.
    given_up: Vec<Offset>,
    checkpoints: Vec<(String, Vec<u8>)>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(outlet: &'a Outlet) -> Self {
        let (messages, deliveries, given_up) = (Vec::new(), Vec::new(), Vec::new());
        Self { outlet, messages, deliveries, given_up, checkpoints: Vec::new() }
    }

    /// Adds an event.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Name`].
    pub fn add<E: Event>(&mut self, event: &E) -> Result<&mut Self> {
        let mut payload = Vec::new();
        codec::encode(E::CODEC, event, &mut payload)
            .map_err(|reason| Error::Encode { topic: E::TOPIC.to_owned(), reason })?;
        let key = event.key().map(|key| Cow::Owned(key.into_owned()));
        let message = Message::encoded(E::TOPIC, E::CODEC, payload);
        self.add_message(Message { key, ..message })
    }

    /// Adds an event with the delivery that led to it, which this does not acknowledge.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Name`].
    pub fn add_caused<E: Event, P>(&mut self, event: &E, cause: &Delivery<P>) -> Result<&mut Self> {
        self.add(event)?;
        if let Some(message) = self.messages.last_mut() {
            message.cause = Some((Cow::Owned(cause.journal().to_owned()), cause.offset));
        }
        Ok(self)
    }

    /// Adds a message.
    ///
    /// # Errors
    /// [`Error::Name`] for a topic that is none.
    pub fn add_message(&mut self, message: Message<'a>) -> Result<&mut Self> {
        names::check_topic(&message.topic)?;
        self.messages.push(message);
        Ok(self)
    }

    /// Adds an event under this key, with the journal and offset of the record that led to it.
    pub(crate) fn add_about<E: Event>(
        &mut self,
        event: &E,
        key: Option<&[u8]>,
        (journal, offset): (&str, Offset),
    ) -> Result<&mut Self> {
        self.add(event)?;
        if let Some(message) = self.messages.last_mut() {
            message.cause = Some((Cow::Owned(journal.to_owned()), offset));
            message.key = key.map(|key| Cow::Owned(key.to_vec()));
        }
        Ok(self)
    }

    /// Acknowledges what was delivered of an offset together with what the batch says.
    pub(crate) fn settle(&mut self, acks: &Arc<Acks>, offset: Offset) -> &mut Self {
        self.deliveries.push((Arc::clone(acks), offset));
        self
    }

    /// Drops a dead letter together with what the batch says.
    pub(crate) fn give_up(&mut self, letter: Offset) -> &mut Self {
        self.given_up.push(letter);
        self
    }

    /// Acknowledges a delivery together with what the batch says.
    pub fn ack<P>(&mut self, delivery: &Delivery<P>) -> &mut Self {
        self.settle(delivery.acks(), delivery.offset)
    }

    /// Stores application state together with what the batch says. The newest value of each name is kept for good,
    /// and read with [`Process::checkpoint`](crate::Process::checkpoint).
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn checkpoint<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<&mut Self> {
        let value = serde_json::to_vec(value).map_err(|error| Error::Encode {
            topic: format!("checkpoint {name}"),
            reason: error.to_string(),
        })?;
        self.checkpoints.push((name.to_owned(), value));
        Ok(self)
    }

    /// Whether it says nothing, acknowledges nothing and stores nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.deliveries.is_empty() && self.checkpoints.is_empty()
    }

    /// Says all of it, and returns the offsets of its records in the order they were added. (Where a dead letter is
    /// acknowledged, a record that says so follows.)
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] for a delivery that cannot be acknowledged yet; [`Error::Journal`]. Nothing was
    /// said then.
    pub fn commit(self) -> Result<Range<Offset>> {
        self.outlet.commit(&self)
    }

    /// What the acknowledgements come to, one for each subscription and journal.
    fn due(&self) -> Result<Vec<Due<'_>>> {
        let mut due: Vec<Due<'_>> = Vec::new();
        for (acks, _) in &self.deliveries {
            if due.iter().any(|known| Arc::ptr_eq(known.acks, acks)) {
                continue;
            }
            let same = self.deliveries.iter().filter(|(other, _)| Arc::ptr_eq(other, acks));
            due.push(acks.due(same.map(|(_, offset)| *offset).collect::<Vec<_>>())?);
        }
        Ok(due)
    }
}
