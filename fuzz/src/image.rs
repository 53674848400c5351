//! The files of an instance, and what can be done to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use journal::fuzzing;

use crate::input::Input;

/// File name within the instance's folder, and content.
pub type Files = BTreeMap<String, Vec<u8>>;

const MARKS: &str = "journal/marks";
const CURSORS: &str = "cursors";
/// Files stay small, whatever an input says.
const BYTES_MAX: usize = 64 << 10;
const FILES_MAX: usize = 12;
const STEPS_MAX: usize = 40;
const PAGE: usize = 4096;

macro_rules! seeds {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../seeds/", $name)).as_slice())),*]
    };
}

/// A sound instance: a journal of several segments and two epochs, with topics, keys, causes, acknowledgements,
/// checkpoints and batches, and its table of cursors. Made by `make-seeds`.
const SOUND: [(&str, &[u8]); 5] = seeds![
    "journal/00000000000000000000.seg",
    "journal/00000000000000000012.seg",
    "journal/00000000000000000024.seg",
    "journal/marks",
    "cursors",
];

/// A sound instance, as if its writer had just been killed.
pub fn sound() -> Files {
    let mut files: Files = SOUND.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
    if let Some(marks) = files.get_mut(MARKS) {
        marks[fuzzing::BOOT..fuzzing::BOOT + 16].copy_from_slice(&fuzzing::this_boot());
    }
    files
}

/// An instance that the input describes: sound or empty, then damaged step by step.
pub fn build(input: &mut Input<'_>) -> Files {
    let mut files = if input.byte() == 255 { Files::new() } else { sound() };
    for _ in 0..STEPS_MAX {
        if input.is_empty() || !step(&mut files, input) {
            break;
        }
    }
    files
}

/// One kind of damage; `false` ends the program.
fn step(files: &mut Files, input: &mut Input<'_>) -> bool {
    let kind = input.byte() % 16;
    match kind {
        0 => return false,
        1..=6 => bytes(kind, files, input),
        7 => drop(pick(files, input).and_then(|name| files.remove(&name))),
        8 => name_anew(files, input),
        9 => {
            if let Some(segment) = pick_segment(files, input) {
                fuzzing::sign_header(segment);
            }
        }
        10..=12 => record(kind, files, input),
        13 => mark(files, input),
        14 => other_boot(files),
        _ => raw(files, input),
    }
    true
}

/// Damage that knows nothing of what the bytes mean.
fn bytes(kind: u8, files: &mut Files, input: &mut Input<'_>) {
    let Some(name) = pick(files, input) else { return };
    let Some(file) = files.get_mut(&name) else { return };
    let at = input.below(file.len().max(1));
    match kind {
        1 => {
            let bit = input.byte() % 8;
            if let Some(byte) = file.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        2 => {
            let count = usize::from(input.byte() % 64);
            for (byte, new) in file[at..].iter_mut().zip(input.take(count)) {
                *byte = *new;
            }
        }
        3 => file.truncate(at),
        4 => file.resize((file.len() + input.below(2 * PAGE)).min(BYTES_MAX), input.byte()),
        5 => {
            let start = at / PAGE * PAGE;
            let end = (start + PAGE).min(file.len());
            file[start..end].fill(0);
        }
        _ => {
            let from = input.below(file.len().max(1));
            let count = usize::from(input.short()).min(file.len() - from.max(at).min(file.len()));
            file.copy_within(from..from + count, at);
        }
    }
}

/// A segment under another name, as a copy or moved.
fn name_anew(files: &mut Files, input: &mut Input<'_>) {
    let Some(name) = pick(files, input) else { return };
    let base = input.number();
    let copy = input.byte().is_multiple_of(2);
    let content = if copy { files.get(&name).cloned() } else { files.remove(&name) };
    if let Some(mut content) = content.filter(|_| files.len() < FILES_MAX) {
        if input.byte().is_multiple_of(2) && content.len() >= fuzzing::FIRST_RECORD {
            // A header that says so, too; the records' checksums depend on it.
            content[32..40].copy_from_slice(&base.to_le_bytes());
            fuzzing::sign_header(&mut content);
            for (at, length) in fuzzing::records(&content) {
                fuzzing::sign_record(&mut content, at, length);
            }
        }
        files.insert(format!("journal/{base:020}.seg"), content);
    }
}

/// A record with another field, length or content, whose checksum holds.
fn record(kind: u8, files: &mut Files, input: &mut Input<'_>) {
    let Some(segment) = pick_segment(files, input) else { return };
    let records = fuzzing::records(segment);
    let Some(&(at, mut length)) = records.get(input.below(records.len().max(1))) else { return };
    match kind {
        10 => {
            // Time, offset of the cause, epoch, topic, journal of the cause, key's length, kind, flags, codec, offset.
            const FIELDS: [(usize, usize); 10] =
                [(16, 8), (24, 8), (32, 4), (36, 2), (38, 2), (40, 2), (42, 1), (43, 1), (44, 1), (8, 8)];
            let (field, size) = FIELDS[input.below(FIELDS.len())];
            let value = input.number().to_le_bytes();
            if let Some(place) = segment.get_mut(at + field..at + field + size) {
                place.copy_from_slice(&value[..size]);
            }
        }
        11 => length = u32::try_from(input.number() & 0xffff).unwrap_or_default(),
        _ => {
            let skip = input.below(64);
            let count = usize::from(input.byte() % 64);
            let new = input.take(count);
            let end = (at + length as usize).min(segment.len());
            if let Some(body) = segment.get_mut(at + 16 + skip..end) {
                for (byte, new) in body.iter_mut().zip(new) {
                    *byte = *new;
                }
            }
        }
    }
    fuzzing::sign_record(segment, at, length);
}

/// Another mark, whose check byte holds.
fn mark(files: &mut Files, input: &mut Input<'_>) {
    let at = fuzzing::MARKS[input.below(4)];
    let value = fuzzing::seal(input.number() & ((1 << 56) - 1));
    if let Some(place) = files.get_mut(MARKS).and_then(|marks| marks.get_mut(at..at + 8)) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

/// As after a reboot: only what is durable is trusted.
fn other_boot(files: &mut Files) {
    let range = fuzzing::BOOT..fuzzing::BOOT + 16;
    if let Some(place) = files.get_mut(MARKS).and_then(|marks| marks.get_mut(range)) {
        place.fill(7);
    }
}

/// A file of nothing but what the input says.
fn raw(files: &mut Files, input: &mut Input<'_>) {
    let name = match input.byte() % 4 {
        0 => MARKS.to_owned(),
        1 => CURSORS.to_owned(),
        _ => format!("journal/{:020}.seg", input.number()),
    };
    let count = usize::from(input.short());
    let content = input.take(count).to_vec();
    if files.len() < FILES_MAX {
        files.insert(name, content);
    }
}

fn pick(files: &Files, input: &mut Input<'_>) -> Option<String> {
    let index = input.below(files.len().max(1));
    files.keys().nth(index).cloned()
}

fn pick_segment<'f>(files: &'f mut Files, input: &mut Input<'_>) -> Option<&'f mut Vec<u8>> {
    let count = files.keys().filter(|name| name.ends_with(".seg")).count();
    let index = input.below(count.max(1));
    files.iter_mut().filter(|(name, _)| name.ends_with(".seg")).nth(index).map(|(_, bytes)| bytes)
}

/// Writes the files into a folder.
pub fn write(files: &Files, instance: &Path) {
    fs::create_dir_all(instance.join("journal")).expect("the folder is empty");
    for (name, content) in files {
        fs::write(instance.join(name), content).expect("there is room");
    }
}
