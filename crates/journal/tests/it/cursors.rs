//! Cursors: a subscription's place survives its process, and never goes back behind what the journal knows.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use journal::{
    Ack, Batch, Cursors, Epoch, Error, Level, NAME_BYTES_MAX, Offset, Position, Reader, Start, Writer,
    read_cursors,
};

use crate::support::{fast_folder, small};

fn at(next: u64) -> Position {
    Position { next: Offset(next), epoch: Epoch(1), checksum: 2, journal: 3 }
}

#[test]
fn many_cursors_survive_reopening_each_with_its_own_place() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("reader");
    // More than a table has at first.
    let names: Vec<String> = (0..150).map(|number| format!("subscription{number}")).collect();
    for round in 1..=2 {
        let writer = Writer::open(&instance, &small(8)).unwrap();
        let cursors = Cursors::open(&instance, &writer).unwrap();
        for (name, number) in names.iter().zip(0..) {
            let cursor = cursors.claim(name, "source").unwrap();
            let before = (round > 1).then(|| at(number + 2));
            assert_eq!(cursor.position(), before, "{name}");
            for step in 0..=2 {
                cursor.store(at(number + step));
            }
            assert_eq!(cursor.position(), Some(at(number + 2)));
        }
    }
    let read = read_cursors(&instance).unwrap();
    assert_eq!(read.len(), names.len());
    for (found, (name, number)) in read.iter().zip(names.iter().zip(0..)) {
        assert_eq!((&found.subscription, &*found.journal, found.position), (name, "source", at(number + 2)));
        assert!(found.seen_ns > 0);
    }
}

#[test]
fn what_is_being_tried_is_seen_from_outside() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("reader");
    let writer = Writer::open(&instance, &small(8)).unwrap();
    let cursors = Cursors::open(&instance, &writer).unwrap();
    let cursor = cursors.claim("reads", "source").unwrap();
    cursor.store(at(4));
    let trying = || read_cursors(&instance).unwrap()[0].trying;
    assert_eq!(trying(), None);
    assert_eq!((cursor.attempt(Offset(4)), trying()), (1, Some(Offset(4))));
    assert_eq!((cursor.attempt(Offset(4)), trying()), (2, Some(Offset(4))));
    cursor.forgive(Offset(4));
    assert_eq!(trying(), Some(Offset(4)));
    cursor.forgive(Offset(4));
    assert_eq!(trying(), None);
}

#[test]
fn the_later_of_table_and_journal_holds() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("reader");
    for (in_table, in_journal, wanted) in [(5, 3, 5), (5, 7, 7)] {
        let mut writer = Writer::open(&instance, &small(8)).unwrap();
        let cursors = Cursors::open(&instance, &writer).unwrap();
        cursors.claim("reads", "source").unwrap().store(at(in_table));
        let acks = [Ack { subscription: "reads", journal: "source", position: at(in_journal) }];
        writer.commit(&Batch { acks: &acks, ..Batch::default() }).unwrap();
        drop((cursors, writer));
        let writer = Writer::open(&instance, &small(8)).unwrap();
        let cursors = Cursors::open(&instance, &writer).unwrap();
        assert_eq!(cursors.claim("reads", "source").unwrap().position(), Some(at(wanted)));
    }
}

#[test]
fn a_cursor_has_one_owner_and_can_be_forgotten() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("reader");
    let writer = Writer::open(&instance, &small(8)).unwrap();
    let cursors = Cursors::open(&instance, &writer).unwrap();
    let cursor = cursors.claim("reads", "source").unwrap();
    cursor.store(at(9));
    assert!(matches!(cursors.claim("reads", "source"), Err(Error::Claimed { .. })));
    assert!(matches!(cursors.forget("reads", "source"), Err(Error::Claimed { .. })));
    assert!(cursors.claim("reads", "other").unwrap().position().is_none());
    drop(cursor);
    cursors.forget("reads", "source").unwrap();
    assert_eq!(read_cursors(&instance).unwrap(), []);
    assert!(cursors.claim("reads", "source").unwrap().position().is_none());
    for name in [String::new(), "a\nb".to_owned(), "x".repeat(NAME_BYTES_MAX + 1)] {
        assert!(matches!(cursors.claim(&name, "source"), Err(Error::BadName { .. })));
    }
}

#[test]
fn deliveries_of_one_record_are_counted_across_processes() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("reader");
    for round in 0..3_u16 {
        let writer = Writer::open(&instance, &small(8)).unwrap();
        let cursors = Cursors::open(&instance, &writer).unwrap();
        let cursor = cursors.claim("reads", "source").unwrap();
        assert_eq!(cursor.attempt(Offset(7)), round + 1);
        assert_eq!(cursor.attempt(Offset(7)), round + 2);
        cursor.forgive(Offset(7));
        cursor.forgive(Offset(8));
    }
    let writer = Writer::open(&instance, &small(8)).unwrap();
    let cursor = Cursors::open(&instance, &writer).unwrap().claim("reads", "source").unwrap();
    assert_eq!(cursor.attempt(Offset(8)), 1);
}

#[test]
fn deliveries_are_counted_up_to_the_last_offset() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("reader");
    let offsets: Vec<u64> = [46, 47, 48, 55]
        .into_iter()
        .flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 7])
        .chain([(1 << 56) - 1])
        .collect();
    let open = || {
        let writer = Writer::open(&instance, &small(8)).unwrap();
        Cursors::open(&instance, &writer).unwrap()
    };
    for (index, offset) in offsets.iter().copied().enumerate() {
        let name = format!("reads-{index}");
        let cursor = open().claim(&name, "source").unwrap();
        cursor.store(at(offset));
        assert_eq!((cursor.attempt(Offset(offset)), cursor.attempt(Offset(offset))), (1, 2), "{offset}");
        drop(cursor);
        let cursor = open().claim(&name, "source").unwrap();
        let trying = || {
            let all = read_cursors(&instance).unwrap();
            all.iter().find(|info| info.subscription == name).unwrap().trying
        };
        assert_eq!(cursor.attempt(Offset(offset)), 3);
        assert_eq!(trying(), Some(Offset(offset)));
        for taken_back in [offset & 0xff, offset ^ (1 << 48), offset] {
            cursor.forgive(Offset(taken_back));
        }
        assert_eq!(cursor.attempt(Offset(offset)), 3, "one delivery of {offset} was taken back");
        // None of those that share some of its bits.
        for bits in [8, 16, 47, 48, 55] {
            let other = offset ^ (1 << bits);
            assert_eq!((cursor.attempt(Offset(other)), trying()), (1, Some(Offset(other))), "{offset}");
        }
        for _ in 0..=u16::MAX {
            cursor.attempt(Offset(offset));
        }
        let most = if offset < 1 << 47 { u16::MAX } else { 127 };
        assert_eq!(
            (cursor.attempt(Offset(offset)), trying()),
            (most, Some(Offset(offset))),
            "it counts no further"
        );
    }
}

#[test]
fn a_damaged_cursor_is_no_position_and_can_be_moved_again() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("reader");
    let writer = Writer::open(&instance, &small(8)).unwrap();
    let cursors = Cursors::open(&instance, &writer).unwrap();
    let cursor = cursors.claim("reads", "source").unwrap();
    let table = File::options().write(true).open(journal::cursors_path(&instance)).unwrap();
    for selector in [u64::MAX, u64::MAX - 1, 1 << 63] {
        cursor.store(at(9));
        // The selector of the first slot: which of the slot's two copies holds.
        table.write_all_at(&selector.to_le_bytes(), 64 + 272).unwrap();
        assert_eq!(cursor.position(), None);
        assert_eq!(read_cursors(&instance).unwrap(), []);
        cursor.store(at(10));
        assert_eq!(cursor.position(), Some(at(10)));
    }
}

/// Opens writer and cursors anew, and gives both to `with`.
fn reopened<T>(instance: &Path, with: impl FnOnce(&mut Writer, &Arc<Cursors>) -> T) -> T {
    let mut writer = Writer::open(instance, &small(8)).unwrap();
    let cursors = Cursors::open(instance, &writer).unwrap();
    with(&mut writer, &cursors)
}

fn speak(writer: &mut Writer, position: Position) {
    let acks = [Ack { subscription: "reads", journal: "source", position }];
    writer.commit(&Batch { acks: &acks, ..Batch::default() }).unwrap();
}

fn seen(instance: &Path) -> Vec<u64> {
    read_cursors(instance).unwrap().iter().map(|cursor| cursor.seen_ns).collect()
}

#[test]
fn what_nobody_reads_is_neither_claimed_nor_seen_again_at_a_start() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("reader");
    reopened(&instance, |writer, cursors| {
        let cursor = cursors.claim("reads", "source").unwrap();
        speak(writer, at(7));
        cursor.store(at(7));
    });
    let before = seen(&instance);
    for _ in 0..3 {
        reopened(&instance, |_, _| assert_eq!(seen(&instance), before, "nobody has read it"));
    }
    reopened(&instance, |_, cursors| drop(cursors.claim("reads", "source")));
    assert!(seen(&instance) > before);
}

#[test]
fn what_is_forgotten_stays_forgotten() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("reader");
    reopened(&instance, |writer, cursors| {
        cursors.claim("reads", "source").unwrap().store(at(7));
        speak(writer, at(7));
    });
    reopened(&instance, |writer, cursors| {
        writer.forget("reads", "source").unwrap();
        assert!(cursors.forget("reads", "source").unwrap());
        assert!(!cursors.forget("reads", "source").unwrap());
        // From segment to segment as well.
        for _ in 0..300 {
            crate::support::append(writer).unwrap();
        }
    });
    reopened(&instance, |writer, cursors| {
        assert_eq!(writer.acknowledged().count(), 0);
        assert_eq!(read_cursors(&instance).unwrap(), []);
        let cursor = cursors.claim("reads", "source").unwrap();
        assert_eq!(cursor.position(), None);
        // It may begin anew.
        speak(writer, at(2));
    });
    reopened(&instance, |_, cursors| {
        assert_eq!(cursors.claim("reads", "source").unwrap().position(), Some(at(2)));
    });
}

#[test]
fn a_table_that_is_lost_is_made_up_for_by_the_journal_once_somebody_reads() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("reader");
    reopened(&instance, |writer, _| speak(writer, at(7)));
    std::fs::remove_file(journal::cursors_path(&instance)).unwrap();
    reopened(&instance, |_, cursors| {
        assert_eq!(read_cursors(&instance).unwrap(), []);
        assert_eq!(cursors.claim("reads", "source").unwrap().position(), Some(at(7)));
    });
}

#[test]
fn of_places_in_two_journals_of_a_name_the_one_in_that_which_is_there_holds() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let (instance, source) = (home.path().join("reader"), home.path().join("source"));
    crate::support::append(&mut Writer::open(&source, &small(8)).unwrap()).unwrap();
    let reader = Reader::open(&source, Start::End, Level::Committed).unwrap().unwrap();
    let journal = reader.position().journal;
    let here = Position { next: Offset(1), epoch: Epoch(1), checksum: 5, journal };
    let before = Position { next: Offset(900), epoch: Epoch(7), checksum: 5, journal: journal ^ 1 };
    // With the output of an input of the journal that was there before; acknowledged alone in the one that is.
    reopened(&instance, |writer, cursors| {
        speak(writer, before);
        cursors.claim("reads", "source").unwrap().store(here);
    });
    for _ in 0..2 {
        reopened(&instance, |_, cursors| {
            assert_eq!(cursors.claim("reads", "source").unwrap().position(), Some(here));
        });
    }
    // And the other way round.
    reopened(&instance, |writer, cursors| {
        cursors.claim("reads", "source").unwrap().store(before);
        speak(writer, here);
    });
    reopened(&instance, |_, cursors| {
        assert_eq!(cursors.claim("reads", "source").unwrap().position(), Some(here));
    });
}

/// Makes the first slot of a table into as many as it may have, with numbers for names.
fn fill(instance: &Path) {
    const SLOT_BYTES: usize = 384;
    let path = journal::cursors_path(instance);
    let mut bytes = std::fs::read(&path).unwrap();
    let first = bytes[64..64 + SLOT_BYTES].to_vec();
    bytes.resize(64 + SLOT_BYTES * 64 * 64, 0);
    for (number, slot) in bytes[64 + SLOT_BYTES..].chunks_mut(SLOT_BYTES).enumerate() {
        slot.copy_from_slice(&first);
        let name = format!("{number:04}");
        slot[8..=8 + name.len()].copy_from_slice(format!("\u{4}{name}").as_bytes());
        // By a wall clock that has leapt, nobody was there for decades.
        slot[256..264].copy_from_slice(&1_u64.to_le_bytes());
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_full_table_gives_away_what_has_run_out_and_nothing_else() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("reader");
    reopened(&instance, |_, cursors| cursors.claim("held", "source").unwrap().store(at(1)));
    fill(&instance);
    let mut options = small(64);
    for (lease, room) in [(Duration::from_secs(3600), false), (Duration::ZERO, true)] {
        options.retention.lease = lease;
        let writer = Writer::open(&instance, &options).unwrap();
        let cursors = Cursors::open(&instance, &writer).unwrap();
        let held = cursors.claim("held", "source").unwrap();
        assert_eq!(read_cursors(&instance).unwrap().len(), 4096);
        match cursors.claim("one more", "source").map(drop) {
            Ok(()) => assert!(room),
            Err(Error::Full { reason, .. }) => assert!(!room && reason.contains("procession subscriptions")),
            other => panic!("{other:?}"),
        }
        assert_eq!(held.position(), Some(at(1)), "it is being read");
    }
}

#[test]
fn a_place_whose_names_are_damaged_is_free_after_a_start() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("reader");
    reopened(&instance, |_, cursors| cursors.claim("reads", "source").unwrap().store(at(7)));
    let table = File::options().read(true).write(true).open(journal::cursors_path(&instance)).unwrap();
    table.write_all_at(&[0xff], 64 + 8 + 1).unwrap();
    let used = || {
        let mut word = [0; 8];
        table.read_exact_at(&mut word, 64).unwrap();
        word != [0; 8]
    };
    assert!(used());
    reopened(&instance, |_, cursors| {
        assert!(!used(), "it holds back what nobody can forget");
        assert_eq!(cursors.claim("reads", "source").unwrap().position(), None);
    });
}
