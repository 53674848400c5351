//! Which segments go, and when.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::ages::Ages;
use crate::disk;
use crate::error::{At, Error, Result};
use crate::fault;
use crate::ofd;
use crate::options::{Retention, WhenFull};
use crate::presence::LOOK_EVERY;
use crate::readers::{Readers, Standing};
use crate::release;
use crate::segment::{self, Found, write_zeros};
use crate::shared::Shared;
use crate::types::Offset;

/// Drops segments of one journal as its [`Retention`] says.
#[derive(Debug)]
pub(crate) struct Trimmer {
    pub(crate) shared: Arc<Shared>,
    /// Name of the journal.
    pub(crate) name: String,
    pub(crate) readers: Readers,
    /// If there is an age at which segments go.
    pub(crate) ages: Option<Ages>,
    pub(crate) retention: Retention,
}

/// The file of a dropped segment, under another name and of no use to any reader.
#[derive(Debug)]
pub(crate) struct Reused(File);

impl Reused {
    /// Takes the file at `path` out of the journal; `None` if a reader still has it mapped, or nobody can tell.
    fn take(path: &Path, name: &Path) -> Option<Self> {
        let file = disk::reopen_own(path).ok()?;
        // Readers hold a shared lock for as long as they have the file mapped; those of earlier versions by `flock`.
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        ofd::have_alone(&file).ok()?;
        disk::rename(path, name).ok()?;
        Some(Self(file))
    }

    /// The file, with all of its bytes zeroed.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn zeroed(self) -> io::Result<File> {
        write_zeros(&self.0, 0, self.0.metadata()?.len())?;
        // Once it is a segment again it is the readers' to lock.
        flock(&self.0, FlockOperation::Unlock)?;
        ofd::let_go(&self.0)?;
        Ok(self.0)
    }
}

/// The segments that there are, oldest first, how large their files are, and when they were written.
#[derive(Debug)]
pub(crate) struct Present {
    segments: Vec<Found>,
    sizes: Vec<u64>,
    written: Vec<SystemTime>,
}

impl Present {
    pub(crate) fn bytes(&self) -> u64 {
        self.sizes.iter().sum()
    }
}

/// What making room has come to.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) reused: Option<Reused>,
    /// It was enough for now: more may go.
    pub(crate) is_partial: bool,
}

impl Trimmer {
    /// How often [`Self::trim`] is to be called.
    pub(crate) fn period(&self) -> Duration {
        // What is to be kept for an age may stay a little longer.
        let age = self.retention.age_kept.map_or(Duration::MAX, |age| age / 16);
        self.readers.period().min(age.max(Duration::from_secs(1)))
    }

    /// Drops what nobody holds back any more, and takes note of who is not there. `false` if it has stopped before its end
    /// because `give_way` was set.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn trim(&self, give_way: &AtomicBool) -> Result<bool> {
        let present = self.present()?;
        if present.segments.len() < 2 {
            return Ok(true);
        }
        self.look()?;
        let room = self.make_room(present, 0, None, &|_| give_way.load(Ordering::Relaxed))?;
        Ok(!room.is_partial)
    }

    /// The segments that there are.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn present(&self) -> Result<Present> {
        let segments = segment::list(&self.shared.folder)?;
        let (mut sizes, mut written) = (Vec::new(), Vec::new());
        for found in &segments {
            let metadata = fs::metadata(&found.path).at("inspect", &found.path)?;
            sizes.push(metadata.len());
            // Where a file system does not say it nothing becomes old.
            written.push(metadata.modified().unwrap_or_else(|_| SystemTime::now()));
        }
        Ok(Present { segments, sizes, written })
    }

    /// Makes room for `more` bytes, given what there is; stops for now, but for the byte limit, if it `is_enough` to have
    /// dropped so many segments.
    ///
    /// With `reuse` it does not wait for the disk: what cannot go yet goes next time, but for the byte limit. And if a
    /// file of just that size is dropped that nobody has mapped, it is renamed to `reuse` and returned.
    ///
    /// # Errors
    /// [`Error::Full`] if the policy is to wait for a subscription, or the process needs the oldest segment itself.
    pub(crate) fn make_room(
        &self,
        present: Present,
        more: u64,
        reuse: Option<&Path>,
        is_enough: &dyn Fn(usize) -> bool,
    ) -> Result<Room> {
        // Files go by their names, which may be another journal's by now.
        self.shared.check_presence()?;
        let mut total = present.bytes() + more;
        let Present { mut segments, mut sizes, written } = present;
        let full = segments.split_last().map_or(&[][..], |(_, full)| full);
        let mut old = self.ages.as_ref().map_or_else(Vec::new, |ages| ages.look(full, &written)).into_iter();
        let mut is_old = old.next().unwrap_or(false);
        let (mut synced, mut reused, mut dropped) = (false, None, 0);
        let (mut standings, mut looked) = (Vec::new(), None::<Instant>);
        // The newest segment stays: it is being written.
        while segments.len() > 1 {
            let over = self.retention.bytes_max.is_some_and(|most| total > most);
            if !over && total <= self.retention.bytes_kept && !is_old {
                break;
            }
            if !over && is_enough(dropped) {
                return Ok(Room { reused, is_partial: true });
            }
            let end = segments[1].base;
            if over {
                self.check_need(end)?;
            }
            // Nobody goes back. But this may last, and whoever comes meanwhile gets what is there when he is seen.
            if looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
                standings = self.look()?;
                looked = Some(Instant::now());
            }
            if let Some(laggard) = standings.iter().min_by_key(|at| at.next).filter(|at| at.next < end) {
                if !over {
                    if reuse.is_some() {
                        let positions: Vec<Offset> = standings.iter().map(|at| at.next).collect();
                        release::let_go(self.held(&segments, &sizes), &positions);
                    }
                    break;
                }
                self.overrun(laggard, end)?;
            }
            // Recovery begins at the segment with the durable mark, at the latest at this one, whose beginning says what
            // was acknowledged in all before it.
            if !synced && self.shared.settled() <= end {
                if reuse.is_some() && !over {
                    self.shared.sync_soon();
                    break;
                }
                if !self.make_newest_durable(&segments)? {
                    break;
                }
                synced = true;
                // That may have taken long.
                continue;
            }
            let (oldest, size) = (segments.remove(0), sizes.remove(0));
            // The mark moves first: a reader that misses the file knows why.
            self.shared.marks.set_trimmed(end);
            fault::point("retention.marked");
            let reuse = reuse.filter(|_| reused.is_none() && size == more);
            match reuse.and_then(|name| Reused::take(&oldest.path, name)) {
                Some(taken) => reused = Some(taken),
                None => disk::remove(&oldest.path)?,
            }
            fault::point("retention.removed");
            // One after the other: power loss must not bring back an older one than one that is gone.
            self.shared.sync_names()?;
            is_old = old.next().unwrap_or(false);
            total -= size;
            dropped += 1;
        }
        Ok(Room { reused, is_partial: false })
    }

    /// Who stands where. What is seen is written down, which may be another journal's by now.
    fn look(&self) -> Result<Vec<Standing>> {
        self.shared.check_presence()?;
        Ok(self.readers.look())
    }

    /// Those segments, oldest first, that are kept only because a subscription has not read them.
    fn held<'a>(&self, segments: &'a [Found], sizes: &[u64]) -> &'a [Found] {
        let newest_kept = sizes.iter().rev().scan(0, |total, size| {
            *total += size;
            Some(*total)
        });
        let kept = newest_kept.take_while(|total| *total <= self.retention.bytes_kept).count();
        // The newest one is being written.
        &segments[..segments.len() - kept.max(1)]
    }

    /// Fails if the process needs something before `end` that it has said itself: it could not go on without.
    fn check_need(&self, end: Offset) -> Result<()> {
        let needed = self.shared.needed();
        if needed >= end {
            return Ok(());
        }
        let reason = format!(
            "the byte limit is reached, and {} needs again what it has said from {needed} on: if it does not say what it \
             waits for, raise the limit",
            self.name
        );
        Err(Error::Full { path: self.shared.folder.clone(), reason })
    }

    /// A subscription stands where the byte limit wants to trim.
    fn overrun(&self, laggard: &Standing, end: Offset) -> Result<()> {
        let Standing { who, next } = laggard;
        match self.retention.when_full {
            WhenFull::Wait => Err(Error::Full {
                path: self.shared.folder.clone(),
                reason: format!(
                    "the byte limit is reached and {who} has read only up to {next}: let it catch up, or forget it"
                ),
            }),
            WhenFull::DropOldest => {
                tracing::warn!(
                    journal = self.name,
                    subscription = who,
                    from = next.0,
                    to = end.0,
                    "the byte limit is reached: a subscription loses records that it has not read"
                );
                Ok(())
            }
        }
    }

    /// The newest segment begins with the state of all before it, which must not go before that is safe: `false` if
    /// it is not, because the segment was named just now. The marks are written back as well, so that recovery
    /// never finds the mark below all segments.
    fn make_newest_durable(&self, segments: &[Found]) -> Result<bool> {
        if !segments.last().is_some_and(|newest| self.shared.will_sync(&newest.path)) {
            return Ok(false);
        }
        self.shared.sync_with_marks()?;
        fault::point("retention.synced");
        Ok(true)
    }
}
