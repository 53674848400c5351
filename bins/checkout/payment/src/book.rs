//! What has been charged and paid, as the process's own journal says: this decides, and nothing else.

use std::collections::{HashMap, VecDeque};

use contracts::checkout::{ChargeBegun, ChargeDeclined, Paid, UnverifiedPayment};
use procession::{Event, Item, Offset, Process, Record, Start};

use crate::settings::Settings;

/// The checkpoint is written after so many payments.
const CHECKPOINT_EVERY: u32 = 256;

/// Where a session's payment stands.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    /// The bank has been, or is about to be, asked: what comes of it must be found out before anything else.
    Begun(ChargeBegun),
    /// The bank said no, to the request named.
    Declined {
        request: String,
        reason: String,
    },
    Paid(Paid),
}

#[derive(Debug)]
struct Entry {
    standing: Standing,
    /// Where its first record is.
    first: Offset,
    /// How often it was tried to charge it.
    attempts: u32,
    unverified: Option<UnverifiedPayment>,
}

/// The latest sessions that were paid, or that somebody tried to pay.
#[derive(Debug)]
pub(crate) struct Book {
    entries: HashMap<String, Entry>,
    oldest_first: VecDeque<String>,
    unverified_count: u64,
    since_checkpoint: u32,
    payments_max: usize,
}

impl Book {
    /// The checkpoint of where a restart begins to read.
    pub(crate) const OLDEST: &str = "oldest";

    /// What the process's own journal says.
    pub(crate) fn recall(process: &Process<Settings>) -> procession::Result<Self> {
        let mut book = Self::up_to(process.settings().payments_kept.get());
        let oldest = process.checkpoint::<u64>(Self::OLDEST)?;
        let mut own =
            process.read_own(oldest.map_or(Start::Beginning, |oldest| Start::Offset(Offset(oldest))))?;
        while let Some(item) = own.next()? {
            match item {
                Item::Record(record) => book.read(&record),
                Item::Gap(gap) => {
                    let (from, to, reason) = (gap.from.0, gap.to.0, gap.reason);
                    tracing::error!(from, to, %reason, "payments said there are lost");
                }
            }
        }
        tracing::info!(payments = book.entries.len(), from = oldest.unwrap_or(0), "recalled");
        Ok(book)
    }

    fn up_to(payments_max: u32) -> Self {
        Self {
            entries: HashMap::new(),
            oldest_first: VecDeque::new(),
            unverified_count: 0,
            since_checkpoint: 0,
            payments_max: usize::try_from(payments_max).unwrap_or(usize::MAX),
        }
    }

    fn read(&mut self, record: &Record<'_>) {
        let at = record.offset;
        let read = match record.topic {
            ChargeBegun::TOPIC => parse(record).map(|event| self.begun(event, at)),
            ChargeDeclined::TOPIC => parse(record).map(|event| self.declined(event)),
            Paid::TOPIC => parse(record).map(|event| self.paid(event, at)),
            UnverifiedPayment::TOPIC => parse(record).map(|event| self.unverified(event)),
            _ => Ok(()),
        };
        if let Err(error) = read {
            tracing::error!(offset = at.0, %error, "our own record can't be read");
        }
    }

    pub(crate) fn standing(&self, session: &str) -> Option<&Standing> {
        self.entries.get(session).map(|entry| &entry.standing)
    }

    /// The number of the next attempt to charge a session.
    pub(crate) fn next_attempt(&self, session: &str) -> u32 {
        self.entries.get(session).map_or(0, |entry| entry.attempts) + 1
    }

    /// Charges whose outcome isn't known.
    pub(crate) fn open_charges(&self) -> Vec<ChargeBegun> {
        let open = self.entries.values().filter_map(|entry| match &entry.standing {
            Standing::Begun(charge) => Some(charge.clone()),
            Standing::Declined { .. } | Standing::Paid(_) => None,
        });
        open.collect()
    }

    pub(crate) fn begun(&mut self, event: ChargeBegun, offset: Offset) {
        let session = event.session.clone();
        self.stand(session, offset, Standing::Begun(event)).attempts += 1;
        self.forget();
    }

    pub(crate) fn declined(&mut self, event: ChargeDeclined) {
        let Some(entry) = self.entries.get_mut(&event.session) else { return };
        if let Standing::Begun(charge) = &entry.standing {
            let request = charge.request.clone();
            entry.standing = Standing::Declined { request, reason: event.reason };
        }
    }

    pub(crate) fn paid(&mut self, event: Paid, offset: Offset) {
        let session = event.session.clone();
        self.stand(session, offset, Standing::Paid(event));
        self.forget();
    }

    pub(crate) fn unverified(&mut self, event: UnverifiedPayment) {
        if let Some(entry) = self.entries.get_mut(&event.session) {
            entry.unverified = Some(event);
            self.unverified_count += 1;
        }
    }

    /// The latest, newest first, and how many there are among the payments that are remembered.
    pub(crate) fn list_unverified(&self, limit: usize) -> (Vec<UnverifiedPayment>, u64) {
        let newest = self.oldest_first.iter().rev();
        let unverified = newest.filter_map(|session| self.entries.get(session)?.unverified.clone());
        (unverified.take(limit).collect(), self.unverified_count)
    }

    /// Where a restart would have to begin, if it is time to write that down.
    pub(crate) fn checkpoint_due(&mut self) -> Option<u64> {
        self.since_checkpoint += 1;
        if self.since_checkpoint < CHECKPOINT_EVERY {
            return None;
        }
        self.since_checkpoint = 0;
        self.entries.values().map(|entry| entry.first.0).min()
    }

    fn stand(&mut self, session: String, offset: Offset, standing: Standing) -> &mut Entry {
        if !self.entries.contains_key(&session) {
            self.oldest_first.push_back(session.clone());
        }
        let entry = Entry { standing: standing.clone(), first: offset, attempts: 0, unverified: None };
        let entry = self.entries.entry(session).or_insert(entry);
        entry.standing = standing;
        entry
    }

    fn forget(&mut self) {
        // Charges that are open stay; they are settled long before their turn comes, mostly.
        for _ in 0..self.oldest_first.len() {
            if self.oldest_first.len() <= self.payments_max {
                return;
            }
            let Some(oldest) = self.oldest_first.pop_front() else { return };
            if matches!(self.standing(&oldest), Some(Standing::Begun(_))) {
                self.oldest_first.push_back(oldest);
            } else if let Some(Entry { unverified: Some(_), .. }) = self.entries.remove(&oldest) {
                self.unverified_count -= 1;
            }
        }
    }
}

fn parse<E: Event>(record: &Record<'_>) -> serde_json::Result<E> {
    serde_json::from_slice(record.payload)
}

#[cfg(test)]
mod tests {
    use contracts::checkout::{At, Method};

    use super::*;

    fn charge(session: &str, request: &str) -> ChargeBegun {
        ChargeBegun {
            session: session.to_owned(),
            at: At(1),
            total_cents: 100,
            method: Method::Card,
            charge: format!("{session}.1"),
            closed: At(1),
            verified: false,
            reason: None,
            tendered_cents: 100,
            request: request.to_owned(),
        }
    }

    fn paid(session: &str) -> Paid {
        Paid {
            session: session.to_owned(),
            at: At(2),
            total_cents: 100,
            method: Method::Card,
            tendered_cents: 100,
            change_cents: 0,
            verified: false,
            charge: format!("{session}.1"),
            request: "r".to_owned(),
        }
    }

    #[test]
    fn a_declined_charge_is_followed_by_another_attempt() {
        let mut book = Book::up_to(10);
        assert_eq!(book.next_attempt("s"), 1);
        book.begun(charge("s", "r1"), Offset(5));
        assert_eq!(book.open_charges().len(), 1);
        let reason = "no".to_owned();
        book.declined(ChargeDeclined {
            session: "s".to_owned(),
            at: At(2),
            charge: "s.1".to_owned(),
            reason,
        });
        assert!(matches!(book.standing("s"), Some(Standing::Declined { request, .. }) if request == "r1"));
        assert_eq!((book.next_attempt("s"), book.open_charges().len()), (2, 0));
    }

    #[test]
    fn the_latest_payments_are_kept_and_an_open_charge_always() {
        let mut book = Book::up_to(3);
        book.begun(charge("open", "r"), Offset(0));
        for number in 1..100 {
            let session = number.to_string();
            book.paid(paid(&session), Offset(number));
            book.unverified(UnverifiedPayment {
                session,
                at: At(2),
                total_cents: 100,
                reason: String::new(),
            });
        }
        assert!(matches!(book.standing("open"), Some(Standing::Begun(_))));
        assert!(book.standing("1").is_none() && book.standing("99").is_some());
        assert_eq!((book.entries.len(), book.oldest_first.len()), (3, 3));
        let (listed, count) = book.list_unverified(1);
        assert_eq!((listed[0].session.as_str(), count), ("99", 2));
    }
}
