//! Journals that a model has heard and cannot read again, for they are not there. What was heard of one is not in the
//! model's state, unless a snapshot holds all of it; so nothing becomes final before the journal is back, or its place is
//! forgotten: who concludes something for good must not do so without inputs that were acknowledged. Time does not tell that
//! a journal is gone for good, and neither does a folder that is not there, for that is what one looks like that is being
//! put back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::{Offset, read_cursors};

use super::model::{Input, Model};
use super::passed::Retried;
use super::replay::Replay;
use super::running::Running;
use super::snapshot::{Header, Heeded};
use crate::acks::Acks;
use crate::error::Result;
use crate::waiting::Waiting;

/// How long to wait before looking again whether a journal is back.
const RETURN_PAUSE: Duration = Duration::from_secs(1);

/// One journal.
#[derive(Debug)]
struct Absence {
    /// What the last snapshot says of it: that is to be read again when the journal is back.
    before: Option<Heeded>,
    /// Some of what was heard of it is in no state: final waits for it, and the process says so.
    waiting: Option<Waiting>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Absent {
    journals: BTreeMap<String, Absence>,
    /// When to look whether one of them is back.
    next_look: Instant,
}

impl Absent {
    pub(super) const fn new(now: Instant) -> Self {
        Self { journals: BTreeMap::new(), next_look: now }
    }

    pub(super) fn contains(&self, journal: &str) -> bool {
        self.journals.contains_key(journal)
    }

    /// What the last snapshot says of each.
    pub(super) fn heeded(&self) -> impl Iterator<Item = (&String, Option<&Heeded>)> {
        self.journals.iter().map(|(journal, absence)| (journal, absence.before.as_ref()))
    }

    /// Whether nothing may become final: some of what was heard does not count.
    pub(super) fn hold_final(&self) -> bool {
        self.journals.values().any(|absence| absence.waiting.is_some())
    }

    /// When to look whether one is back.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.journals.is_empty()).then_some(self.next_look)
    }
}

impl<M: Model> Running<M>
where
    M::Input: Input,
{
    /// Finds the journals of which something was heard, and that cannot be read again. What was heard of them and is in no
    /// snapshot's state does not count until they are back.
    pub(super) fn find_absent(
        &mut self,
        replays: &[Replay],
        header: Option<&Header>,
        retried: &BTreeMap<u64, Retried>,
    ) -> Result<()> {
        let mut known = std::mem::take(&mut self.absent.journals);
        for cursor in read_cursors(&self.core.folders.instance(&self.core.instance))? {
            let (journal, position) = (cursor.journal, cursor.position);
            if cursor.subscription != self.model
                || position.next == Offset::ZERO
                || replays.iter().any(|replay| replay.journal() == journal)
            {
                continue;
            }
            let before = header.and_then(|header| header.journals.get(&journal)).cloned();
            let is_whole = before.as_ref().is_some_and(|before| before.holds_all(position))
                && !retried.values().any(|retried| *retried.journal == *journal);
            let waiting = if is_whole || !self.selection.hears(&journal) {
                None
            } else {
                let known = known.remove(&journal).and_then(|known| known.waiting);
                Some(known.unwrap_or_else(|| self.wait_for_journal(&journal)))
            };
            self.absent.journals.insert(journal, Absence { before, waiting });
        }
        Ok(())
    }

    fn wait_for_journal(&self, journal: &str) -> Waiting {
        let (model, instance) = (&self.model, &self.core.instance);
        self.core.waits.begin(format!(
            "final is held back: model {model} has heard of {journal} what does not count now, for the journal is not \
             there; put it back and start {journal}, or, if it is gone for good, stop {instance} and say `procession \
             subscriptions forget {instance} {model} {journal}`"
        ))
    }

    /// Whether a journal is back that was not there: it can be read, and what was heard of it told.
    pub(super) fn is_one_back(&mut self) -> bool {
        let now = Instant::now();
        if self.absent.due().is_none_or(|due| now < due) {
            return false;
        }
        self.absent.next_look = now + RETURN_PAUSE;
        let mut absent = self.own_acks().filter(|acks| self.absent.contains(&acks.journal));
        absent.any(|acks| {
            let told = acks.position().map(|position| self.try_compare(&acks.journal, position));
            // While its files are put back, there may be some, and no whole journal.
            matches!(told, Some(Ok(Some(_))))
        })
    }

    fn own_acks(&self) -> impl Iterator<Item = Arc<Acks>> {
        self.core.acks().into_iter().filter(|acks| *acks.subscription == *self.model)
    }
}
