//! Files that are taken away from a living writer: it stops, and says why, and nobody else's files come to harm.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use journal::{Cursors, Error, Offset, Options, Position, Start, SyncPolicy, Writer, verify};

use crate::support::{
    Process, Said, append_until, as_child, copy_instance, fast_folder, read_records, small, wait_until,
};

/// Waits until the writer, which has nothing to do, has noticed.
fn wait_for_the_end_of(writer: &Writer) -> Error {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Err(error) = writer.watch().check() {
            return error;
        }
        assert!(Instant::now() < deadline, "it goes on");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn impatient() -> Options {
    Options { lock_patience: Duration::ZERO, ..small(8) }
}

#[test]
fn a_writer_whose_files_are_taken_away_ends() {
    // Each notices within about a second: all at once.
    std::thread::scope(|scope| {
        for name in ["", "lock", "alive", "cursors", "journal", "journal/marks"] {
            for another in [false, true] {
                scope.spawn(move || take_away(name, another));
            }
        }
    });
}

fn take_away(name: &str, another: bool) {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("displaced");
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    let cursors = Cursors::open(&instance, &writer).unwrap();
    writer.append(&Said::at(0).entry()).unwrap();
    let path = instance.join(name);
    if path.is_dir() {
        fs::remove_dir_all(&path).unwrap()
    } else {
        fs::remove_file(&path).unwrap()
    }
    if another {
        let other = home.path().join("other");
        let writer = Writer::open(&other, &small(8)).unwrap();
        drop(Cursors::open(&other, &writer).unwrap());
        drop(writer);
        fs::rename(other.join(name), &path).unwrap();
    }
    let error = wait_for_the_end_of(&writer).to_string();
    let what = if another { "replaced" } else { "removed" };
    assert!(error.contains(what) && error.contains("displaced"), "{name:?}: {error}");
    assert!(matches!(writer.append(&Said::at(1).entry()), Err(Error::Poisoned { .. })), "{name:?}");
    drop(cursors);
}

#[test]
fn a_writer_without_its_folder_writes_nothing_into_the_one_that_is_there() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let (instance, copy) = (home.path().join("displaced"), home.path().join("copy"));
    let subscriber = home.path().join("subscriber");
    let subscribing = Writer::open(&subscriber, &small(8)).unwrap();
    let cursors = Cursors::open(&subscriber, &subscribing).unwrap();
    cursors.claim("laggard", "displaced").unwrap().store(Position::at(Offset(1)));
    let mut options = small(8);
    // It looks every second who is there, and writes that down.
    options.retention.lease = Duration::from_secs(60);
    let mut writer = Writer::open(&instance, &options).unwrap();
    append_until(&mut writer, 300);
    wait_until("it writes leases", || instance.join("leases").exists());
    copy_instance(&instance, &copy);
    fs::rename(&instance, home.path().join("away")).unwrap();
    fs::rename(&copy, &instance).unwrap();
    wait_for_the_end_of(&writer);
    let ended = Instant::now();
    wait_until("it would have looked again", || ended.elapsed() > Duration::from_secs(2));
    assert!(!instance.join("leases").exists(), "they are somebody else's");
}

#[test]
fn the_writer_of_a_folder_begun_anew_is_not_harmed_by_the_one_before() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("anew");
    let options = Options { segment_bytes: 8 << 10, ..small(8) };
    let mut before = Writer::open(&instance, &options).unwrap();
    before.append(&Said::at(0).entry()).unwrap();
    fs::remove_dir_all(&instance).unwrap();
    let mut anew = Writer::open(&instance, &options).unwrap();
    // As much as makes it go to the next segment at once.
    let stopped = (0..1_000).find_map(|offset| before.append(&Said::at(offset).entry()).err());
    assert!(matches!(stopped, Some(Error::Poisoned { .. })), "{stopped:?}");
    for offset in 0..100 {
        anew.append(&Said::at(offset).entry()).unwrap();
    }
    drop(before);
    for offset in 100..200 {
        anew.append(&Said::at(offset).entry()).unwrap();
    }
    check(&instance, 200);
}

#[test]
fn a_second_writer_does_not_begin_before_one_that_has_lost_its_lock_has_ended() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("unlocked");
    let mut first = Writer::open(&instance, &small(8)).unwrap();
    first.append(&Said::at(0).entry()).unwrap();
    fs::remove_file(instance.join("lock")).unwrap();
    for _ in 0..2 {
        let second = Writer::open(&instance, &impatient());
        assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
    }
    wait_for_the_end_of(&first);
    drop(first);
    let mut second = Writer::open(&instance, &impatient()).unwrap();
    second.append(&Said::at(1).entry()).unwrap();
    check(&instance, 2);
}

#[test]
fn nor_does_it_if_the_sign_of_life_is_gone_too_and_the_first_has_long_not_to_sync() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("lifeless");
    let lazy = Options { sync: SyncPolicy::Every(Duration::from_secs(3600)), ..small(8) };
    let mut first = Writer::open(&instance, &lazy).unwrap();
    first.append(&Said::at(0).entry()).unwrap();
    for name in ["lock", "alive"] {
        fs::remove_file(instance.join(name)).unwrap();
    }
    let second = Writer::open(&instance, &impatient());
    assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
    wait_for_the_end_of(&first);
    drop(first);
    let mut second = Writer::open(&instance, &impatient()).unwrap();
    second.append(&Said::at(1).entry()).unwrap();
    check(&instance, 2);
}

/// Not a test by itself: waits for a journal.
#[test]
fn waiting() {
    let Some(instance) = as_child() else { return };
    drop(Writer::open(&instance, &small(8)));
}

/// What becomes of an instance whose lock was removed.
fn spoil(instance: &Path, case: &str) {
    let marks = instance.join("journal/marks");
    match case {
        "no marks" => fs::remove_file(marks).unwrap(),
        "damaged marks" => {
            File::options().write(true).open(marks).unwrap().write_all_at(&[7; 4096], 0).unwrap();
        }
        "one who waited was killed" => {
            let mut waiting = Process::child("displaced::waiting", instance);
            wait_until("it waits", || instance.join("lock").exists());
            waiting.kill();
        }
        "a lock from elsewhere" => {
            let other = instance.with_file_name("other");
            drop(Writer::open(&other, &small(8)).unwrap());
            fs::rename(other.join("lock"), instance.join("lock")).unwrap();
        }
        _ => unreachable!("{case}"),
    }
}

#[test]
fn the_holder_of_a_lock_that_was_removed_is_waited_for_by_everybody() {
    for case in ["no marks", "damaged marks", "one who waited was killed", "a lock from elsewhere"] {
        let home = tempfile::tempdir_in(fast_folder()).unwrap();
        let instance = home.path().join("unlocked");
        let mut first = Writer::open(&instance, &small(8)).unwrap();
        first.append(&Said::at(0).entry()).unwrap();
        fs::remove_file(instance.join("lock")).unwrap();
        spoil(&instance, case);
        let second = Writer::open(&instance, &impatient()).map(|writer| writer.epoch());
        assert!(matches!(second, Err(Error::Locked { .. })), "{case}: {second:?}");
        drop(first);
        let mut second = Writer::open(&instance, &small(8)).unwrap();
        second.append(&Said::at(1).entry()).unwrap();
        check(&instance, 2);
    }
}

fn check(instance: &Path, count: u64) {
    let wanted: Vec<_> = (0..count).map(Said::at).collect();
    let read: Vec<_> = read_records(instance, Start::Beginning).into_iter().map(|(_, said)| said).collect();
    assert!(read == wanted, "{} records", read.len());
    assert_eq!(verify(instance).unwrap().damage, []);
}
