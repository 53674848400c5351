//! The one writer of a journal.

mod open;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Ack, Batch, ENTRIES_MAX, ack_stride, check_entry, check_sizes, checkpoint_stride};
use crate::clock::wall_clock_ns;
use crate::commit::Commit;
use crate::declared::Declared;
use crate::error::{Error, Result};
use crate::fault;
use crate::map::WriteMap;
use crate::names::check_name;
use crate::options::TAIL_BYTES;
use crate::prepare::{Limit, Preparer, tell_after};
use crate::record::{self, Head, Kind, Place};
use crate::recovery::{State, encode_ack, encode_checkpoint};
use crate::shared::{Shared, SyncThread};
use crate::takeover::{Opened, Takeover};
use crate::types::{Codec, Entry, Epoch, JournalId, Offset, Position, Time};
use crate::watch::Watch;

/// Times further ahead of the wall clock than this are not taken over from others.
const AHEAD_MAX: Duration = Duration::from_mins(1);

/// A segment begins with the state, which takes at most this part of it, as long as there may be larger segments.
const STATE_SHARE: usize = 4;

/// The one writer of an instance's journal; see the crate's documentation.
#[derive(Debug)]
pub struct Writer {
    map: WriteMap,
    place: Place,
    next: Offset,
    epoch: Epoch,
    time: Time,
    /// The latest time that was received.
    heard: Time,
    /// The last such time was too far ahead: said once.
    heard_nonsense: bool,
    declared: Declared,
    /// Tell the preparer when the position has passed this.
    tell_at: usize,
    journal: JournalId,
    name: String,
    state: State,
    batch_bytes_max: usize,
    lease: Duration,
    shared: Arc<Shared>,
    preparer: Preparer,
    _sync_thread: SyncThread,
}

impl Writer {
    /// Appends one record. When it returns, every reader can read it, and it survives the death of any
    /// process. No system call, allocation or lock, but for once in a segment, once in a sync period, once in a
    /// quarter of a megabyte, and for somebody who sleeps until it comes.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::TooLarge`], [`Error::BadName`], [`Error::Poisoned`]; nothing was
    /// appended then.
    #[inline]
    pub fn append(&mut self, entry: &Entry<'_>) -> Result<Offset> {
        // Most records go where the one before went, under the same names.
        let stride = record::stride(entry.key.map_or(0, <[u8]>::len), entry.payload.len());
        let cause = match entry.cause {
            None => Some((0, Offset::ZERO)),
            Some(cause) => {
                self.declared.journals.number_of_last(cause.journal).map(|number| (number, cause.offset))
            }
        };
        if let (Some(topic), Some(cause)) = (self.declared.topics.number_of_last(entry.topic), cause)
            && self.fits(stride)
            && check_sizes(entry).is_ok()
        {
            self.shared.check_poison()?;
            let offset = self.next;
            let mut commit = Commit::default();
            self.write_event(&mut commit, entry, topic, cause, false);
            fault::point("append.written");
            commit.publish(&self.map);
            fault::point("append.committed");
            self.committed();
            return Ok(offset);
        }
        self.commit(&Batch { entries: std::slice::from_ref(entry), ..Batch::default() })
            .map(|offsets| offsets.start)
    }

    /// Appends a batch, all or nothing, and returns the offsets of its entries.
    ///
    /// # Errors
    /// Those of [`Self::append`].
    pub fn commit(&mut self, batch: &Batch<'_>) -> Result<Range<Offset>> {
        self.shared.check_poison()?;
        if batch.entries.len() > ENTRIES_MAX {
            return Err(Error::TooLarge {
                what: "number of entries in a batch",
                found: batch.entries.len(),
                limit: ENTRIES_MAX,
            });
        }
        for entry in batch.entries {
            check_entry(entry)?;
        }
        if !(batch.acks.is_empty() && batch.checkpoints.is_empty()) {
            self.check_state(batch)?;
        }
        if !self.fits(self.declared.bytes_at_most(batch)) || !self.declared.can_name(batch.entries.len()) {
            self.make_room_for(batch)?;
        }
        let start = self.next;
        self.write_batch(batch);
        self.keep_state(batch);
        self.committed();
        Ok(start..self.next)
    }

    /// Tells whoever wants to know that everything before `next` is committed.
    #[inline]
    fn committed(&mut self) {
        self.shared.marks.commit(self.next);
        fault::point("append.marked");
        self.shared.committed.moved(self.next);
        self.shared.mark_dirty();
        if self.place.at > self.tell_at {
            self.tell_at = tell_after(self.place.at, self.map.len());
            self.preparer.passed(self.place.at);
        }
    }

    /// Makes everything appended so far durable; blocks until it is.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a sync fails or has failed.
    pub fn sync(&self) -> Result<Offset> {
        self.shared.sync()
    }

    /// What others in this process may ask while the writer is busy.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch { shared: Arc::clone(&self.shared), journal: self.journal, epoch: self.epoch }
    }

    /// The journal's name: that of the instance's folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The journal's identity.
    #[must_use]
    pub const fn journal(&self) -> JournalId {
        self.journal
    }

    /// This writer's epoch.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The offset that the next record will have.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.next
    }

    /// The newest value of a checkpoint.
    #[must_use]
    pub fn checkpoint(&self, name: &str) -> Option<&[u8]> {
        self.state.checkpoints.get(name).map(Vec::as_slice)
    }

    /// The names of all checkpoints.
    pub fn checkpoint_names(&self) -> impl Iterator<Item = &str> {
        self.state.checkpoints.keys().map(String::as_str)
    }

    /// Takes back what was acknowledged of a journal with outputs, so that the subscription has no place there. Its cursor
    /// is to be forgotten as well ([`Cursors::forget`](crate::Cursors::forget)).
    ///
    /// # Errors
    /// Those of [`Self::append`].
    pub fn forget(&mut self, subscription: &str, journal: &str) -> Result<()> {
        if !self.state.acks.contains_key(&(subscription.to_owned(), journal.to_owned())) {
            return Ok(());
        }
        let nothing = Ack { subscription, journal, position: Position::default() };
        self.commit(&Batch { acks: &[nothing], ..Batch::default() }).map(drop)
    }

    /// The newest acknowledgements that were stored with records: subscription, journal, position.
    pub fn acknowledged(&self) -> impl Iterator<Item = (&str, &str, Position)> {
        self.state
            .acks
            .iter()
            .map(|((subscription, journal), position)| (subscription.as_str(), journal.as_str(), *position))
    }

    /// Takes note of a time that was received, so that what is said from now on is later.
    ///
    /// A time that is more than a minute ahead of the wall clock when the next record is said is left out of account.
    #[inline]
    pub fn observe(&mut self, time: Time) {
        self.heard = self.heard.max(time);
    }

    /// That of its readers, which holds for what it reads as well.
    pub(crate) const fn lease(&self) -> Duration {
        self.lease
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether there is no segment yet that could be written to. In one there is always room for its seal.
    fn is_nowhere(&self) -> bool {
        self.place.at == self.map.len()
    }

    #[inline]
    fn fits(&self, bytes: usize) -> bool {
        bytes <= (self.map.len() - TAIL_BYTES).saturating_sub(self.place.at)
    }

    #[cold]
    fn make_room_for(&mut self, batch: &Batch<'_>) -> Result<()> {
        if self.declared.can_name(batch.entries.len()) && self.fits(self.declared.bytes_of(batch)) {
            return Ok(());
        }
        let bytes = Declared::default().bytes_of(batch);
        let limit = self.batch_bytes_max - self.state.bytes();
        if bytes > limit {
            return Err(Error::TooLarge { what: "batch", found: bytes, limit });
        }
        self.roll(bytes)
    }

    /// Goes on in the next segment: it gets its header and the state, then its name; only then is
    /// the current one sealed, so a reader that meets the seal finds the next segment.
    ///
    /// It has room for `bytes` of records behind the state.
    #[cold]
    fn roll(&mut self, bytes: usize) -> Result<()> {
        let at = Takeover {
            shared: &self.shared,
            preparer: &self.preparer,
            journal: self.journal,
            next: self.next,
            epoch: self.epoch,
        };
        let bytes = (STATE_SHARE * self.state.bytes() + bytes).min(self.batch_bytes_max);
        let was_nowhere = self.is_nowhere();
        let (mut next, mut segment) = at.begin(bytes, Limit::Now)?;
        fault::point("roll.prepared");
        self.exchange(&mut next);
        self.write_state();
        self.exchange(&mut next);
        fault::point("roll.state-written");
        segment.name().inspect_err(|_| self.preparer.give_back())?;
        fault::point("roll.named");
        self.seal();
        fault::point("roll.sealed");
        self.exchange(&mut next);
        // Last: a sync lets go of the one before.
        self.shared.begin_segment(segment.file);
        if was_nowhere {
            // Only now there is a segment in which the journal goes on.
            self.shared.marks.show();
        }
        fault::point("roll.begun");
        self.preparer.begin(&self.map, self.place.at);
        self.tell_at = tell_after(self.place.at, self.map.len());
        Ok(())
    }

    /// Swaps the segment that is written to.
    fn exchange(&mut self, other: &mut Opened) {
        std::mem::swap(&mut self.map, &mut other.map);
        std::mem::swap(&mut self.place, &mut other.place);
        std::mem::swap(&mut self.declared, &mut other.declared);
    }

    fn seal(&mut self) {
        if self.is_nowhere() {
            return;
        }
        let next = self.next.0.to_le_bytes();
        let mut commit = Commit::default();
        self.write_control(&mut commit, Kind::Sealed, &next, false);
        commit.publish(&self.map);
    }

    /// Opens a segment: the epoch, and the newest acknowledgements and checkpoints.
    fn write_state(&mut self) {
        let state = std::mem::take(&mut self.state);
        let mut commit = Commit::default();
        for ((subscription, journal), position) in &state.acks {
            self.write_control(&mut commit, Kind::Ack, &encode_ack(subscription, journal, position), true);
        }
        for (name, value) in &state.checkpoints {
            self.write_control(&mut commit, Kind::Checkpoint, &encode_checkpoint(name, value), true);
        }
        self.write_control(&mut commit, Kind::EpochBegun, &[], false);
        commit.publish(&self.map);
        self.state = state;
    }

    /// Refuses state that would not leave room for records in a segment.
    fn check_state(&self, batch: &Batch<'_>) -> Result<()> {
        for ack in batch.acks {
            check_name("subscription name", ack.subscription)?;
            check_name("journal name", ack.journal)?;
        }
        let mut bytes = self.state.bytes();
        for checkpoint in batch.checkpoints {
            check_name("checkpoint name", checkpoint.name)?;
            bytes += checkpoint_stride(checkpoint.name, checkpoint.value.len());
            // It replaces what it was before.
            let before = self
                .checkpoint(checkpoint.name)
                .map_or(0, |value| checkpoint_stride(checkpoint.name, value.len()));
            bytes = bytes.saturating_sub(before);
        }
        bytes += batch.acks.iter().map(|ack| ack_stride(ack.subscription, ack.journal)).sum::<usize>();
        let limit = self.batch_bytes_max / 2;
        if bytes <= limit {
            return Ok(());
        }
        // That was an upper bound: an acknowledgement, too, replaces the one before.
        let bytes = self.state.bytes_after(batch);
        if bytes > limit {
            let own =
                batch.checkpoints.iter().map(|point| checkpoint_stride(point.name, point.value.len())).sum();
            if own > limit {
                return Err(Error::TooLarge { what: "checkpoints of a batch", found: own, limit });
            }
            let reason = format!(
                "checkpoints and acknowledgements together would take {bytes} bytes of the {limit} that a segment begins with at most: raise the segment size, or forget subscriptions"
            );
            return Err(Error::Full { path: self.shared.folder.clone(), reason });
        }
        Ok(())
    }

    fn keep_state(&mut self, batch: &Batch<'_>) {
        for ack in batch.acks {
            self.state.acknowledge(ack.subscription.to_owned(), ack.journal.to_owned(), ack.position);
        }
        for checkpoint in batch.checkpoints {
            if checkpoint.value.is_empty() {
                self.state.checkpoints.remove(checkpoint.name);
            } else {
                self.state.checkpoints.insert(checkpoint.name.to_owned(), checkpoint.value.to_vec());
            }
        }
    }

    /// Writes a record that fits, under names that are declared.
    #[inline]
    fn write_event(
        &mut self,
        commit: &mut Commit,
        entry: &Entry<'_>,
        topic: u16,
        (cause_journal, cause_offset): (u16, Offset),
        more: bool,
    ) {
        let head = Head {
            offset: self.next,
            time: self.tick(),
            epoch: self.epoch,
            kind: Kind::Event,
            topic,
            cause_journal,
            cause_offset,
            codec: entry.codec,
            more,
        };
        self.write(commit, &head, entry.key, entry.payload);
        self.next = self.next.plus(1);
    }

    /// Writes a batch that fits, and makes it visible.
    fn write_batch(&mut self, batch: &Batch<'_>) {
        let mut commit = Commit::default();
        let controls = batch.acks.len() + batch.checkpoints.len();
        for (index, entry) in batch.entries.iter().enumerate() {
            let topic = self.topic(&mut commit, entry.topic);
            let cause = match entry.cause {
                None => (0, Offset::ZERO),
                Some(cause) => (self.cause_journal(&mut commit, cause.journal), cause.offset),
            };
            let more = controls > 0 || index + 1 < batch.entries.len();
            self.write_event(&mut commit, entry, topic, cause, more);
            if more {
                fault::point("batch.middle");
            }
        }
        let mut left = controls;
        for ack in batch.acks {
            left -= 1;
            let payload = encode_ack(ack.subscription, ack.journal, &ack.position);
            self.write_control(&mut commit, Kind::Ack, &payload, left > 0);
        }
        for checkpoint in batch.checkpoints {
            left -= 1;
            let payload = encode_checkpoint(checkpoint.name, checkpoint.value);
            self.write_control(&mut commit, Kind::Checkpoint, &payload, left > 0);
        }
        fault::point("batch.written");
        commit.publish(&self.map);
        fault::point("batch.committed");
    }

    fn topic(&mut self, commit: &mut Commit, name: &str) -> u16 {
        match self.declared.topics.number(name) {
            Some(number) => number,
            None => {
                let (number, payload) = self.declared.topics.declare(name);
                self.write_control(commit, Kind::Topic, &payload, true);
                number
            }
        }
    }

    fn cause_journal(&mut self, commit: &mut Commit, name: &str) -> u16 {
        match self.declared.journals.number(name) {
            Some(number) => number,
            None => {
                let (number, payload) = self.declared.journals.declare(name);
                self.write_control(commit, Kind::Journal, &payload, true);
                number
            }
        }
    }

    fn write_control(&mut self, commit: &mut Commit, kind: Kind, payload: &[u8], more: bool) {
        let head = Head {
            offset: self.next,
            time: self.time,
            epoch: self.epoch,
            kind,
            topic: 0,
            cause_journal: 0,
            cause_offset: Offset::ZERO,
            codec: Codec::Raw,
            more,
        };
        self.write(commit, &head, None, payload);
    }

    #[inline]
    fn write(&mut self, commit: &mut Commit, head: &Head, key: Option<&[u8]>, payload: &[u8]) {
        self.place.at += commit.write(&mut self.map, self.place, head, key, payload);
    }

    /// The time of the next record: later than every one before it, and than what was heard.
    #[inline]
    fn tick(&mut self) -> Time {
        let now = wall_clock_ns();
        self.time = Time(now.max(self.time.0.saturating_add(1)));
        if self.heard >= self.time {
            self.catch_up_with_heard(now);
        }
        self.time
    }

    #[cold]
    fn catch_up_with_heard(&mut self, now: u64) {
        let ahead = self.heard.0.saturating_sub(now);
        let sane = u128::from(ahead) <= AHEAD_MAX.as_nanos();
        if sane {
            self.time = Time(self.heard.0.saturating_add(1));
        } else if !self.heard_nonsense {
            let (journal, time_ns) = (&self.name, self.heard.0);
            tracing::warn!(
                journal,
                time_ns,
                "a received time is too far ahead of this machine's clock: ignored"
            );
        }
        self.heard_nonsense = !sane;
        self.heard = Time(0);
    }
}

impl Drop for Writer {
    /// A clean end leaves everything durable. A journal that was not closed is recovered just as well.
    fn drop(&mut self) {
        if let Err(error) = self.shared.sync() {
            tracing::error!(%error, journal = self.name, "could not sync the journal at its end");
        }
    }
}
