//! How many calls are worked on, and how many may wait: altogether, and of one user.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::sync::Semaphore;

use crate::varlink::{CallError, error_names};

/// One of so many is kept for root and the process's own user.
const KEPT_OF: usize = 8;
/// Any other user has at most one of so many.
const SHARE: usize = 2;

/// The bounds of one interface.
pub(super) struct Admission {
    shared: Arc<Shared>,
    limit: usize,
    own_uid: u32,
}

struct Shared {
    /// In whose order the waiting go on.
    working: Semaphore,
    /// Working or waiting.
    admitted: AtomicUsize,
    strangers: Strangers,
}

/// Users who are neither root nor the process's own: the load of one takes nobody else's place.
struct Strangers {
    /// Those of all of them that work.
    working: Semaphore,
    /// How many of one user work.
    turns_of_one: usize,
    /// Locked when a call of a stranger comes and when it goes.
    admitted: Mutex<Admitted>,
}

#[derive(Default)]
struct Admitted {
    all: usize,
    /// How many of each, and their turns to work.
    of: HashMap<u32, (usize, Arc<Semaphore>)>,
}

impl Admission {
    pub(super) fn new(concurrency: u32, queue: u32) -> Self {
        Self::of_user(concurrency, queue, rustix::process::geteuid().as_raw())
    }

    fn of_user(concurrency: u32, queue: u32, own_uid: u32) -> Self {
        let size = |count: u32| usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS);
        let working = size(concurrency).min(Semaphore::MAX_PERMITS);
        let strangers = Strangers {
            working: Semaphore::new(working - working / KEPT_OF),
            turns_of_one: (working / SHARE).max(1),
            admitted: Mutex::default(),
        };
        let shared = Shared { working: Semaphore::new(working), admitted: AtomicUsize::new(0), strangers };
        Self { shared: Arc::new(shared), limit: working.saturating_add(size(queue)), own_uid }
    }

    /// A place for one call of this user.
    ///
    /// # Errors
    /// `Busy`: all that the user may have are taken.
    pub(super) fn admit(&self, uid: u32) -> Result<Place, CallError> {
        let before = self.shared.admitted.fetch_add(1, Ordering::Relaxed);
        // Dropped at once, it gives its place back.
        let mut place =
            Place { shared: Arc::clone(&self.shared), started: AtomicBool::new(false), stranger: None };
        if before >= self.limit {
            return Err(busy(self.limit));
        }
        if uid != 0 && uid != self.own_uid {
            place.stranger = Some(self.admit_stranger(uid)?);
        }
        Ok(place)
    }

    fn admit_stranger(&self, uid: u32) -> Result<Stranger, CallError> {
        let (strangers, of_all) = (&self.shared.strangers, self.limit - self.limit / KEPT_OF);
        let of_one = (self.limit / SHARE).max(1);
        let mut admitted = strangers.lock();
        if admitted.all >= of_all {
            return Err(busy(of_all));
        }
        let new = || (0, Arc::new(Semaphore::new(strangers.turns_of_one)));
        let (own, turns) = admitted.of.entry(uid).or_insert_with(new);
        if *own >= of_one {
            return Err(busy(of_one));
        }
        *own += 1;
        let turns = Arc::clone(turns);
        admitted.all += 1;
        Ok(Stranger { uid, turns })
    }
}

fn busy(limit: usize) -> CallError {
    CallError::new(error_names::BUSY, json!({"limit": limit}))
}

impl Strangers {
    fn lock(&self) -> MutexGuard<'_, Admitted> {
        // Nothing in here panics between two states.
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, uid: u32) {
        let mut admitted = self.lock();
        admitted.all -= 1;
        if let Some((own, _)) = admitted.of.get_mut(&uid) {
            *own -= 1;
            if *own == 0 {
                admitted.of.remove(&uid);
            }
        }
    }
}

/// A call's place; free again when dropped.
pub(super) struct Place {
    shared: Arc<Shared>,
    started: AtomicBool,
    stranger: Option<Stranger>,
}

struct Stranger {
    uid: u32,
    turns: Arc<Semaphore>,
}

impl Place {
    /// Waits for its turn, then works.
    pub(super) async fn work<T>(&self, work: impl Future<Output = T>) -> T {
        const OPEN: &str = "the semaphores are never closed";
        let _of_strangers = match &self.stranger {
            None => None,
            // The user's own first: no more of one user wait among all than may work.
            Some(Stranger { turns, .. }) => {
                let of_user = turns.acquire().await.expect(OPEN);
                Some((of_user, self.shared.strangers.working.acquire().await.expect(OPEN)))
            }
        };
        let _turn = self.shared.working.acquire().await.expect(OPEN);
        self.started.store(true, Ordering::Relaxed);
        work.await
    }

    /// Whether its turn has come.
    pub(super) fn is_started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.admitted.fetch_sub(1, Ordering::Relaxed);
        if let Some(Stranger { uid, .. }) = self.stranger {
            self.shared.strangers.leave(uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_bounded_and_come_back() {
        let admission = Admission::new(1, 1);
        let first = admission.admit(0).expect("one works");
        let second = admission.admit(0).expect("one waits");
        let Err(CallError::Reply { name, .. }) = admission.admit(0) else {
            panic!("there is no third place")
        };
        assert_eq!(name, error_names::BUSY);
        // Dropped while it works, it lets the next one go on.
        let never = first.work(std::future::pending::<()>());
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), never).await.is_err());
        assert!(first.is_started() && !second.is_started());
        second.work(async {}).await;
        drop((first, second));
        assert!(admission.admit(0).is_ok());
    }

    const OWN: u32 = 1000;

    type Working<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

    /// Begins to work on each that has its turn, without an end.
    fn begin(places: &[Place]) -> Vec<Working<'_>> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let begin = |place| {
            let mut working: Working<'_> = Box::pin(Place::work(place, std::future::pending()));
            assert!(working.as_mut().poll(&mut context).is_pending());
            working
        };
        places.iter().map(begin).collect()
    }

    fn started(places: &[Place]) -> usize {
        places.iter().filter(|place| place.is_started()).count()
    }

    fn limit(refused: Result<Place, CallError>) -> u64 {
        let Err(CallError::Reply { parameters, .. }) = refused else { panic!("there is a place") };
        parameters["limit"].as_u64().expect("a number")
    }

    #[test]
    fn one_user_s_slow_calls_take_nobody_else_s_turn() {
        let admission = Admission::of_user(4, 8, OWN);
        let greedy: Vec<_> = (0..6).map(|_| admission.admit(7).ok().unwrap()).collect();
        assert_eq!(limit(admission.admit(7)), 6);
        let _slow = begin(&greedy);
        let other = [admission.admit(8).ok().unwrap()];
        let _at_once = begin(&other);
        assert_eq!((started(&greedy), started(&other)), (2, 1));
        drop((_slow, _at_once));
        drop((greedy, other));
        assert!(admission.admit(7).is_ok());
        assert!(admission.shared.strangers.lock().of.is_empty(), "who is gone is forgotten");
    }

    #[test]
    fn some_turns_are_kept_for_root_and_the_own_user() {
        let admission = Admission::of_user(8, 8, OWN);
        let strangers: Vec<_> = (0..14).map(|call| admission.admit(2000 + call % 4).ok().unwrap()).collect();
        assert_eq!(limit(admission.admit(3000)), 14);
        let own: Vec<_> = [0, OWN].map(|uid| admission.admit(uid).ok().unwrap()).into();
        assert_eq!(limit(admission.admit(OWN)), 16);
        let _slow = begin(&strangers);
        let _own = begin(&own);
        assert_eq!((started(&strangers), started(&own)), (7, 1));
    }

    #[tokio::test]
    async fn without_a_queue_only_workers_are_admitted() {
        let admission = Admission::new(1, 0);
        let place = admission.admit(0).expect("one works");
        assert!(admission.admit(0).is_err());
        drop(place);
        assert!(admission.admit(0).is_ok());
    }
}
