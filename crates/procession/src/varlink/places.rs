//! How many connections there may be at a time: altogether, and of one user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::peer::Peer;

/// One place of so many is kept for root and the server's own user.
const KEPT_OF: usize = 8;

/// The places of a server.
pub(super) struct Places {
    all: usize,
    of_one_user: usize,
    own_uid: u32,
    /// Locked when a connection comes and when it goes.
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// By users who are neither root nor the server's own.
    by_strangers: HashMap<u32, usize>,
}

/// One connection's place; free again when dropped.
pub(super) struct Place {
    taken: Arc<Mutex<Taken>>,
    /// Where it counts as a stranger's.
    stranger: Option<u32>,
}

impl Places {
    pub(super) fn new(all: usize, of_one_user: usize, own_uid: u32) -> Self {
        Self { all, of_one_user, own_uid, taken: Arc::default() }
    }

    /// A place for one connection.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(super) fn take(&self, peer: Peer) -> Result<Place, usize> {
        let stranger = (peer.uid != 0 && peer.uid != self.own_uid).then_some(peer.uid);
        let mut taken = lock(&self.taken);
        let room = match stranger {
            None => self.all,
            Some(_) => self.all - self.all / KEPT_OF,
        };
        if taken.all >= room {
            return Err(room);
        }
        if let Some(uid) = stranger {
            let own = taken.by_strangers.entry(uid).or_default();
            if *own >= self.of_one_user {
                return Err(self.of_one_user);
            }
            *own += 1;
        }
        taken.all += 1;
        Ok(Place { taken: Arc::clone(&self.taken), stranger })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all -= 1;
        if let Some(uid) = self.stranger
            && let Some(own) = taken.by_strangers.get_mut(&uid)
        {
            *own -= 1;
            if *own == 0 {
                taken.by_strangers.remove(&uid);
            }
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 1000;

    fn peer(uid: u32) -> Peer {
        Peer { pid: None, uid, gid: 0 }
    }

    #[test]
    fn one_user_s_load_takes_nobody_else_s_place() {
        let places = Places::new(16, 5, OWN);
        let greedy: Vec<_> = (0..5).map(|_| places.take(peer(7)).ok().unwrap()).collect();
        assert_eq!(places.take(peer(7)).err(), Some(5));
        let _other = places.take(peer(8)).ok().unwrap();
        drop(greedy);
        assert!(places.take(peer(7)).is_ok());
        assert_eq!(lock(&places.taken).by_strangers.len(), 1, "who is gone is forgotten");
    }

    #[test]
    fn some_places_are_kept_for_root_and_the_own_user() {
        let places = Places::new(16, 16, OWN);
        let strangers: Vec<_> = (0..14).map(|uid| places.take(peer(2000 + uid)).ok().unwrap()).collect();
        assert_eq!(places.take(peer(3000)).err(), Some(14));
        let own: Vec<_> = [0, OWN].map(|uid| places.take(peer(uid)).ok().unwrap()).into();
        assert_eq!(places.take(peer(OWN)).err(), Some(16));
        drop((strangers, own));
        let all: Vec<_> = (0..16).map(|_| places.take(peer(OWN)).ok().unwrap()).collect();
        assert_eq!((all.len(), places.take(peer(0)).err()), (16, Some(16)));
    }
}
