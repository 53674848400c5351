//! One model as a process would run it, and the journals.

use super::*;

/// A record of a journal.
#[derive(Debug, Clone)]
pub(super) struct Post {
    pub(super) topic: &'static str,
    pub(super) at: EventTime,
    pub(super) cause: Option<(usize, u64)>,
    pub(super) payload: Vec<u8>,
}

pub(super) type Journals = [Vec<Post>; 6];

pub(super) fn number_of(journal: &str) -> usize {
    NAMES.iter().position(|name| *name == journal).unwrap()
}

/// What a model keeps beside the journals, if it keeps anything.
pub(super) struct Kept<const L: usize> {
    pub(super) settled: EventTime,
    pub(super) own: usize,
    pub(super) bases: Vec<(Vec<u8>, Machine<L>)>,
    pub(super) ledger: Vec<(Derivation, Recalled)>,
}

/// One model, as a process would run it.
pub(super) struct Node<const L: usize> {
    pub(super) fold: Fold<Machine<L>>,
    pub(super) selection: Selection,
    /// Records that were dealt with, in batches that are in the journal.
    pub(super) heard: BTreeSet<(usize, u64)>,
    /// Records since the last batch.
    pub(super) open: BTreeSet<(usize, u64)>,
    /// Records that it has not heard, of those before `known`.
    pub(super) missing: Vec<(usize, u64)>,
    pub(super) known: [u64; 6],
    /// What the batch that is being made says.
    pub(super) batch: Vec<Post>,
    pub(super) kept: Option<Kept<L>>,
    /// Where each batch ended in its journal, and what was dealt with by then.
    pub(super) batches: Vec<(usize, BTreeSet<(usize, u64)>)>,
}

impl<const L: usize> Node<L> {
    pub(super) fn new() -> Self {
        let patterns = HEARS[L].iter().map(|source| format!("{}/note", NAMES[*source])).collect();
        Self {
            fold: Self::fold(),
            selection: Selection::new(patterns, NAMES[FIRST_MODEL + L]).unwrap(),
            heard: BTreeSet::new(),
            open: BTreeSet::new(),
            missing: Vec::new(),
            known: [0; 6],
            batch: Vec::new(),
            kept: None,
            batches: vec![(0, BTreeSet::new())],
        }
    }

    pub(super) fn fold() -> Fold<Machine<L>> {
        Fold::new(NAMES[FIRST_MODEL + L], FoldOptions { snapshot_every: 3, ..FoldOptions::default() })
    }

    /// Looks for new records of its sources.
    pub(super) fn look(&mut self, journals: &Journals) {
        for source in HEARS[L] {
            let end = journals[*source].len() as u64;
            self.missing.extend((self.known[*source]..end).map(|offset| (*source, offset)));
            self.known[*source] = end;
        }
    }

    /// Hears one of the records that it has not heard.
    pub(super) fn hear(&mut self, journals: &Journals, which: usize) {
        self.look(journals);
        if self.missing.is_empty() {
            return;
        }
        let record = self.missing.swap_remove(which % self.missing.len());
        self.open.insert(record);
        let fate = self.take(journals, record);
        assert_ne!(fate, Some(Fate::Late), "everything comes before it is final");
    }

    pub(super) fn take(&mut self, journals: &Journals, (source, offset): (usize, u64)) -> Option<Fate> {
        let said = &journals[source][usize::try_from(offset).unwrap()];
        let journal: Arc<str> = NAMES[source].into();
        let (topic, codec) = (said.topic, Codec::Json);
        let heard =
            Heard { journal: &journal, topic, key: None, time: Time(0), codec, payload: &said.payload };
        match read::<Note<L>>(&self.selection, &heard).unwrap() {
            Word::Event { key, at, input } => {
                Some(self.fold.event(&key, Order::of_event(at, journal, offset), input))
            }
            Word::Assert { key, said, input } => {
                let order = Order { at: said.at, journal, turn: said.turn, id: said.id };
                Some(self.fold.assert(&key, order, said.revision, offset, input))
            }
            Word::Retract(retract) => Some(self.fold.retract(&journal, &retract, offset)),
            _ => None,
        }
    }

    pub(super) fn commit(&mut self, journals: &mut Journals) {
        let batch = &mut self.batch;
        self.fold.flush(|saying| batch.push(said(&saying))).unwrap();
        journals[FIRST_MODEL + L].append(batch);
        self.heard.append(&mut self.open);
        self.batches.push((journals[FIRST_MODEL + L].len(), self.heard.clone()));
    }

    /// Everything before this has come, and will not change.
    pub(super) fn horizon(&mut self, journals: &Journals) -> EventTime {
        self.look(journals);
        let mut horizon = EventTime(1000);
        for source in HEARS[L] {
            let missing = || self.missing.iter().filter(|(of, _)| of == source).map(|(_, offset)| *offset);
            let at = |offset: u64| journals[*source][usize::try_from(offset).unwrap()].at;
            if *source < 2 {
                horizon = horizon.min(missing().map(at).min().unwrap_or(horizon));
            } else {
                // A promise counts once all that was said before it has come.
                let first = missing().min().map_or(usize::MAX, |offset| usize::try_from(offset).unwrap());
                let heard = journals[*source].iter().take(first);
                let promised = heard.filter(|said| said.topic == Final::TOPIC).map(|said| said.at).max();
                horizon = horizon.min(promised.unwrap_or(EventTime::MIN));
            }
        }
        horizon
    }

    pub(super) fn settle(&mut self, journals: &mut Journals, at: EventTime) {
        if at > self.fold.settled() {
            let batch = &mut self.batch;
            self.fold.settle(at, |saying| batch.push(said(&saying))).unwrap();
            let payload = serde_json::to_vec(&Final { at }).unwrap();
            batch.push(Post { topic: Final::TOPIC, at, cause: None, payload });
        }
        self.commit(journals);
    }

    pub(super) fn keep(&mut self, journals: &Journals) {
        if self.open.is_empty() {
            self.kept = Some(Kept {
                settled: self.fold.settled(),
                own: journals[FIRST_MODEL + L].len(),
                bases: self.fold.bases().map(|(key, base)| (key.to_vec(), base.clone())).collect(),
                ledger: self.fold.ledger().collect(),
            });
        }
    }

    /// The journal of a source ends there now, or says something else from there on.
    pub(super) fn lose(&mut self, source: usize, end: u64) {
        let stays = |(of, offset): &(usize, u64)| *of != source || *offset < end;
        self.heard.retain(stays);
        self.open.retain(stays);
        self.missing.retain(stays);
        self.batches.iter_mut().for_each(|(_, heard)| heard.retain(stays));
        self.known[source] = self.known[source].min(end);
    }

    /// Its own journal ends there now: what was dealt with later comes again.
    pub(super) fn lose_own(&mut self, end: usize) {
        self.batches.retain(|(at, _)| *at <= end);
        let (_, heard) = self.batches.last().cloned().unwrap_or_default();
        self.missing.extend(self.heard.difference(&heard));
        self.heard = heard;
        self.kept.take_if(|kept| kept.own > end);
    }

    /// Dies, and is started again. `lost`: a journal has lost its end.
    pub(super) fn crash(&mut self, journals: &mut Journals, forget: bool, lost: bool) {
        self.missing.extend(std::mem::take(&mut self.open));
        self.batch.clear();
        self.fold = Self::fold();
        let mut recall = Recall::default();
        let (mut settled, mut own, mut bases) = (EventTime::MIN, 0, Vec::new());
        if let Some(kept) = self.kept.as_ref().filter(|_| !forget) {
            (settled, own, bases) = (kept.settled, kept.own, kept.bases.clone());
            kept.ledger.iter().cloned().for_each(|(id, recalled)| recall.insert(id, recalled));
        }
        for (said, offset) in journals[FIRST_MODEL + L].iter().zip(0_u64..).skip(own) {
            recall.note(&record(said, offset)).unwrap();
        }
        let last = recall.settled().unwrap_or(settled);
        self.fold.restore(settled, bases, recall);
        for record in self.heard.clone() {
            // What is final is in the snapshot.
            let fate = self.take(journals, record);
            assert!(fate != Some(Fate::Late) || !forget && self.kept.is_some());
        }
        let mut again = Vec::new();
        let gone = self.fold.unasked(last);
        for (id, Recalled { revision, at, topic, .. }) in self.fold.take_unfounded(&gone, last) {
            let retract = Retract { id, revision, at, topic: topic.into() };
            again.push(post(Retract::TOPIC, at, &retract, None));
        }
        self.fold.resume(last, |saying| again.push(said(&saying))).unwrap();
        assert!(lost || again.is_empty(), "what was said is not said again: {again:?}");
        self.batch = again;
        self.commit(journals);
    }
}

pub(super) fn record(said: &Post, offset: u64) -> Record<'_> {
    Record {
        offset: Offset(offset),
        epoch: Epoch(1),
        time: Time(0),
        topic: said.topic,
        key: None,
        cause: said.cause.map(|(journal, offset)| Cause { journal: NAMES[journal], offset: Offset(offset) }),
        codec: Codec::Json,
        payload: &said.payload,
        checksum: 0,
        topic_key: 0,
    }
}

pub(super) fn said(saying: &Saying<'_>) -> Post {
    let (journal, offset) = saying.cause;
    let cause = Some((number_of(journal), offset));
    Post { topic: saying.topic, at: saying.said.at, cause, payload: saying.payload.to_vec() }
}

pub(super) fn post<T: Serialize>(topic: &'static str, at: EventTime, value: &T, said: Option<Said>) -> Post {
    let mut payload = serde_json::to_vec(value).unwrap();
    if let Some(said) = said {
        said.append_to(&mut payload, 0).unwrap();
    }
    Post { topic, at, cause: None, payload }
}
