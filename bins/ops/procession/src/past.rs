//! What an instance has been through, as far as it matters to whoever asks how it is now: its last death, and the dead
//! letters that nobody has decided about.

use std::time::Duration;

use journal::{Options, Writer};
use procession::Death;
use procession::names::Instance;

use crate::home::Home;
use crate::text::{Count, escape};

/// Whoever has lived for so long is not asked about the life before.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3600);

/// What an instance that doesn't run died of, if it could still say so.
pub(crate) fn death_of(home: &Home, instance: &Instance) -> Option<Death> {
    let folder = home.folder(instance);
    // One that never came to have a journal may have left a note, too.
    let marks = journal::read_marks(&folder).ok()?;
    Death::read(&folder, marks.map_or(0, |marks| marks.epoch.0))
}

/// Opens the journal of an instance that doesn't run, to write in its place. That is an epoch of the journal, and none of
/// the process's lives: what it died of last it still has died of. Its user is to
/// be this one: `Folders::create` sees to that.
///
/// # Errors
/// Those of [`Writer::open`].
pub(crate) fn stand_in(home: &Home, instance: &Instance, options: &Options) -> journal::Result<Writer> {
    let folder = home.folder(instance);
    let death = death_of(home, instance);
    let writer = Writer::open(&folder, options)?;
    if let Some(death) = death {
        // Without the note it works as well.
        let _ = death.hand_on(&folder, writer.watch().marks().epoch.0);
    }
    Ok(writer)
}

/// What an instance says of its open dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Letters {
    /// It was not asked.
    #[default]
    Unasked,
    /// It doesn't know yet, or is of a version that doesn't say.
    Uncounted,
    /// So many.
    Open(u64),
}

impl Letters {
    pub(crate) fn said(open: Option<u64>) -> Self {
        open.map_or(Self::Uncounted, Self::Open)
    }

    /// How many, if it is known.
    pub(crate) const fn count(self) -> Option<u64> {
        match self {
            Self::Open(count) => Some(count),
            Self::Unasked | Self::Uncounted => None,
        }
    }
}

/// Lines for people about an instance that has been up for so long; not at all, if it is down.
pub(crate) fn lines(
    instance: &str,
    uptime: Option<Duration>,
    death: Option<&Death>,
    letters: Letters,
) -> Vec<String> {
    let mut lines = Vec::new();
    let recent = uptime.is_none_or(|uptime| uptime < FORGIVEN_AFTER);
    if let Some(Death { at, reason, .. }) = death.filter(|_| recent) {
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        lines.push(format!("{instance} died at {}: {}", escape(at), escape(&reason)));
    }
    match letters {
        Letters::Unasked | Letters::Open(0) => {}
        Letters::Uncounted => lines.push(format!("{instance} has not counted its open dead letters yet")),
        Letters::Open(open) => {
            let letters = Count(open, "open dead letter");
            lines.push(format!("{instance} has {letters}: procession dead-letters list {instance}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_letters_are_counted_and_what_is_not_known_is_not_none() {
        let lines = |letters| lines("sorter", Some(Duration::from_secs(7200)), None, letters);
        assert_eq!(lines(Letters::said(Some(0))), [""; 0]);
        assert_eq!(lines(Letters::Unasked), [""; 0]);
        assert_eq!(lines(Letters::said(None)), ["sorter has not counted its open dead letters yet"]);
        let two = lines(Letters::said(Some(2)));
        assert_eq!(two, ["sorter has 2 open dead letters: procession dead-letters list sorter"]);
    }
}
