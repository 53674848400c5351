//! What the customers have done: an event for each session, and all of it in one file at the end.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use contracts::checkout::Receipt;
use procession::{Event, Item, Process, Start};
use serde::{Deserialize, Serialize};

use crate::script::Script;
use crate::settings::Settings;

/// `customer/session-done`: a customer has gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionDone {
    pub(crate) session: String,
    lane: u32,
    number: u64,
    /// What the script comes to: items, money, and what basket and bag weigh.
    items: u32,
    total_cents: i64,
    basket_grams: i64,
    bag_grams: i64,
    /// Whether these differed when the customer paid, and how often something wrong was put in the bag.
    mismatch: bool,
    wrong_weights: u32,
    /// How often the customer had to ask again.
    repeated: u64,
    #[serde(flatten)]
    outcome: Outcome,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// With a receipt.
    Paid { receipt: Receipt },
    /// Without, because something was refused.
    Left { error: String, reason: String },
    /// Without, because somebody didn't answer in time.
    GaveUp { error: String, reason: String },
}

impl Event for SessionDone {
    const TOPIC: &'static str = "session-done";

    fn key(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.session.as_bytes()))
    }
}

impl SessionDone {
    pub(crate) fn new(
        session: String,
        lane: u32,
        number: u64,
        script: &Script,
        repeated: u64,
        outcome: Outcome,
    ) -> Self {
        let expected = script.expected;
        SessionDone {
            session,
            lane,
            number,
            items: expected.items,
            total_cents: expected.total_cents,
            basket_grams: expected.basket_grams,
            bag_grams: expected.bag_grams,
            mismatch: expected.is_mismatch(),
            wrong_weights: expected.wrong_weights,
            repeated,
            outcome,
        }
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        &self.outcome
    }
}

/// All of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    seed: u64,
    sessions: u64,
    paid: u64,
    paid_cents: i64,
    unverified: u64,
    left: BTreeMap<String, u64>,
    gave_up: u64,
    repeated: u64,
    each: Vec<SessionDone>,
}

impl Summary {
    /// As the process's own journal says.
    pub(crate) fn recall(process: &Process<Settings>) -> Result<Self> {
        let mut summary = Summary { seed: process.settings().seed, ..Summary::default() };
        let mut own = process.read_own(Start::Beginning)?;
        while let Some(item) = own.next()? {
            match item {
                Item::Record(record) if record.topic == SessionDone::TOPIC => {
                    summary.add(serde_json::from_slice(record.payload).context("a session can't be read")?);
                }
                Item::Record(_) => {}
                Item::Gap(gap) => tracing::warn!(from = gap.from.0, to = gap.to.0, "sessions are missing"),
            }
        }
        summary.each.sort_by_key(|session| session.number);
        Ok(summary)
    }

    fn add(&mut self, session: SessionDone) {
        self.sessions += 1;
        self.repeated += session.repeated;
        match &session.outcome {
            Outcome::Paid { receipt } => {
                self.paid += 1;
                self.paid_cents += receipt.total_cents;
                self.unverified += u64::from(!receipt.verified);
            }
            Outcome::Left { error, .. } => *self.left.entry(error.clone()).or_default() += 1,
            Outcome::GaveUp { .. } => self.gave_up += 1,
        }
        self.each.push(session);
    }

    /// Writes it in one step, so that nobody finds half of it.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let half = path.with_extension("part");
        let text = serde_json::to_vec_pretty(self)?;
        fs::write(&half, text).with_context(|| format!("the summary {} can't be written", half.display()))?;
        fs::rename(&half, path)
            .with_context(|| format!("the summary {} can't be put in place", path.display()))
    }

    /// In a line.
    pub(crate) fn tell(&self) {
        let Summary { sessions, paid, paid_cents, unverified, gave_up, repeated, .. } = self;
        tracing::info!(sessions, paid, paid_cents, unverified, gave_up, repeated, left = ?self.left, "done");
    }
}
