//! All sessions that are remembered, and how they are rebuilt from the journal.

use std::collections::HashMap;
use std::time::Duration;

use contracts::checkout::{
    At, BasketClosed, BasketError, BasketHeld, BasketReleased, BasketReopened, BasketState, EventClock,
    ItemAdded, ItemRemoved, LaneClock, SessionEnded, SessionStarted,
};
use procession::ordering::Heartbeat;
use procession::{Event, Item, Offset, Process, Record, Start};

use crate::session::Session;
use crate::settings::Settings;

/// Where the first event of the oldest session that is remembered is: a restart reads from there.
const OLDEST: &str = "oldest";
/// What the lanes have promised.
pub(crate) const LANES: &str = "lanes";

#[derive(Debug)]
pub(crate) struct Sessions {
    by_id: HashMap<String, Session>,
    pub(crate) clock: LaneClock,
    /// Where the journal goes on.
    next: Offset,
    /// What the checkpoint says.
    oldest: Offset,
}

impl Sessions {
    /// What the process's own journal says.
    pub(crate) fn recall(process: &Process<Settings>) -> procession::Result<Self> {
        let oldest = process.checkpoint::<u64>(OLDEST)?;
        let mut sessions = Self {
            by_id: HashMap::new(),
            clock: process.checkpoint(LANES)?.unwrap_or_default(),
            next: Offset(0),
            oldest: Offset(oldest.unwrap_or(0)),
        };
        let mut own =
            process.read_own(oldest.map_or(Start::Beginning, |oldest| Start::Offset(Offset(oldest))))?;
        while let Some(item) = own.next()? {
            match item {
                Item::Record(record) => sessions.apply(&record),
                Item::Gap(gap) => {
                    let (from, to, reason) = (gap.from.0, gap.to.0, gap.reason);
                    tracing::error!(from, to, %reason, "what was said of baskets there is lost");
                }
            }
        }
        sessions.next = own.position().next;
        tracing::info!(
            sessions = sessions.by_id.len(),
            from = sessions.oldest.0,
            next = sessions.next.0,
            "recalled"
        );
        Ok(sessions)
    }

    fn apply(&mut self, record: &Record<'_>) {
        match record.topic {
            SessionStarted::TOPIC => {
                if let Some(event) = read::<SessionStarted>(record) {
                    self.insert(Session::start(&event, record.offset), event.session);
                }
            }
            ItemAdded::TOPIC => self.change(record, |session, event: &ItemAdded| drop(session.add(event))),
            ItemRemoved::TOPIC => {
                self.change(record, |session, event: &ItemRemoved| _ = session.remove(event));
            }
            BasketClosed::TOPIC => {
                self.change(record, |session, event: &BasketClosed| _ = session.close(event));
            }
            BasketReopened::TOPIC => {
                self.change(record, |session, event: &BasketReopened| _ = session.reopen(event));
            }
            BasketHeld::TOPIC => self.change(record, |session, event: &BasketHeld| _ = session.hold(event)),
            BasketReleased::TOPIC => {
                self.change(record, |session, event: &BasketReleased| session.release(event));
            }
            SessionEnded::TOPIC => {
                if let Some(event) = read::<SessionEnded>(record) {
                    self.by_id.remove(&event.session);
                }
            }
            Heartbeat::TOPIC => {
                if let Some(Heartbeat { at }) = read(record) {
                    self.clock.has_promised(at);
                }
            }
            _ => {}
        }
    }

    fn change<E: Event>(&mut self, record: &Record<'_>, apply: impl FnOnce(&mut Session, &E)) {
        let Some(event) = read::<E>(record) else { return };
        let key = event.key();
        let id = key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        // A session whose beginning lies before the oldest that is remembered is forgotten.
        if let Some(session) = id.and_then(|id| self.by_id.get_mut(id)) {
            apply(session, &event);
        }
    }

    pub(crate) fn insert(&mut self, session: Session, id: String) {
        self.by_id.insert(id, session);
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// # Errors
    /// There is no such session.
    pub(crate) fn find(&self, id: &str) -> Result<&Session, BasketError> {
        self.by_id.get(id).ok_or_else(|| BasketError::UnknownSession { session: id.to_owned() })
    }

    /// # Errors
    /// There is no such session.
    pub(crate) fn find_mut(&mut self, id: &str) -> Result<&mut Session, BasketError> {
        self.by_id.get_mut(id).ok_or_else(|| BasketError::UnknownSession { session: id.to_owned() })
    }

    /// # Errors
    /// There are as many as there may be.
    pub(crate) fn check_room(&self, sessions_max: u32) -> Result<(), BasketError> {
        if self.by_id.len() >= usize::try_from(sessions_max).unwrap_or(usize::MAX) {
            return Err(BasketError::TooManySessions { limit: sessions_max });
        }
        Ok(())
    }

    /// An event was said at `offset`.
    pub(crate) fn said(&mut self, offset: Offset) {
        self.next = Offset(offset.0 + 1);
    }

    /// Forgets a session that is old.
    pub(crate) fn forget(&mut self, id: &str) {
        self.by_id.remove(id);
    }

    /// The sessions that nobody will ask for any more, and when they ended.
    pub(crate) fn old(&self, settings: &Settings) -> Vec<SessionEnded> {
        let now = match settings.event_clock {
            EventClock::Machine => At::now(),
            EventClock::Lanes => self.clock.promised().unwrap_or(At(i64::MIN)),
        };
        let age = |keep: Duration| i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        let (closed, open) = (age(settings.keep_closed), age(settings.keep_open));
        let old = self.by_id.iter().filter(|(_, session)| {
            let keep = if session.state == BasketState::Closed { closed } else { open };
            now.0.saturating_sub(session.changed.0) > keep
        });
        old.map(|(id, _)| SessionEnded { session: id.clone(), at: self.clock.admit(now) }).collect()
    }

    /// Where a restart would have to begin; none if that is what the checkpoint says.
    pub(crate) fn oldest(&self) -> Option<Offset> {
        let oldest = self.by_id.values().map(|session| session.first).min().unwrap_or(self.next);
        (oldest > self.oldest).then_some(oldest)
    }

    /// Writes down where a restart has to begin.
    pub(crate) fn checkpoint(&mut self, process: &Process<Settings>) -> procession::Result<()> {
        let Some(oldest) = self.oldest() else { return Ok(()) };
        let mut batch = process.batch();
        batch.checkpoint(OLDEST, &oldest.0)?;
        batch.commit()?;
        self.oldest = oldest;
        Ok(())
    }
}

/// The payload of one of our own records.
fn read<T: serde::de::DeserializeOwned>(record: &Record<'_>) -> Option<T> {
    serde_json::from_slice(record.payload)
        .inspect_err(
            |error| tracing::error!(offset = record.offset.0, %error, "our own record can't be read"),
        )
        .ok()
}
