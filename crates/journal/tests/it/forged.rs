//! Records whose checksum holds although no writer wrote them: their offsets are believed as far as they can be true.

use std::fs;
use std::path::{Path, PathBuf};

use journal::{Gap, GapReason, Offset, Start, Writer, verify};

use crate::support::{Got, Said, append, bases, fast_folder, read_all, segments, small};

const HEADER_BYTES: usize = 128;
// Within a record.
const AT_TOPIC: usize = 36;
const AT_KIND: usize = 42;
const EVENT: u8 = 0;
const SEALED: u8 = 6;

/// A segment's bytes, to be written back where they came from.
struct Image {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Image {
    /// Of the segment with that number, the oldest being 0.
    fn of(instance: &Path, segment: usize) -> Self {
        let path = segments(instance).swap_remove(segment);
        let bytes = fs::read(&path).unwrap();
        Self { path, bytes }
    }

    fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    fn length(&self, at: usize) -> usize {
        usize::try_from(self.word(at) & 0xffff_ffff).unwrap()
    }

    /// Where the event with that offset lies.
    fn place(&self, offset: u64) -> usize {
        self.find(EVENT, offset)
    }

    /// Where the first record of that kind with that offset lies.
    fn find(&self, kind: u8, offset: u64) -> usize {
        let mut at = HEADER_BYTES;
        while self.bytes[at + AT_KIND] != kind || self.word(at + 8) != offset {
            at += self.length(at).next_multiple_of(8);
        }
        at
    }

    /// Makes the record at `at` state another offset, under a checksum that holds.
    fn forge(&mut self, at: usize, offset: u64) {
        self.bytes[at + 8..at + 16].copy_from_slice(&offset.to_le_bytes());
        let length = self.length(at);
        let seed = crc32c::crc32c_append(crc32c::crc32c(&self.bytes[16..32]), &self.bytes[32..40]);
        let start = seed ^ u32::try_from(at).unwrap() ^ u32::try_from(length).unwrap().rotate_left(16);
        let checksum = crc32c::crc32c_append(start, &self.bytes[at + 8..at + length]);
        self.bytes[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
    }

    fn write(&self) {
        fs::write(&self.path, &self.bytes).unwrap();
    }
}

/// A journal of two segments, whose writer is gone; its end.
fn make(instance: &Path) -> u64 {
    let mut writer = Writer::open(instance, &small(8)).unwrap();
    let mut end = 0;
    while bases(instance).len() < 2 || end < bases(instance)[1] + 40 {
        end = append(&mut writer).unwrap().0 + 1;
    }
    assert_eq!(bases(instance).len(), 2);
    end
}

/// Everything comes, but for a gap from `from` to `to`; to a reader, to `verify`, and once a writer has been there.
fn check(instance: &Path, from: u64, to: u64, end: u64) {
    let mut wanted: Vec<Got> = (0..end).map(|offset| Got::Record(Offset(offset), Said::at(offset))).collect();
    let gap = Gap { from: Offset(from), to: Offset(to), reason: GapReason::Corrupt };
    let missing = usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
    wanted.splice(missing, [Got::Gap(gap)]);
    assert_eq!(read_all(instance, Start::Offset(Offset(0))), wanted);
    let damage = verify(instance).unwrap().damage;
    let (begin, behind) = (damage.first().map(|first| first.from), damage.last().map(|last| last.to));
    assert_eq!((begin, behind), (Some(Offset(from)), Some(Offset(to))), "{damage:?}");

    let mut writer = Writer::open(instance, &small(8)).unwrap();
    assert_eq!(append(&mut writer).unwrap(), Offset(end));
    wanted.push(Got::Record(Offset(end), Said::at(end)));
    assert_eq!(read_all(instance, Start::Offset(Offset(0))), wanted);
}

#[test]
fn a_record_that_is_ahead_of_its_turn_is_damage() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    for (case, ahead) in [1, 2, 1 << 20, 1 << 54, (1 << 56) - 1].into_iter().enumerate() {
        let instance = home.path().join(format!("ahead-{case}"));
        let end = make(&instance);
        let offset = bases(&instance)[1] + 7;
        let mut image = Image::of(&instance, 1);
        image.forge(image.place(offset), (offset + ahead).min((1 << 56) - 1));
        image.write();
        check(&instance, offset, offset + 1, end);
    }
}

#[test]
fn a_record_behind_damage_is_at_most_as_far_ahead_as_there_is_room() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    // The last of them is below the committed mark.
    for (case, ahead) in [1 << 54, 1 << 20, 30].into_iter().enumerate() {
        let instance = home.path().join(format!("room-{case}"));
        let end = make(&instance);
        let offset = bases(&instance)[1] + 7;
        assert!(ahead > 30 || offset + ahead < end);
        let mut image = Image::of(&instance, 1);
        image.forge(image.place(offset + 1), offset + ahead);
        let damaged = image.place(offset) + 20;
        image.bytes[damaged] ^= 1;
        image.write();
        check(&instance, offset, offset + 2, end);
    }
}

#[test]
fn a_segment_holds_nothing_of_the_next_one() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("both");
    let end = make(&instance);
    let next = bases(&instance)[1];
    let mut image = Image::of(&instance, 0);
    // The seal becomes an event that would be the next one's first.
    let seal = image.find(SEALED, next);
    (image.bytes[seal + AT_KIND], image.bytes[seal + AT_TOPIC]) = (EVENT, 1);
    image.forge(seal, next);
    image.write();
    let wanted: Vec<Got> = (0..end).map(|offset| Got::Record(Offset(offset), Said::at(offset))).collect();
    assert_eq!(read_all(&instance, Start::Offset(Offset(0))), wanted);
    // For one who begins in the middle as well.
    assert_eq!(read_all(&instance, Start::Offset(Offset(next))), wanted[usize::try_from(next).unwrap()..]);
}
