//! Another journal at the path of one that is being read: begun anew, or an older copy that was put back.

mod sent_back;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use journal::{AtPath, Cursors, Gap, GapReason, Item, Level, Offset, Position, Reader, Start, Writer};

use crate::support::{Got, Said, drain, segments, small};

/// The journal `a` with readers of it beside.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn instance(&self) -> PathBuf {
        self.0.path().join("a")
    }

    /// A writer's whole life, in which it says `count` records that nobody else says.
    fn speak(&self, count: u64, salt: u64) -> Offset {
        let mut writer = Writer::open(&self.instance(), &small(8)).unwrap();
        let from = writer.next_offset().0;
        for offset in from..from + count {
            writer.append(&Said::at(offset + salt * 1_000_000).entry()).unwrap();
        }
        writer.next_offset()
    }

    fn read(&self, start: Start) -> Reader {
        Reader::open(&self.instance(), start, Level::Committed).unwrap().unwrap()
    }

    fn back_up(&self) {
        copy(&self.instance(), &self.0.path().join("backup"));
    }

    fn remove(&self) {
        fs::remove_dir_all(self.instance()).unwrap();
    }

    fn put_back(&self) {
        copy(&self.0.path().join("backup"), &self.instance());
    }

    /// A reader in a process of its own has come to `position`.
    fn acknowledge(&self, position: Position) {
        let reader = self.0.path().join("reader");
        let writer = Writer::open(&reader, &small(8)).unwrap();
        Cursors::open(&reader, &writer).unwrap().claim("s", "a").unwrap().store(position);
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// What both histories have comes again, then the gap, then what is of the other one.
#[track_caller]
fn check_again(
    reader: &mut Reader,
    again: impl Iterator<Item = (u64, u64)>,
    gap: Option<Gap>,
    records: impl Iterator<Item = (u64, u64)>,
) {
    for (offset, salt) in again {
        let Some(Item::Record(record)) = reader.next().unwrap() else { panic!("no record {offset}") };
        let expected = (Offset(offset), Said::at(offset + salt * 1_000_000));
        assert_eq!((record.offset, Said::of(&record)), expected);
    }
    check(reader, gap, records);
}

/// Offset and salt of each record, and gaps.
#[track_caller]
fn check(reader: &mut Reader, gap: Option<Gap>, records: impl Iterator<Item = (u64, u64)>) {
    let mut got = drain(reader, 100_000).unwrap().into_iter();
    if let Some(gap) = gap {
        assert_eq!(got.next(), Some(Got::Gap(gap)));
    }
    for (offset, salt) in records {
        assert_eq!(got.next(), Some(Got::Record(Offset(offset), Said::at(offset + salt * 1_000_000))));
    }
    assert_eq!(got.next(), None);
}

fn diverged(from: u64, to: u64) -> Option<Gap> {
    Some(Gap { from: Offset(from), to: Offset(to), reason: GapReason::Diverged })
}

fn old(range: std::ops::Range<u64>, salt: u64) -> impl Iterator<Item = (u64, u64)> {
    range.map(move |offset| (offset, salt))
}

#[test]
fn a_live_reader_goes_over_to_a_journal_begun_anew() {
    for count in [30, 300] {
        let place = Place::new();
        place.speak(100, 0);
        let mut reader = place.read(Start::Beginning);
        check(&mut reader, None, old(0..100, 0));
        assert_eq!(reader.look_at_path().unwrap(), AtPath::Same);
        place.remove();
        assert_eq!(reader.look_at_path().unwrap(), AtPath::Nothing);
        place.speak(count, 1);
        assert_eq!(reader.look_at_path().unwrap(), AtPath::Another);
        check(&mut reader, diverged(0, 100), old(0..count, 1));
        assert_eq!(reader.look_at_path().unwrap(), AtPath::Same);
    }
}

#[test]
fn a_reader_that_goes_to_the_next_segment_notices_by_itself() {
    let place = Place::new();
    place.speak(200, 0);
    let mut reader = place.read(Start::Beginning);
    assert!(reader.next().unwrap().is_some());
    place.remove();
    place.speak(50, 1);
    let got = drain(&mut reader, 1_000).unwrap();
    let gap = got.iter().position(|got| matches!(got, Got::Gap(_))).unwrap();
    assert!(gap < 150, "it has only ever read what it has mapped");
    assert_eq!(got[gap], Got::Gap(diverged(0, gap as u64 + 1).unwrap()));
    let records = (0..50).map(|offset| Got::Record(Offset(offset), Said::at(offset + 1_000_000)));
    assert!(got[gap + 1..].iter().cloned().eq(records));
}

#[test]
fn a_reader_whose_journal_is_gone_calls_nothing_damaged() {
    let place = Place::new();
    place.speak(200, 0);
    let mut reader = place.read(Start::Beginning);
    assert!(reader.next().unwrap().is_some());
    fs::rename(place.instance(), place.0.path().join("gone")).unwrap();
    let got = drain(&mut reader, 1_000).unwrap();
    assert!(got.len() < 150, "it has only ever read what it has mapped");
    assert!(got.iter().all(|got| matches!(got, Got::Record(..))), "{:?}", got.last());
    // It may come back as it was.
    fs::rename(place.0.path().join("gone"), place.instance()).unwrap();
    let from = got.len() as u64 + 1;
    check(&mut reader, None, old(from..200, 0));
}

/// Epoch 1 says 100 records, of which a copy is made, then 10. So does epoch 2.
fn make(place: &Place) {
    place.speak(100, 0);
    place.back_up();
    place.speak(10, 0);
    place.speak(10, 0);
}

#[test]
fn a_live_reader_goes_back_to_where_an_older_copy_parts() {
    for lives in 1..=4 {
        let place = Place::new();
        make(&place);
        let mut reader = place.read(Start::Beginning);
        check(&mut reader, None, old(0..120, 0));
        place.remove();
        place.put_back();
        // Short of what was read, and beyond it; in epochs that were used before, and later ones.
        for _ in 0..lives {
            place.speak(10, 1);
        }
        assert_eq!(reader.look_at_path().unwrap(), AtPath::Another);
        check(&mut reader, diverged(100, 120), old(100..100 + lives * 10, 1));
    }
}

#[test]
fn a_reader_that_comes_back_goes_back_to_where_an_older_copy_parts() {
    for lives in 1..=4 {
        let place = Place::new();
        make(&place);
        let mut reader = place.read(Start::Beginning);
        check(&mut reader, None, old(0..120, 0));
        let position = reader.position();
        place.acknowledge(position);
        place.remove();
        place.put_back();
        for _ in 0..lives {
            place.speak(10, 1);
        }
        let mut reader = place.read(Start::Position(position));
        check(&mut reader, diverged(100, 120), old(100..100 + lives * 10, 1));
    }
}

#[test]
fn a_reader_that_nobody_knows_of_skips_nothing_of_an_older_copy() {
    let place = Place::new();
    make(&place);
    let mut reader = place.read(Start::Beginning);
    check(&mut reader, None, old(0..120, 0));
    let position = reader.position();
    place.remove();
    place.put_back();
    // Its epoch, and offset, are those of what was read; its records are others.
    place.speak(10, 1);
    place.speak(20, 1);
    let mut reader = place.read(Start::Position(position));
    check(&mut reader, diverged(0, 120), old(0..100, 0).chain(old(100..130, 1)));
}

#[test]
fn a_copy_that_is_written_over_the_files_is_noticed() {
    [false, true].into_iter().for_each(write_over);
}

fn write_over(is_sent_back: bool) {
    let place = Place::new();
    make(&place);
    let mut reader = place.read(Start::Beginning);
    check(&mut reader, None, old(0..120, 0));
    if is_sent_back {
        reader.go_back(Offset(5));
    }
    let (from, to) = (place.0.path().join("backup/journal"), place.instance().join("journal"));
    for found in fs::read_dir(&to).unwrap() {
        let path = found.unwrap().path();
        match fs::read(from.join(path.file_name().unwrap())) {
            // In place, and never shorter than it was.
            Ok(bytes) => fs::File::options().write(true).open(path).unwrap().write_all_at(&bytes, 0).unwrap(),
            Err(_) => fs::remove_file(path).unwrap(),
        }
    }
    assert_eq!(reader.look_at_path().unwrap(), AtPath::Another);
    place.speak(10, 1);
    let again = if is_sent_back { 5..100 } else { 100..100 };
    check_again(&mut reader, old(again, 0), diverged(100, 120), old(100..110, 1));
}

#[test]
fn marks_of_an_older_copy_alone_keep_no_reader_busy() {
    let place = Place::new();
    make(&place);
    let mut reader = place.read(Start::Beginning);
    check(&mut reader, None, old(0..120, 0));
    let older = fs::read(place.0.path().join("backup/journal/marks")).unwrap();
    fs::File::options()
        .write(true)
        .open(place.instance().join("journal/marks"))
        .unwrap()
        .write_all_at(&older, 0)
        .unwrap();
    // The records are those that were read: compared once, and not for ever.
    assert_eq!(reader.look_at_path().unwrap(), AtPath::Another);
    assert!(reader.next().unwrap().is_none());
    assert_eq!(reader.look_at_path().unwrap(), AtPath::Same);
}

#[test]
fn a_folder_that_is_moved_away_and_back_costs_a_reader_nothing() {
    for is_copied in [false, true] {
        let place = Place::new();
        place.speak(2, 0);
        // It is in what was the newest segment when it came, and goes on from there by the names of files.
        let mut reader = place.read(Start::Beginning);
        assert!(reader.next().unwrap().is_some());
        place.speak(100, 0);
        let (path, aside) = (place.instance(), place.0.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        if is_copied {
            fs::create_dir_all(path.join("journal")).unwrap();
            fs::copy(aside.join("journal/marks"), path.join("journal/marks")).unwrap();
        }
        let mut next = 1;
        let mut read = |reader: &mut Reader| {
            for got in drain(reader, 1000).unwrap() {
                assert_eq!(got, Got::Record(Offset(next), Said::at(next)));
                next += 1;
            }
            next
        };
        assert!(read(&mut reader) < 102);
        if is_copied {
            fs::remove_dir_all(&path).unwrap();
        }
        fs::rename(&aside, &path).unwrap();
        assert_ne!(reader.look_at_path().unwrap(), AtPath::Nothing);
        assert_eq!(read(&mut reader), 102);
    }
}

#[test]
fn no_reader_makes_a_writer_use_up_its_epochs() {
    let place = Place::new();
    place.speak(1, 0);
    let position = place.read(Start::Offset(Offset(1))).position();
    place.acknowledge(Position { epoch: journal::Epoch(u32::MAX - 1), next: Offset(1), ..position });
    let writer = Writer::open(&place.instance(), &small(8)).unwrap();
    assert_eq!(writer.epoch(), journal::Epoch(2));
}

#[test]
fn a_journal_begun_anew_has_later_epochs_than_its_readers_know() {
    let place = Place::new();
    for _ in 0..5 {
        place.speak(1, 0);
    }
    let mut reader = place.read(Start::Beginning);
    check(&mut reader, None, old(0..5, 0));
    place.acknowledge(reader.position());
    place.remove();
    place.speak(1, 1);
    assert_eq!(reader.look_at_path().unwrap(), AtPath::Another);
    let before = Position { epoch: journal::Epoch(5), ..Position::at(Offset(5)) };
    check(&mut reader, diverged(0, 5), old(0..1, 1));
    assert!(reader.position().is_later_than(&before), "the older acknowledgement would win");
}

#[test]
fn who_stands_at_the_end_and_has_read_nothing_hears_what_an_older_copy_says_in_place_of_it() {
    let place = Place::new();
    place.speak(50, 0);
    place.back_up();
    place.speak(50, 0);
    let mut alive = place.read(Start::End);
    check(&mut alive, None, old(0..0, 0));
    let at = alive.position();
    place.remove();
    place.put_back();
    place.speak(30, 1);
    assert_eq!(alive.look_at_path().unwrap(), AtPath::Another);
    check(&mut alive, diverged(80, 100), old(0..0, 0));
    let mut restarted = place.read(Start::Position(at));
    check(&mut restarted, diverged(80, 100), old(0..0, 0));
    place.speak(40, 2);
    for reader in [&mut alive, &mut restarted] {
        check(reader, None, old(80..120, 2));
    }
}

#[test]
fn a_mark_that_a_killed_writer_has_left_behind_the_last_record_makes_no_other_journal() {
    let place = Place::new();
    let mut writer = Writer::open(&place.instance(), &small(8)).unwrap();
    let marks = place.instance().join("journal/marks");
    for offset in 0..20 {
        writer.append(&Said::at(offset).entry()).unwrap();
    }
    let before = fs::read(&marks).unwrap();
    writer.append(&Said::at(20).entry()).unwrap();
    drop(writer);
    let mut reader = place.read(Start::Beginning);
    check(&mut reader, None, old(0..21, 0));
    fs::File::options().write(true).open(&marks).unwrap().write_all_at(&before, 0).unwrap();
    assert_eq!(reader.look_at_path().unwrap(), AtPath::Same);
    place.speak(5, 0);
    check(&mut reader, None, old(21..26, 0));
}

/// Puts the copy back one file after the other, and calls `each` in between; the marks come first, the newest segment next,
/// and of each its beginning before the rest.
fn put_back_slowly(place: &Place, mut each: impl FnMut()) {
    let (from, to) = (place.0.path().join("backup"), place.instance());
    fs::create_dir_all(to.join("journal")).unwrap();
    fs::copy(from.join("journal/marks"), to.join("journal/marks")).unwrap();
    each();
    for path in segments(&from).iter().rev() {
        let bytes = fs::read(path).unwrap();
        let path = to.join("journal").join(path.file_name().unwrap());
        for part in [10, 4096, bytes.len()] {
            fs::write(&path, &bytes[..part]).unwrap();
            each();
        }
    }
}

#[test]
fn what_has_yet_to_come_of_an_older_copy_is_no_damage() {
    let place = Place::new();
    make(&place);
    assert!(segments(&place.0.path().join("backup")).len() > 1);
    let mut late = place.read(Start::Beginning);
    check(&mut late, None, old(0..120, 0));
    let mut early = place.read(Start::Beginning);
    for _ in 0..50 {
        assert!(early.next().unwrap().is_some());
    }
    place.remove();
    let mut got = [Vec::new(), Vec::new()];
    put_back_slowly(&place, || {
        for (reader, got) in [&mut late, &mut early].into_iter().zip(&mut got) {
            reader.look_at_path().unwrap();
            got.extend(drain(reader, 1_000).unwrap());
        }
    });
    assert_eq!(got[0], [Got::Gap(diverged(100, 120).unwrap())]);
    let rest = (50..100).map(|offset| Got::Record(Offset(offset), Said::at(offset)));
    assert_eq!(got[1], rest.collect::<Vec<_>>());
    place.speak(10, 1);
    for reader in [&mut late, &mut early] {
        check(reader, None, old(100..110, 1));
    }
}

#[test]
fn what_has_not_come_before_a_writer_begins_is_gone() {
    let place = Place::new();
    place.speak(100, 0);
    place.back_up();
    let mut reader = place.read(Start::Beginning);
    for _ in 0..10 {
        assert!(reader.next().unwrap().is_some());
    }
    place.remove();
    let (from, to) = (place.0.path().join("backup"), place.instance());
    fs::create_dir_all(to.join("journal")).unwrap();
    fs::copy(from.join("journal/marks"), to.join("journal/marks")).unwrap();
    assert_eq!(reader.look_at_path().unwrap(), AtPath::Another);
    check(&mut reader, None, old(0..0, 0));
    place.speak(5, 1);
    let gap = Gap { from: Offset(10), to: Offset(100), reason: GapReason::Trimmed };
    check(&mut reader, Some(gap), old(100..105, 1));
}

/// Exchanges what lies at the path for what lies at `other`.
fn exchange(place: &Place, other: &str) {
    let (path, other) = (place.instance(), place.0.path().join(other));
    let aside = place.0.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    fs::rename(&other, &path).unwrap();
    fs::rename(&aside, &other).unwrap();
}

#[test]
fn a_history_that_comes_back_is_heard_from_where_the_two_part() {
    // One goes on in the epoch in which the copy was made, the other in the next one; and another one in that, too.
    let place = Place::new();
    let mut writer = Writer::open(&place.instance(), &small(8)).unwrap();
    for offset in 0..100 {
        writer.append(&Said::at(offset).entry()).unwrap();
    }
    place.back_up();
    for offset in 100..150 {
        writer.append(&Said::at(offset).entry()).unwrap();
    }
    drop(writer);
    place.speak(10, 0);
    copy(&place.0.path().join("backup"), &place.0.path().join("second"));
    exchange(&place, "backup");
    place.speak(20, 1);
    place.speak(10, 1);
    let mut reader = place.read(Start::Beginning);
    check(
        &mut reader,
        None,
        old(0..130, 1).map(|(offset, salt)| (offset, if offset < 100 { 0 } else { salt })),
    );
    let mut over_to = |other: &str, from: u64, to: u64, salt: u64| {
        exchange(&place, other);
        assert_eq!(reader.look_at_path().unwrap(), AtPath::Another);
        check(&mut reader, diverged(100, from), old(100..to, salt));
    };
    over_to("backup", 130, 160, 0);
    over_to("backup", 160, 130, 1);
    exchange(&place, "second");
    place.speak(25, 2);
    place.speak(5, 2);
    exchange(&place, "second");
    over_to("second", 130, 130, 2);
    over_to("backup", 130, 160, 0);
    over_to("second", 160, 130, 1);
}
