//! What may happen to the chain and its journals.

use super::*;

/// One thing that happens; the numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Hear {
        model: u8,
        which: u16,
    },
    HearAgain {
        model: u8,
        which: u16,
    },
    Commit {
        model: u8,
    },
    Settle {
        model: u8,
        back: u8,
    },
    Keep {
        model: u8,
    },
    Crash {
        model: u8,
        forget: bool,
    },
    /// A source loses its end, and says something else.
    Lose {
        source: u8,
        keep: u16,
        heard: bool,
        anew: [(u8, i64, i64, bool); 2],
    },
    /// A model does.
    LoseOwn {
        model: u8,
        keep: u16,
        heard: bool,
    },
}

pub(super) struct World {
    pub(super) journals: Journals,
    pub(super) a: Node<0>,
    pub(super) b: Node<1>,
    pub(super) c: Node<2>,
}

/// What one step does to one model.
pub(super) fn step<const L: usize>(journals: &mut Journals, node: &mut Node<L>, step: Step) {
    match step {
        Step::Hear { which, .. } => node.hear(journals, which.into()),
        Step::HearAgain { which, .. } => {
            let heard: Vec<_> = node.open.iter().chain(&node.heard).copied().collect();
            if let Some(record) = heard.get(usize::from(which) % heard.len().max(1)) {
                assert_ne!(node.take(journals, *record), Some(Fate::Taken), "it was there already");
            }
        }
        Step::Commit { .. } => node.commit(journals),
        Step::Settle { back, .. } => {
            let horizon = node.horizon(journals).minus(Duration::from_micros(back.into()));
            node.settle(journals, horizon);
        }
        Step::Keep { .. } => node.keep(journals),
        Step::Crash { forget, .. } => node.crash(journals, forget, false),
        Step::Lose { .. } | Step::LoseOwn { .. } => unreachable!("it is about several"),
    }
}

/// A model notices that a journal has lost its end: with what it has heard since its last batch, or dead.
pub(super) fn notice<const L: usize>(
    journals: &mut Journals,
    node: &mut Node<L>,
    source: usize,
    end: usize,
    heard: bool,
) {
    if HEARS[L].contains(&source) {
        if heard {
            node.commit(journals);
        }
        node.lose(source, end as u64);
        node.crash(journals, false, true);
    }
}

/// Up to where a journal may lose its end: nobody must have made anything final that comes of it.
pub(super) fn end_of(journal: &[Post], keep: u16, settled: EventTime) -> usize {
    let fixed = journal.iter().rposition(|said| said.topic == Final::TOPIC || said.at < settled);
    let first = fixed.map_or(0, |fixed| fixed + 1);
    first + usize::from(keep) % (journal.len() - first + 1)
}

impl World {
    pub(super) fn settled(&self, source: usize) -> EventTime {
        let settled = [self.a.fold.settled(), self.b.fold.settled(), self.c.fold.settled()];
        let hearers = settled.into_iter().zip(HEARS).filter(|(_, hears)| hears.contains(&source));
        hearers.map(|(settled, _)| settled).max().unwrap_or(EventTime::MIN)
    }

    pub(super) fn notice(&mut self, source: usize, end: usize, heard: bool) {
        notice(&mut self.journals, &mut self.a, source, end, heard);
        notice(&mut self.journals, &mut self.b, source, end, heard);
        notice(&mut self.journals, &mut self.c, source, end, heard);
    }

    pub(super) fn lose(&mut self, source: usize, keep: u16, heard: bool, anew: &[(u8, i64, i64, bool)]) {
        let settled = self.settled(source);
        let promised = self.journals[source].iter().filter(|said| said.topic == Final::TOPIC);
        let least = promised.map(|said| said.at.0).max().unwrap_or(0).max(settled.0).max(0);
        if least > 900 {
            return;
        }
        let end = end_of(&self.journals[source], keep, settled);
        self.journals[source].truncate(end);
        for (which, later, value, gone) in anew {
            let (journal, at) = (&mut self.journals[source], EventTime(least + later));
            if source == 2 {
                say_foreign(journal, *which, at, *value, *gone);
            } else {
                journal.push(post("note", at, &Note::<0> { at, value: *value }, None));
            }
        }
        self.notice(source, end, heard);
    }

    pub(super) fn lose_own<const L: usize>(
        &mut self,
        node: impl Fn(&mut Self) -> &mut Node<L>,
        keep: u16,
        heard: bool,
    ) {
        let source = FIRST_MODEL + L;
        let end = end_of(&self.journals[source], keep, self.settled(source));
        let batches = &node(self).batches;
        let Some(end) = batches.iter().map(|(at, _)| *at).filter(|at| *at >= end).min() else { return };
        self.journals[source].truncate(end);
        node(self).lose_own(end);
        let mut journals = std::mem::take(&mut self.journals);
        node(self).crash(&mut journals, false, true);
        self.journals = journals;
        self.notice(source, end, heard);
    }
}

/// What a foreign model holds by now of each conclusion: its revision, and its time if it is asserted.
pub(super) fn foreign_state(journal: &[Post], id: Derivation) -> (u32, Option<EventTime>) {
    let mut state = (0, None);
    for said in journal {
        if said.topic == Retract::TOPIC {
            let retract: Retract = serde_json::from_slice(&said.payload).unwrap();
            if retract.id == id {
                state.1 = None;
            }
        } else if let Some(said) = Said::of(&said.payload).unwrap().filter(|said| said.id == id) {
            state = (said.revision, Some(said.at));
        }
    }
    state
}

/// A foreign model asserts something at another time than before, or only takes it back. It knows nothing of what its
/// journal has lost.
pub(super) fn say_foreign(journal: &mut Vec<Post>, which: u8, at: EventTime, value: i64, gone: bool) {
    let id = Derivation(u128::from(which + 1) << 16);
    let (revision, before) = foreign_state(journal, id);
    if let Some(at) = before {
        // What is final stays.
        let promised = journal.iter().filter(|said| said.topic == Final::TOPIC);
        if promised.map(|said| said.at).max().is_some_and(|promised| at < promised) {
            return;
        }
        let retract = Retract { id, revision, at, topic: "note".into() };
        journal.push(post(Retract::TOPIC, at, &retract, None));
    }
    if !gone {
        let (revision, turn) = (revision + 1, u64::from(which % 2));
        let said = Said { id, revision, at, turn, since: None, compensates: false };
        journal.push(post("note", at, &Note::<1> { at, value }, Some(said)));
    }
}

/// Until it has heard everything, and everything is final.
pub(super) fn finish<const L: usize>(journals: &mut Journals, node: &mut Node<L>, backwards: bool) {
    node.look(journals);
    node.missing.sort_unstable();
    while !node.missing.is_empty() {
        node.hear(journals, if backwards { node.missing.len() - 1 } else { 0 });
        node.commit(journals);
    }
    node.settle(journals, EventTime(1001));
}
