//! What the journals of a run say, what must hold of it, and what must be the same in another run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use serde_json::Value;

use super::plan::Policy;
use crate::chain::{Follower, Result, Trouble};
use crate::home::Home;

/// Journals that are read.
const JOURNALS: [&str; 6] = ["basket", "scale", "weight-check", "payment", "bank", "customer"];

/// A payment, as payment said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// What was paid.
    pub cents: i64,
    /// `card` or `cash`.
    pub method: String,
    /// Whether the weight had been verified.
    pub verified: bool,
    /// Its record's offset in payment's journal.
    pub offset: u64,
}

/// What was concluded about a weight: session, event time, expected and measured grams.
pub type Found = (String, i64, i64, i64);

/// What the journals say. Every session is named by its id.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// What each basket came to when it was closed last: cents, items, grams.
    pub totals: BTreeMap<String, (i64, i64, i64)>,
    /// Mismatches that were not taken back.
    pub mismatches: BTreeSet<Found>,
    /// Agreements that were not taken back.
    pub agreements: BTreeSet<Found>,
    /// What was paid.
    pub payments: BTreeMap<String, Payment>,
    /// What the bank has booked, by session.
    pub charges: BTreeMap<String, i64>,
    /// Payments that payment lists as unverified.
    pub unverified: BTreeMap<String, i64>,
    /// How each customer left: `None` with a receipt, otherwise the error's name.
    pub left: BTreeMap<String, Option<String>>,
    /// What the customer's script says: whether bag and basket disagree at the end.
    pub scripted: BTreeMap<String, bool>,
    /// Asserts of conclusions by topic, id and revision, which are not retracted.
    said: BTreeMap<(String, u64), (String, Found)>,
    /// Mismatches that were taken back and not compensated (1) or the other way round (-1).
    uncompensated: BTreeMap<(String, u64), i64>,
    /// Retracts that were said.
    pub retracts: u64,
    /// Inputs that came too late to count.
    pub late: u64,
    /// Records that were read.
    pub records: u64,
    /// What must not be, as it was read.
    wrong: Vec<String>,
}

impl Books {
    /// Reads the journals of a run that has ended.
    ///
    /// # Errors
    /// A journal isn't what the format's description allows.
    pub fn read(home: &Home) -> Result<Self> {
        let mut books = Self::default();
        for journal in JOURNALS {
            let mut batches = Vec::new();
            Follower::new(&home.instance(journal)).read(&mut batches)?;
            for event in batches.iter().flat_map(|batch| &batch.events) {
                let payload = serde_json::from_slice(&event.payload)
                    .map_err(|error| Trouble(format!("{journal}: {event:?}: {error}")))?;
                books.note(journal, event.offset, &event.topic, &payload);
            }
        }
        books.conclude();
        Ok(books)
    }

    /// Takes in what a process has said.
    pub fn note(&mut self, journal: &str, offset: u64, topic: &str, said: &Value) {
        self.records += 1;
        match (journal, topic) {
            ("basket", "basket-closed") => {
                let total = (int(said, "total_cents"), int(said, "items"), int(said, "grams"));
                self.totals.insert(text(said, "session"), total);
            }
            ("weight-check", "mismatch" | "weight-ok" | "mismatch-withdrawn") => {
                self.note_finding(topic, said)
            }
            ("weight-check", "_retract") => self.note_retract(said),
            ("weight-check", "_late") => self.late += 1,
            ("payment", "paid") => self.note_paid(offset, said),
            ("payment", "unverified-payment") => {
                let known = self.unverified.insert(text(said, "session"), int(said, "total_cents"));
                self.check(known.is_none(), || format!("listed twice as unverified: {said}"));
            }
            ("bank", "booked") => self.note_booked(said),
            ("customer", "session-done") => self.note_done(said),
            (_, "_dead-letter") => self.wrong.push(format!("{journal} has given up on an event: {said}")),
            _ => {}
        }
    }

    fn note_finding(&mut self, topic: &str, said: &Value) {
        let (told, revision) = (&said["_said"], int(&said["_said"], "revision").cast_unsigned());
        if topic == "mismatch-withdrawn" {
            *self.uncompensated.entry((text(told, "compensates"), revision)).or_default() -= 1;
            return;
        }
        let name = (text(told, "id"), revision);
        let found =
            (text(said, "session"), time(said), int(said, "expected_grams"), int(said, "measured_grams"));
        let known = self.said.insert(name, (topic.to_owned(), found));
        self.check(known.is_none(), || format!("asserted twice: {said}"));
    }

    fn note_retract(&mut self, said: &Value) {
        self.retracts += 1;
        let name = (text(said, "id"), int(said, "revision").cast_unsigned());
        match self.said.remove(&name) {
            Some((topic, _)) if topic == "mismatch" => *self.uncompensated.entry(name).or_default() += 1,
            Some(_) => {}
            None => self.wrong.push(format!("taken back, and was never said: {said}")),
        }
    }

    fn note_paid(&mut self, offset: u64, said: &Value) {
        let payment = Payment {
            cents: int(said, "total_cents"),
            method: text(said, "method"),
            verified: said["verified"] == true,
            offset,
        };
        let known = self.payments.insert(text(said, "session"), payment);
        self.check(known.is_none(), || format!("paid twice: {said}"));
    }

    fn note_booked(&mut self, said: &Value) {
        if said["approved"] != true {
            return;
        }
        let charge = text(said, "charge");
        let session = charge.rsplit_once('.').map_or(&*charge, |(session, _)| session);
        let known = self.charges.insert(session.to_owned(), int(said, "cents"));
        self.check(known.is_none(), || format!("charged twice: {said}"));
    }

    fn note_done(&mut self, said: &Value) {
        let left = (said["outcome"] != "paid").then(|| text(said, "error"));
        self.check(said["outcome"] != "gave-up", || format!("a customer gave up: {said}"));
        let session = text(said, "session");
        self.scripted.insert(session.clone(), said["mismatch"] == true);
        let known = self.left.insert(session, left);
        self.check(known.is_none(), || format!("a customer left twice: {said}"));
    }

    fn check(&mut self, holds: bool, wrong: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(wrong());
        }
    }

    /// Everything was noted.
    pub fn conclude(&mut self) {
        for (topic, found) in self.said.values() {
            let set = if topic == "mismatch" { &mut self.mismatches } else { &mut self.agreements };
            if !set.insert(found.clone()) {
                self.wrong.push(format!("concluded twice: {topic} {found:?}"));
            }
        }
        for (name, count) in self.uncompensated.iter().filter(|(_, count)| **count != 0) {
            self.wrong
                .push(format!("mismatch {name:?} was taken back, and its compensations are off by {count}"));
        }
    }

    /// Whether a session's last verdict is a mismatch.
    fn is_mismatch(&self, session: &str) -> bool {
        let last = |set: &BTreeSet<Found>| {
            let from = (session.to_owned(), i64::MIN, i64::MIN, i64::MIN);
            set.range(from..).take_while(|found| found.0 == session).map(|found| found.1).max()
        };
        last(&self.mismatches) > last(&self.agreements)
    }

    /// What must hold of any run of so many sessions.
    ///
    /// # Errors
    /// What does not.
    pub fn audit(&self, sessions: u64, policy: Policy) -> Result<()> {
        let mut wrong = self.wrong.clone();
        let mut must = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        must(
            self.left.len() as u64 == sessions,
            format!("{} customers of {sessions} have gone", self.left.len()),
        );
        must(self.late == 0, format!("{} inputs were too late", self.late));
        for (session, left) in &self.left {
            let payment = self.payments.get(session);
            let total = self.totals.get(session).map(|total| total.0);
            must(total.is_some(), format!("{session} never closed a basket"));
            must(
                left.is_none() == payment.is_some(),
                format!("{session} left {left:?}, and paid {payment:?}"),
            );
            let paid = payment.map(|payment| payment.cents);
            must(
                paid.is_none() || paid == total,
                format!("{session} paid {paid:?}, and the basket is {total:?}"),
            );
            let due = payment
                .filter(|payment| payment.method == "card" && payment.cents > 0)
                .map(|paid| paid.cents);
            let charged = self.charges.get(session).copied();
            must(charged == due, format!("{session}: {charged:?} was charged, and {due:?} paid by card"));
            let verdict = self.is_mismatch(session);
            must(
                verdict == self.scripted[session],
                format!("{session}: mismatch {verdict}, and by the script {}", self.scripted[session]),
            );
            let listed = self.unverified.get(session).copied();
            let unverified = payment.filter(|payment| !payment.verified).map(|payment| payment.cents);
            must(
                listed == unverified,
                format!("{session}: {listed:?} is listed as unverified, {unverified:?} was"),
            );
            let refused = left.as_deref() == Some("MismatchOpen");
            must(
                refused == (verdict && unverified.is_none()),
                format!("{session} left {left:?} with mismatch {verdict}, unverified {unverified:?}"),
            );
        }
        let strangers =
            self.payments.keys().chain(self.charges.keys()).find(|id| !self.left.contains_key(*id));
        must(strangers.is_none(), format!("{strangers:?} paid or was charged, and was no customer"));
        must(
            policy == Policy::Trust || self.unverified.is_empty(),
            format!("the policy was to refuse, and these were trusted: {:?}", self.unverified),
        );
        if wrong.is_empty() { Ok(()) } else { Err(Trouble(shorten(wrong))) }
    }

    /// What must be the same as in a run of the same customers without a fault. Who paid unverified may have paid with a
    /// mismatch.
    ///
    /// # Errors
    /// What isn't.
    pub fn compare(&self, faultless: &Self) -> Result<()> {
        let mut wrong = Vec::new();
        differ("the baskets' totals", &faultless.totals, &self.totals, &mut wrong);
        let all = |set: &BTreeSet<Found>| -> BTreeMap<Found, ()> {
            set.iter().map(|found| (found.clone(), ())).collect()
        };
        differ("the mismatches", &all(&faultless.mismatches), &all(&self.mismatches), &mut wrong);
        differ("the agreements", &all(&faultless.agreements), &all(&self.agreements), &mut wrong);
        let verified = |books: &Self| -> BTreeMap<String, (i64, String)> {
            let sold = books.payments.iter().filter(|(session, _)| !self.unverified.contains_key(*session));
            sold.map(|(session, paid)| (session.clone(), (paid.cents, paid.method.clone()))).collect()
        };
        differ("the verified payments", &verified(faultless), &verified(self), &mut wrong);
        let charged = |books: &Self| -> BTreeMap<String, i64> {
            let charges = books.charges.iter().filter(|(session, _)| !self.unverified.contains_key(*session));
            charges.map(|(session, cents)| (session.clone(), *cents)).collect()
        };
        differ("the charges", &charged(faultless), &charged(self), &mut wrong);
        let lost = faultless.payments.keys().find(|session| !self.payments.contains_key(*session));
        if let Some(session) = lost {
            wrong.push(format!("the sale to {session} is lost"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(Trouble(shorten(wrong))) }
    }

    /// In a line.
    #[must_use]
    pub fn summary(&self) -> String {
        let (paid, cents) = (self.payments.len(), self.payments.values().map(|paid| paid.cents).sum::<i64>());
        format!(
            "{} customers, {paid} paid {}.{:02}, {} charges, {} mismatches, {} agreements, {} unverified, {} conclusions taken back, {} late, {} records",
            self.left.len(),
            cents / 100,
            cents % 100,
            self.charges.len(),
            self.mismatches.len(),
            self.agreements.len(),
            self.unverified.len(),
            self.retracts,
            self.late,
            self.records,
        )
    }
}

fn differ<K: Ord + Debug, V: PartialEq + Debug>(
    what: &str,
    expected: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
    wrong: &mut Vec<String>,
) {
    for (key, value) in expected {
        if found.get(key) != Some(value) {
            wrong.push(format!("{what} differ: {key:?} should be {value:?}, and is {:?}", found.get(key)));
        }
    }
    for (key, value) in found.iter().filter(|(key, _)| !expected.contains_key(key)) {
        wrong.push(format!("{what} differ: {key:?} is {value:?}, and should not be there"));
    }
}

fn shorten(mut wrong: Vec<String>) -> String {
    let count = wrong.len();
    wrong.truncate(10);
    format!("{count} things are wrong:\n{}", wrong.join("\n"))
}

fn int(value: &Value, member: &str) -> i64 {
    value[member].as_i64().unwrap_or_else(|| panic!("{member} is no number: {value}"))
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("{member} is no text: {value}")).to_owned()
}

fn time(value: &Value) -> i64 {
    text(value, "at").parse().unwrap_or_else(|_| panic!("no time: {value}"))
}
