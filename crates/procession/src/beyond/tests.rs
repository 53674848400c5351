//! Everything that may happen to acknowledgements: in any order, with outputs and without, over kills, power losses of the
//! machine, and publishers that have lost what was heard of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::{Batch, Codec, Cursors, Entry, Item, Level, Options, Reader, Start, SyncPolicy, Writer};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::acks::{Acks, Due};

/// Small, so that the ring of blocks is, too.
const SEGMENT_BYTES: u64 = 64 << 10;

#[derive(Debug, Clone)]
enum Step {
    /// So many records are read.
    Read(u16),
    /// Some of the open deliveries are done, with an output each or together, or without.
    Finish(Vec<Index>, How),
    Sync,
    Kill,
    /// Killed right after an output for one of them was said.
    SayAndDie(Index),
    /// With a part of what the publisher has said.
    LosePower(Index),
    /// The publisher's journal alone is an older copy of it, put back while the subscriber is down.
    LoseEnd(Index),
    /// The publisher starts again.
    NextEpoch,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Plainly,
    WithOutputs,
    WithOneOutput,
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![Just(How::Plainly), Just(How::WithOutputs), Just(How::WithOneOutput)];
    prop_oneof![
        4 => (1..200_u16).prop_map(Step::Read),
        6 => (prop::collection::vec(any::<Index>(), 1..20), how)
            .prop_map(|(which, how)| Step::Finish(which, how)),
        1 => Just(Step::Sync),
        1 => Just(Step::Kill),
        1 => any::<Index>().prop_map(Step::SayAndDie),
        1 => any::<Index>().prop_map(Step::LosePower),
        1 => any::<Index>().prop_map(Step::LoseEnd),
        1 => Just(Step::NextEpoch),
    ]
}

/// What the publisher says: the epoch of each record. There is always more.
struct Publisher {
    epochs: Vec<u32>,
    epoch: u32,
}

impl Publisher {
    fn epoch_of(&mut self, offset: u64) -> Epoch {
        let offset = usize::try_from(offset).unwrap();
        while self.epochs.len() <= offset {
            self.epochs.push(self.epoch);
        }
        Epoch(self.epochs[offset])
    }

    /// Different for each record that ever was.
    fn checksum_of(&mut self, offset: u64) -> u32 {
        u32::try_from(offset).unwrap() * 64 + self.epoch_of(offset).0
    }

    fn place_after(&mut self, next: u64) -> Position {
        let (epoch, checksum) = match next.checked_sub(1) {
            Some(last) => (self.epoch_of(last), self.checksum_of(last)),
            None => (Epoch(0), 0),
        };
        Position { next: Offset(next), epoch, checksum, journal: 7 }
    }
}

/// One life of the subscriber.
struct Life {
    writer: Writer,
    _cursors: Arc<Cursors>,
    acks: Arc<Acks>,
    open: BTreeSet<u64>,
    next: u64,
}

struct World {
    folder: PathBuf,
    home: tempfile::TempDir,
    publisher: Publisher,
    life: Option<Life>,
    /// Records, by offset and epoch, that were acknowledged without an output.
    plainly: BTreeSet<(u64, u32)>,
    furthest: u64,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("listener");
        let publisher = Publisher { epochs: Vec::new(), epoch: 1 };
        let mut world = Self { folder, home, publisher, life: None, plainly: BTreeSet::new(), furthest: 0 };
        world.start();
        world.sync();
        world
    }

    fn start(&mut self) {
        let options = Options { segment_bytes: SEGMENT_BYTES, sync: SyncPolicy::Never, ..Options::default() };
        let writer = Writer::open(&self.folder, &options).unwrap();
        let cursors = Cursors::open(&self.folder, &writer).unwrap();
        let cursor = cursors.claim("s", "j").unwrap();
        let at = cursor.position().unwrap_or(Position { journal: 7, ..Position::default() });
        cursor.store(at);
        let path = self.folder.join("finished").join("s@j");
        let earlier = |name: &str| writer.checkpoint(name).map(<[u8]>::to_vec);
        let beyond = Beyond::open(("s", "j"), &path, at, SEGMENT_BYTES, earlier).unwrap();
        let mut acks = Acks::new("s".into(), "j".into(), cursor, at);
        assert!(acks.allow_any_order(beyond));
        // As a reader does when history is not what it was; a position without an epoch is no more than an offset.
        let mut next = at.next.0;
        if at.epoch != Epoch(0) && self.publisher.place_after(at.next.0) != at {
            let newer = (0..at.next.0).find(|offset| self.publisher.epoch_of(*offset) > at.epoch);
            next = newer.unwrap_or(next);
            let place = Position { epoch: Epoch(0), checksum: 0, ..self.publisher.place_after(next) };
            (acks, _) = acks.succeed(place);
            let beyond = Beyond::open(("s", "j"), &path, place, SEGMENT_BYTES, earlier).unwrap();
            beyond.forget_from(self.publisher.place_after(next));
            assert!(acks.allow_any_order(beyond));
        }
        let acks = Arc::new(acks);
        let life = Life { writer, _cursors: cursors, acks, open: BTreeSet::new(), next };
        self.life = Some(life);
    }

    fn read(&mut self, count: u16) {
        let life = self.life.as_mut().unwrap();
        for _ in 0..count {
            let offset = Offset(life.next);
            let beyond = life.acks.beyond().unwrap();
            if !beyond.reaches(offset) {
                return;
            }
            let (epoch, before) = (self.publisher.epoch_of(offset.0), self.publisher.place_after(offset.0));
            if beyond.was_finished(offset, epoch) {
                beyond.pass(self.publisher.place_after(offset.0 + 1), life.acks.cursor());
            } else {
                beyond.deliver(before, offset, epoch, self.publisher.checksum_of(offset.0));
                beyond.begin(offset, life.acks.cursor());
                life.open.insert(offset.0);
            }
            life.next += 1;
            self.furthest = self.furthest.max(life.next);
        }
    }

    fn finish(&mut self, which: &[Index], how: How) {
        let life = self.life.as_mut().unwrap();
        let mut offsets = Vec::new();
        for index in which {
            if let Some(offset) = life.open.iter().copied().nth(index.index(life.open.len().max(1))) {
                life.open.remove(&offset);
                offsets.push(Offset(offset));
            }
        }
        match how {
            How::Plainly => {
                for offset in offsets {
                    life.acks.acknowledge(offset);
                    self.plainly.insert((offset.0, self.publisher.epoch_of(offset.0).0));
                }
            }
            How::WithOutputs => offsets.into_iter().for_each(|offset| self.say(&[offset]).acknowledge()),
            How::WithOneOutput => self.say(&offsets).acknowledge(),
        }
    }

    /// An output that names its inputs, stored as the outlet does it; they are yet to be acknowledged.
    fn say(&mut self, offsets: &[Offset]) -> Due<'_> {
        let life = self.life.as_mut().unwrap();
        let inputs: Vec<String> = offsets
            .iter()
            .map(|offset| format!("{}:{}", offset.0, self.publisher.epoch_of(offset.0).0))
            .collect();
        let payload = inputs.join(" ");
        let entry =
            Entry { topic: "output", key: None, cause: None, codec: Codec::Raw, payload: payload.as_bytes() };
        let due = life.acks.due(offsets.to_vec()).unwrap();
        let stored = due.store().unwrap();
        let checkpoints: Vec<_> = stored.checkpoints().collect();
        let acks: Vec<_> = stored.position.map(|position| due.ack(position)).into_iter().collect();
        life.writer.commit(&Batch { entries: &[entry], acks: &acks, checkpoints: &checkpoints }).unwrap();
        due
    }

    /// From here on a power loss leaves at least this.
    fn sync(&mut self) {
        self.life.as_ref().unwrap().writer.sync().unwrap();
        let kept = self.home.path().join("kept");
        let _ = fs::remove_dir_all(&kept);
        copy(&self.folder, &kept);
    }

    /// What was synced is there; the bits are those of the last moment, or of any other.
    fn lose_power(&mut self, lost: Index) {
        self.life = None;
        for part in ["journal", "cursors"] {
            let (kept, now) = (self.home.path().join("kept").join(part), self.folder.join(part));
            let _ = fs::remove_dir_all(&now).or_else(|_| fs::remove_file(&now));
            copy(&kept, &now);
        }
        // The words that say which boot it was.
        for (file, at) in [("journal/marks", 32), ("cursors", 16), ("finished/s@j", 16)] {
            let path = self.folder.join(file);
            let mut bytes = fs::read(&path).unwrap();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
        self.lose_end(lost);
    }

    fn lose_end(&mut self, lost: Index) {
        self.life = None;
        let said = self.publisher.epochs.len();
        self.publisher.epochs.truncate(said - lost.index(said + 1).min(said));
        self.publisher.epoch += 1;
        self.start();
    }

    /// How often each record has an output, as far as the publisher still knows of it.
    fn outputs(&mut self) -> BTreeMap<u64, usize> {
        let mut reader = Reader::open(&self.folder, Start::Beginning, Level::Committed).unwrap().unwrap();
        let mut outputs = BTreeMap::new();
        while let Some(Item::Record(record)) = reader.next().unwrap() {
            for input in std::str::from_utf8(record.payload).unwrap().split_whitespace() {
                let (offset, epoch) = input.split_once(':').unwrap();
                let (offset, epoch) = (offset.parse().unwrap(), epoch.parse().unwrap());
                if self.publisher.epoch_of(offset) == Epoch(epoch) {
                    *outputs.entry(offset).or_default() += 1;
                }
            }
        }
        outputs
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Read(count) => self.read(*count),
            Step::Finish(which, how) => self.finish(which, *how),
            Step::Sync => self.sync(),
            Step::SayAndDie(index) => {
                let open = &self.life.as_ref().unwrap().open;
                let offset = open.iter().copied().nth(index.index(open.len().max(1)));
                if let Some(offset) = offset {
                    drop(self.say(&[Offset(offset)]));
                }
                self.life = None;
                self.start();
            }
            Step::Kill => {
                self.life = None;
                self.start();
            }
            Step::LosePower(lost) => self.lose_power(*lost),
            Step::LoseEnd(lost) => self.lose_end(*lost),
            Step::NextEpoch => self.publisher.epoch += 1,
        }
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        for (offset, count) in self.outputs() {
            prop_assert_eq!(count, 1, "offset {} has {} outputs", offset, count);
        }
        let low = self.life.as_ref().unwrap().acks.position().unwrap().next.0;
        let outputs = self.outputs();
        for offset in 0..low {
            let epoch = self.publisher.epoch_of(offset).0;
            let done = outputs.contains_key(&offset) || self.plainly.contains(&(offset, epoch));
            prop_assert!(done, "offset {} of epoch {} is passed over", offset, epoch);
        }
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Nothing is passed over, and no output is said twice, whatever happens.
    #[test]
    fn each_record_is_dealt_with_and_no_output_repeats(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            world.check()?;
        }
        // In the end all is dealt with.
        let end = world.furthest;
        while world.life.as_ref().unwrap().acks.position().unwrap().next.0 < end {
            world.read(500);
            let all: Vec<Offset> = world.life.as_ref().unwrap().open.iter().copied().map(Offset).collect();
            world.life.as_mut().unwrap().open.clear();
            all.chunks(50).for_each(|some| world.say(some).acknowledge());
            world.check()?;
        }
    }
}

#[test]
fn an_output_that_was_said_just_before_the_end_is_known() {
    let mut world = World::new();
    world.read(2);
    drop(world.say(&[Offset(1)]));
    let name = format!("_finished/{:016x}/0", hash(&["s", "j"]));
    assert!(world.life.as_ref().unwrap().writer.checkpoint(&name).is_some(), "stored");
    world.life = None;
    world.start();
    let life = world.life.as_ref().unwrap();
    let value = life.writer.checkpoint(&name).expect("kept");
    assert_eq!(life.acks.position().unwrap().next, Offset(0));
    let decoded = Block::decode(value, 7).expect("of the journal");
    assert!(get(&decoded.1.0[0].1, Offset(1)), "{decoded:?}");
    world.read(500);
    let open: Vec<u64> = world.life.as_ref().unwrap().open.iter().copied().collect();
    assert_eq!(open[..2], [0, 2]);
    let all = [Offset(0), Offset(2)];
    world.say(&all).acknowledge();
    assert_eq!(world.outputs(), [(0, 1), (1, 1), (2, 1)].into());
}

#[test]
fn what_is_done_in_this_life_counts_as_finished_as_well() {
    let mut world = World::new();
    let place = world.publisher.place_after(0);
    let life = world.life.as_ref().unwrap();
    let beyond = life.acks.beyond().unwrap();
    for offset in [0, 2, 3] {
        beyond.deliver(place, Offset(offset), Epoch(1), 0);
    }
    beyond.acknowledge(Offset(2), life.acks.cursor());
    let finished = [0, 1, 2, 3, 4].map(|offset| beyond.is_finished(Offset(offset), Epoch(1)));
    assert_eq!(finished, [false, true, true, false, false], "1 was of no interest, and 4 has not come");
}
