//! Every order in which two threads' accesses to shared memory can take effect, as far as the memory model allows.
//!
//! What runs here is the code that writers and readers run, over a model of mapped memory that knows which bytes may
//! be read when. `just loom` runs it; each test fails if an ordering that it is about is weakened.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::thread;

use crate::commit::{Commit, look};
use crate::latch::{Dirty, Latch};
use crate::marks::{self, Marks};
use crate::memory::{Readable, Word, Words, Writable};
use crate::notes;
use crate::record::{Head, Kind, Place};
use crate::slot;
use crate::sync::AtomicU64;
use crate::types::{Codec, Epoch, JournalId, Offset, Position, Time};
use crate::walk::Step;

impl Word for AtomicU64 {
    fn load(&self, ordering: Ordering) -> u64 {
        self.load(ordering)
    }

    fn store(&self, value: u64, ordering: Ordering) {
        self.store(value, ordering);
    }
}

/// A mapped file. Words that several threads may access at any time are atomic; all other bytes are watched: loom
/// fails if one is read while it may still be written.
#[derive(Clone)]
struct Memory(Rc<Model>);

struct Model {
    atomics: Vec<(usize, AtomicU64)>,
    watched: Vec<UnsafeCell<()>>,
    bytes: RefCell<Vec<u8>>,
}

impl Memory {
    /// Of so many bytes, with atomic words at `atomics`.
    fn new(bytes: usize, atomics: &[usize]) -> Self {
        Self(Rc::new(Model {
            atomics: atomics.iter().map(|at| (*at, AtomicU64::default())).collect(),
            watched: (0..bytes / 8).map(|_| UnsafeCell::new(())).collect(),
            bytes: RefCell::new(vec![0; bytes]),
        }))
    }

    fn watched(&self, from: usize, to: usize) -> &[UnsafeCell<()>] {
        &self.0.watched[from / 8..to.div_ceil(8)]
    }
}

impl Words for Memory {
    type Word = AtomicU64;

    fn word(&self, at: usize) -> &AtomicU64 {
        let found = self.0.atomics.iter().find(|(known, _)| *known == at);
        &found.expect("an atomic word of the model").1
    }
}

impl Writable for Memory {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        for cell in self.watched(at, at + bytes.len()) {
            cell.with_mut(|_| ());
        }
        self.0.bytes.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl Readable for Memory {
    /// A copy, which is never freed: the model has a few hundred bytes.
    fn get(&self, range: std::ops::Range<usize>) -> Option<&[u8]> {
        let bytes = self.0.bytes.borrow().get(range.clone())?.to_vec();
        for cell in self.watched(range.start, range.end) {
            cell.with(|_| ());
        }
        Some(bytes.leak())
    }
}

/// Tries every order with at most so many switches between threads at places where none was needed.
fn check(switches: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(model);
}

/// Bytes of a record with a payload of eight.
const STRIDE: usize = 56;
const RECORDS: [usize; 4] = [0, STRIDE, 2 * STRIDE, 3 * STRIDE];

fn segment() -> Memory {
    Memory::new(4 * STRIDE, &RECORDS)
}

fn head(kind: Kind, offset: u64, more: bool) -> Head {
    Head {
        offset: Offset(offset),
        time: Time(1),
        epoch: Epoch(1),
        kind,
        topic: 1,
        cause_journal: 0,
        cause_offset: Offset::ZERO,
        codec: Codec::Raw,
        more,
    }
}

fn write(memory: &mut Memory, commit: &mut Commit, kind: Kind, at: usize, more: bool) {
    let offset = (at / STRIDE) as u64;
    let place = Place { seed: 1, at };
    commit.write(memory, place, &head(kind, offset, more), None, &offset.to_le_bytes());
}

/// The offset of the whole record at `at`, if it is visible.
fn see(memory: &Memory, at: usize) -> Option<(Kind, u64)> {
    match look(memory, 4 * STRIDE, Place { seed: 1, at }) {
        Step::Record(decoded) => {
            assert_eq!(decoded.payload, decoded.head.offset.0.to_le_bytes());
            Some((decoded.head.kind, decoded.head.offset.0))
        }
        Step::Empty => None,
        Step::Bad(reason) => panic!("at {at}: {reason}"),
    }
}

#[test]
fn a_batch_is_visible_whole_or_not_at_all() {
    check(3, || {
        let memory = segment();
        let mut writer = memory.clone();
        let writing = thread::spawn(move || {
            let mut commit = Commit::default();
            write(&mut writer, &mut commit, Kind::Topic, RECORDS[0], true);
            write(&mut writer, &mut commit, Kind::Event, RECORDS[1], true);
            write(&mut writer, &mut commit, Kind::Event, RECORDS[2], false);
            commit.publish(&writer);
        });
        if see(&memory, RECORDS[0]).is_some() {
            assert!(see(&memory, RECORDS[1]).is_some() && see(&memory, RECORDS[2]).is_some());
        }
        writing.join().unwrap();
        assert!(RECORDS[..3].iter().all(|at| see(&memory, *at).is_some()));
    });
}

/// Otherwise a reader would report a gap where there is none.
#[test]
fn what_the_committed_mark_says_is_there() {
    check(3, || {
        let (memory, marks) = (segment(), Memory::new(0, &[COMMITTED]));
        let (mut writer, writers_marks) = (memory.clone(), marks.clone());
        marks::set_committed(&marks, Offset::ZERO);
        let writing = thread::spawn(move || {
            for at in &RECORDS[..2] {
                let mut commit = Commit::default();
                write(&mut writer, &mut commit, Kind::Event, *at, false);
                commit.publish(&writer);
                marks::set_committed(&writers_marks, Offset((*at / STRIDE) as u64 + 1));
            }
        });
        let committed = marks::committed(&marks).expect("it was stored");
        for at in RECORDS.iter().take(usize::try_from(committed.0).unwrap()) {
            assert!(see(&memory, *at).is_some(), "committed, and not there");
        }
        writing.join().unwrap();
    });
}

#[test]
fn whoever_meets_the_seal_finds_the_next_segment() {
    check(3, || {
        let (sealed, next) = (segment(), segment());
        let folder = Rc::new(AtomicU64::default());
        let (mut writer, mut writers_next, writers_folder) = (sealed.clone(), next.clone(), folder.clone());
        let writing = thread::spawn(move || {
            let mut commit = Commit::default();
            write(&mut writers_next, &mut commit, Kind::EpochBegun, RECORDS[0], false);
            commit.publish(&writers_next);
            // The rename.
            writers_folder.store(1, Ordering::Relaxed);
            let mut commit = Commit::default();
            write(&mut writer, &mut commit, Kind::Sealed, RECORDS[0], false);
            commit.publish(&writer);
        });
        if see(&sealed, RECORDS[0]).is_some() {
            assert_eq!(folder.load(Ordering::Relaxed), 1, "sealed before the next one had its name");
            assert!(see(&next, RECORDS[0]).is_some(), "it begins with nothing");
        }
        writing.join().unwrap();
    });
}

/// Where the committed mark lies in the file.
const COMMITTED: usize = 1024;

#[test]
fn no_wake_is_lost() {
    check(3, || {
        let (marks, latch) = (Memory::new(0, &[COMMITTED]), Rc::new(Latch::default()));
        let (movers_marks, movers_latch) = (marks.clone(), Rc::clone(&latch));
        let moving = thread::spawn(move || {
            marks::set_committed(&movers_marks, Offset(1));
            movers_latch.moved(Offset(1));
        });
        let woken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let wake = std::sync::Arc::clone(&woken);
        latch.when_past(
            Offset::ZERO,
            || marks::own_committed(&marks),
            Box::new(move |_| wake.store(true, Ordering::Relaxed)),
        );
        moving.join().unwrap();
        assert!(woken.load(Ordering::Relaxed), "the mark has moved, and nobody woke the waiter");
    });
}

#[test]
fn a_waiter_that_leaves_takes_no_other_one_along() {
    check(2, || {
        let (marks, latch) = (Memory::new(0, &[COMMITTED]), Rc::new(Latch::default()));
        let (movers_marks, movers_latch) = (marks.clone(), Rc::clone(&latch));
        let leavers_latch = Rc::clone(&latch);
        let leaving = thread::spawn(move || {
            let ticket = leavers_latch.when_past(Offset(7), || Offset::ZERO, Box::new(|_| ()));
            leavers_latch.cancel(ticket);
        });
        let moving = thread::spawn(move || {
            marks::set_committed(&movers_marks, Offset(1));
            movers_latch.moved(Offset(1));
        });
        let woken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let wake = std::sync::Arc::clone(&woken);
        latch.when_past(
            Offset::ZERO,
            || marks::own_committed(&marks),
            Box::new(move |_| wake.store(true, Ordering::Relaxed)),
        );
        moving.join().unwrap();
        leaving.join().unwrap();
        assert!(woken.load(Ordering::Relaxed));
    });
}

#[test]
fn what_is_committed_is_synced_or_known_to_be_dirty() {
    check(3, || {
        let (marks, dirty) = (Memory::new(0, &[COMMITTED]), Rc::new(Dirty::default()));
        marks::set_committed(&marks, Offset(1));
        dirty.note();
        let (writers_marks, writers_dirty) = (marks.clone(), Rc::clone(&dirty));
        let writing = thread::spawn(move || {
            marks::set_committed(&writers_marks, Offset(2));
            writers_dirty.note()
        });
        dirty.clear();
        let synced = marks::own_committed(&marks);
        let asked = writing.join().unwrap();
        assert!(synced == Offset(2) || asked, "nobody will sync the last record");
    });
}

/// After a reboot the new owner lowers the committed mark to what was durable; a reader that takes the mark of the
/// boot before for one of this boot would report records missing that were never there.
#[test]
fn marks_of_an_earlier_boot_are_never_trusted() {
    const MARKS: [usize; 11] = [0, 8, 16, 24, 32, 40, 48, 64, 1024, 2048, 3072];
    let marks = |epoch, committed| Marks {
        journal: JournalId(1),
        epoch: Epoch(epoch),
        pid: 1,
        committed: Offset(committed),
        durable: Offset(5),
        trimmed: Offset(0),
        same_boot: epoch == 1,
    };
    check(2, move || {
        let memory = Memory::new(0, &MARKS);
        marks::begin(&memory, &marks(1, 9), 77);
        let writers = memory.clone();
        let writing = thread::spawn(move || {
            marks::begin(&writers, &marks(2, 6), 88);
            marks::show(&writers, 88);
            marks::set_committed(&writers, Offset(7));
            marks::set_durable(&writers, Offset(7));
        });
        if let Some(seen) = marks::read(&memory, 88, Path::new("marks")).unwrap() {
            let (trusted, was) = (seen.trusted(), if seen.same_boot { "this" } else { "the last" });
            assert!(
                trusted <= Offset(if seen.same_boot { 7 } else { 6 }),
                "{trusted} is trusted, of {was} boot"
            );
        }
        writing.join().unwrap();
    });
}

/// The words of a slot: the selector and two copies.
const SLOT: [usize; 9] = [272, 280, 288, 296, 304, 312, 320, 328, 336];

fn position(next: u64) -> Position {
    let small = u32::try_from(next).unwrap();
    Position { next: Offset(next), epoch: Epoch(small), checksum: small * 3, journal: next * 5 }
}

/// One thread moves a cursor from 1 to `last`, while another reads it.
fn move_and_read(switches: usize, last: u64) {
    check(switches, move || {
        let memory = Memory::new(0, &SLOT);
        slot::store(|at| memory.word(at), &position(1));
        let (owner, other) = (memory.clone(), memory.clone());
        let reading = thread::spawn(move || {
            let selector = other.word(SLOT[0]).load(Ordering::Acquire);
            if let Some(read) = slot::read_position(|at| other.word(at)) {
                assert_eq!(read, position(read.next.0), "a mixture of two positions");
                assert!(read.next.0 >= selector, "{} though the selector said {selector}", read.next.0);
            }
        });
        for next in 2..=last {
            slot::store(|at| owner.word(at), &position(next));
        }
        reading.join().unwrap();
        assert_eq!(slot::read_position(|at| memory.word(at)), Some(position(last)));
    });
}

#[test]
fn a_cursor_is_read_no_older_than_its_selector() {
    move_and_read(3, 2);
}

/// The copy that is read is overwritten meanwhile.
#[test]
fn a_cursor_is_read_whole() {
    move_and_read(1, 3);
}

/// The words of a slot's notes.
const NOTES: [usize; 5] = [344, 352, 360, 368, 376];

fn noted(next: u64) -> Position {
    Position { journal: 7, ..position(next) }
}

/// One thread notes positions from 2 to `last`, while another reads the note.
fn note_and_read(switches: usize, last: u64) {
    check(switches, move || {
        let memory = Memory::new(0, &NOTES);
        notes::note(|at| memory.word(at), &noted(1));
        let (owner, other) = (memory.clone(), memory.clone());
        let reading = thread::spawn(move || {
            let selector = other.word(NOTES[4]).load(Ordering::Acquire);
            let read = notes::read_note(|at| other.word(at), 7).expect("it was noted before");
            assert_eq!(read, noted(read.next.0), "a mixture of two notes");
            assert!(read.next.0 >= selector, "{} though the selector said {selector}", read.next.0);
        });
        for next in 2..=last {
            notes::note(|at| owner.word(at), &noted(next));
        }
        reading.join().unwrap();
        assert_eq!(notes::read_note(|at| memory.word(at), 7), Some(noted(last)));
    });
}

#[test]
fn a_note_is_read_no_older_than_its_selector() {
    note_and_read(3, 2);
}

/// The note that is read is overwritten meanwhile.
#[test]
fn a_note_is_read_whole() {
    note_and_read(1, 3);
}

/// Otherwise an input would be acknowledged after power loss, and what was said because of it would be gone.
#[test]
fn what_is_noted_was_said_before() {
    check(3, || {
        let (memory, slot) = (segment(), Memory::new(0, &[&SLOT[..], &NOTES].concat()));
        let (mut writer, owner) = (memory.clone(), slot.clone());
        let writing = thread::spawn(move || {
            let mut commit = Commit::default();
            write(&mut writer, &mut commit, Kind::Event, RECORDS[0], false);
            commit.publish(&writer);
            slot::store(|at| owner.word(at), &noted(1));
        });
        // A sync: it takes positions down, syncs what has been said by then, and notes the positions.
        let taken = slot::read_position(|at| slot.word(at));
        let durable = see(&memory, RECORDS[0]);
        if let Some(position) = taken {
            notes::note(|at| slot.word(at), &position);
        }
        writing.join().unwrap();
        assert!(
            durable.is_some() || notes::read_note(|at| slot.word(at), 7).is_none(),
            "noted, and what was said because of it is not durable"
        );
    });
}
