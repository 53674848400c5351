//! Which segments go, and when.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cursors::{read_cursors, wall_clock_ns};
use crate::error::{At, Error, Result};
use crate::options::{Retention, WhenFull};
use crate::segment::{self, Found};
use crate::shared::Shared;
use crate::types::{JournalId, Offset};

/// Drops segments of one journal as its [`Retention`] says.
#[derive(Debug)]
pub(crate) struct Trimmer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) journal: JournalId,
    /// Name of the journal, as subscribers note it in their cursors.
    pub(crate) name: String,
    /// The folder that holds the folders of all instances.
    pub(crate) state: PathBuf,
    pub(crate) retention: Retention,
}

/// The subscription that is furthest behind.
struct Laggard {
    who: String,
    next: Offset,
}

impl Trimmer {
    /// Makes room for `more` bytes.
    ///
    /// # Errors
    /// [`Error::Full`] if the policy is to wait for a subscription.
    pub(crate) fn make_room(&self, more: u64) -> Result<()> {
        let mut segments = segment::list(&self.shared.folder)?;
        let mut sizes = Vec::with_capacity(segments.len());
        for found in &segments {
            sizes.push(fs::metadata(&found.path).at("inspect", &found.path)?.len());
        }
        let mut total = sizes.iter().sum::<u64>() + more;
        let mut trimmed = false;
        // The newest segment stays: it is being written.
        while segments.len() > 1 {
            let over = self.retention.bytes_max.is_some_and(|most| total > most);
            if !over && total <= self.retention.bytes_kept && !self.is_old(&segments[0]) {
                break;
            }
            let end = segments[1].base;
            if let Some(laggard) = self.laggard().filter(|laggard| laggard.next < end) {
                if !over {
                    break;
                }
                self.overrun(&laggard, end)?;
            }
            if !trimmed {
                self.make_newest_durable(&segments)?;
            }
            self.drop_segment(&segments.remove(0), end)?;
            total -= sizes.remove(0);
            trimmed = true;
        }
        if trimmed {
            segment::sync_folder(&self.shared.folder)?;
        }
        Ok(())
    }

    /// A subscription stands where the byte limit wants to trim.
    fn overrun(&self, laggard: &Laggard, end: Offset) -> Result<()> {
        let Laggard { who, next } = laggard;
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

    /// The newest segment begins with the state of all before it, which must not go before that is safe.
    fn make_newest_durable(&self, segments: &[Found]) -> Result<()> {
        if segments.last().is_some_and(|newest| self.shared.marks.durable() <= newest.base) {
            self.shared.sync()?;
        }
        Ok(())
    }

    fn drop_segment(&self, oldest: &Found, end: Offset) -> Result<()> {
        // The mark moves first: a reader that misses the file knows why.
        self.shared.marks.set_trimmed(end);
        fs::remove_file(&oldest.path).at("remove", &oldest.path)
    }

    fn is_old(&self, found: &Found) -> bool {
        let Some(most) = self.retention.age_kept else { return false };
        let modified = fs::metadata(&found.path).and_then(|metadata| metadata.modified());
        modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > most))
    }

    /// The living subscription that has read least, over all instances.
    fn laggard(&self) -> Option<Laggard> {
        let now = wall_clock_ns();
        let alive = |seen: u64| Duration::from_nanos(now.saturating_sub(seen)) < self.retention.lease;
        let mine = |id: u64| id == 0 || id == self.journal.low_half();
        instances(&self.state)
            .flat_map(|instance| {
                let cursors = read_cursors(&instance).unwrap_or_else(|error| {
                    tracing::warn!(%error, "cannot tell how far this instance has read: it holds nothing back");
                    Vec::new()
                });
                cursors.into_iter().map(move |cursor| (instance.clone(), cursor))
            })
            .filter(|(_, cursor)| cursor.journal == self.name && mine(cursor.position.journal) && alive(cursor.seen_ns))
            .min_by_key(|(_, cursor)| cursor.position.next)
            .map(|(instance, cursor)| Laggard {
                who: format!("{} of {}", cursor.subscription, instance.file_name().unwrap_or_default().to_string_lossy()),
                next: cursor.position.next,
            })
    }
}

fn instances(state: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(state).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir())
}
