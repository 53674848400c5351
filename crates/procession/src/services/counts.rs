//! How many records each topic has that are still kept: each record is counted once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;

use journal::{GapReason, Item, Level, Offset, Reader, Result, Start};

use crate::aside::Gone;

/// Records between two looks at whether anybody still waits.
const LOOK_EVERY: u64 = 1024;

/// What is counted of a journal by the process that writes it. Memory: an entry for each topic of each segment.
#[derive(Debug, Default)]
pub(super) struct Counts {
    next: Offset,
    /// One for each segment that is kept, so that a dropped one takes its records out again.
    segments: VecDeque<Segment>,
}

#[derive(Debug)]
struct Segment {
    base: Offset,
    topics: HashMap<Box<str>, u64>,
}

impl Counts {
    /// Counts what has come since the last time. Answers how many records it looked at; where nobody waits any more, it
    /// ends early, and goes on from there the next time.
    pub(super) fn update(&mut self, instance: &Path, gone: &Gone) -> Result<u64> {
        let bases = journal::segment_bases(instance)?;
        let kept = bases.first().copied().unwrap_or(Offset(u64::MAX));
        self.segments.retain(|segment| segment.base >= kept);
        let Some(mut reader) = Reader::open(instance, Start::Offset(self.next), Level::Committed)? else {
            return Ok(0);
        };
        let known = self.segments.back().map(|segment| segment.base);
        let mut bases = bases.into_iter().filter(|base| known.is_none_or(|known| *base > known)).peekable();
        let mut looked_at = 0;
        while let Some(item) = reader.next()? {
            let record = match item {
                Item::Record(record) => record,
                Item::Gap(gap) => {
                    if gap.reason == GapReason::Diverged {
                        self.segments.clear();
                    }
                    self.next = gap.to;
                    continue;
                }
            };
            while let Some(base) = bases.next_if(|base| *base <= record.offset) {
                self.segments.push_back(Segment { base, topics: HashMap::new() });
            }
            if self.segments.is_empty() {
                self.segments.push_back(Segment { base: record.offset, topics: HashMap::new() });
            }
            if let Some(segment) = self.segments.back_mut() {
                segment.count(record.topic);
            }
            self.next = record.offset.plus(1);
            looked_at += 1;
            if looked_at % LOOK_EVERY == 0 && gone.is_true() {
                break;
            }
        }
        Ok(looked_at)
    }

    /// Every topic with the number of its records.
    pub(super) fn topics(&self) -> BTreeMap<&str, u64> {
        let mut topics = BTreeMap::new();
        for (topic, records) in self.segments.iter().flat_map(|segment| &segment.topics) {
            *topics.entry(&**topic).or_default() += records;
        }
        topics
    }
}

impl Segment {
    fn count(&mut self, topic: &str) {
        match self.topics.get_mut(topic) {
            Some(records) => *records += 1,
            None => drop(self.topics.insert(topic.into(), 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use journal::{Codec, Entry, Options, Retention, Writer};

    use super::*;

    fn say(writer: &mut Writer, topic: &str, count: usize) {
        for _ in 0..count {
            let entry = Entry { topic, key: None, cause: None, codec: Codec::Raw, payload: &[0; 100] };
            writer.append(&entry).unwrap();
        }
    }

    /// What is counted is what is kept: segments may be dropped meanwhile, but not for ever.
    fn check(counts: &mut Counts, instance: &Path) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let found: BTreeMap<String, u64> =
                counts.topics().into_iter().map(|(topic, records)| (topic.to_owned(), records)).collect();
            let kept = journal::count_topics(instance).unwrap();
            if found == kept {
                return;
            }
            assert!(Instant::now() < deadline, "counted {found:?}, kept {kept:?}");
            assert_eq!(counts.update(instance, &Gone::default()).unwrap(), 0, "all was counted before");
        }
    }

    #[test]
    fn each_record_is_counted_once_and_goes_with_its_segment() {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("x");
        let plain = Options::default();
        let retention = Retention { bytes_kept: 256 << 10, ..plain.retention };
        let options = Options { segment_bytes: 128 << 10, retention, ..plain };
        let mut writer = Writer::open(&instance, &options).unwrap();
        let (mut counts, gone) = (Counts::default(), Gone::default());
        assert_eq!(counts.update(&instance, &gone).unwrap(), 0);
        say(&mut writer, "early", 300);
        assert_eq!(counts.update(&instance, &gone).unwrap(), 300);
        assert_eq!(counts.update(&instance, &gone).unwrap(), 0);
        for _ in 0..40 {
            say(&mut writer, "late", 150);
            say(&mut writer, "other", 1);
            assert!(counts.update(&instance, &gone).unwrap() <= 151);
            check(&mut counts, &instance);
        }
        assert!(!counts.topics().contains_key("early"), "its segments are dropped: {:?}", counts.topics());
    }

    #[test]
    fn a_count_that_nobody_waits_for_ends_early_and_goes_on_later() {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("x");
        let mut writer = Writer::open(&instance, &Options::default()).unwrap();
        say(&mut writer, "many", 3000);
        let mut counts = Counts::default();
        let gone = Gone::default();
        gone.set();
        assert_eq!(counts.update(&instance, &gone).unwrap(), LOOK_EVERY);
        assert_eq!(counts.update(&instance, &Gone::default()).unwrap(), 3000 - LOOK_EVERY);
        check(&mut counts, &instance);
    }
}
