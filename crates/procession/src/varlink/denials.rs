//! Who is denied something is logged, but not each time: a peer that tries again and again would fill the log.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

/// After a line about a user, further denials of that kind are counted for so long.
const QUIET: Duration = Duration::from_secs(5);
/// Users that are told apart at a time, over all kinds. The others are counted together.
const USERS_MAX: usize = 256;

/// What is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Denied {
    /// A connection, to a user without any right.
    Connection,
    /// A connection beyond a limit.
    Place,
    /// A call that needs a right that the peer does not have.
    Call,
}

/// The denials of a server that no line was logged about yet.
#[derive(Debug, Default)]
pub(super) struct Denials {
    /// Locked when something is denied, and when the socket's file is looked at.
    counted: Mutex<HashMap<(Denied, Option<u32>), Counted>>,
}

#[derive(Debug)]
struct Counted {
    since: Instant,
    denials: u64,
}

impl Denials {
    /// Whether to log this denial now: the first of its kind for a while. Otherwise it is counted.
    pub(super) fn is_first(&self, denied: Denied, uid: u32, now: Instant) -> bool {
        let mut counted = self.counted();
        let is_known = counted.contains_key(&(denied, Some(uid)));
        let user = (is_known || counted.len() < USERS_MAX).then_some(uid);
        let mut is_first = false;
        let entry = counted.entry((denied, user)).or_insert_with(|| {
            is_first = true;
            Counted { since: now, denials: 0 }
        });
        entry.denials += u64::from(!is_first);
        is_first
    }

    /// Logs what was counted for long enough.
    pub(super) fn log_counted(&self, now: Instant) {
        for (denied, uid, more) in self.take_counted(now) {
            let uid = uid.map_or_else(|| "of several users".to_owned(), |uid| uid.to_string());
            match denied {
                Denied::Connection => warn!(uid, more, "connection denied: no right here"),
                Denied::Place => warn!(uid, more, "connection denied: too many"),
                Denied::Call => warn!(uid, more, "call denied"),
            }
        }
    }

    fn take_counted(&self, now: Instant) -> Vec<(Denied, Option<u32>, u64)> {
        let mut due = Vec::new();
        self.counted().retain(|(denied, uid), counted| {
            if now.saturating_duration_since(counted.since) < QUIET {
                return true;
            }
            if counted.denials == 0 {
                return false;
            }
            due.push((*denied, *uid, counted.denials));
            *counted = Counted { since: now, denials: 0 };
            true
        });
        due
    }

    fn counted(&self) -> MutexGuard<'_, HashMap<(Denied, Option<u32>), Counted>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Denials {
    fn drop(&mut self) {
        self.log_counted(Instant::now() + QUIET);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_logged_and_the_others_are_counted() {
        let (denials, now) = (Denials::default(), Instant::now());
        assert!(denials.is_first(Denied::Call, 7, now));
        assert!((0..1000).all(|_| !denials.is_first(Denied::Call, 7, now)));
        assert!(denials.is_first(Denied::Call, 8, now) && denials.is_first(Denied::Place, 7, now));
        assert_eq!(denials.take_counted(now), []);
        assert_eq!(denials.take_counted(now + QUIET), [(Denied::Call, Some(7), 1000)]);
        // Who went on is still known; the others are forgotten.
        assert!(!denials.is_first(Denied::Call, 7, now + QUIET));
        assert!(denials.is_first(Denied::Call, 8, now + QUIET));
    }

    #[test]
    fn however_many_users_there_are_it_stays_small() {
        let (denials, now) = (Denials::default(), Instant::now());
        let logged = (0..10_000).filter(|uid| denials.is_first(Denied::Place, *uid, now)).count();
        assert_eq!((logged, denials.counted().len()), (USERS_MAX + 1, USERS_MAX + 1));
        let others = 10_000 - USERS_MAX as u64 - 1;
        assert_eq!(denials.take_counted(now + QUIET), [(Denied::Place, None, others)]);
    }
}
