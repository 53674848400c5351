//! Why the process died last: a note that a process leaves when it fails, for whoever looks at its next life.
//!
//! Who is killed, or loses power, leaves none; and an older note is not taken for it, because it names its epoch.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::files::LAST_DEATH;
use crate::small_file;
use crate::waiting::rfc3339;

/// A report with its causes is some lines.
const REASON_BYTES_MAX: usize = 2000;

/// Where this process leaves its note: once it holds the instance, and no other process may.
static HERE: OnceLock<(PathBuf, u32)> = OnceLock::new();
/// The folder of the instance that this process is about to take over.
static WANTED: OnceLock<PathBuf> = OnceLock::new();

/// That a process failed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// When, RFC 3339.
    pub at: String,
    /// In which epoch of its journal.
    pub epoch: u32,
    /// Its last words: an error with its causes, or a panic.
    pub reason: String,
}

impl Death {
    /// What the instance in `folder` died of in its life of that epoch; none if it didn't, or couldn't say so.
    #[must_use]
    pub fn read(folder: &Path, epoch: u32) -> Option<Self> {
        let text = small_file::read(folder, &LAST_DEATH)?;
        serde_json::from_str(&text).ok().filter(|death: &Self| death.epoch == epoch)
    }

    /// Where the instance in `folder` leaves its note.
    #[must_use]
    pub fn path(folder: &Path) -> PathBuf {
        LAST_DEATH.path(folder, &[])
    }

    /// Leaves the note in `folder` as one of the life of that epoch: for whoever wrote in the instance's journal since,
    /// which was none of its process's lives.
    ///
    /// # Errors
    /// I/O errors.
    pub fn hand_on(self, folder: &Path, epoch: u32) -> io::Result<()> {
        write(folder, &Self { epoch, ..self })
    }
}

/// From here on this process is the one that may leave a note in `folder`.
pub(crate) fn will_be_noted(folder: &Path, epoch: u32) {
    let _ = HERE.set((folder.to_owned(), epoch));
}

/// Until then, this is the folder where it may leave one if nobody else holds the instance.
pub(crate) fn is_wanted(folder: &Path) {
    let _ = WANTED.set(folder.to_owned());
}

/// Where and in which epoch a process may leave its note that has not come to hold the instance: that of the life before,
/// for this one had none. Nowhere if the instance is another process's, or if nobody can tell.
fn unheld(folder: &Path) -> Option<(PathBuf, u32)> {
    let is_free = folder.is_dir() && journal::is_locked(folder).is_ok_and(|locked| !locked);
    let marks = if is_free { journal::read_marks(folder).ok()? } else { return None };
    Some((folder.to_owned(), marks.map_or(0, |marks| marks.epoch.0)))
}

/// Leaves the note, if it can: a disk that is full must not keep a process from its end.
pub(crate) fn note(reason: &str) {
    let here = HERE.get().cloned().or_else(|| unheld(WANTED.get()?));
    let Some((folder, epoch)) = here else { return };
    let mut reason = reason.to_owned();
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    let death = Death { at: rfc3339(SystemTime::now()), epoch, reason };
    if let Err(error) = write(&folder, &death) {
        tracing::debug!(%error, "no note of the end could be left");
    }
}

fn write(folder: &Path, death: &Death) -> io::Result<()> {
    small_file::write(folder, &LAST_DEATH, &serde_json::to_vec(death)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn who_never_held_the_instance_leaves_a_note_only_where_nobody_does() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("bot");
        assert_eq!(unheld(&folder), None, "there is no such folder");
        fs::create_dir(&folder).unwrap();
        assert_eq!(unheld(&folder), Some((folder.clone(), 0)));
        let writer = journal::Writer::open(&folder, &journal::Options::default()).unwrap();
        assert_eq!(unheld(&folder), None, "somebody lives there");
        drop(writer);
        assert_eq!(unheld(&folder), Some((folder.clone(), 1)));
    }

    #[test]
    fn a_note_is_of_its_epoch_and_never_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let path = Death::path(folder.path());
        assert_eq!(Death::read(folder.path(), 3), None);
        let other = folder.path().join("other");
        fs::write(&other, "precious").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let death = Death { at: String::new(), epoch: 3, reason: "x".to_owned() };
        write(folder.path(), &death).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
        assert_eq!((Death::read(folder.path(), 3), Death::read(folder.path(), 4)), (Some(death), None));
        fs::write(&path, "nonsense").unwrap();
        assert_eq!(Death::read(folder.path(), 3), None);
    }
}
