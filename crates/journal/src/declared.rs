//! The names that the writer has declared in its current segment.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::batch::{Batch, ack_stride, checkpoint_stride};
use crate::record;
use crate::walk::{Names, Tables};

/// Topics and journals declared in the current segment.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(crate) topics: Numbers,
    pub(crate) journals: Numbers,
}

impl Declared {
    pub(crate) fn from_tables(tables: &Tables) -> Self {
        Self { topics: Numbers::from_names(&tables.topics), journals: Numbers::from_names(&tables.journals) }
    }

    /// Whether `more` names can still get numbers in this segment.
    pub(crate) fn can_name(&self, more: usize) -> bool {
        let most = usize::from(u16::MAX) - more;
        self.topics.by_name.len() <= most && self.journals.by_name.len() <= most
    }

    /// Bytes that a batch takes in this segment, an upper bound that needs no memory: a name that it declares counts as
    /// often as it occurs.
    pub(crate) fn bytes_at_most(&self, batch: &Batch<'_>) -> usize {
        let Self { topics, journals } = self;
        bytes(batch, |topic| topics.declaration_bytes(topic), |journal| journals.declaration_bytes(journal))
    }

    /// Bytes that a batch takes in this segment, each of its names declared once.
    pub(crate) fn bytes_of(&self, batch: &Batch<'_>) -> usize {
        let (mut topics, mut journals) = (HashSet::new(), HashSet::new());
        let once = |is_new, numbers: &Numbers, name| if is_new { numbers.declaration_bytes(name) } else { 0 };
        bytes(
            batch,
            |topic| once(topics.insert(topic), &self.topics, topic),
            |journal| once(journals.insert(journal), &self.journals, journal),
        )
    }
}

/// Bytes of a batch whose entries declare so many for their topics and the journals of their causes.
fn bytes<'a>(
    batch: &Batch<'a>,
    mut topic: impl FnMut(&'a str) -> usize,
    mut journal: impl FnMut(&'a str) -> usize,
) -> usize {
    let mut bytes = 0;
    for entry in batch.entries {
        bytes += record::stride(entry.key.map_or(0, <[u8]>::len), entry.payload.len());
        bytes += topic(entry.topic) + entry.cause.map_or(0, |cause| journal(cause.journal));
    }
    bytes += batch.acks.iter().map(|ack| ack_stride(ack.subscription, ack.journal)).sum::<usize>();
    let checkpoints = batch.checkpoints.iter();
    bytes + checkpoints.map(|point| checkpoint_stride(point.name, point.value.len())).sum::<usize>()
}

/// Numbers from 1 for names, in the order of their first use.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    by_name: HashMap<Arc<str>, u16>,
    /// The name asked for last, and its number: most writers say the same thing again.
    last: Option<(Arc<str>, u16)>,
}

impl Numbers {
    fn from_names(names: &Names) -> Self {
        let mut numbers = Self::default();
        for name in names.list() {
            numbers.declare(name);
        }
        numbers
    }

    /// The number of a name that was the last one asked for.
    #[inline]
    pub(crate) fn number_of_last(&self, name: &str) -> Option<u16> {
        let (last, number) = self.last.as_ref()?;
        (**last == *name).then_some(*number)
    }

    pub(crate) fn number(&mut self, name: &str) -> Option<u16> {
        if let Some(number) = self.number_of_last(name) {
            return Some(number);
        }
        let (name, number) = self.by_name.get_key_value(name)?;
        self.last = Some((Arc::clone(name), *number));
        Some(*number)
    }

    /// Gives the next number to a name; also returns the payload that declares it.
    ///
    /// # Panics
    /// Past 65,535 names: the writer begins a new segment before.
    pub(crate) fn declare(&mut self, name: &str) -> (u16, Vec<u8>) {
        let number = u16::try_from(self.by_name.len() + 1).expect("the writer rolls before names run out");
        self.by_name.insert(name.into(), number);
        (number, [&number.to_le_bytes(), name.as_bytes()].concat())
    }

    fn declaration_bytes(&self, name: &str) -> usize {
        if self.number_of_last(name).is_some() || self.by_name.contains_key(name) {
            0
        } else {
            record::stride(0, 2 + name.len())
        }
    }
}
