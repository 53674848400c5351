//! Which segments go: never one that a living subscription still wants, unless the byte limit says so.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use journal::{
    Cursor, Cursors, Error, Gap, GapReason, Item, Level, Offset, Options, Position, Reader, Retention, Start,
    WhenFull, Writer, bytes_on_disk, cursors_path, verify,
};

use crate::support::{
    Got, Said, append, append_until, bases, fast_folder, keeps, read_all, read_records, segments, small,
    wait_until,
};

const SEGMENT_BYTES: u64 = 8 << 10;

fn keeping(change: impl FnOnce(&mut Retention)) -> Options {
    let mut options = keeps(2);
    change(&mut options.retention);
    options
}

/// A publisher, and a subscriber of another instance.
struct Two {
    publisher: PathBuf,
    cursors_of: PathBuf,
    /// Keeps the subscriber's journal locked.
    _subscriber: Writer,
    cursors: Arc<Cursors>,
    _home: tempfile::TempDir,
}

impl Two {
    fn new() -> Self {
        let home = tempfile::tempdir_in(fast_folder()).unwrap();
        let instance = home.path().join("subscriber");
        let subscriber = Writer::open(&instance, &small(8)).unwrap();
        let cursors = Cursors::open(&instance, &subscriber).unwrap();
        Self {
            publisher: home.path().join("publisher"),
            cursors_of: instance,
            _subscriber: subscriber,
            cursors,
            _home: home,
        }
    }

    fn claim(&self) -> Cursor {
        self.cursors.claim("laggard", "publisher").unwrap()
    }
}

/// Goes on appending until a condition holds: who makes room for the next segment, and who syncs, have their turn when
/// they get it.
fn append_till(writer: &mut Writer, what: &str, mut condition: impl FnMut() -> bool) {
    wait_until(what, || {
        let holds = condition();
        if !holds {
            append(writer).unwrap();
        }
        holds
    });
}

/// Everything from the beginning of what is kept, to `end`, with its contents.
fn check_kept(instance: &Path, end: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let first = bases(instance)[0];
        let read = read_all(instance, Start::Beginning);
        let from_zero = read_all(instance, Start::Offset(Offset(0))).swap_remove(0);
        let marks = journal::read_marks(instance).unwrap().unwrap();
        let damage = verify(instance).map(|report| report.damage);
        // Room for the segment after this one is made meanwhile.
        if bases(instance)[0] != first || marks.trimmed != Offset(first) {
            assert!(Instant::now() < deadline, "kept from {first}, but {marks:?}");
            continue;
        }
        let record = |offset| Got::Record(Offset(offset), Said::at(offset));
        let wanted: Vec<_> = (first..end).map(record).collect();
        assert_eq!(read, wanted);
        assert_eq!(damage.unwrap(), []);
        let trimmed = Gap { from: Offset(0), to: Offset(first), reason: GapReason::Trimmed };
        assert_eq!(from_zero, Got::Gap(trimmed));
        return;
    }
}

#[test]
fn nobody_wants_them_so_they_go() {
    let two = Two::new();
    let mut writer = Writer::open(&two.publisher, &keeping(|_| {})).unwrap();
    append_until(&mut writer, 1000);
    let are_few = || bytes_on_disk(&two.publisher).unwrap() <= 3 * SEGMENT_BYTES;
    append_till(&mut writer, "the old ones are gone", are_few);
    check_kept(&two.publisher, writer.next_offset().0);
    drop(writer);
    let mut writer = Writer::open(&two.publisher, &keeping(|_| {})).unwrap();
    let end = writer.next_offset().0 + 500;
    append_until(&mut writer, end);
    append_till(&mut writer, "the old ones are gone", are_few);
    check_kept(&two.publisher, writer.next_offset().0);
}

#[test]
fn a_laggard_holds_segments_back_until_it_has_passed_them() {
    let two = Two::new();
    let mut writer = Writer::open(&two.publisher, &keeping(|_| {})).unwrap();
    let cursor = two.claim();
    cursor.store(Position::at(Offset(30)));
    append_until(&mut writer, 1000);
    assert!(bases(&two.publisher)[0] <= 30);
    assert_eq!(read_records(&two.publisher, Start::Offset(Offset(30))).len(), 970);

    cursor.store(Position::at(Offset(700)));
    append_until(&mut writer, 1200);
    append_till(&mut writer, "what it has passed is gone", || bases(&two.publisher)[0] > 30);
    let first = bases(&two.publisher)[0];
    assert!(first <= 700, "kept from {first}");
    let end = writer.next_offset().0;
    assert_eq!(read_records(&two.publisher, Start::Offset(Offset(700))).len() as u64, end - 700);

    drop(cursor);
    two.cursors.forget("laggard", "publisher").unwrap();
    append_until(&mut writer, end + 300);
    append_till(&mut writer, "forgotten, it holds nothing back", || bases(&two.publisher)[0] > end);
    check_kept(&two.publisher, writer.next_offset().0);
}

#[test]
fn a_cursor_on_the_journal_that_was_there_before_holds_all_of_this_one_back() {
    let two = Two::new();
    let mut writer = Writer::open(&two.publisher, &keeping(|_| {})).unwrap();
    append_until(&mut writer, 10);
    let mut reader = Reader::open(&two.publisher, Start::Beginning, Level::Committed).unwrap().unwrap();
    assert!(reader.next().unwrap().is_some());
    let mine = reader.position();
    let cursor = two.claim();
    // Its reader will find that the journal is another one, and begin with it.
    cursor.store(Position { journal: mine.journal ^ 1, next: Offset(400), ..mine });
    append_until(&mut writer, 500);
    assert_eq!(bases(&two.publisher)[0], 0);
    cursor.store(Position { next: Offset(400), ..mine });
    append_until(&mut writer, 1000);
    append_till(&mut writer, "what it has passed is gone", || bases(&two.publisher)[0] > 0);
    assert!(bases(&two.publisher)[0] <= 400);
}

#[test]
fn a_lease_runs_out_once_nobody_reads_and_not_before() {
    let two = Two::new();
    let lease = Duration::from_millis(1500);
    let mut writer = Writer::open(&two.publisher, &keeping(|retention| retention.lease = lease)).unwrap();
    let cursor = two.claim();
    cursor.store(Position::at(Offset(30)));
    append_until(&mut writer, 500);
    let begun = Instant::now();
    wait_until("a lease has passed", || begun.elapsed() > 2 * lease);
    append_until(&mut writer, 800);
    assert!(bases(&two.publisher)[0] <= 30, "its reader lives, and may be stopped");

    drop(cursor);
    append_until(&mut writer, 1000);
    assert!(bases(&two.publisher)[0] <= 30, "it was there just now");
    let seen = Instant::now();
    wait_until("the lease has run out", || seen.elapsed() > lease);
    append_till(&mut writer, "it holds nothing back", || bases(&two.publisher)[0] > 500);
    check_kept(&two.publisher, writer.next_offset().0);
}

#[test]
fn a_quiet_publisher_drops_what_has_become_old_or_nobodys_by_itself() {
    let two = Two::new();
    let quiet = keeping(|retention| {
        retention.bytes_kept = 1 << 30;
        retention.age_kept = Some(Duration::from_secs(3600));
        retention.lease = Duration::from_millis(500);
    });
    let mut writer = Writer::open(&two.publisher, &quiet).unwrap();
    let cursor = two.claim();
    cursor.store(Position::at(Offset(30)));
    append_until(&mut writer, 500);
    let past = SystemTime::now() - Duration::from_secs(7200);
    for path in &segments(&two.publisher)[..3] {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(past).unwrap();
    }
    let left = bases(&two.publisher)[3];
    drop(cursor);
    wait_until("they are gone", || bases(&two.publisher)[0] == left);
    drop(writer);
    check_kept(&two.publisher, 500);
}

/// Nobody can say how far a subscription has read: it may want everything.
fn assert_all_is_kept(two: &Two, spoil: impl FnOnce(&Two)) {
    let mut writer = Writer::open(&two.publisher, &keeping(|_| {})).unwrap();
    two.claim().store(Position::at(Offset(30)));
    append_until(&mut writer, 200);
    let first = bases(&two.publisher)[0];
    assert!(first <= 30);
    spoil(two);
    append_until(&mut writer, 800);
    assert_eq!(bases(&two.publisher)[0], first);
    drop(writer);

    // But for the limit that holds whoever wants to read.
    let limited = keeping(|retention| retention.bytes_max = Some(4 * SEGMENT_BYTES));
    append_until(&mut Writer::open(&two.publisher, &limited).unwrap(), 1500);
    assert!(bytes_on_disk(&two.publisher).unwrap() <= 4 * SEGMENT_BYTES);
    let waiting = Retention { when_full: WhenFull::Wait, ..limited.retention.clone() };
    let mut writer = Writer::open(&two.publisher, &Options { retention: waiting, ..limited }).unwrap();
    let refused = (0..500).find_map(|_| append(&mut writer).err()).unwrap().to_string();
    assert!(refused.contains("nobody can tell"), "{refused}");
}

#[test]
fn what_the_process_needs_itself_is_not_dropped_at_the_limit_and_others_are_overrun() {
    let two = Two::new();
    let limited = keeping(|retention| retention.bytes_max = Some(4 * SEGMENT_BYTES));
    let mut writer = Writer::open(&two.publisher, &limited).unwrap();
    let cursor = two.claim();
    cursor.store(Position::at(Offset(1)));
    append_until(&mut writer, 1000);
    assert!(bases(&two.publisher)[0] > 1, "a subscription is overrun");
    let needed = writer.next_offset();
    writer.watch().keep_from(Some(needed));
    let refused = (0..2000).find_map(|_| append(&mut writer).err()).unwrap();
    assert!(matches!(refused, Error::Full { .. }), "{refused}");
    assert!(
        refused.to_string().contains(&format!("needs again what it has said from {needed} on")),
        "{refused}"
    );
    assert!(bases(&two.publisher)[0] <= needed.0);
    assert!(bytes_on_disk(&two.publisher).unwrap() <= 4 * SEGMENT_BYTES);
    // A process that starts has yet to say what it needs, and can start all the same.
    for _ in 0..300 {
        drop(writer);
        writer = Writer::open(&two.publisher, &limited).unwrap();
    }
    assert!(bases(&two.publisher)[0] <= needed.0);
    writer.watch().keep_from(Some(writer.next_offset()));
    append(&mut writer).unwrap();
    writer.watch().keep_from(None);
    let end = writer.next_offset().0 + 1000;
    append_until(&mut writer, end);
    assert!(bases(&two.publisher)[0] > needed.0);
}

#[test]
fn a_table_that_cannot_be_read_holds_everything_back() {
    let table = |two: &Two| std::fs::File::options().write(true).open(cursors_path(&two.cursors_of)).unwrap();
    // Of a newer program: a rolling upgrade.
    assert_all_is_kept(&Two::new(), |two| table(two).write_all_at(&9_u32.to_le_bytes(), 8).unwrap());
    assert_all_is_kept(&Two::new(), |two| table(two).write_all_at(b"nonsense", 0).unwrap());
    // Names that nobody could have given.
    assert_all_is_kept(&Two::new(), |two| table(two).write_all_at(&[0], 64 + 8).unwrap());
    assert_all_is_kept(&Two::new(), |two| {
        std::fs::remove_file(cursors_path(&two.cursors_of)).unwrap();
        std::fs::create_dir(cursors_path(&two.cursors_of)).unwrap();
    });
}

#[test]
fn a_damaged_position_holds_everything_back() {
    let two = Two::new();
    let mut writer = Writer::open(&two.publisher, &keeping(|_| {})).unwrap();
    append_till(&mut writer, "the old ones are gone", || bases(&two.publisher)[0] > 0);
    // One that is about to drop more has looked before.
    drop(writer);
    let kept = bases(&two.publisher)[0];
    two.claim().store(Position::at(Offset(500)));
    let table = std::fs::File::options().write(true).open(cursors_path(&two.cursors_of)).unwrap();
    table.write_all_at(&u64::MAX.to_le_bytes(), 64 + 272).unwrap();
    let mut writer = Writer::open(&two.publisher, &keeping(|_| {})).unwrap();
    let end = writer.next_offset().0 + 300;
    append_until(&mut writer, end);
    assert_eq!(bases(&two.publisher)[0], kept);
}

#[test]
fn a_state_folder_that_cannot_be_listed_holds_everything_back() {
    use std::os::unix::fs::symlink;
    // A link whose target cannot be looked at: the same for root and everybody.
    let endless = |two: &Two| symlink("endless", two.publisher.with_file_name("endless")).unwrap();
    assert_all_is_kept(&Two::new(), endless);
    let two = Two::new();
    let mut writer = Writer::open(&two.publisher, &keeping(|_| {})).unwrap();
    symlink("nowhere", two.publisher.with_file_name("gone")).unwrap();
    append_till(&mut writer, "a link to nowhere is no instance", || bases(&two.publisher)[0] > 0);
}

#[test]
fn at_the_byte_limit_the_oldest_go_and_the_laggard_is_told() {
    let two = Two::new();
    let limited = keeping(|retention| retention.bytes_max = Some(4 * SEGMENT_BYTES));
    let mut writer = Writer::open(&two.publisher, &limited).unwrap();
    append_until(&mut writer, 20);
    let mut reader = Reader::open(&two.publisher, Start::Beginning, Level::Committed).unwrap().unwrap();
    let cursor = two.claim();
    cursor.store(Position::at(Offset(1)));
    assert!(matches!(reader.next().unwrap(), Some(Item::Record(record)) if record.offset == Offset(0)));
    append_until(&mut writer, 2000);
    assert!(bytes_on_disk(&two.publisher).unwrap() <= 4 * SEGMENT_BYTES);
    check_kept(&two.publisher, 2000);
    // Nothing more goes while the reader is on its way.
    drop(writer);

    // The reader still has the oldest segment mapped: it reads that to its end, then it is told.
    let (mut next, mut gaps) = (1, 0);
    while let Some(item) = reader.next().unwrap() {
        match item {
            Item::Record(record) => {
                assert_eq!((record.offset.0, Said::of(&record)), (next, Said::at(next)));
                next += 1;
            }
            Item::Gap(gap) => {
                assert!(next > 20, "the segment that was mapped survives its removal");
                assert_eq!((gap.from.0, gap.reason), (next, GapReason::Trimmed));
                next = gap.to.0;
                gaps += 1;
            }
        }
    }
    assert_eq!((next, gaps), (2000, 1));
}

#[test]
fn at_the_byte_limit_appending_waits_for_the_laggard() {
    let two = Two::new();
    let limited = keeping(|retention| {
        retention.bytes_max = Some(4 * SEGMENT_BYTES);
        retention.when_full = WhenFull::Wait;
    });
    let mut writer = Writer::open(&two.publisher, &limited).unwrap();
    let cursor = two.claim();
    cursor.store(Position::at(Offset(5)));
    let full = |writer: &mut Writer| {
        for _ in 0..2000 {
            match append(writer) {
                Ok(_) => {}
                Err(Error::Full { reason, .. }) => {
                    assert!(reason.contains("laggard of subscriber"), "{reason}");
                    return writer.next_offset().0;
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("it did not wait for the laggard");
    };
    let end = full(&mut writer);
    assert_eq!(full(&mut writer), end, "no offset is used up by a refusal");
    assert!(bytes_on_disk(&two.publisher).unwrap() <= 4 * SEGMENT_BYTES);
    assert_eq!(read_records(&two.publisher, Start::Offset(Offset(5))).len() as u64, end - 5);

    cursor.store(Position::at(Offset(end)));
    assert_eq!(append(&mut writer).unwrap().0, end);
    assert!(full(&mut writer) > end + 20);
    check_kept(&two.publisher, writer.next_offset().0);
}

/// A journal that is at its byte limit because of a laggard, whose writer is gone: its options, the laggard, and its end.
fn at_the_limit(two: &Two) -> (Options, Cursor, Offset) {
    let limited = keeping(|retention| {
        retention.bytes_max = Some(4 * SEGMENT_BYTES);
        retention.when_full = WhenFull::Wait;
    });
    let mut writer = Writer::open(&two.publisher, &limited).unwrap();
    let cursor = two.claim();
    cursor.store(Position::at(Offset(5)));
    while append(&mut writer).is_ok() {}
    (limited, cursor, writer.next_offset())
}

#[test]
fn at_the_byte_limit_a_journal_can_be_taken_over_any_number_of_times() {
    let two = Two::new();
    let (limited, cursor, end) = at_the_limit(&two);
    // Each takes room in the last segment, until there is none.
    for _ in 0..SEGMENT_BYTES / 48 {
        let mut writer = Writer::open(&two.publisher, &limited).unwrap();
        let refused = append(&mut writer);
        assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
    }
    let mut writer = Writer::open(&two.publisher, &limited).unwrap();
    cursor.store(Position::at(end));
    assert_eq!(append(&mut writer).unwrap(), end);
    check_kept(&two.publisher, end.0 + 1);
}

#[test]
fn at_the_byte_limit_a_journal_whose_newest_segment_is_damaged_can_be_taken_over() {
    let two = Two::new();
    // The laggard may be this process itself, which catches up once it has started.
    let (limited, cursor, end) = at_the_limit(&two);
    let newest = segments(&two.publisher).pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let count = segments(&two.publisher).len();
    for _ in 0..3 {
        let writer = Writer::open(&two.publisher, &limited).unwrap();
        assert_eq!(writer.next_offset(), end);
        assert_eq!(segments(&two.publisher).len(), count + 1, "each start takes more");
    }
    let mut writer = Writer::open(&two.publisher, &limited).unwrap();
    while append(&mut writer).is_ok() {}
    assert!(matches!(append(&mut writer), Err(Error::Full { .. })));
    assert_eq!(
        segments(&two.publisher)[0].file_name().unwrap(),
        "00000000000000000000.seg",
        "nothing is lost"
    );
    let next = writer.next_offset();
    cursor.store(Position::at(next));
    assert_eq!(append(&mut writer).unwrap(), next);
}

#[test]
fn segments_of_an_age_go_when_they_are_passed() {
    let two = Two::new();
    let aged = keeping(|retention| {
        retention.bytes_kept = 1 << 30;
        retention.age_kept = Some(Duration::from_secs(3600));
    });
    let mut writer = Writer::open(&two.publisher, &aged).unwrap();
    append_until(&mut writer, 500);
    assert_eq!(bases(&two.publisher)[0], 0, "an hour has not passed");
    let past = SystemTime::now() - Duration::from_secs(7200);
    for path in &segments(&two.publisher)[..3] {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(past).unwrap();
    }
    let left = segments(&two.publisher)[3].clone();
    append_till(&mut writer, "they are gone", || segments(&two.publisher)[0] == left);
    append_until(&mut writer, 800);
    assert_eq!(segments(&two.publisher)[0], left);
    check_kept(&two.publisher, writer.next_offset().0);
}

#[test]
fn a_segment_stays_for_its_last_record_and_goes_after_it() {
    let two = Two::new();
    let mut writer = Writer::open(&two.publisher, &keeping(|_| {})).unwrap();
    let cursor = two.claim();
    cursor.store(Position::at(Offset(0)));
    append_until(&mut writer, 500);
    for _ in 1..4 {
        let [first, end, ..] = bases(&two.publisher)[..] else { panic!("two segments at least") };
        cursor.store(Position::at(Offset(end - 1)));
        let said = writer.next_offset().0;
        append_until(&mut writer, said + 200);
        assert_eq!(bases(&two.publisher)[0], first, "{} was not read yet", end - 1);
        cursor.store(Position::at(Offset(end)));
        append_till(&mut writer, "it is gone", || bases(&two.publisher)[0] > first);
        assert_eq!(bases(&two.publisher)[0], end);
    }
}

/// A lease that others have written an end to: by the name of a subscription, and by that of a folder.
#[test]
fn nobody_ends_the_lease_of_another_by_a_name_with_a_line_end() {
    let two = Two::new();
    two.claim().store(Position::at(Offset(30)));
    let seen = journal::read_cursors(&two.cursors_of).unwrap()[0].seen_ns;
    let line = |number: usize| format!("{number}\n{seen} {} laggard\tsubscriber\nx", u64::MAX);
    let hostile = two.publisher.with_file_name("hostile");
    let writer = Writer::open(&hostile, &small(8)).unwrap();
    let cursors = Cursors::open(&hostile, &writer).unwrap();
    for number in 0..30 {
        cursors.claim(&format!("{number}"), "publisher").unwrap().store(Position::at(Offset(1 << 40)));
    }
    drop((cursors, writer));
    let table = std::fs::File::options().write(true).open(cursors_path(&hostile)).unwrap();
    for number in 0..30 {
        let name = line(number);
        let name = [&[u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
        table.write_all_at(&name, 64 + 384 * number as u64 + 8).unwrap();
        let folder = two.publisher.with_file_name(line(100 + number));
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(cursors_path(&two.cursors_of), cursors_path(&folder)).unwrap();
    }
    for end in [400, 800] {
        append_until(&mut Writer::open(&two.publisher, &keeping(|_| {})).unwrap(), end);
        assert!(bases(&two.publisher)[0] <= 30, "its lease has not run out");
    }
    let leases = std::fs::read_to_string(two.publisher.join("leases")).unwrap();
    assert_eq!(leases.lines().filter(|line| line.ends_with("laggard\tsubscriber")).count(), 1, "{leases}");
}

#[test]
fn a_table_that_cannot_be_read_holds_everything_back_for_a_lease_once_its_owner_is_gone() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let (publisher, other) = (home.path().join("publisher"), home.path().join("other"));
    let lease = Duration::from_millis(1500);
    let mut writer = Writer::open(&publisher, &keeping(|retention| retention.lease = lease)).unwrap();
    let owner = Writer::open(&other, &small(8)).unwrap();
    std::fs::create_dir(cursors_path(&other)).unwrap();
    append_until(&mut writer, 500);
    let begun = Instant::now();
    wait_until("a lease has passed", || begun.elapsed() > 2 * lease);
    append_until(&mut writer, 800);
    assert_eq!(bases(&publisher)[0], 0, "its owner lives");
    drop(owner);
    append_until(&mut writer, 1000);
    assert_eq!(bases(&publisher)[0], 0, "it was there just now");
    let seen = Instant::now();
    wait_until("its lease has run out", || seen.elapsed() > lease);
    append_till(&mut writer, "it holds nothing back", || bases(&publisher)[0] > 500);
}

#[test]
fn a_place_whose_names_are_damaged_holds_back_what_it_has_not_read_for_its_lease() {
    let two = Two::new();
    let lease = Duration::from_millis(2000);
    let mut writer = Writer::open(&two.publisher, &keeping(|retention| retention.lease = lease)).unwrap();
    two.claim().store(Position::at(Offset(700)));
    // And one in another journal, which is nothing to this one.
    let elsewhere = two.cursors.claim("reads", "elsewhere").unwrap();
    elsewhere.store(Position { journal: 4711, ..Position::at(Offset(1)) });
    drop(elsewhere);
    let table = std::fs::File::options().write(true).open(cursors_path(&two.cursors_of)).unwrap();
    for slot in 0..2 {
        table.write_all_at(&[0xff], 64 + 384 * slot + 8 + 1).unwrap();
    }
    append_until(&mut writer, 1200);
    append_till(&mut writer, "what it has passed is gone", || bases(&two.publisher)[0] > 400);
    let first = bases(&two.publisher)[0];
    assert!(first <= 700, "kept from {first}");
    let end = writer.next_offset().0;
    let seen = Instant::now();
    wait_until("its lease has run out", || seen.elapsed() > lease);
    append_till(&mut writer, "it holds nothing back", || bases(&two.publisher)[0] > end);
}
