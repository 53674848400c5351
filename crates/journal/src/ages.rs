//! How old segments are, in time that their publisher has lived through.
//!
//! The wall clock may leap by more than an age, above all at a start: what was said seconds ago must not go for being years
//! old. So ages are kept like leases, see [`crate::leases`]: in a file of the publisher's, by a clock that cannot leap, and a
//! time that no publisher has seen counts for a small part of the age at most.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::clock::wall_clock_ns;
use crate::layout::AGES;
use crate::leases::Leases;
use crate::segment::Found;

/// What the lines of the file are about, besides a segment's name.
const KIND: &str = "segment";

/// The ages of the segments of one journal.
#[derive(Debug)]
pub(crate) struct Ages(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    known: Leases,
    began_ns: u64,
    began: Instant,
    /// Nothing was looked at in this life.
    is_first: bool,
    told: bool,
}

impl Ages {
    /// Of segments that are old at the age of `most`; what an earlier publisher knew of them is in the instance's file. If
    /// that cannot be read, they are kept longer.
    pub(crate) fn load(instance: &Path, most: Duration) -> Self {
        let known = Leases::load(&AGES, instance, most);
        let (began_ns, began) = (wall_clock_ns(), Instant::now());
        Self(Mutex::new(Inner { known, began_ns, began, is_first: true, told: false }))
    }

    /// Which of all segments of the journal that are not written any more are old, given when each was written last.
    pub(crate) fn look(&self, segments: &[Found], written: &[SystemTime]) -> Vec<bool> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A leap since this publisher began counts as little as one before.
        let lived = u64::try_from(inner.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let now = wall_clock_ns().min(inner.began_ns.saturating_add(lived));
        let is_first = std::mem::take(&mut inner.is_first);
        let look = |(found, written): (&Found, &SystemTime)| {
            let written = written.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let written = u64::try_from(written).unwrap_or(u64::MAX);
            // Of what was there before nobody knows whether the clock has leapt since.
            let already = if is_first { 0 } else { now.saturating_sub(written) };
            let name = format!("{:020}", found.base.0);
            inner.known.has_run_out_after(KIND, &name, written, Duration::from_nanos(already))
        };
        let old = segments.iter().zip(written).map(look).collect();
        if let Err(error) = inner.known.end_look(true)
            && !std::mem::replace(&mut inner.told, true)
        {
            tracing::warn!(%error, "cannot write down how old segments are: after a restart they are kept longer");
        }
        old
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::types::Offset;

    #[test]
    fn an_age_goes_on_after_a_restart_and_no_leap_makes_it_up() {
        let home = tempfile::tempdir().unwrap();
        let path = AGES.path(home.path(), &[]);
        let most = Duration::from_hours(24);
        let segments = [0, 10, 20].map(|base| Found { base: Offset(base), path: PathBuf::new() });
        let written = |hours_ago| SystemTime::now() - Duration::from_hours(hours_ago);
        let three = [written(1000), written(30), written(1)];
        let ages = Ages::load(home.path(), most);
        assert_eq!(ages.look(&segments, &three), [false; 3], "nobody has seen them grow old");
        let other = [three[0], written(29), three[2]];
        assert_eq!(
            ages.look(&segments, &other),
            [false, true, false],
            "it was written meanwhile, when the clock was known"
        );

        let text = fs::read_to_string(&path).unwrap();
        let grown = text.replace(" 0 0", &format!(" {} 0", (most * 15 / 16).as_nanos()));
        assert_eq!(grown.matches("segment").count(), 3, "{grown}");
        // Saved when the clock was years behind.
        let (_, lines) = grown.split_once('\n').unwrap();
        fs::write(&path, format!("1000\n{lines}")).unwrap();
        let ages = Ages::load(home.path(), most);
        assert_eq!(ages.look(&segments, &[three[0], three[1], written(900)]), [true, true, false]);
    }
}
