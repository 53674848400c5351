//! Cursors: how far each subscription of an instance has acknowledged, per journal.
//!
//! A mapped table with one slot per (subscription, journal), see [`crate::slot`], which others read: the publisher's
//! retention, the command line. After another boot positions do not count, but the last ones that a sync has noted, see
//! [`crate::notes`].

mod cursor;
mod stop;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::wall_clock_ns;
use crate::disk::{self, FILE_MODE};
use crate::error::{At, Error, Result};
use crate::fault;
use crate::layout;
use crate::map::WriteMap;
use crate::marks::boot_id;
use crate::names::{NAMES_BYTES, check_name, encode_names, words};
use crate::notes::{note, read_founded, read_note};
use crate::presence::Presence;
use crate::segment::{FORMAT_VERSION, extend};
use crate::shared::Shared;
use crate::slot::{
    AT_NAMES, AT_SEEN, AT_SELECTOR, AT_USED, BYTES as SLOT_BYTES, MAGIC, USED, read_names, read_position,
    set_read_in, store,
};
use crate::summary::read_marks;
use crate::table::{
    AT_BOOT, AT_STOPPED, CHUNK_BYTES, CHUNK_SLOTS, CHUNKS_MAX, HEADER_BYTES, boot_of, check_header,
    was_stopped,
};
use crate::types::{Epoch, Position};
use crate::writer::Writer;

pub use cursor::Cursor;

/// The table of an instance, held by its only writer.
#[derive(Debug)]
pub struct Cursors {
    file: File,
    path: PathBuf,
    presence: Presence,
    shared: Arc<Shared>,
    /// That of the journal: what is read is marked with it.
    epoch: Epoch,
    /// Whoever was not seen for so long may have to give his place away.
    lease: Duration,
    opened: Instant,
    /// Mapped chunks and claims. Locked when a subscription starts or ends, never by an acknowledgement.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    chunks: Vec<Arc<WriteMap>>,
    claimed: HashSet<usize>,
    /// Slots that were given away since a sync last took down positions: it must not note those of their
    /// predecessors.
    renewed: HashSet<usize>,
    /// The attempts of earlier processes, as they were when this one began.
    earlier: HashMap<usize, u64>,
    /// What the journal says was acknowledged by subscriptions that have no slot.
    spoken: HashMap<(String, String), Position>,
}

/// Positions of used slots, taken down when a sync begins.
pub(crate) type Taken = Vec<(usize, Position)>;

impl Cursors {
    /// Opens or creates the table of the instance whose journal `writer` holds, and brings it up to what
    /// the journal says was acknowledged.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::ForeignVersion`], [`Error::Corrupt`] for a file that is no table, and I/O errors.
    pub fn open(instance: &Path, writer: &Writer) -> Result<Arc<Self>> {
        let path = layout::cursors_path(instance);
        let file = disk::open_own(&path, FILE_MODE)?;
        let length = usize::try_from(file.metadata().at("inspect", &path)?.len()).unwrap_or(usize::MAX);
        let finished = check_header(&file, length, &path)?;
        let boot = boot_of(&file, &path)?;
        let chunks = length.saturating_sub(HEADER_BYTES).div_ceil(CHUNK_BYTES).clamp(1, CHUNKS_MAX);
        let shared = Arc::clone(writer.shared());
        let cursors = Self {
            presence: Presence::of([(path.clone(), &file)])?,
            file,
            path,
            shared,
            epoch: writer.epoch(),
            lease: writer.lease(),
            opened: Instant::now(),
            inner: Mutex::default(),
        };
        {
            let mut inner = cursors.lock();
            for _ in 0..chunks {
                cursors.grow(&mut inner)?;
            }
        }
        if !finished {
            cursors.clear();
            // Its name, before anything is believed to be in it.
            disk::sync_folder(instance)?;
        } else if boot != 0 && boot != boot_id() {
            cursors.go_back_to_notes();
        }
        if was_stopped(&cursors.file, &cursors.path)? {
            cursors.forgive_all();
            cursors.file.write_all_at(&[0; 8], AT_STOPPED).at("write", &cursors.path)?;
        }
        cursors.begin_life();
        cursors.file.write_all_at(&boot_id().to_le_bytes(), AT_BOOT).at("write", &cursors.path)?;
        // Written last: a table without magic is one that was never finished. At once: who dies in between would leave one
        // of a version that nobody reads.
        let mut start = [0; 12];
        start[..8].copy_from_slice(&MAGIC.to_le_bytes());
        start[8..].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        cursors.file.write_all_at(&start, 0).at("write", &cursors.path)?;
        cursors.free_nobodys();
        cursors.free_doubles();
        cursors.take_in(instance, writer.acknowledged());
        let cursors = Arc::new(cursors);
        writer.shared().sync_with(Arc::downgrade(&cursors));
        Ok(cursors)
    }

    /// The cursor of a subscription on a journal, to be moved by the caller alone.
    ///
    /// # Errors
    /// [`Error::Claimed`] if it is in use, [`Error::BadName`], [`Error::Full`].
    pub fn claim(self: &Arc<Self>, subscription: &str, journal: &str) -> Result<Cursor> {
        check_name("subscription name", subscription)?;
        check_name("journal name", journal)?;
        let names = encode_names(subscription, journal);
        let mut inner = self.lock();
        let slot = match inner.find(subscription, journal) {
            Some(slot) => slot,
            None => {
                let slot = self.allocate(&mut inner, &names)?;
                if let Some(spoken) = inner.spoken.remove(&(subscription.to_owned(), journal.to_owned())) {
                    inner.store(slot, &spoken);
                }
                slot
            }
        };
        if !inner.claimed.insert(slot) {
            return Err(Error::Claimed {
                subscription: subscription.to_owned(),
                journal: journal.to_owned(),
            });
        }
        let cursor = Cursor::of_claimed(self, &inner, slot);
        set_read_in(|at| cursor.word(at), self.epoch);
        cursor.touch();
        Ok(cursor)
    }

    /// A cursor of no subscription, for whoever has to have one: nobody else sees it, it holds nothing back, and its slot is
    /// free when it is dropped.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub fn claim_nameless(self: &Arc<Self>) -> Result<Cursor> {
        let mut inner = self.lock();
        let slot = self.find_or_grow(&mut inner)?;
        for at in (AT_SEEN..SLOT_BYTES).step_by(8) {
            let (map, start) = inner.slot(slot);
            map.word(start + at).store(0, Ordering::Relaxed);
        }
        inner.claimed.insert(slot);
        Ok(Cursor::of_claimed(self, &inner, slot))
    }

    /// Forgets a subscription's place in a journal, so that it holds nothing back any more. Returns whether it had one.
    ///
    /// What was acknowledged with outputs is in the journal too: see [`Writer::forget`].
    ///
    /// # Errors
    /// [`Error::Claimed`] while it is being read.
    pub fn forget(&self, subscription: &str, journal: &str) -> Result<bool> {
        let mut inner = self.lock();
        let spoken = inner.spoken.remove(&(subscription.to_owned(), journal.to_owned())).is_some();
        let Some(slot) = inner.find(subscription, journal) else { return Ok(spoken) };
        if inner.claimed.contains(&slot) {
            let (subscription, journal) = (subscription.to_owned(), journal.to_owned());
            return Err(Error::Claimed { subscription, journal });
        }
        inner.free(slot);
        self.shared.mark_dirty();
        Ok(true)
    }

    /// Subscription and journal of every place that is known, also of one that cannot be read.
    #[must_use]
    pub fn names(&self) -> Vec<(String, String)> {
        let inner = self.lock();
        inner.slots().filter_map(|slot| inner.names(slot)).chain(inner.spoken.keys().cloned()).collect()
    }

    /// Takes in what the journal says was acknowledged. Whatever has no slot gets none before somebody reads it: else a
    /// subscription that nobody reads any more would hold back what it reads at each start.
    fn take_in<'a>(&self, instance: &Path, spoken: impl Iterator<Item = (&'a str, &'a str, Position)>) {
        let mut inner = self.lock();
        for (subscription, journal, position) in spoken {
            let Some(slot) = inner.find(subscription, journal) else {
                inner.spoken.insert((subscription.to_owned(), journal.to_owned()), position);
                continue;
            };
            if inner.position(slot).is_none_or(|old| is_newer(&position, &old, instance, journal)) {
                inner.store(slot, &position);
            }
        }
    }

    /// Renews the leases of all cursors that are claimed, whoever holds them and whatever for: what is needed is held
    /// back for as long as this is called.
    pub fn touch_claimed(&self) {
        let (inner, now) = (self.lock(), wall_clock_ns());
        for (map, start) in inner.claimed.iter().map(|slot| inner.slot(*slot)) {
            map.word(start + AT_SEEN).store(now, Ordering::Relaxed);
        }
    }

    /// Fails once the table is not where it was.
    pub(crate) fn check_presence(&self) -> Result<()> {
        self.presence.check()
    }

    /// What is acknowledged by now. Whatever was said because of it was said before.
    pub(crate) fn take_down(&self) -> Taken {
        let mut inner = self.lock();
        inner.renewed.clear();
        let used = inner.slots().filter(|slot| inner.is_used(*slot));
        used.filter_map(|slot| Some((slot, inner.position(slot)?))).collect()
    }

    /// Notes what was taken down, now that all that was said before is durable, and makes it durable.
    pub(crate) fn sync(&self, taken: &Taken) -> Result<()> {
        let inner = self.lock();
        for (slot, position) in taken.iter().filter(|(slot, _)| !inner.renewed.contains(slot)) {
            let (map, start) = inner.slot(*slot);
            let word = |at| map.word(start + at);
            if read_note(word, position.journal).as_ref() != Some(position) {
                note(word, position);
            }
        }
        drop(inner);
        disk::sync_file(&self.file, &self.path)
    }

    /// A slot that nobody uses.
    fn find_or_grow(&self, inner: &mut Inner) -> Result<usize> {
        match inner.find_free() {
            Some(slot) => Ok(slot),
            None if inner.chunks.len() < CHUNKS_MAX => {
                self.grow(inner)?;
                Ok((inner.chunks.len() - 1) * CHUNK_SLOTS)
            }
            None => self.reclaim(inner),
        }
    }

    fn allocate(&self, inner: &mut Inner, names: &[u8; NAMES_BYTES]) -> Result<usize> {
        let slot = self.find_or_grow(inner)?;
        inner.renewed.insert(slot);
        let (map, start) = inner.slot(slot);
        for at in (AT_SEEN..SLOT_BYTES).step_by(8) {
            map.word(start + at).store(0, Ordering::Relaxed);
        }
        for (index, word) in words(names).enumerate() {
            map.word(start + AT_NAMES + index * 8).store(word, Ordering::Relaxed);
        }
        map.word(start + AT_USED).store(USED, Ordering::Release);
        fault::point("cursor.allocated");
        Ok(slot)
    }

    /// The slot of the subscription that nobody reads, and that was not seen for longest, if its lease has run out.
    fn reclaim(&self, inner: &Inner) -> Result<usize> {
        let seen = |slot: usize| Duration::from_nanos(inner.word(slot, AT_SEEN).load(Ordering::Relaxed));
        let oldest =
            inner.slots().filter(|slot| !inner.claimed.contains(slot)).min_by_key(|slot| seen(*slot));
        let now = Duration::from_nanos(wall_clock_ns());
        // The wall clock may leap, and whoever is about to claim his place at a start has not done so yet.
        let has_lived = self.opened.elapsed() > self.lease;
        let Some(slot) = oldest.filter(|slot| has_lived && now.saturating_sub(seen(*slot)) > self.lease)
        else {
            let reason = format!(
                "more than {} subscriptions: forget those that are read no more (procession subscriptions)",
                CHUNKS_MAX * CHUNK_SLOTS
            );
            return Err(Error::Full { path: self.path.clone(), reason });
        };
        let (subscription, journal) = inner.names(slot).unwrap_or_default();
        tracing::warn!(
            subscription,
            journal,
            "the table of cursors is full: a place is forgotten whose lease has run out"
        );
        inner.free(slot);
        Ok(slot)
    }

    /// A table that was never finished holds nothing, whatever power loss has left in it.
    fn clear(&self) {
        let inner = self.lock();
        inner.slots().for_each(|slot| inner.free(slot));
    }

    /// Another boot: nothing but what was noted is founded on records that are durable.
    fn go_back_to_notes(&self) {
        let inner = self.lock();
        for slot in inner.slots() {
            let (map, start) = inner.slot(slot);
            let word = |at| map.word(start + at);
            let noted = read_founded(word);
            word(AT_SELECTOR).store(0, Ordering::Relaxed);
            if let Some(position) = noted {
                store(word, &position);
            }
        }
    }

    /// Names that make no sense are damage. Nobody finds such a slot again, nor can forget it, and others keep for it
    /// what may be its subscription's.
    fn free_nobodys(&self) {
        let inner = self.lock();
        for slot in inner.slots().filter(|slot| inner.is_used(*slot) && inner.names(*slot).is_none()) {
            let next = inner.position(slot).map(|position| position.next.0);
            let path = self.path.display();
            tracing::error!(%path, slot, next, "a subscription has lost its place: the names in its slot are damaged");
            inner.free(slot);
        }
    }

    /// Two slots of the same names are damage: names were torn when a slot was given away, and power was lost. The one
    /// whose position is the earlier stays, for reading something again is better than skipping it.
    fn free_doubles(&self) {
        let inner = self.lock();
        let mut known: HashMap<_, usize> = HashMap::new();
        for slot in inner.slots() {
            let Some(names) = inner.names(slot) else { continue };
            let Some(&other) = known.get(&names) else {
                known.insert(names, slot);
                continue;
            };
            let goes = match (inner.position(other), inner.position(slot)) {
                (None, Some(_)) => other,
                (Some(old), Some(new)) if old.is_later_than(&new) => other,
                _ => slot,
            };
            inner.free(goes);
            if goes == other {
                known.insert(names, slot);
            }
        }
    }

    fn grow(&self, inner: &mut Inner) -> Result<()> {
        let end = HEADER_BYTES + (inner.chunks.len() + 1) * CHUNK_BYTES;
        extend(&self.file, end as u64, &self.path)?;
        let map = WriteMap::chunk(&self.file, (end - CHUNK_BYTES) as u64, CHUNK_BYTES, &self.path)?;
        inner.chunks.push(Arc::new(map));
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cursors {
    /// A clean end leaves everything noted, also if the writer goes on.
    fn drop(&mut self) {
        match self.shared.sync_last(self) {
            // Said when it happened.
            Ok(_) | Err(Error::Poisoned { .. }) => {}
            Err(error) => tracing::error!(%error, "could not sync the cursors at their end"),
        }
    }
}

impl Inner {
    fn slots(&self) -> std::ops::Range<usize> {
        0..self.chunks.len() * CHUNK_SLOTS
    }

    /// Where a slot lies.
    fn slot(&self, slot: usize) -> (&WriteMap, usize) {
        (&self.chunks[slot / CHUNK_SLOTS], slot % CHUNK_SLOTS * SLOT_BYTES)
    }

    fn word(&self, slot: usize, at: usize) -> &AtomicU64 {
        let (map, start) = self.slot(slot);
        map.word(start + at)
    }

    fn store(&self, slot: usize, position: &Position) {
        store(|at| self.word(slot, at), position);
    }

    fn is_used(&self, slot: usize) -> bool {
        let (map, start) = self.slot(slot);
        map.word(start + AT_USED).load(Ordering::Relaxed) == USED
    }

    fn free(&self, slot: usize) {
        let (map, start) = self.slot(slot);
        map.word(start + AT_USED).store(0, Ordering::Relaxed);
    }

    /// By what a reader takes for its names: bytes behind them do not count, or a damaged one would make the owner
    /// forget what readers still see.
    fn names(&self, slot: usize) -> Option<(String, String)> {
        let (map, start) = self.slot(slot);
        if self.is_used(slot) { read_names(|at| map.word(start + at)) } else { None }
    }

    fn position(&self, slot: usize) -> Option<Position> {
        let (map, start) = self.slot(slot);
        read_position(|at| map.word(start + at))
    }

    fn find(&self, subscription: &str, journal: &str) -> Option<usize> {
        let wanted = |names: (String, String)| (&*names.0, &*names.1) == (subscription, journal);
        self.slots().find(|slot| self.names(*slot).is_some_and(wanted))
    }

    fn find_free(&self) -> Option<usize> {
        self.slots().find(|slot| !self.is_used(*slot) && !self.claimed.contains(slot))
    }
}

/// Whether what a journal says was acknowledged comes after what the table says.
///
/// Two positions in different journals of the same name have no order of their own: the one counts that is in the
/// journal which is there.
fn is_newer(spoken: &Position, known: &Position, instance: &Path, journal: &str) -> bool {
    if spoken.journal == known.journal || spoken.journal == 0 || known.journal == 0 {
        return spoken.is_later_than(known);
    }
    let marks = read_marks(&instance.with_file_name(journal)).ok().flatten();
    marks.is_some_and(|marks| marks.journal.low_half() == spoken.journal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::table::read_cursors;
    use crate::types::Offset;

    fn at(next: u64) -> Position {
        Position::at(Offset(next))
    }

    #[test]
    fn damage_behind_a_name_does_not_make_the_owner_forget() {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("listener");
        let writer = Writer::open(&instance, &Options::default()).unwrap();
        let cursors = Cursors::open(&instance, &writer).unwrap();
        cursors.claim("s", "j").unwrap().store(at(5));
        cursors.file.write_all_at(&[1], (HEADER_BYTES + AT_NAMES + 50) as u64).unwrap();
        assert_eq!(cursors.claim("s", "j").unwrap().position(), Some(at(5)));
        assert_eq!(read_cursors(&instance).unwrap().len(), 1);
    }

    #[test]
    fn of_two_slots_with_the_same_names_the_earlier_position_holds_for_everybody() {
        let home = tempfile::tempdir().unwrap();
        for (case, places) in
            [[Some(5), Some(7)], [Some(7), Some(5)], [None, Some(5)], [Some(5), None], [None, None]]
                .iter()
                .enumerate()
        {
            let instance = home.path().join(format!("listener-{case}"));
            let writer = Writer::open(&instance, &Options::default()).unwrap();
            let cursors = Cursors::open(&instance, &writer).unwrap();
            for (name, place) in ["s", "t"].into_iter().zip(places) {
                let cursor = cursors.claim(name, "j").unwrap();
                place.iter().for_each(|next| cursor.store(at(*next)));
            }
            let second = (HEADER_BYTES + SLOT_BYTES + AT_NAMES + 1) as u64;
            cursors.file.write_all_at(b"s", second).unwrap();
            drop((cursors, writer));

            let writer = Writer::open(&instance, &Options::default()).unwrap();
            let cursors = Cursors::open(&instance, &writer).unwrap();
            let wanted = places.iter().any(Option::is_some).then(|| at(5));
            let seen: Vec<_> = read_cursors(&instance).unwrap().iter().map(|info| info.position).collect();
            assert_eq!(seen, Vec::from_iter(wanted), "{places:?}");
            assert_eq!(cursors.claim("s", "j").unwrap().position(), wanted, "{places:?}");
            assert_eq!(cursors.claim("t", "j").unwrap().position(), None, "its slot is another's");
            cursors.forget("s", "j").unwrap();
            assert_eq!(read_cursors(&instance).unwrap(), [], "{places:?}: it has come back");
        }
    }
}
