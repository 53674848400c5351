//! A table of cursors that somebody has been at.

use std::fs;
use std::sync::OnceLock;

use journal::{
    Cursors, Epoch, Error, Offset, Options, Position, SyncPolicy, Writer, cursors_path, read_cursors,
};

use crate::input::Input;
use crate::{empty_folder, image};

const NAMES: [&str; 4] = ["subscription", "other", "journal", "x"];
const SLOT_BYTES: usize = 384;
const HEADER_BYTES: usize = 64;

/// The table opens or is refused, has room for what is claimed, and keeps what is stored.
pub fn cursors(data: &[u8]) {
    static WRITER: OnceLock<Writer> = OnceLock::new();
    let writer = WRITER.get_or_init(|| {
        let options = Options { sync: SyncPolicy::Never, segment_bytes: 8 << 10, ..Options::default() };
        Writer::open(&empty_folder("owner").join("owner"), &options).expect("an empty folder")
    });
    let instance = empty_folder("cursors");
    let mut input = Input(data);
    fs::write(cursors_path(&instance), table(&mut input)).expect("there is room");
    let before = read_cursors(&instance);
    let cursors = match Cursors::open(&instance, writer) {
        Ok(cursors) => cursors,
        Err(Error::Corrupt { .. } | Error::ForeignVersion { .. }) => return assert!(before.is_err()),
        Err(error) => panic!("bytes cannot be the reason for: {error}"),
    };
    // Again: the owner has gone over it, and what was cut off is zero.
    let found = read_cursors(&instance).expect("whoever can open it can read it");
    let mut stored = Vec::new();
    while !input.is_empty() && stored.len() < 100 {
        let (subscription, journal) = (input.name(&NAMES), input.name(&NAMES));
        let position = position(&mut input);
        let forget = input.byte() == 1;
        let cursor = match cursors.claim(&subscription, &journal) {
            Ok(cursor) => cursor,
            Err(Error::BadName { .. } | Error::Full { .. }) => continue,
            Err(error) => panic!("nobody has claimed it: {error}"),
        };
        let known = found.iter().find(|info| info.subscription == subscription && info.journal == journal);
        if !stored.iter().any(|(names, _)| *names == (subscription.clone(), journal.clone())) {
            assert_eq!(cursor.position(), known.map(|info| info.position), "reader and owner differ");
        }
        cursor.store(position);
        assert_eq!(cursor.position(), Some(position));
        let first = cursor.attempt(Offset(position.next.0 >> 16));
        let _ = cursor.attempt(Offset(position.next.0 >> 16));
        assert!(first >= 1);
        assert!(matches!(cursors.claim(&subscription, &journal), Err(Error::Claimed { .. })));
        drop(cursor);
        let names = (subscription, journal);
        stored.retain(|(other, _)| *other != names);
        if forget {
            cursors.forget(&names.0, &names.1).expect("nobody has claimed it");
        }
        stored.push((names, (!forget).then_some(position)));
    }
    drop(cursors);
    let left = read_cursors(&instance).expect("it was opened");
    for ((subscription, journal), position) in stored {
        let info = left.iter().find(|info| info.subscription == subscription && info.journal == journal);
        assert_eq!(info.map(|info| info.position), position, "{subscription} on {journal}");
    }
}

/// The bytes of a table: sound ones, damaged, or anything.
fn table(input: &mut Input<'_>) -> Vec<u8> {
    let kind = input.byte();
    if kind == 255 {
        let count = usize::from(input.short());
        return input.take(count).to_vec();
    }
    let mut table = image::sound().remove("cursors").expect("there is one");
    for _ in 0..kind % 16 {
        // In a slot in use mostly, and among its words.
        let at = HEADER_BYTES + input.below(4) * SLOT_BYTES + input.below(SLOT_BYTES);
        let at = if input.byte() == 0 { input.below(table.len().max(1)) } else { at };
        match input.byte() % 4 {
            0 => table.truncate(at),
            1 => {
                let value = input.number().to_le_bytes();
                if let Some(place) = table.get_mut(at / 8 * 8..at / 8 * 8 + 8) {
                    place.copy_from_slice(&value);
                }
            }
            2 => {
                let value = input.byte();
                if let Some(place) = table.get_mut(at) {
                    *place = value;
                }
            }
            _ => {
                let (from, to) =
                    (HEADER_BYTES + input.below(4) * SLOT_BYTES, HEADER_BYTES + input.below(64) * SLOT_BYTES);
                if from.max(to) + SLOT_BYTES <= table.len() {
                    table.copy_within(from..from + SLOT_BYTES, to);
                }
            }
        }
    }
    table
}

fn position(input: &mut Input<'_>) -> Position {
    let (next, epoch) = (Offset(input.number()), input.number() as u32);
    Position { next, epoch: Epoch(epoch), checksum: input.byte().into(), journal: input.number() }
}
