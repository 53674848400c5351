//! The oracle: whatever happens on the way, asserts less retracts are what one run in order gives.
//!
//! A chain of three models with random rules hears random events, and the asserts and retracts of a foreign model, in
//! any order, as often as it likes; conclusions become final on the way; every model may lose its state between any
//! two batches and is rebuilt from the journals, with or without a snapshot; and every journal, those of the models too,
//! may lose its end, and say other records at the same offsets.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use journal::{Cause, Codec, Epoch, Offset, Record, Time};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::hash::Hash;
use super::intake::{Selection, Word, read};
use super::recall::Recalled;
use super::*;
use crate::event::Event;

/// Journals by number: two sources, a foreign model, and the three models of the chain.
const NAMES: [&str; 6] = ["raw", "noise", "foreign", "a", "b", "c"];
const HEARS: [&[usize]; 3] = [&[0, 1], &[3, 2], &[4, 0]];
const FIRST_MODEL: usize = 3;

/// What a model of the chain does; every level has its own.
#[derive(Debug, Clone, Copy)]
struct Rules {
    factor: i64,
    summand: i64,
    modulus: i64,
    /// How many outputs, by the state.
    outputs: [u8; 4],
    delayed: bool,
    irrevocable: bool,
    compensated: bool,
    keys: i64,
}

thread_local! {
    static RULES: RefCell<[Rules; 3]> = const { RefCell::new([Rules {
        factor: 1, summand: 0, modulus: 1, outputs: [0; 4],
        delayed: false, irrevocable: false, compensated: false, keys: 1,
    }; 3]) };
}

fn rules(level: usize) -> Rules {
    RULES.with_borrow(|rules| rules[level])
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note<const L: usize> {
    at: EventTime,
    value: i64,
}

impl<const L: usize> Input for Note<L> {
    fn take(heard: &Heard<'_>) -> Result<Self, String> {
        heard.decode()
    }

    fn key(&self) -> Cow<'_, [u8]> {
        key_of(L, self.value).into()
    }

    fn at(&self) -> Option<EventTime> {
        Some(self.at)
    }
}

fn key_of(level: usize, value: i64) -> Vec<u8> {
    value.rem_euclid(rules(level).keys).to_string().into_bytes()
}

/// What level `L` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Verdict<const L: usize> {
    at: EventTime,
    value: i64,
}

impl<const L: usize> Event for Verdict<L> {
    const TOPIC: &'static str = "note";
}

impl<const L: usize> Compensate for Verdict<L> {
    fn compensation(&self) -> Option<Self> {
        rules(L).compensated.then(|| Self { value: -1, ..self.clone() })
    }

    fn effect(&self) -> Effect {
        if rules(L).irrevocable && self.value % 3 == 0 { Effect::Irrevocable } else { Effect::Pure }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Machine<const L: usize> {
    state: i64,
}

impl<const L: usize> Model for Machine<L> {
    type Input = Note<L>;
    type Output = Verdict<L>;

    fn apply(&mut self, at: EventTime, note: &Note<L>, out: &mut Outputs<Verdict<L>>) {
        assert_eq!(at, note.at);
        let rules = rules(L);
        self.state =
            (self.state * rules.factor + note.value + rules.summand + at.0 % 3).rem_euclid(rules.modulus);
        let count = rules.outputs[usize::try_from(self.state % 4).unwrap()];
        for nth in 0..i64::from(count) {
            let delay = if rules.delayed {
                Duration::from_micros((self.state % 3).unsigned_abs())
            } else {
                Duration::ZERO
            };
            out.say_after(delay, Verdict { at: at.plus(delay), value: self.state * 2 + nth });
        }
    }

    fn is_over(&self) -> bool {
        *self == Self::default()
    }
}

/// A record of a journal.
#[derive(Debug, Clone)]
struct Post {
    topic: &'static str,
    at: EventTime,
    cause: Option<(usize, u64)>,
    payload: Vec<u8>,
}

type Journals = [Vec<Post>; 6];

fn number_of(journal: &str) -> usize {
    NAMES.iter().position(|name| *name == journal).unwrap()
}

/// What a model keeps beside the journals, if it keeps anything.
struct Kept<const L: usize> {
    settled: EventTime,
    own: usize,
    bases: Vec<(Vec<u8>, Machine<L>)>,
    ledger: Vec<(Derivation, Recalled)>,
}

/// One model, as a process would run it.
struct Node<const L: usize> {
    fold: Fold<Machine<L>>,
    selection: Selection,
    /// Records that were dealt with, in batches that are in the journal.
    heard: BTreeSet<(usize, u64)>,
    /// Records since the last batch.
    open: BTreeSet<(usize, u64)>,
    /// Records that it has not heard, of those before `known`.
    missing: Vec<(usize, u64)>,
    known: [u64; 6],
    /// What the batch that is being made says.
    batch: Vec<Post>,
    kept: Option<Kept<L>>,
    /// Where each batch ended in its journal, and what was dealt with by then.
    batches: Vec<(usize, BTreeSet<(usize, u64)>)>,
}

impl<const L: usize> Node<L> {
    fn new() -> Self {
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

    fn fold() -> Fold<Machine<L>> {
        Fold::new(NAMES[FIRST_MODEL + L], FoldOptions { snapshot_every: 3, ..FoldOptions::default() })
    }

    /// Looks for new records of its sources.
    fn look(&mut self, journals: &Journals) {
        for source in HEARS[L] {
            let end = journals[*source].len() as u64;
            self.missing.extend((self.known[*source]..end).map(|offset| (*source, offset)));
            self.known[*source] = end;
        }
    }

    /// Hears one of the records that it has not heard.
    fn hear(&mut self, journals: &Journals, which: usize) {
        self.look(journals);
        if self.missing.is_empty() {
            return;
        }
        let record = self.missing.swap_remove(which % self.missing.len());
        self.open.insert(record);
        let fate = self.take(journals, record);
        assert_ne!(fate, Some(Fate::Late), "everything comes before it is final");
    }

    fn take(&mut self, journals: &Journals, (source, offset): (usize, u64)) -> Option<Fate> {
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

    fn commit(&mut self, journals: &mut Journals) {
        let batch = &mut self.batch;
        self.fold.flush(|saying| batch.push(said(&saying))).unwrap();
        journals[FIRST_MODEL + L].append(batch);
        self.heard.append(&mut self.open);
        self.batches.push((journals[FIRST_MODEL + L].len(), self.heard.clone()));
    }

    /// Everything before this has come, and will not change.
    fn horizon(&mut self, journals: &Journals) -> EventTime {
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

    fn settle(&mut self, journals: &mut Journals, at: EventTime) {
        if at > self.fold.settled() {
            let batch = &mut self.batch;
            self.fold.settle(at, |saying| batch.push(said(&saying))).unwrap();
            let payload = serde_json::to_vec(&Final { at }).unwrap();
            batch.push(Post { topic: Final::TOPIC, at, cause: None, payload });
        }
        self.commit(journals);
    }

    fn keep(&mut self, journals: &Journals) {
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
    fn lose(&mut self, source: usize, end: u64) {
        let stays = |(of, offset): &(usize, u64)| *of != source || *offset < end;
        self.heard.retain(stays);
        self.open.retain(stays);
        self.missing.retain(stays);
        self.batches.iter_mut().for_each(|(_, heard)| heard.retain(stays));
        self.known[source] = self.known[source].min(end);
    }

    /// Its own journal ends there now: what was dealt with later comes again.
    fn lose_own(&mut self, end: usize) {
        self.batches.retain(|(at, _)| *at <= end);
        let (_, heard) = self.batches.last().cloned().unwrap_or_default();
        self.missing.extend(self.heard.difference(&heard));
        self.heard = heard;
        self.kept.take_if(|kept| kept.own > end);
    }

    /// Dies, and is started again. `lost`: a journal has lost its end.
    fn crash(&mut self, journals: &mut Journals, forget: bool, lost: bool) {
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

fn record(said: &Post, offset: u64) -> Record<'_> {
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

fn said(saying: &Saying<'_>) -> Post {
    let (journal, offset) = saying.cause;
    let cause = Some((number_of(journal), offset));
    Post { topic: saying.topic, at: saying.said.at, cause, payload: saying.payload.to_vec() }
}

/// Conclusions by their place in the order.
type Truth = BTreeMap<(EventTime, u64, Derivation), i64>;

/// What a journal holds to be true; and that no rule was broken in it.
fn holds(journal: &[Post], is_irrevocable: impl Fn(i64) -> bool) -> Truth {
    let (mut live, mut settled) = (BTreeMap::<Derivation, (u32, EventTime, u64, i64)>::new(), EventTime::MIN);
    let mut revisions = BTreeMap::<Derivation, u32>::new();
    for record in journal {
        if record.topic == Final::TOPIC {
            assert!(record.at > settled);
            settled = record.at;
        } else if record.topic == Retract::TOPIC {
            let retract: Retract = serde_json::from_slice(&record.payload).unwrap();
            assert!(retract.at >= settled, "nothing final is retracted: {retract:?}");
            let (revision, at, _, value) =
                live.remove(&retract.id).expect("only what is asserted is retracted");
            assert_eq!((revision, at), (retract.revision, retract.at));
            assert!(!is_irrevocable(value), "nothing irrevocable is retracted");
        } else {
            let said = Said::of(&record.payload).unwrap().unwrap();
            if said.compensates {
                assert!(!live.contains_key(&said.id), "it comes after the retract");
                continue;
            }
            assert!(said.at >= settled, "nothing is asserted before what is final: {said:?}");
            let value = serde_json::from_slice::<Verdict<0>>(&record.payload).unwrap().value;
            let last = revisions.insert(said.id, said.revision).unwrap_or(0);
            assert_eq!(said.revision, last + 1, "revisions grow by one");
            let before = live.insert(said.id, (said.revision, said.at, said.turn, value));
            assert_eq!(before, None, "it is asserted once");
        }
    }
    live.into_iter().map(|(id, (_, at, turn, value))| ((at, turn, id), value)).collect()
}

/// One run in order, by nothing but the model.
fn in_order<const L: usize>(inputs: &BTreeMap<Order, i64>) -> Truth {
    let mut models = BTreeMap::<Vec<u8>, Machine<L>>::new();
    let mut said = BTreeMap::new();
    for (order, value) in inputs {
        let key = key_of(L, *value);
        let mut out = Outputs::new();
        let model = models.entry(key.clone()).or_default();
        model.apply(order.at, &Note { at: order.at, value: *value }, &mut out);
        let id = order.derive(Hash::new().bytes(NAMES[FIRST_MODEL + L].as_bytes()).bytes(&key));
        for (verdict, nth) in out.said.into_iter().map(|(verdict, _)| verdict).zip(0..) {
            said.insert((verdict.at, order.turn, id.nth(nth)), verdict.value);
        }
    }
    said
}

fn as_inputs(journal: usize, said: &Truth) -> BTreeMap<Order, i64> {
    let order =
        |(at, turn, id): (EventTime, u64, Derivation)| Order { at, journal: NAMES[journal].into(), turn, id };
    said.iter().map(|(place, value)| (order(*place), *value)).collect()
}

fn events(journal: usize, said: &[Post]) -> BTreeMap<Order, i64> {
    let note = |said: &Post| serde_json::from_slice::<Note<0>>(&said.payload).unwrap();
    let order = |at, offset| Order::of_event(at, NAMES[journal].into(), offset);
    said.iter().map(note).zip(0..).map(|(note, offset)| (order(note.at, offset), note.value)).collect()
}

/// One thing that happens; the numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
enum Step {
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

struct World {
    journals: Journals,
    a: Node<0>,
    b: Node<1>,
    c: Node<2>,
}

/// What one step does to one model.
fn step<const L: usize>(journals: &mut Journals, node: &mut Node<L>, step: Step) {
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
fn notice<const L: usize>(
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
fn end_of(journal: &[Post], keep: u16, settled: EventTime) -> usize {
    let fixed = journal.iter().rposition(|said| said.topic == Final::TOPIC || said.at < settled);
    let first = fixed.map_or(0, |fixed| fixed + 1);
    first + usize::from(keep) % (journal.len() - first + 1)
}

impl World {
    fn settled(&self, source: usize) -> EventTime {
        let settled = [self.a.fold.settled(), self.b.fold.settled(), self.c.fold.settled()];
        let hearers = settled.into_iter().zip(HEARS).filter(|(_, hears)| hears.contains(&source));
        hearers.map(|(settled, _)| settled).max().unwrap_or(EventTime::MIN)
    }

    fn notice(&mut self, source: usize, end: usize, heard: bool) {
        notice(&mut self.journals, &mut self.a, source, end, heard);
        notice(&mut self.journals, &mut self.b, source, end, heard);
        notice(&mut self.journals, &mut self.c, source, end, heard);
    }

    fn lose(&mut self, source: usize, keep: u16, heard: bool, anew: &[(u8, i64, i64, bool)]) {
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

    fn lose_own<const L: usize>(&mut self, node: impl Fn(&mut Self) -> &mut Node<L>, keep: u16, heard: bool) {
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
fn foreign_state(journal: &[Post], id: Derivation) -> (u32, Option<EventTime>) {
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
fn say_foreign(journal: &mut Vec<Post>, which: u8, at: EventTime, value: i64, gone: bool) {
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
fn finish<const L: usize>(journals: &mut Journals, node: &mut Node<L>, backwards: bool) {
    node.look(journals);
    node.missing.sort_unstable();
    while !node.missing.is_empty() {
        node.hear(journals, if backwards { node.missing.len() - 1 } else { 0 });
        node.commit(journals);
    }
    node.settle(journals, EventTime(1001));
}

/// A case, to be shrunk.
#[derive(Debug, Clone)]
struct Case {
    rules: [Rules; 3],
    raw: Vec<(bool, i64, i64)>,
    foreign: Vec<(u8, i64, i64, bool)>,
    foreign_final: u8,
    steps: Vec<Step>,
    backwards: bool,
}

fn post<T: Serialize>(topic: &'static str, at: EventTime, value: &T, said: Option<Said>) -> Post {
    let mut payload = serde_json::to_vec(value).unwrap();
    if let Some(said) = said {
        said.append_to(&mut payload, 0).unwrap();
    }
    Post { topic, at, cause: None, payload }
}

/// The journal of a model that asserts and retracts at random.
fn foreign_journal(case: &Case) -> Vec<Post> {
    let mut live = BTreeMap::<u8, EventTime>::new();
    let mut revisions = BTreeMap::<u8, u32>::new();
    let mut journal = Vec::new();
    for (which, at, value, gone) in &case.foreign {
        let (id, revision) = (Derivation(u128::from(*which + 1) << 16), revisions.entry(*which).or_default());
        if let Some(at) = live.remove(which) {
            journal.push(post(
                Retract::TOPIC,
                at,
                &Retract { id, revision: *revision, at, topic: "note".into() },
                None,
            ));
        }
        if !gone {
            let at = EventTime(*at);
            *revision += 1;
            live.insert(*which, at);
            let said = Said {
                id,
                revision: *revision,
                at,
                turn: u64::from(*which % 2),
                since: None,
                compensates: false,
            };
            journal.push(post("note", at, &Note::<1> { at, value: *value }, Some(said)));
        }
    }
    let place = usize::from(case.foreign_final) % (journal.len() + 1);
    let at = journal[place..].iter().map(|said| said.at).min().unwrap_or(EventTime(1000));
    journal.insert(place, post(Final::TOPIC, at, &Final { at }, None));
    journal
}

fn check(case: &Case) {
    RULES.set(case.rules);
    let mut world = World { journals: Journals::default(), a: Node::new(), b: Node::new(), c: Node::new() };
    for (noise, at, value) in &case.raw {
        let note = Note::<0> { at: EventTime(*at), value: *value };
        world.journals[usize::from(*noise)].push(post("note", note.at, &note, None));
    }
    world.journals[2] = foreign_journal(case);
    for what in &case.steps {
        let World { journals, a, b, c } = &mut world;
        match (*what, what.model()) {
            (Step::Lose { source, keep, heard, anew }, _) => {
                world.lose(source.into(), keep, heard, &anew);
            }
            (Step::LoseOwn { keep, heard, .. }, 0) => world.lose_own(|world| &mut world.a, keep, heard),
            (Step::LoseOwn { keep, heard, .. }, 1) => world.lose_own(|world| &mut world.b, keep, heard),
            (Step::LoseOwn { keep, heard, .. }, _) => world.lose_own(|world| &mut world.c, keep, heard),
            (_, 0) => step(journals, a, *what),
            (_, 1) => step(journals, b, *what),
            _ => step(journals, c, *what),
        }
    }
    let World { mut journals, mut a, mut b, mut c } = world;
    finish(&mut journals, &mut a, case.backwards);
    finish(&mut journals, &mut b, case.backwards);
    finish(&mut journals, &mut c, case.backwards);
    let irrevocable = |level: usize| move |value: i64| rules(level).irrevocable && value % 3 == 0;
    let mut inputs = events(0, &journals[0]);
    inputs.extend(events(1, &journals[1]));
    let truth = in_order::<0>(&inputs);
    assert_eq!(holds(&journals[3], irrevocable(0)), truth, "the first model");
    let mut inputs = as_inputs(3, &truth);
    inputs.extend(as_inputs(2, &holds(&journals[2], |_| false)));
    let truth = in_order::<1>(&inputs);
    assert_eq!(holds(&journals[4], irrevocable(1)), truth, "the second model");
    let mut inputs = as_inputs(4, &truth);
    inputs.extend(events(0, &journals[0]));
    assert_eq!(holds(&journals[5], irrevocable(2)), in_order::<2>(&inputs), "the third model");
    for (inputs, keys) in [
        (a.fold.inputs_count(), a.fold.keys_count()),
        (b.fold.inputs_count(), b.fold.keys_count()),
        (c.fold.inputs_count(), c.fold.keys_count()),
    ] {
        assert!(inputs == 0 && keys <= 3, "what is final is forgotten: {inputs} inputs, {keys} keys");
    }
}

impl Step {
    fn model(self) -> u8 {
        match self {
            Self::Hear { model, .. }
            | Self::HearAgain { model, .. }
            | Self::Commit { model }
            | Self::Settle { model, .. }
            | Self::Keep { model }
            | Self::Crash { model, .. }
            | Self::LoseOwn { model, .. } => model,
            Self::Lose { source, .. } => source,
        }
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let model = 0_u8..3;
    let said = (0_u8..4, 0_i64..30, 0_i64..10, prop::bool::weighted(0.25));
    prop_oneof![
        14 => (model.clone(), any::<u16>()).prop_map(|(model, which)| Step::Hear { model, which }),
        2 => (model.clone(), any::<u16>()).prop_map(|(model, which)| Step::HearAgain { model, which }),
        5 => model.clone().prop_map(|model| Step::Commit { model }),
        3 => (model.clone(), 0_u8..20).prop_map(|(model, back)| Step::Settle { model, back }),
        1 => model.clone().prop_map(|model| Step::Keep { model }),
        1 => (model.clone(), any::<bool>()).prop_map(|(model, forget)| Step::Crash { model, forget }),
        1 => (0_u8..3, any::<u16>(), any::<bool>(), proptest::array::uniform2(said))
            .prop_map(|(source, keep, heard, anew)| Step::Lose { source, keep, heard, anew }),
        1 => (model, any::<u16>(), any::<bool>())
            .prop_map(|(model, keep, heard)| Step::LoseOwn { model, keep, heard }),
    ]
}

prop_compose! {
    fn any_rules()(
        factor in 0_i64..4,
        summand in 0_i64..5,
        modulus in 1_i64..12,
        outputs in proptest::array::uniform4(0_u8..3),
        delayed in any::<bool>(),
        irrevocable in any::<bool>(),
        compensated in any::<bool>(),
        keys in 1_i64..4,
    ) -> Rules {
        Rules { factor, summand, modulus, outputs, delayed, irrevocable, compensated, keys }
    }
}

prop_compose! {
    fn any_case()(
        rules in proptest::array::uniform3(any_rules()),
        // Few event times, so that many are equal.
        raw in vec((any::<bool>(), 0_i64..30, 0_i64..10), 0..20),
        foreign in vec((0_u8..4, 0_i64..30, 0_i64..10, prop::bool::weighted(0.25)), 0..10),
        foreign_final in any::<u8>(),
        steps in vec(any_step(), 0..80),
        backwards in any::<bool>(),
    ) -> Case {
        Case { rules, raw, foreign, foreign_final, steps, backwards }
    }
}

/// As many cases as `PROPTEST_CASES` says; 2,000 otherwise.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    // The seed of a failure is printed with it, and kept in a file to be tried first the next time.
    ProptestConfig { cases, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn asserts_less_retracts_are_what_one_run_in_order_gives(case in any_case()) {
        check(&case);
    }
}
