//! Cursors: a subscription's place survives its process, and never goes back behind what the journal knows.

use std::fs::File;
use std::os::unix::fs::FileExt;

use journal::{Ack, Batch, Cursors, Epoch, Error, NAME_BYTES_MAX, Offset, Position, Writer, read_cursors};

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
