//! Random operations against a `Vec`: after every reopening the journal says exactly what was said.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use journal::{
    Ack, Batch, Checkpoint, Codec, Cursors, Entry, Epoch, Offset, Position, Start, Writer, verify,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::{Said, prove_time, read_records, small};

#[derive(Debug, Clone)]
enum Op {
    Append(Said),
    Batch { says: Vec<Said>, acks: Vec<(u8, u64)>, checkpoints: Vec<(u8, Vec<u8>)> },
    Sync,
    Reopen,
    Read(prop::sample::Index),
}

fn said() -> impl Strategy<Value = Said> {
    let key = prop::option::weighted(0.3, vec(any::<u8>(), 0..20));
    let cause = prop::option::weighted(0.3, ("[a-c]{1,3}", any::<u64>().prop_map(Offset)));
    let codec = prop_oneof![Just(Codec::Raw), Just(Codec::Json), Just(Codec::Bincode)];
    let payload = prop_oneof![4 => vec(any::<u8>(), 0..60), 1 => vec(any::<u8>(), 0..2000)];
    ("[a-e]{1,2}", key, cause, codec, payload).prop_map(|(topic, key, cause, codec, payload)| Said {
        topic,
        key,
        cause,
        codec,
        payload,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let batch = (
        vec(said(), 0..4),
        vec((0..3_u8, any::<u64>()), 0..3),
        vec((0..3_u8, vec(any::<u8>(), 0..50)), 0..3),
    );
    prop_oneof![
        8 => said().prop_map(Op::Append),
        5 => batch.prop_map(|(says, acks, checkpoints)| Op::Batch { says, acks, checkpoints }),
        1 => Just(Op::Sync),
        2 => Just(Op::Reopen),
        2 => any::<prop::sample::Index>().prop_map(Op::Read),
    ]
}

#[derive(Debug, Default)]
struct Model {
    said: Vec<Said>,
    acks: BTreeMap<(String, String), Position>,
    checkpoints: BTreeMap<String, Vec<u8>>,
    epoch: u32,
}

impl Model {
    fn check(&self, writer: &Writer, instance: &Path) {
        assert_eq!(writer.next_offset().0, self.said.len() as u64);
        assert_eq!(writer.epoch(), Epoch(self.epoch));
        let acks: BTreeMap<_, _> = writer
            .acknowledged()
            .map(|(subscription, journal, position)| {
                ((subscription.to_owned(), journal.to_owned()), position)
            })
            .collect();
        assert_eq!(acks, self.acks);
        for name in ["point0", "point1", "point2"] {
            // An empty one is given up.
            let kept = self.checkpoints.get(name).map(Vec::as_slice).filter(|value| !value.is_empty());
            assert_eq!(writer.checkpoint(name), kept, "{name}");
        }
        self.check_reading(instance, 0);
    }

    fn check_reading(&self, instance: &Path, from: usize) {
        let start = if from == 0 { Start::Beginning } else { Start::Offset(Offset(from as u64)) };
        let read = read_records(instance, start);
        let offsets: Vec<u64> = read.iter().map(|(offset, _)| offset.0).collect();
        let said: Vec<Said> = read.into_iter().map(|(_, said)| said).collect();
        assert_eq!(offsets, (from as u64..self.said.len() as u64).collect::<Vec<_>>());
        assert_eq!(said, self.said[from..]);
    }

    fn batch(
        &mut self,
        writer: &mut Writer,
        says: &[Said],
        acks: &[(u8, u64)],
        checkpoints: &[(u8, Vec<u8>)],
    ) {
        let entries: Vec<Entry<'_>> = says.iter().map(Said::entry).collect();
        let names: Vec<String> = (0..3).map(|number| format!("point{number}")).collect();
        let acks: Vec<Ack<'_>> = acks
            .iter()
            .map(|(number, next)| Ack {
                subscription: &names[usize::from(*number)],
                journal: "source",
                position: Position { next: Offset(*next), epoch: Epoch(3), checksum: 4, journal: 5 },
            })
            .collect();
        let checkpoints: Vec<Checkpoint<'_>> = checkpoints
            .iter()
            .map(|(number, value)| Checkpoint { name: &names[usize::from(*number)], value })
            .collect();
        let start = writer.next_offset();
        let range =
            writer.commit(&Batch { entries: &entries, acks: &acks, checkpoints: &checkpoints }).unwrap();
        assert_eq!(range, start..start.plus(says.len() as u64));
        self.said.extend_from_slice(says);
        for ack in &acks {
            self.acks.insert((ack.subscription.to_owned(), ack.journal.to_owned()), ack.position);
        }
        for point in &checkpoints {
            if point.value.is_empty() {
                self.checkpoints.remove(point.name);
            } else {
                self.checkpoints.insert(point.name.to_owned(), point.value.to_vec());
            }
        }
    }
}

fn run(ops: &[Op]) {
    let home = tempfile::tempdir_in(crate::support::fast_folder()).unwrap();
    let instance = home.path().join("modelled");
    let mut model = Model { epoch: 1, ..Model::default() };
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    let mut cursors = Cursors::open(&instance, &writer).unwrap();
    for op in ops {
        match op {
            Op::Append(said) => {
                let offset = writer.append(&said.entry()).unwrap();
                assert_eq!(offset.0, model.said.len() as u64);
                model.said.push(said.clone());
            }
            Op::Batch { says, acks, checkpoints } => model.batch(&mut writer, says, acks, checkpoints),
            Op::Sync => assert_eq!(writer.sync().unwrap(), writer.next_offset()),
            Op::Reopen => {
                drop((cursors, writer));
                writer = Writer::open(&instance, &small(8)).unwrap();
                cursors = Cursors::open(&instance, &writer).unwrap();
                model.epoch += 1;
                model.check(&writer, &instance);
            }
            Op::Read(index) => model.check_reading(&instance, index.index(model.said.len() + 1)),
        }
    }
    drop((cursors, writer));
    let report = verify(&instance).unwrap();
    assert_eq!((report.records, &report.damage[..]), (model.said.len() as u64, &[][..]));
    model.epoch += 1;
    model.check(&Writer::open(&instance, &small(8)).unwrap(), &instance);
}

#[test]
fn the_journal_says_what_was_said() {
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let (began, time, mut cases) = (Instant::now(), prove_time(Duration::ZERO), 0);
    loop {
        let run = |ops: Vec<Op>| {
            run(&ops);
            Ok(())
        };
        // A new one each time: it counts its cases, and one that has done them all does nothing more.
        if let Err(error) = TestRunner::new(config.clone()).run(&vec(op(), 1..60), run) {
            panic!("{error}");
        }
        cases += 64;
        if began.elapsed() >= time {
            break;
        }
    }
    println!("{cases} stories in {:?}", began.elapsed());
}
