//! Who reads a journal, and how far each has come. Whoever cannot be asked may want everything.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{At, Error, Result};
use crate::leases::Leases;
use crate::lock::is_locked;
use crate::names::is_valid;
use crate::summary::read_marks;
use crate::table::{Slot, read_slots};
use crate::types::{Epoch, JournalId, Offset, Position};

/// So often the same trouble is told again.
const TELL_EVERY: Duration = Duration::from_secs(600);
/// And so many different ones within that time.
const TOLD_MAX: usize = 16;

const UNKNOWN: &str = "cannot tell how far everybody has read: everything is kept, up to the byte limit";
const NOT_SAVED: &str =
    "cannot write down how long subscriptions have not been seen: after a restart their leases end later";

/// Stands for all subscriptions of an instance whose table cannot be read.
const WHOLE_TABLE: &str = "_cursors";

/// A subscription that holds back what it has not read; or trouble in finding out which do.
#[derive(Debug)]
pub(crate) struct Standing {
    /// In words.
    pub(crate) who: String,
    pub(crate) next: Offset,
}

/// The subscriptions to one journal, over all instances.
#[derive(Debug)]
pub(crate) struct Readers {
    journal: JournalId,
    /// Name of the journal, as subscribers note it in their cursors.
    name: String,
    /// The folder that holds the folders of all instances.
    state: PathBuf,
    leases: Mutex<Leases>,
    told: Mutex<Told>,
}

impl Readers {
    pub(crate) fn new(journal: JournalId, name: String, instance: &Path, lease: Duration) -> Self {
        let leases = Leases::load(&crate::layout::LEASES, instance, lease);
        let state = crate::layout::state_folder(instance).to_owned();
        Self { journal, name, state, leases: Mutex::new(leases), told: Mutex::default() }
    }

    /// How often it is to look at least, so that leases end in time.
    pub(crate) fn period(&self) -> Duration {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner).period()
    }

    /// Where everybody stands whose lease has not run out. Not to know of somebody is no reason to drop what he may
    /// want: he stands at the beginning.
    pub(crate) fn look(&self) -> Vec<Standing> {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let mut standings = Vec::new();
        let mut whole = true;
        let mut unknown = |error: Error, standings: &mut Vec<Standing>| {
            self.tell(UNKNOWN, &error);
            let who = format!("a subscription that nobody can tell of ({error})");
            standings.push(Standing { who, next: Offset::ZERO });
            whole = false;
        };
        match instances(&self.state) {
            Err(error) => unknown(error, &mut standings),
            Ok(instances) => {
                for instance in instances {
                    let looked = instance.and_then(|instance| {
                        let looked = self.look_at(&instance, &mut leases, &mut standings);
                        looked.or_else(|error| outlived(&instance, error, &mut leases))
                    });
                    looked.unwrap_or_else(|error| unknown(error, &mut standings));
                }
            }
        }
        // Not written down it is counted again: a lease ends later then.
        leases.end_look(whole).unwrap_or_else(|error| self.tell(NOT_SAVED, &error));
        standings
    }

    fn look_at(&self, instance: &Path, leases: &mut Leases, standings: &mut Vec<Standing>) -> Result<()> {
        let slots = read_slots(instance)?;
        let mut slots = slots.into_iter().filter(|slot| self.may_read_here(slot)).peekable();
        if slots.peek().is_none() {
            return Ok(());
        }
        let reads = living_epoch(instance)?;
        let name = instance.file_name().unwrap_or_default().to_string_lossy();
        for slot in slots {
            let Slot { number, names, position, seen_ns, read_in, .. } = slot;
            let subscription = names.map_or_else(
                || format!("slot {number} (nobody can tell whose)"),
                |(subscription, _)| subscription,
            );
            let is_read = reads.is_some_and(|epoch| epoch == read_in);
            if !is_read && leases.has_run_out(&name, &subscription, seen_ns) {
                continue;
            }
            // One that has read another journal of this name will read this one from its beginning.
            let next = position.filter(|at| self.is_in_this(at)).map_or(Offset::ZERO, |at| at.next);
            standings.push(Standing { who: format!("{subscription} of {name}"), next });
        }
        Ok(())
    }

    /// Whether a slot may be that of a subscription to this journal. If its names are damaged, its position says which
    /// journal it is in.
    fn may_read_here(&self, slot: &Slot) -> bool {
        match &slot.names {
            Some((_, journal)) => *journal == self.name,
            None => slot.position.is_none_or(|at| self.is_in_this(&at)),
        }
    }

    /// Whether a position is in this journal, as far as it says.
    const fn is_in_this(&self, position: &Position) -> bool {
        position.journal == 0 || position.journal == self.journal.low_half()
    }

    /// Says what is wrong, not over and over.
    fn tell(&self, what: &str, error: &Error) {
        let error = error.to_string();
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).is_news(&error, Instant::now()) {
            tracing::warn!(journal = self.name, error, "{what}");
        }
    }
}

/// Troubles that were told, and when.
#[derive(Debug, Default)]
struct Told(Vec<(String, Instant)>);

impl Told {
    /// Whether a trouble is to be told now, as it is then.
    fn is_news(&mut self, trouble: &str, now: Instant) -> bool {
        self.0.retain(|(_, at)| now.duration_since(*at) < TELL_EVERY);
        let is_news = self.0.len() < TOLD_MAX && self.0.iter().all(|(told, _)| told != trouble);
        if is_news {
            self.0.push((trouble.to_owned(), now));
        }
        is_news
    }
}

/// The epoch in which a living instance writes its journal: what it reads is marked with it.
fn living_epoch(instance: &Path) -> Result<Option<Epoch>> {
    if !is_locked(instance)? {
        return Ok(None);
    }
    let unreadable = || Error::Corrupt {
        path: crate::layout::marks_path(instance),
        offset: Offset::ZERO,
        reason: "the marks are damaged; they are made anew when the owner starts".to_owned(),
    };
    Ok(Some(read_marks(instance)?.ok_or_else(unreadable)?.epoch))
}

/// A table that cannot be read has a lease like what it holds: nobody's waits for ever, unless its owner is there, or may be.
fn outlived(instance: &Path, error: Error, leases: &mut Leases) -> Result<()> {
    let name = instance.file_name().unwrap_or_default().to_string_lossy();
    let is_gone = is_locked(instance).is_ok_and(|locked| !locked);
    if is_gone && leases.has_run_out(&name, WHOLE_TABLE, 0) { Ok(()) } else { Err(error) }
}

/// Folders of the state folder that may be instances'.
pub(crate) fn instances(state: &Path) -> Result<impl Iterator<Item = Result<PathBuf>>> {
    let entries = fs::read_dir(state).at("list", state)?;
    let folder = |entry: io::Result<fs::DirEntry>| {
        let path = entry.at("list", state)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name == "lost+found" || name.starts_with('.') || !is_valid(name) {
            // A file system's own, hidden, or one that no writer takes; no process has such a name.
            return Ok(None);
        }
        match fs::metadata(&path) {
            Ok(found) => Ok(found.is_dir().then_some(path)),
            // It has gone just now, or is a link to nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at("inspect", &path),
        }
    };
    Ok(entries.filter_map(move |entry| folder(entry).transpose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_that_take_turns_are_each_told_once() {
        let (mut told, began) = (Told::default(), Instant::now());
        let mut news = |trouble: &str, after| told.is_news(trouble, began + after);
        assert!(news("one", Duration::ZERO) && news("other", Duration::ZERO));
        for second in 1..TELL_EVERY.as_secs() {
            let after = Duration::from_secs(second);
            assert!(!news("one", after) && !news("other", after), "again after {after:?}");
        }
        assert!(news("one", TELL_EVERY));
        // Troubles without end fill no log.
        let count = (0..1000).filter(|number| news(&number.to_string(), TELL_EVERY)).count();
        assert_eq!(count, TOLD_MAX - 1);
    }
}
