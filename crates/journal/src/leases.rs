//! How long subscriptions have not been seen, in time that their publisher has lived through.
//!
//! The wall clock may leap by more than a lease while everybody is there, or say nonsense after a start. So a lease runs
//! by a clock that cannot leap, from when the publisher first finds that nobody renews it, and begins anew whenever
//! somebody does. It is kept in a file of the publisher's. For a time that no publisher has seen the wall clock counts, but
//! for no more than a small part of the lease: no single leap ends one.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock::wall_clock_ns;
use crate::disk;
use crate::error::{At, Result};
use crate::layout::FileKind;
use crate::names::is_valid;

/// A time that nobody has seen ends at most this part of a lease.
const UNWATCHED_SHARE: u32 = 8;
/// So often in a lease the file is written.
const SAVES: u32 = 100;

/// More than all subscriptions of a machine take: what is behind it is not ours.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Instance and subscription.
type Name = (String, String);

#[derive(Debug)]
struct Unseen {
    /// When the subscriber says that it was there last: it has not been there for as long as this stays the same.
    seen_ns: u64,
    duration: Duration,
    /// Up to when that is counted.
    until: Instant,
    /// Found in this look.
    current: bool,
}

/// Leases of subscriptions that are not being read.
#[derive(Debug)]
pub(crate) struct Leases {
    path: PathBuf,
    /// Where the file is written before it takes the place of the last one.
    unfinished: PathBuf,
    lease: Duration,
    unseen: HashMap<Name, Unseen>,
    saved: Option<Instant>,
}

impl Leases {
    /// What an earlier publisher has left in its file of this kind; nothing if that cannot be read, which ends no lease.
    pub(crate) fn load(kind: &FileKind, instance: &Path, lease: Duration) -> Self {
        let (path, unfinished) = (kind.path(instance, &[]), kind.unfinished_path(instance, &[]));
        let text = read(&path).unwrap_or_default();
        let mut lines = text.lines();
        let saved_ns = lines.next().and_then(|line| line.parse().ok());
        let unwatched = saved_ns.map_or(0, |saved| wall_clock_ns().saturating_sub(saved));
        let unwatched = Duration::from_nanos(unwatched).min(lease / UNWATCHED_SHARE);
        let unseen = lines.filter_map(parse).map(|(name, seen_ns, duration)| {
            let (duration, until) = (duration + unwatched, Instant::now());
            (name, Unseen { seen_ns, duration, until, current: false })
        });
        Self { unseen: unseen.collect(), path, unfinished, lease, saved: None }
    }

    /// Whether a subscription that is not being read, and was there last at `seen_ns`, has not been there for a lease.
    pub(crate) fn has_run_out(&mut self, instance: &str, subscription: &str, seen_ns: u64) -> bool {
        self.has_run_out_after(instance, subscription, seen_ns, Duration::ZERO)
    }

    /// The same for one that has not been there for so long when this is first asked, or asked with another `seen_ns`.
    pub(crate) fn has_run_out_after(
        &mut self,
        instance: &str,
        subscription: &str,
        seen_ns: u64,
        already: Duration,
    ) -> bool {
        let now = Instant::now();
        let begun = || Unseen { seen_ns, duration: already, until: now, current: true };
        let unseen = self.unseen.entry((instance.to_owned(), subscription.to_owned())).or_insert_with(begun);
        if unseen.seen_ns == seen_ns {
            unseen.duration += now.duration_since(unseen.until);
            (unseen.until, unseen.current) = (now, true);
        } else {
            *unseen = begun();
        }
        unseen.duration >= self.lease
    }

    /// Ends a look at all subscriptions: whoever was not asked about is there, or is gone for good. `whole`: all were
    /// looked at. Writes down what is known, now and then.
    pub(crate) fn end_look(&mut self, whole: bool) -> Result<()> {
        if whole {
            self.unseen.retain(|_, unseen| std::mem::take(&mut unseen.current));
        }
        let nothing = self.unseen.is_empty() && self.saved.is_none();
        if nothing || self.saved.is_some_and(|saved| saved.elapsed() < self.period()) {
            return Ok(());
        }
        self.saved = Some(Instant::now());
        self.save()
    }

    /// How often it is to look at least.
    pub(crate) fn period(&self) -> Duration {
        (self.lease / SAVES).clamp(Duration::from_secs(1), Duration::from_secs(3600))
    }

    fn save(&self) -> Result<()> {
        let mut text = format!("{}\n", wall_clock_ns());
        for ((instance, subscription), Unseen { seen_ns, duration, .. }) in &self.unseen {
            debug_assert!(
                is_valid(instance) && is_valid(subscription),
                "both were checked where they were read"
            );
            text += &format!("{seen_ns} {} {subscription}\t{instance}\n", duration.as_nanos());
        }
        let new = &self.unfinished;
        disk::create_anew(new)?.write_all(text.as_bytes()).at("write", new)?;
        disk::rename(new, &self.path)
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    disk::open_to_read(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn parse(line: &str) -> Option<(Name, u64, Duration)> {
    let (seen, rest) = line.split_once(' ')?;
    let (duration, names) = rest.split_once(' ')?;
    // Neither name has control characters: who could write one would write a line about somebody else.
    let (subscription, instance) = names.split_once('\t')?;
    let name = (instance.to_owned(), subscription.to_owned());
    Some((name, seen.parse().ok()?, Duration::from_nanos(duration.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::layout::LEASES;

    #[test]
    fn a_lease_goes_on_after_a_restart_and_begins_anew_when_it_is_renewed() {
        let home = tempfile::tempdir().unwrap();
        let (instance, path) = (home.path(), LEASES.path(home.path(), &[]));
        let lease = Duration::from_secs(3600);
        let mut leases = Leases::load(&LEASES, instance, lease);
        assert!(!leases.has_run_out("bot", "a name", 7));
        leases.unseen.values_mut().for_each(|unseen| unseen.duration = lease * 15 / 16);
        leases.end_look(true).unwrap();

        // The clock was set wrong when it was written, so it has leapt by years since.
        let text = fs::read_to_string(&path).unwrap();
        let (_, rest) = text.split_once('\n').unwrap();
        let leapt = |text: &str| fs::write(&path, format!("1000\n{text}")).unwrap();
        leapt(rest);
        let mut leases = Leases::load(&LEASES, instance, lease);
        assert!(leases.has_run_out("bot", "a name", 7), "an eighth counts");
        assert!(!leases.has_run_out("bot", "a name", 8), "it has been there");
        assert!(!leases.has_run_out("other", "a name", 7));

        leapt("7 0 a name\tbot\nnonsense\n");
        let mut leases = Leases::load(&LEASES, instance, lease);
        assert!(!leases.has_run_out("bot", "a name", 7), "no leap ends a lease");
    }
}
