//! The short form of what `just prove` does for longer: a chain of processes is killed over and over, and its journals
//! hold all of it once. And the checker that says so isn't blind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use journal::{Ack, Batch, Cause, Checkpoint, Codec, Entry, Epoch, Offset, Options, Position, Start, Writer};
use rand::RngExt as _;
use testkit::chain::script::{self, CHECKPOINT, FAN_IN, INPUT, INSTANCES, Said, TOPICS};
use testkit::chain::{Auditor, Report, Run, Trouble};
use testkit::{Home, flip_bit, overwrite, seeded};

/// The example is built with the tests, in a folder beside theirs.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples/chain");
    assert!(path.is_file(), "{} is missing: cargo build -p testkit --examples", path.display());
    path
}

#[track_caller]
fn report((report, trouble): (Report, Option<Trouble>)) -> Report {
    println!("{report}");
    assert_eq!(trouble, None);
    report
}

#[test]
fn killed_at_any_instant_a_chain_loses_and_repeats_nothing() {
    let mut run = Run::new(Home::in_memory(), &program(), seeded("chain").random());
    let result = run.random(Duration::from_secs(8), 2_000);
    let report = report(run.finish(result));
    assert!(report.kills_of_speakers >= 3, "the machine is too busy to tell anything");
    assert!(report.tally.records.iter().all(|records| *records > 0));
}

#[cfg(feature = "faults")]
#[test]
fn killed_at_a_point_of_the_journals_code_a_chain_loses_and_repeats_nothing() {
    use testkit::chain::Aim;

    let mut run = Run::new(Home::in_memory(), &program(), seeded("aimed").random());
    let aims = [
        "append.written",
        "append.committed",
        "append.marked",
        "roll.named",
        "roll.sealed",
        "takeover.marks",
    ];
    let mut hits = 0;
    let result = aims.iter().zip([3, 1, 2].iter().cycle()).try_for_each(|(point, victim)| {
        let count = if point.starts_with("append") { 5 } else { 1 };
        hits += u32::from(run.aim(&Aim { victim: *victim, point: (*point).to_owned(), count })?);
        Ok(())
    });
    report(run.finish(result));
    assert!(hits >= 4, "only {hits} of {} came by", aims.len());
}

/// A chain that was written by hand, right but for what a test changes of it.
#[derive(Clone)]
struct Line {
    instance: usize,
    cause: Option<(usize, u64)>,
    key: Vec<u8>,
    payload: Vec<u8>,
    /// It comes with an acknowledgement of its cause.
    acks: bool,
}

impl Line {
    fn new(instance: usize, said: &Said, cause: Option<(usize, u64)>) -> Self {
        let payload = serde_json::to_vec(said).unwrap();
        Self { instance, cause, key: script::key(said.n), payload, acks: cause.is_some() }
    }
}

/// What each process says about the first numbers, one line for each record.
fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    let mut said = [0; 4];
    let mut numbers = 0;
    while numbers < 40 {
        numbers += script::step(numbers);
    }
    for n in 0..numbers {
        let number = script::number(n);
        lines.push(Line::new(0, &number, None));
        for side in [1, 2] {
            for output in script::outputs(INSTANCES[side], &number) {
                lines.push(Line::new(side, &output, Some((0, n))));
                lines.push(Line::new(3, &script::result(&output), Some((side, said[side]))));
                said[side] += 1;
            }
        }
    }
    lines
}

/// Writes the lines with the journal's own writer; what is checked is not who wrote them.
fn write(home: &Home, lines: &[Line]) {
    let options = Options { segment_bytes: 8 << 10, ..Options::default() };
    let mut writers = INSTANCES.map(|instance| Writer::open(&home.instance(instance), &options).unwrap());
    let mut lines = lines.to_vec();
    // The numbers of one step, and the answers to one record, are one batch.
    while let Some(first) = lines.first().cloned() {
        let together = |line: &&Line| line.instance == first.instance && line.cause == first.cause;
        let most = match first.cause {
            None => usize::try_from(script::step(writers[0].next_offset().0)).unwrap(),
            Some(_) => usize::MAX,
        };
        let batch: Vec<Line> = lines.iter().filter(together).take(most).cloned().collect();
        let mut left = batch.len();
        lines.retain(|line| {
            let taken = left > 0 && line.instance == first.instance && line.cause == first.cause;
            left -= usize::from(taken);
            !taken
        });
        commit(home, &mut writers, &batch);
    }
}

fn commit(home: &Home, writers: &mut [Writer; 4], batch: &[Line]) {
    let instance = batch[0].instance;
    let entries: Vec<Entry<'_>> = batch
        .iter()
        .map(|line| Entry {
            topic: TOPICS[instance],
            key: Some(&line.key),
            cause: line.cause.map(|(by, offset)| Cause { journal: INSTANCES[by], offset: Offset(offset) }),
            codec: Codec::Json,
            payload: &line.payload,
        })
        .collect();
    let ack = batch[0].cause.filter(|_| batch[0].acks).map(|(by, offset)| Ack {
        subscription: if instance == 3 { FAN_IN } else { INPUT },
        journal: INSTANCES[by],
        position: after(&home.instance(INSTANCES[by]), offset),
    });
    let end = (writers[instance].next_offset().0 + batch.len() as u64).to_string();
    let point =
        (instance == 0 && batch.len() > 1).then_some(Checkpoint { name: CHECKPOINT, value: end.as_bytes() });
    let (acks, checkpoints) = (Vec::from_iter(ack), Vec::from_iter(point));
    writers[instance].commit(&Batch { entries: &entries, acks: &acks, checkpoints: &checkpoints }).unwrap();
}

fn after(instance: &Path, offset: u64) -> Position {
    let reader = journal::Reader::open(instance, Start::Offset(Offset(offset)), journal::Level::Committed);
    let mut reader = reader.unwrap().unwrap();
    // A cause that was never said: the test means it.
    let _ = reader.next().unwrap();
    let position = reader.position();
    Position { next: Offset(offset + 1), epoch: position.epoch.max(Epoch(1)), ..position }
}

fn audit(home: &Home) -> Result<bool, Trouble> {
    let mut auditor = Auditor::new(&home.state());
    auditor.pass()?;
    Ok(auditor.is_settled())
}

#[test]
fn a_chain_that_is_right_is_found_right() {
    let home = Home::in_memory();
    write(&home, &lines());
    assert_eq!(audit(&home), Ok(true));
}

/// Changes a segment.
type Damage = fn(&Path);
/// Changes the line at a place.
type Change = fn(&mut Vec<Line>, usize);

const ANYWHERE: [(&str, Change); 5] = [
    ("lost", |lines, at| drop(lines.remove(at))),
    ("doubled", |lines, at| lines.insert(at + 1, lines[at].clone())),
    ("swapped", |lines, at| {
        let mut later = at + 1..lines.len();
        let next = later.find(|other| lines[*other].instance == lines[at].instance).unwrap();
        lines.swap(at, next);
    }),
    ("altered", |lines, at| lines[at].payload[9] ^= 1),
    ("another key", |lines, at| lines[at].key.push(b'x')),
];
const BEHIND_THE_SOURCE: [(&str, Change); 3] = [
    ("another cause", |lines, at| lines[at].cause.as_mut().unwrap().1 += 1),
    ("no cause", |lines, at| lines[at].cause = None),
    ("not acknowledged", |lines, at| lines[at].acks = false),
];

/// Whatever is changed of a right chain, the checker says in whose journal something is wrong.
#[test]
fn the_checker_finds_what_is_lost_doubled_swapped_or_altered() {
    for (instance, name) in INSTANCES.iter().enumerate() {
        let more = if instance == 0 { &[][..] } else { &BEHIND_THE_SOURCE };
        for (what, change) in ANYWHERE.iter().chain(more) {
            let mut lines = lines();
            let mut of_it = (0..lines.len()).filter(|at| lines[*at].instance == instance);
            let at = of_it.nth(11).unwrap();
            change(&mut lines, at);
            let home = Home::in_memory();
            write(&home, &lines);
            let Err(Trouble(found)) = audit(&home) else { panic!("{what} at {name} was not found") };
            println!("{what} at {name}: {found}");
            assert!(found.starts_with(name), "{what} at {name}: {found}");
        }
    }
}

#[test]
fn the_checker_finds_the_end_cut_off_and_bytes_that_were_changed() {
    // The last output of a side: nobody misses it but who knows that there was a number.
    let home = Home::in_memory();
    let mut cut = lines();
    let last = cut.iter().rposition(|line| line.instance == 1).unwrap();
    let missed = cut.iter().rposition(|line| line.cause.is_some_and(|(by, _)| by == 1)).unwrap();
    for at in [missed.max(last), missed.min(last)] {
        cut.remove(at);
    }
    write(&home, &cut);
    assert_eq!(audit(&home), Ok(false), "it isn't settled");

    let damages: [(&str, Damage); 2] = [
        ("a flipped bit", |path| flip_bit(path, 4001, 3)),
        ("a record that is gone", |path| overwrite(path, first_place(path), &[0; 8])),
    ];
    for (what, damage) in damages {
        let home = Home::in_memory();
        write(&home, &lines());
        damage(&home.segments(INSTANCES[3])[0]);
        let found = audit(&home);
        println!("{what}: {found:?}");
        assert!(found.is_err(), "{what}");
    }
}

/// Where the second record of a segment begins.
fn first_place(path: &Path) -> u64 {
    let bytes = std::fs::read(path).unwrap();
    let length = u32::from_le_bytes(std::array::from_fn(|index| bytes[128 + index]));
    128 + u64::from(length).next_multiple_of(8)
}
