//! SIGKILL at any instant, hundreds of times: nothing that was said is lost or said twice, batches are whole,
//! and acknowledgements and checkpoints say exactly what the records beside them say.

use std::path::Path;
use std::time::{Duration, Instant};

use journal::{
    Ack, Batch, Checkpoint, Cursors, Entry, Epoch, Item, Level, Offset, Options, Position, Reader, Start,
    SyncPolicy, Writer, verify,
};

use crate::support::{
    Process, Random, Said, acknowledged_input, as_child, fast_folder, prove_time, segments, small, wait_until,
};

const KILLS: usize = 220;
const TIME_MAX: Duration = Duration::from_secs(40);

/// Inputs are imagined: input `n` makes `n % 4 + 1` records, so a record says which input it came from.
fn outputs_of(input: u64) -> u64 {
    input % 4 + 1
}

/// The records that the inputs before `input` made.
fn outputs_before(input: u64) -> u64 {
    input / 4 * 10 + (0..input % 4).map(outputs_of).sum::<u64>()
}

fn position(input: u64) -> Position {
    let checksum = u32::try_from(input % 1_000_003).unwrap();
    Position { next: Offset(input), epoch: Epoch(1), checksum, journal: 77 }
}

fn options(random: &mut Random) -> Options {
    Options { sync: SyncPolicy::Every(Duration::from_millis(10)), ..small(8 << random.below(4)) }
}

/// What the last whole input was, by the writer's state and by the checkpoint beside it.
fn resume(writer: &Writer) -> u64 {
    let input = acknowledged_input(writer, position);
    let (next, least) = (writer.next_offset().0, outputs_before(input));
    assert_eq!(next, least, "acknowledged input {input}, but {next} outputs instead of {least}");
    input
}

/// Not a test by itself: speaks until it is killed.
#[test]
fn child() {
    let Some(instance) = as_child() else { return };
    let mut random = Random(u64::from(std::process::id()));
    let mut writer = Writer::open(&instance, &options(&mut random)).unwrap();
    let cursors = Cursors::open(&instance, &writer).unwrap();
    let cursor = cursors.claim("inputs", "source").unwrap();
    let mut input = resume(&writer);
    assert_eq!(
        cursor.position().unwrap_or_default().next.0,
        input,
        "the cursor knows what the journal knows"
    );
    loop {
        let offset = writer.next_offset().0;
        let says: Vec<Said> = (offset..offset + outputs_of(input)).map(Said::at).collect();
        let entries: Vec<Entry<'_>> = says.iter().map(Said::entry).collect();
        input += 1;
        let acks = [Ack { subscription: "inputs", journal: "source", position: position(input) }];
        let checkpoints = [Checkpoint { name: "input", value: &input.to_le_bytes() }];
        writer.commit(&Batch { entries: &entries, acks: &acks, checkpoints: &checkpoints }).unwrap();
        cursor.store(position(input));
    }
}

/// Reads what is new since `from`, and checks all of it; the end.
fn check(instance: &Path, from: Offset) -> Offset {
    let mut reader = Reader::open(instance, Start::Offset(from), Level::Committed).unwrap().unwrap();
    let mut next = from;
    while let Some(item) = reader.next().unwrap() {
        let Item::Record(record) = item else { panic!("{item:?} at {next}") };
        assert_eq!((record.offset, Said::of(&record)), (next, Said::at(next.0)));
        next = next.plus(1);
    }
    let whole = (next.0 / 10 * 4..).map(outputs_before).find(|end| *end >= next.0).unwrap();
    assert_eq!(next.0, whole, "a batch is torn");
    next
}

#[test]
fn sigkill_at_any_instant_loses_and_repeats_nothing() {
    let mut random = Random::announced();
    let (began, time) = (Instant::now(), prove_time(Duration::ZERO));
    let mut kills = 0;
    loop {
        kills += kill_many(&mut random);
        if began.elapsed() >= time {
            break;
        }
    }
    println!("{kills} kills in {:?}", began.elapsed());
}

/// Kills the writer of one journal again and again; how often.
fn kill_many(random: &mut Random) -> usize {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("killed");
    let (began, mut end, mut epoch, mut kills) = (Instant::now(), Offset::ZERO, Epoch(0), 0);
    while kills < KILLS && began.elapsed() < TIME_MAX {
        let mut child = Process::child("kills::child", &instance);
        let anywhere = kills % 3 == 0;
        if anywhere {
            // Any instant, even before the child has opened its journal.
            let instant = Instant::now() + Duration::from_micros(random.next() % 20_000);
            while Instant::now() < instant {
                std::hint::spin_loop();
            }
        } else {
            let most = Offset(end.0 + random.next() % 200);
            wait_until("the child has said more", || {
                assert!(child.0.try_wait().unwrap().is_none(), "the child gave up by itself");
                journal::read_marks(&instance).unwrap().is_some_and(|marks| marks.committed > most)
            });
        }
        child.kill();
        kills += 1;
        let Some(marks) = journal::read_marks(&instance).unwrap() else { continue };
        let grown = marks.epoch.0 - epoch.0;
        assert!(
            grown == 1 || grown == 0 && anywhere,
            "kill {kills}, {end} records: the epoch grew by {grown}: {marks:?}"
        );
        epoch = marks.epoch;
        end = check(&instance, Offset(end.0.saturating_sub(50)));
        assert!(end >= marks.committed, "kill {kills}: readers see up to {end} of {marks:?}");
        if kills % 20 == 0 {
            assert_eq!(verify(&instance).unwrap().damage, []);
        }
    }
    println!("{kills} kills, {end} records in {:?}", began.elapsed());
    assert!(kills >= 20, "the machine is too busy to tell anything");
    let writer = Writer::open(&instance, &small(8)).unwrap();
    assert_eq!(writer.epoch().0, epoch.0 + 1);
    resume(&writer);
    drop(writer);
    assert_eq!(check(&instance, Offset::ZERO), end);
    let report = verify(&instance).unwrap();
    assert_eq!((report.records, report.damage), (end.0, Vec::new()));
    kills
}

#[test]
fn an_epoch_is_not_used_twice_even_if_it_left_no_segment() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("bare");
    drop(Writer::open(&instance, &small(8)).unwrap());
    // As if it had been killed after its marks and before its segment.
    for path in segments(&instance) {
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(Writer::open(&instance, &small(8)).unwrap().epoch(), Epoch(2));
}
