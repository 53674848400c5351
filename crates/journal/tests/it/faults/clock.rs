//! A wall clock that steps by hours, and peers whose clocks are wrong.

use std::path::Path;
use std::time::Duration;

use journal::fault::set_clock_error_ns;
use journal::{Codec, Cursors, Entry, Item, Level, Offset, Position, Reader, Start, Time, Writer};

use crate::support::{Process, as_child, bases, fast_folder, keeps, small};

const HOUR: i64 = 3600 * 1_000_000_000;

/// Runs a test of this module in a process of its own, whose clock it may set.
fn run(test: &str, environment: &[(&str, &str)]) {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("timed");
    let mut child = Process::child_with(&format!("faults::clock::{test}"), &instance, environment);
    assert!(child.0.wait().unwrap().success(), "{test}");
}

fn append(writer: &mut Writer) -> Offset {
    let entry = Entry { topic: "ticks", key: None, cause: None, codec: Codec::Raw, payload: b"tick" };
    writer.append(&entry).unwrap()
}

fn times(instance: &Path) -> Vec<Time> {
    let mut reader = Reader::open(instance, Start::Beginning, Level::Committed).unwrap().unwrap();
    let mut times = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        let Item::Record(record) = item else { panic!("{item:?}") };
        times.push(record.time);
    }
    times
}

fn last_time(instance: &Path) -> Time {
    *times(instance).last().unwrap()
}

fn wall_ns() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_nanos()).unwrap()
}

#[test]
fn child_with_a_clock_that_steps() {
    let Some(instance) = as_child() else { return };
    let mut said = 0;
    // Each round is another writer, which knows the time of the records before only from them.
    for hours in [0, -2, 3, -5, 0, 100, -100] {
        set_clock_error_ns(hours * HOUR);
        let mut writer = Writer::open(&instance, &small(8)).unwrap();
        for step in [0, 1, -7, 2] {
            set_clock_error_ns((hours + step) * HOUR);
            for _ in 0..30 {
                append(&mut writer);
                said += 1;
            }
        }
    }
    let times = times(&instance);
    assert_eq!(times.len(), said);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "times do not grow");
    for index in [0, 1, said / 2, said - 1] {
        let mut reader =
            Reader::open(&instance, Start::Time(times[index]), Level::Committed).unwrap().unwrap();
        let item = reader.next().unwrap();
        assert!(matches!(item, Some(Item::Record(record)) if record.offset == Offset(index as u64)));
    }
    // A clock before the epoch is one that stands still.
    set_clock_error_ns(i64::MIN);
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    append(&mut writer);
    drop(writer);
    assert!(last_time(&instance) > times[said - 1]);
}

#[test]
fn times_grow_whatever_the_clock_does() {
    run("child_with_a_clock_that_steps", &[]);
    run("child_with_a_clock_that_steps", &[("JOURNAL_FAULT_CLOCK", "-7200")]);
}

#[test]
fn a_peer_whose_clock_is_far_ahead_drags_nobody_along() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("sane");
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    append(&mut writer);
    let hour = HOUR.unsigned_abs();
    for ahead in [hour, 10 * hour, u64::MAX] {
        writer.observe(Time(wall_ns().saturating_add(ahead)));
        append(&mut writer);
        let now = wall_ns();
        assert!(last_time(&instance).0 < now + hour / 60, "dragged along by {ahead} ns");
    }
    // One that is a little ahead is followed: what is said because of it is later.
    for ahead in [0, 1_000_000_000, 30_000_000_000] {
        let heard = Time(wall_ns() + ahead);
        writer.observe(heard);
        append(&mut writer);
        assert!(last_time(&instance) > heard);
    }
    // And one that is behind changes nothing.
    writer.observe(Time(1));
    append(&mut writer);
    let times = times(&instance);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn child_with_a_lease() {
    let Some(instance) = as_child() else { return };
    let mut options = keeps(2);
    options.retention.lease = Duration::from_secs(24 * 3600);
    let subscriber = instance.with_file_name("subscriber");
    let journal = Writer::open(&subscriber, &small(8)).unwrap();
    let cursors = Cursors::open(&subscriber, &journal).unwrap();
    let cursor = cursors.claim("laggard", "timed").unwrap();
    cursor.store(Position::at(Offset(5)));
    let mut writer = Writer::open(&instance, &options).unwrap();
    let mut say = |hours: i64| {
        set_clock_error_ns(hours * HOUR);
        for _ in 0..1000 {
            append(&mut writer);
        }
        bases(&instance)[0] <= 5
    };
    // No step of the clock releases it, in either direction: its reader lives.
    for hours in [0, 5, -5, 23, -1000, 35, 1_000_000] {
        assert!(say(hours), "a step of {hours} hours released a living laggard");
    }
    // Nor does one once it is dead: a lease runs by a clock that cannot step.
    cursor.touch();
    drop((cursor, cursors, journal));
    for hours in [0, 35, -1000, 1_000_000] {
        assert!(say(hours), "a step of {hours} hours released a laggard that died just now");
    }
}

#[test]
fn no_step_of_the_clock_ends_a_lease() {
    run("child_with_a_lease", &[]);
}

#[test]
fn child_that_keeps_for_an_age() {
    let Some(instance) = as_child() else { return };
    let mut options = small(8);
    options.retention.bytes_kept = 1 << 30;
    options.retention.age_kept = Some(Duration::from_secs(30 * 24 * 3600));
    // Each is another life, and the clock stays wrong for several of them.
    for years in [0, 3, 3, 3, 0, 100] {
        set_clock_error_ns(years * 365 * 24 * HOUR);
        let mut writer = Writer::open(&instance, &options).unwrap();
        for _ in 0..300 {
            append(&mut writer);
        }
        assert_eq!(bases(&instance)[0], 0, "a clock that is {years} years ahead has made them old");
        set_clock_error_ns((years + 1) * 365 * 24 * HOUR);
        for _ in 0..300 {
            append(&mut writer);
        }
        assert_eq!(bases(&instance)[0], 0, "a leap has made them old");
        assert!(bases(&instance).len() > 2);
    }
}

#[test]
fn no_leap_of_the_clock_makes_a_segment_old() {
    run("child_that_keeps_for_an_age", &[]);
}
