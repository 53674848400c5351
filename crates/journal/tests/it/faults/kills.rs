//! SIGKILL at every step of the journal: whatever a process was just doing, the next one goes on with all that was
//! said, and with nothing that was not.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use journal::fault::POINTS;
use journal::{
    Ack, Batch, Checkpoint, Cursors, Entry, Epoch, Item, Level, Offset, Position, Reader, Start, Writer,
    verify,
};

use crate::support::{
    Process, Random, Said, acknowledged_input, append, as_child, bases, fast_folder, keeps, prove_time,
    small, wait_until,
};

const COUNTS: [u64; 3] = [1, 2, 7];
/// A child opens its journals, and speaks, again and again: some points are passed by a process that takes over, and how
/// often others are depends on when its threads have their turn. After this time it will not come by any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two journals of one child: in one it acknowledges where it speaks, in the other it says record by record, and
/// keeps little.
struct Two {
    speaker: PathBuf,
    talker: PathBuf,
}

impl Two {
    fn new(home: &Path) -> Self {
        Self { speaker: home.join("speaker"), talker: home.join("talker") }
    }

    fn open(&self) -> (Writer, Writer) {
        (Writer::open(&self.speaker, &small(12)).unwrap(), Writer::open(&self.talker, &keeps(2)).unwrap())
    }
}

fn position(input: u64) -> Position {
    Position { next: Offset(input), epoch: Epoch(1), checksum: 5, journal: 77 }
}

/// Input `n` makes the records `2 * n` and `2 * n + 1`.
fn resume(writer: &Writer) -> u64 {
    let input = acknowledged_input(writer, position);
    assert_eq!(writer.next_offset().0, 2 * input, "what is acknowledged and what was said differ");
    input
}

/// Says something in both journals, so that every step of the journal is taken.
fn talk(two: &Two, rounds: u64) {
    let (mut speaker, mut talker) = two.open();
    let cursors = Cursors::open(&two.speaker, &speaker).unwrap();
    let cursor = cursors.claim("inputs", "source").unwrap();
    let mut input = resume(&speaker);
    assert_eq!(
        cursor.position().unwrap_or_default().next.0,
        input,
        "the cursor knows what the journal knows"
    );
    let other = format!("another-{}", speaker.epoch().0);
    drop(cursors.claim(&other, "source").unwrap());
    for round in 0..rounds {
        let says = [Said::at(2 * input), Said::at(2 * input + 1)];
        let entries: Vec<Entry<'_>> = says.iter().map(Said::entry).collect();
        input += 1;
        let acks = [Ack { subscription: "inputs", journal: "source", position: position(input) }];
        let checkpoints = [Checkpoint { name: "input", value: &input.to_le_bytes() }];
        speaker.commit(&Batch { entries: &entries, acks: &acks, checkpoints: &checkpoints }).unwrap();
        cursor.store(position(input));
        append(&mut talker).unwrap();
        if round % 8 == 3 {
            speaker.sync().unwrap();
        }
    }
    cursors.forget(&other, "source").unwrap();
}

/// Not a test by itself: speaks until it comes by the point at which it is to die.
#[test]
fn child() {
    let Some(home) = as_child() else { return };
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        talk(&Two::new(&home), 250);
    }
    panic!("it never came by {:?}", std::env::var("JOURNAL_FAULT"));
}

/// One who reads all along, also while the writer dies.
struct Follower {
    reader: Option<Reader>,
    instance: PathBuf,
    next: Offset,
}

impl Follower {
    fn new(instance: &Path) -> Self {
        Self { reader: None, instance: instance.to_owned(), next: Offset::ZERO }
    }

    /// Reads what is there. Offsets may be missing only if they were trimmed.
    fn follow(&mut self) {
        if self.reader.is_none() {
            self.reader = Reader::open(&self.instance, Start::Offset(self.next), Level::Committed).unwrap();
        }
        let Some(reader) = &mut self.reader else { return };
        let committed = reader.marks().unwrap().committed;
        while let Some(item) = reader.next().unwrap() {
            match item {
                Item::Record(record) => {
                    assert_eq!((record.offset, Said::of(&record)), (self.next, Said::at(self.next.0)));
                    self.next = self.next.plus(1);
                }
                Item::Gap(gap) => {
                    assert_eq!((gap.from, gap.reason), (self.next, journal::GapReason::Trimmed));
                    self.next = gap.to;
                }
            }
        }
        assert!(self.next >= committed, "{committed} are committed, {} can be read", self.next);
    }
}

/// Kills a child at a point, and goes on where it was.
fn kill_at(two: &Two, home: &Path, point: &str, count: u64) -> (u64, u64) {
    let aim = format!("{point}:{count}");
    let mut child = Process::child_with("faults::kills::child", home, &[("JOURNAL_FAULT", &aim)]);
    let mut followers = [&two.speaker, &two.talker].map(|instance| Follower::new(instance));
    if count > 1 {
        // From the beginning of what is kept, which the follower's first gap would otherwise say.
        for follower in &mut followers {
            follower.next = Offset(bases(&follower.instance)[0]);
        }
    }
    let mut status = None;
    wait_until("the child has died", || {
        followers.iter_mut().filter(|_| count > 1).for_each(Follower::follow);
        status = child.0.try_wait().unwrap();
        status.is_some()
    });
    let signal = status.expect("it was waited for").signal();
    assert_eq!(signal, Some(9), "{aim}: the child was not killed: {status:?}");
    for instance in [&two.speaker, &two.talker] {
        assert_eq!(verify(instance).map_or(Vec::new(), |report| report.damage), [], "{aim}");
    }
    // Nobody has mended anything yet: readers find whole batches, each of two records.
    let mut reads = Follower::new(&two.speaker);
    reads.follow();
    assert_eq!(reads.next.0 % 2, 0, "{aim}: half of a batch can be read");
    talk(two, 20);
    for mut follower in followers {
        if count == 1 {
            follower.next = Offset(bases(&follower.instance)[0]);
        }
        follower.follow();
    }
    let records = |instance| verify(instance).unwrap().records;
    (records(&two.speaker), records(&two.talker))
}

#[test]
fn sigkill_at_every_step_loses_and_repeats_nothing() {
    let (mut kills, mut records) = (0, 0);
    for point in POINTS {
        let home = tempfile::tempdir_in(fast_folder()).unwrap();
        let two = Two::new(home.path());
        for count in COUNTS {
            let (said, kept) = kill_at(&two, home.path(), point, count);
            kills += 1;
            records += said + kept;
        }
        for instance in [&two.speaker, &two.talker] {
            let report = verify(instance).unwrap();
            assert_eq!((report.damage, report.torn_tail), (Vec::new(), false), "{point}");
        }
    }
    println!("{} points, {kills} kills, {records} records checked", POINTS.len());
}

/// As above, with any count: more steps than a table of counts can think of.
#[test]
fn sigkill_at_any_step_loses_and_repeats_nothing() {
    let mut random = Random::announced();
    let (began, time) = (Instant::now(), prove_time(Duration::from_secs(3)));
    let mut kills = 0;
    while began.elapsed() < time {
        let home = tempfile::tempdir_in(fast_folder()).unwrap();
        let two = Two::new(home.path());
        for round in 0..6 {
            let point = POINTS[random.below(POINTS.len())];
            // The first one begins from nothing.
            kill_at(&two, home.path(), point, if round == 0 { 1 } else { 1 + random.next() % 8 });
            kills += 1;
        }
    }
    println!("{kills} kills at steps of chance");
}
