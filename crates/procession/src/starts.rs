//! When an instance was started last: by this a process that doesn't stay up is told from one that was started once, whatever
//! it dies of. A process notes its start when it holds the instance. The file is a JSON array of milliseconds since 1970, oldest
//! first.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::files::STARTS;
use crate::small_file;

const STARTS_MAX: usize = 16;

/// When the processes of the instance in `folder` started, oldest first: the last ones, at most 16. None if that isn't known.
#[must_use]
pub fn recent_starts(folder: &Path) -> Vec<SystemTime> {
    let text = small_file::read(folder, &STARTS).unwrap_or_default();
    let starts: Vec<u64> = serde_json::from_str(&text).unwrap_or_default();
    let first = starts.len().saturating_sub(STARTS_MAX);
    starts[first..].iter().filter_map(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(*ms))).collect()
}

/// Notes that a process has started in `folder`, if it can: a disk that is full must not keep it from its work.
pub(crate) fn note(folder: &Path, now: SystemTime) {
    let mut starts = recent_starts(folder);
    starts.push(now);
    let first = starts.len().saturating_sub(STARTS_MAX);
    let ms = |start: &SystemTime| start.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let starts: Vec<u128> = starts[first..].iter().map(ms).collect();
    let text = serde_json::to_vec(&starts).expect("numbers are JSON");
    if let Err(error) = small_file::write(folder, &STARTS, &text) {
        tracing::debug!(%error, "the start could not be noted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_starts_are_kept_in_order() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(recent_starts(folder.path()), []);
        let at = |second| UNIX_EPOCH + Duration::from_secs(second);
        for second in 1..=20 {
            note(folder.path(), at(second));
        }
        let starts = recent_starts(folder.path());
        assert_eq!((starts.len(), starts[0], starts[15]), (STARTS_MAX, at(5), at(20)));
        std::fs::write(STARTS.path(folder.path(), &[]), "nonsense").unwrap();
        assert_eq!(recent_starts(folder.path()), []);
        note(folder.path(), at(30));
        assert_eq!(recent_starts(folder.path()), [at(30)]);
    }
}
