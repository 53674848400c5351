//! Readers that ask for nonsense, stop for good, or hold on to what has long gone.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use journal::{
    Cursors, Epoch, Gap, GapReason, Item, Level, Offset, Position, Reader, Start, Time, WhenFull, Writer,
    cursors_path, marks_path, read_cursors, read_marks, verify,
};
use rustix::fs::{FlockOperation, fcntl_lock, flock};

use crate::support::{
    Got, Process, Random, Said, append_until, as_child, bases, drain, fast_folder, keeps, segments, small,
};

fn open(instance: &Path, start: Start) -> Reader {
    Reader::open(instance, start, Level::Committed).unwrap().unwrap()
}

/// Whatever is asked for: what comes are right records in order, and gaps that say what is missing.
fn check(instance: &Path, start: Start, end: u64) -> Vec<Gap> {
    let mut reader = open(instance, start);
    let mut gaps = Vec::new();
    let mut next: Option<u64> = None;
    for got in drain(&mut reader, 5000).unwrap() {
        match got {
            Got::Record(offset, said) => {
                assert!(next.is_none_or(|next| next == offset.0), "{start:?}: {offset} instead of {next:?}");
                assert_eq!(said, Said::at(offset.0), "{start:?}");
                next = Some(offset.0 + 1);
            }
            Got::Gap(gap) => {
                assert!(gap.from < gap.to, "{start:?}: {gap:?}");
                assert!(next.is_none_or(|next| next == gap.from.0), "{start:?}: {gap:?} at {next:?}");
                // One who is told that history has changed goes back to where it has.
                next = Some(if gap.reason == GapReason::Diverged { gap.from.0 } else { gap.to.0 });
                gaps.push(gap);
            }
        }
    }
    assert!(next.is_none_or(|next| next == end), "{start:?}: it ends at {next:?} instead of {end}");
    gaps
}

#[test]
fn whoever_may_only_read_keeps_nobody_from_a_segment() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("held");
    let mut writer = Writer::open(&instance, &keeps(3)).unwrap();
    append_until(&mut writer, 400);
    let hostile: Vec<_> =
        segments(&instance).into_iter().map(|path| std::fs::File::open(path).unwrap()).collect();
    for file in &hostile {
        flock(file, FlockOperation::NonBlockingLockExclusive).unwrap();
        fcntl_lock(file, FlockOperation::NonBlockingLockShared).unwrap();
        assert!(fcntl_lock(file, FlockOperation::NonBlockingLockExclusive).is_err());
    }
    let mut reader = open(&instance, Start::Beginning);
    assert!(matches!(reader.next().unwrap(), Some(Item::Record(_))));
    assert_eq!(verify(&instance).unwrap().damage, []);
    drop(writer);
    let mut writer = Writer::open(&instance, &keeps(3)).unwrap();
    append_until(&mut writer, 1000);
    assert!(bases(&instance)[0] > 400);
}

#[test]
fn nonsense_for_a_start_is_answered_by_records_gaps_or_nothing() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("asked");
    let mut writer = Writer::open(&instance, &keeps(3)).unwrap();
    append_until(&mut writer, 400);
    drop(writer);
    let mut writer = Writer::open(&instance, &keeps(3)).unwrap();
    append_until(&mut writer, 500);
    let mut reader = open(&instance, Start::Beginning);
    let first = match reader.next().unwrap() {
        Some(Item::Record(record)) => record.offset.0,
        other => panic!("{other:?}"),
    };
    assert!(first > 100);
    let own = reader.position();
    let offsets = [
        0,
        1,
        first - 1,
        first,
        first + 1,
        420,
        499,
        500,
        501,
        10_000,
        1 << 40,
        (1 << 56) - 1,
        1 << 56,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ];
    for next in offsets.map(Offset) {
        check(&instance, Start::Offset(next), 500.max(next.0));
        check(&instance, Start::Time(Time(next.0)), 500);
        for epoch in [0, 1, 2, 3, u32::MAX].map(Epoch) {
            for checksum in [0, own.checksum, u32::MAX] {
                for journal in [own.journal, 0, own.journal ^ 1, u64::MAX] {
                    let position = Position { next, epoch, checksum, journal };
                    let foreign = journal != 0 && journal != own.journal;
                    // A bare offset is believed, for it may be that of a record to come. As a place of this journal it
                    // was there, so that history has changed if it is not.
                    let end = if journal == 0 && epoch == Epoch(0) { 500.max(next.0) } else { 500 };
                    let gaps = check(&instance, Start::Position(position), end);
                    if foreign && next.0 > 0 {
                        let all = Gap { from: Offset(0), to: next, reason: GapReason::Diverged };
                        assert_eq!(gaps[0], all, "{position:?} is of another journal");
                    }
                }
            }
        }
    }
}

#[test]
fn a_position_with_a_flipped_bit_is_found_out() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("flipped");
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    append_until(&mut writer, 200);
    let mut reader = open(&instance, Start::Offset(Offset(100)));
    assert!(reader.next().unwrap().is_some());
    let own = reader.position();
    assert_eq!(check(&instance, Start::Position(own), 200), []);
    for bit in 0..32 {
        let flipped = Position { checksum: own.checksum ^ 1 << bit, ..own };
        let gaps = check(&instance, Start::Position(flipped), 200);
        // No epoch tells from where on it is of another history.
        let all = Gap { from: Offset(0), to: flipped.next, reason: GapReason::Diverged };
        assert_eq!(gaps, [all], "{flipped:?}");
    }
    for bit in 0..64 {
        let flipped = Position { journal: own.journal ^ 1 << bit, ..own };
        let gaps = check(&instance, Start::Position(flipped), 200);
        assert_eq!((gaps.len(), gaps[0].reason), (1, GapReason::Diverged));
    }
    for bit in 0..64 {
        let flipped = Position { next: Offset(own.next.0 ^ 1 << bit), ..own };
        check(&instance, Start::Position(flipped), 200);
    }
}

/// Readers that stopped somewhere, and still have what they were reading mapped.
#[test]
fn whoever_stopped_long_ago_reads_right_bytes_and_then_a_gap() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("gone-on");
    let mut random = Random::announced();
    for when_full in [WhenFull::DropOldest, WhenFull::Wait] {
        let mut options = keeps(3);
        options.retention.bytes_max = Some(5 * options.segment_bytes);
        options.retention.when_full = when_full;
        let mut writer = Writer::open(&instance, &options).unwrap();
        let begin = writer.next_offset().0;
        // Nobody of them has a cursor, so nobody holds anything back.
        let mut stopped: Vec<(u64, Reader)> = Vec::new();
        for _ in 0..40 {
            let end = writer.next_offset().0 + 1 + random.next() % 40;
            append_until(&mut writer, end);
            let mut reader = open(&instance, Start::Offset(Offset(end - 1)));
            assert!(
                matches!(reader.next().unwrap(), Some(Item::Record(record)) if record.offset.0 == end - 1)
            );
            stopped.push((end, reader));
        }
        let end = writer.next_offset().0 + 3000;
        append_until(&mut writer, end);
        let first = bases(&instance)[0];
        assert!(first > begin + 1000);
        for (mut next, mut reader) in stopped {
            let mut gaps = 0;
            for got in drain(&mut reader, 10_000).unwrap() {
                match got {
                    Got::Record(offset, said) => {
                        assert_eq!((offset.0, said), (next, Said::at(next)));
                        next += 1;
                    }
                    Got::Gap(gap) => {
                        assert_eq!((gap.from, gap.reason), (Offset(next), GapReason::Trimmed));
                        // The preparing thread may have dropped another segment since.
                        assert!(gap.to.0 >= first && gap.to.0 <= bases(&instance)[0], "{gap:?}");
                        next = gap.to.0;
                        gaps += 1;
                    }
                }
            }
            assert_eq!((next, gaps), (end, 1));
        }
    }
}

/// Not a test by itself: looks at an instance's files, as every publisher does with those of its subscribers.
#[test]
fn onlooker() {
    let Some(instance) = as_child() else { return };
    for _ in 0..4000 {
        let _ = (read_cursors(&instance), read_marks(&instance));
    }
}

#[test]
fn whoever_cuts_its_own_files_kills_nobody_who_looks_at_them() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("cutting");
    let writer = Writer::open(&instance, &small(8)).unwrap();
    let cursors = Cursors::open(&instance, &writer).unwrap();
    for number in 0..70 {
        cursors.claim(&number.to_string(), "source").unwrap().store(Position::at(Offset(1)));
    }
    drop((cursors, writer));
    let files = [cursors_path(&instance), marks_path(&instance)]
        .map(|path| (std::fs::read(&path).unwrap(), File::options().write(true).open(path).unwrap()));
    let has_ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (bytes, file) in &files {
            scope.spawn(|| {
                while !has_ended.load(Ordering::Relaxed) {
                    file.set_len(64).unwrap();
                    file.write_all_at(bytes, 0).unwrap();
                }
            });
        }
        let ended = Process::child("hostile::onlooker", &instance).0.wait();
        has_ended.store(true, Ordering::Relaxed);
        assert!(ended.unwrap().success(), "a signal has killed it");
    });
    assert_eq!(read_cursors(&instance).unwrap().len(), 70);
    assert!(read_marks(&instance).unwrap().is_some());
}
