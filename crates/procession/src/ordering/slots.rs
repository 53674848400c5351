//! The inputs of a fold that are not final, of all keys together.
//!
//! They lie in the order in which they came, so that a run in order writes one after the other, and what became final
//! makes room for what comes next. A key knows the numbers of its own.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use super::hash::Hash;
use super::ledger::Lines;
use super::order::{Derivation, Order, derive};
use super::time::EventTime;

/// So many are allocated at once: growth moves nothing.
const CHUNK: usize = 1 << 10;
/// So many journals are told apart by where their names are, before the names themselves are compared.
const NEAR_JOURNALS: usize = 8;

/// An input, and what came of it. Small: of all that a fold keeps there is the most of these, and each is far from the
/// processor by the time it is needed again.
pub(super) struct Slot<I, O> {
    pub(super) at: EventTime,
    pub(super) turn: u64,
    /// What an event of a source need not say.
    apart: Option<Box<Apart>>,
    /// None once it was retracted: the place and its lines stay, for their revisions must not be used again.
    pub(super) input: Option<I>,
    pub(super) lines: Lines<O>,
    pub(super) journal: u32,
    /// Nothing was said since it came.
    pub(super) fresh: bool,
}

#[derive(Debug, Clone, Copy)]
struct Apart {
    id: Derivation,
    offset: u64,
}

impl<I, O> Slot<I, O> {
    /// Its record.
    pub(super) fn offset(&self) -> u64 {
        self.apart.as_ref().map_or(self.turn, |apart| apart.offset)
    }

    pub(super) fn id(&self) -> Derivation {
        self.apart.as_ref().map_or(Derivation::NONE, |apart| apart.id)
    }

    /// Takes it in again, from another record.
    pub(super) fn refill(&mut self, offset: u64, input: I) {
        self.apart = apart(self.id(), self.turn, offset);
        self.input = Some(input);
    }
}

fn apart(id: Derivation, turn: u64, offset: u64) -> Option<Box<Apart>> {
    (id != Derivation::NONE || turn != offset).then(|| Box::new(Apart { id, offset }))
}

/// Numbers for the names of journals. There are as many as a fold ever heard of.
#[derive(Debug, Default)]
pub(super) struct Journals {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Journals {
    #[inline]
    fn number(&mut self, name: &Arc<str>) -> u32 {
        let near = self.names.iter().take(NEAR_JOURNALS).position(|near| Arc::ptr_eq(near, name));
        match near.and_then(|near| u32::try_from(near).ok()) {
            Some(number) => number,
            None => self.number_by_name(name),
        }
    }

    #[cold]
    fn number_by_name(&mut self, name: &Arc<str>) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).expect("there are fewer than 2^32 journals");
        self.names.push(Arc::clone(name));
        self.numbers.insert(Arc::clone(name), number);
        number
    }

    #[inline]
    pub(super) fn name(&self, number: u32) -> &Arc<str> {
        &self.names[number as usize]
    }

    /// The id of the first output of an input.
    #[inline]
    pub(super) fn derive<I, O>(&self, slot: &Slot<I, O>, key: Hash) -> Derivation {
        derive(key, self.name(slot.journal), slot.at, slot.turn, slot.id())
    }
}

/// Which slot it is. A number is used again once its slot is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotNumber(u32);

pub(super) struct Slots<I, O> {
    journals: Journals,
    chunks: Vec<Vec<Slot<I, O>>>,
    /// The last to become free is the first to be used again: it is the nearest to the processor.
    free: Vec<SlotNumber>,
    count: usize,
}

impl<I, O> Slots<I, O> {
    pub(super) fn new() -> Self {
        Self { journals: Journals::default(), chunks: Vec::new(), free: Vec::new(), count: 0 }
    }

    /// How many are in use.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whose record an input is.
    pub(super) fn journal(&self, slot: &Slot<I, O>) -> &Arc<str> {
        self.journals.name(slot.journal)
    }

    /// A slot for an input, to be put in.
    #[inline]
    pub(super) fn prepare(&mut self, order: &Order, offset: u64, lines: Lines<O>) -> Slot<I, O> {
        let Order { at, ref journal, turn, id } = *order;
        let (journal, apart) = (self.journals.number(journal), apart(id, turn, offset));
        Slot { at, turn, apart, input: None, lines, journal, fresh: true }
    }

    #[inline]
    pub(super) fn put(&mut self, slot: Slot<I, O>) -> SlotNumber {
        self.count += 1;
        if let Some(number) = self.free.pop() {
            self[number] = slot;
            return number;
        }
        if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let last = self.chunks.last_mut().expect("it was put there");
        let number = u32::try_from(before + last.len()).expect("2^32 inputs do not fit into memory");
        last.push(slot);
        SlotNumber(number)
    }

    /// Makes room.
    #[inline]
    pub(super) fn clear(&mut self, number: SlotNumber) {
        let slot = &mut self[number];
        (slot.input, slot.lines, slot.apart) = (None, Lines::NONE, None);
        self.count -= 1;
        self.free.push(number);
        if self.count == 0 {
            // What a burst has taken is given back when it is over.
            self.free = Vec::new();
            self.chunks.truncate(1);
            self.chunks.iter_mut().for_each(Vec::clear);
        }
    }

    /// The id of the first output of an input.
    pub(super) fn derive(&self, number: SlotNumber, key: Hash) -> Derivation {
        self.journals.derive(&self[number], key)
    }

    /// A slot, and what its journal is called.
    #[inline]
    pub(super) fn with_journals(&mut self, number: SlotNumber) -> (&mut Slot<I, O>, &Journals) {
        let number = number.0 as usize;
        (&mut self.chunks[number / CHUNK][number % CHUNK], &self.journals)
    }

    /// Looks at all of these, because they are needed soon: what is far from the processor comes for many at once then,
    /// and is not waited for one by one.
    pub(super) fn fetch<'a>(&self, numbers: impl Iterator<Item = &'a SlotNumber>) {
        let looks = numbers.map(|number| {
            let slot = &self[*number];
            slot.at.0.cast_unsigned() ^ slot.lines.look()
        });
        std::hint::black_box(looks.fold(0, std::ops::BitXor::bitxor));
    }

    /// Where the slot lies in relation to an input.
    pub(super) fn compare(&self, number: SlotNumber, order: &Order) -> Ordering {
        let slot = &self[number];
        let same_time = || {
            let (name, other) = (self.journals.name(slot.journal), &order.journal);
            let journals = if Arc::ptr_eq(name, other) { Ordering::Equal } else { name.cmp(other) };
            journals.then_with(|| (slot.turn, slot.id()).cmp(&(order.turn, order.id)))
        };
        slot.at.cmp(&order.at).then_with(same_time)
    }
}

impl<I, O> Index<SlotNumber> for Slots<I, O> {
    type Output = Slot<I, O>;

    #[inline]
    fn index(&self, number: SlotNumber) -> &Slot<I, O> {
        let number = number.0 as usize;
        &self.chunks[number / CHUNK][number % CHUNK]
    }
}

impl<I, O> IndexMut<SlotNumber> for Slots<I, O> {
    #[inline]
    fn index_mut(&mut self, number: SlotNumber) -> &mut Slot<I, O> {
        let number = number.0 as usize;
        &mut self.chunks[number / CHUNK][number % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_true_while_others_come_and_go() {
        let mut slots = Slots::<u64, ()>::new();
        let journal: Arc<str> = "journal".into();
        let put = |slots: &mut Slots<u64, ()>, value: u64| {
            let order = Order::of_event(EventTime(1), Arc::clone(&journal), value);
            let mut slot = slots.prepare(&order, value, Lines::NONE);
            slot.input = Some(value);
            slots.put(slot)
        };
        let rounds = 3 * CHUNK as u64;
        let mut kept = Vec::new();
        for value in 0..rounds {
            kept.push((put(&mut slots, value), value));
            if value % 3 == 0 {
                let (number, _) = kept.swap_remove(kept.len() / 2);
                slots.clear(number);
            }
        }
        assert_eq!(slots.count(), kept.len());
        for (number, value) in &kept {
            assert_eq!(slots[*number].input, Some(*value));
        }
        kept.into_iter().for_each(|(number, _)| slots.clear(number));
        assert_eq!((slots.count(), slots.chunks.len()), (0, 1));
        let number = put(&mut slots, 7);
        assert_eq!((slots[number].offset(), slots.count()), (7, 1));
    }

    #[test]
    fn journals_are_the_same_by_name_wherever_the_name_is() {
        let mut journals = Journals::default();
        let names: Vec<Arc<str>> = (0..20).map(|number| number.to_string().into()).collect();
        let numbers: Vec<u32> = names.iter().map(|name| journals.number(name)).collect();
        for (name, number) in names.iter().zip(numbers) {
            assert_eq!(journals.number(name), number);
            assert_eq!(journals.number(&Arc::from(&**name)), number);
            assert_eq!(journals.name(number), name);
        }
    }
}
