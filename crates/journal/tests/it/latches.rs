//! Reading while the writer goes on, over many tiny segments: every record once and in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use journal::{Batch, Entry, Item, Level, Offset, Reader, Start, Writer};

use crate::support::{Process, Said, as_child, fast_folder, small, wait_until};

const RECORDS: u64 = 6000;

/// Follows a journal to `end`, checking each record.
fn follow(instance: &std::path::Path, end: u64) {
    let mut reader = Reader::open(instance, Start::Beginning, Level::Committed).unwrap().unwrap();
    let deadline = Instant::now() + Duration::from_secs(40);
    let mut next = 0;
    while next < end {
        match reader.next().unwrap() {
            Some(Item::Record(record)) => {
                assert_eq!((record.offset.0, Said::of(&record)), (next, Said::at(next)));
                next += 1;
            }
            Some(Item::Gap(gap)) => panic!("{gap:?} at {next}"),
            None => {
                assert!(Instant::now() < deadline, "nothing after {next}");
                std::thread::yield_now();
            }
        }
    }
    assert!(reader.next().unwrap().is_none());
}

/// Speaks up to `end`, in single records and batches.
fn speak(writer: &mut Writer, end: u64) {
    while writer.next_offset().0 < end {
        let next = writer.next_offset().0;
        let says: Vec<Said> = (next..end.min(next + 1 + next % 3)).map(Said::at).collect();
        let entries: Vec<Entry<'_>> = says.iter().map(Said::entry).collect();
        writer.commit(&Batch { entries: &entries, ..Batch::default() }).unwrap();
    }
}

#[test]
fn readers_in_threads_see_every_record_once_and_in_order() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("followed");
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| follow(&instance, RECORDS));
        }
        speak(&mut writer, RECORDS);
    });
    assert!(crate::support::segments(&instance).len() > 50, "the journal should have rolled often");
}

/// Not a test by itself: follows a journal to its end, and says so by ending well.
#[test]
fn follower() {
    if let Some(instance) = as_child() {
        follow(&instance, RECORDS);
    }
}

#[test]
fn readers_in_processes_see_every_record_once_and_in_order() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("followed");
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    let mut followers = [(); 2].map(|()| Process::child("latches::follower", &instance));
    // Reopened in between: a reader does not notice.
    for end in 1..=4 {
        speak(&mut writer, RECORDS * end / 4);
        drop(writer);
        writer = Writer::open(&instance, &small(8)).unwrap();
    }
    for follower in &mut followers {
        assert!(follower.0.wait().unwrap().success());
    }
}

#[test]
fn a_waiter_misses_no_record() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let mut writer = Writer::open(&home.path().join("awaited"), &small(64)).unwrap();
    let watch = writer.watch();
    let start = Arc::new(Barrier::new(2));
    let waiting = std::thread::spawn({
        let start = Arc::clone(&start);
        move || {
            start.wait();
            let mut seen = 0;
            while seen < 2000 {
                let (wake, woken) = mpsc::channel();
                watch.when_committed(Offset(seen), move |end| wake.send(end.0).unwrap());
                let end = woken.recv_timeout(Duration::from_secs(20)).expect("a wake-up was missed");
                assert!(end > seen);
                seen = end;
            }
        }
    });
    start.wait();
    for offset in 0..2000 {
        writer.append(&Said::at(offset).entry()).unwrap();
    }
    waiting.join().unwrap();
}

#[test]
fn a_waiter_that_was_taken_back_is_not_woken() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let mut writer = Writer::open(&home.path().join("cancelled"), &small(64)).unwrap();
    let watch = writer.watch();
    let [cancelled, kept] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let note = |flag: &Arc<AtomicBool>| {
        let flag = Arc::clone(flag);
        move |_| flag.store(true, Ordering::SeqCst)
    };
    let ticket = watch.when_committed(Offset(0), note(&cancelled));
    watch.when_committed(Offset(0), note(&kept));
    watch.cancel(ticket);
    writer.append(&Said::at(0).entry()).unwrap();
    assert!(kept.load(Ordering::SeqCst) && !cancelled.load(Ordering::SeqCst));
}

#[test]
fn one_who_waits_for_durability_is_told_after_the_sync() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("durable");
    let mut writer = Writer::open(&instance, &small(64)).unwrap();
    writer.append(&Said::at(0).entry()).unwrap();
    let watch = writer.watch();
    let mut reader = Reader::open(&instance, Start::Beginning, Level::Durable).unwrap().unwrap();
    assert!(reader.next().unwrap().is_none(), "not durable yet");
    let done = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&done);
    watch.when_durable(Offset(1), move || flag.store(true, Ordering::SeqCst));
    wait_until("the record is durable", || done.load(Ordering::SeqCst));
    watch.check().unwrap();
    assert_eq!(watch.marks().durable, Offset(1));
    assert!(matches!(reader.next().unwrap(), Some(Item::Record(record)) if record.offset == Offset(0)));
}

#[test]
fn before_the_first_record_everything_is_durable() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let writer = Writer::open(&home.path().join("silent"), &small(8)).unwrap();
    let (woken, durable) = mpsc::channel();
    writer.watch().when_durable(Offset(0), move || woken.send(()).unwrap());
    durable.recv_timeout(Duration::from_secs(10)).expect("nothing is to be waited for");
}
