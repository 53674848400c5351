//! Files of dropped segments are used again, but never under a reader that still has them mapped.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use journal::{Gap, GapReason, Level, Offset, Options, Reader, Start, Writer, verify};

use crate::support::{Got, Said, bases, drain, fast_folder, read_records, segments, small};

/// Smaller segments are not worth it.
pub(crate) const SEGMENT_KIB: u64 = 4 << 10;
/// No machine is so slow that it fills none of these within a second.
const SEGMENTS_MAX: usize = 60;

pub(crate) fn options() -> Options {
    let mut options = small(SEGMENT_KIB);
    options.retention.bytes_kept = 3 * (SEGMENT_KIB << 10);
    options
}

fn file_numbers(instance: &Path) -> BTreeSet<u64> {
    segments(instance).iter().filter_map(|path| fs::metadata(path).ok()).map(|found| found.ino()).collect()
}

/// A record of 4 KiB or so that follows from its offset.
pub(crate) fn said(offset: u64) -> Said {
    let mut said = Said::at(offset);
    said.payload.resize(4000, u8::try_from(offset % 251).unwrap());
    said
}

/// Appends until the next segment is begun.
pub(crate) fn fill_one(writer: &mut Writer, instance: &Path) {
    let newest = segments(instance).pop();
    while segments(instance).pop() == newest {
        for _ in 0..100 {
            writer.append(&said(writer.next_offset().0).entry()).unwrap();
        }
    }
}

/// Appends until a file that once was the segment of earlier records is a segment again.
fn fill_until_used_again(writer: &mut Writer, instance: &Path) -> u64 {
    let (mut seen, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..SEGMENTS_MAX {
        let now = file_numbers(instance);
        gone.extend(seen.difference(&now).copied());
        seen.extend(&now);
        if let Some(back) = now.intersection(&gone).next() {
            return *back;
        }
        fill_one(writer, instance);
    }
    panic!("no file of {SEGMENTS_MAX} segments was used again");
}

#[test]
fn a_file_that_is_used_again_holds_nothing_of_the_past() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("publisher");
    let mut writer = Writer::open(&instance, &options()).unwrap();
    fill_until_used_again(&mut writer, &instance);
    let end = writer.next_offset().0;
    // Killed rather than closed: what lies behind the last record must be empty all the same.
    std::mem::forget(writer);
    assert_eq!(verify(&instance).unwrap().damage, []);
    let first = bases(&instance)[0];
    let read = read_records(&instance, Start::Offset(Offset(first)));
    let wanted: Vec<_> = (first..end).map(|offset| (Offset(offset), said(offset))).collect();
    assert!(read == wanted, "{} records read, {} wanted", read.len(), wanted.len());
}

#[test]
fn a_segment_is_not_used_again_while_a_reader_has_it_mapped() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("publisher");
    let mut writer = Writer::open(&instance, &options()).unwrap();
    // Segments begin small, and only those of the same size are used again.
    let newest_bytes = || fs::metadata(segments(&instance).pop().unwrap()).unwrap().len();
    while newest_bytes() < SEGMENT_KIB << 10 {
        fill_one(&mut writer, &instance);
    }
    let newest = segments(&instance).pop().unwrap();
    let mapped = fs::metadata(newest).unwrap().ino();
    let first = *bases(&instance).last().unwrap();
    fill_one(&mut writer, &instance);
    let within = Offset(*bases(&instance).last().unwrap());
    let mut reader =
        Reader::open(&instance, Start::Offset(Offset(first)), Level::Committed).unwrap().unwrap();
    // Enters that segment, and stays there.
    assert!(reader.next().unwrap().is_some());
    while file_numbers(&instance).contains(&mapped) {
        fill_one(&mut writer, &instance);
    }
    for _ in 0..3 {
        assert_ne!(fill_until_used_again(&mut writer, &instance), mapped);
    }
    let got = drain(&mut reader, 1_000_000).unwrap();
    let in_segment = usize::try_from(within.0 - first).unwrap() - 1;
    for (index, got) in got[..in_segment].iter().enumerate() {
        let offset = first + index as u64 + 1;
        assert!(*got == Got::Record(Offset(offset), said(offset)), "record {offset} has changed");
    }
    let trimmed = Got::Gap(Gap { from: within, to: Offset(bases(&instance)[0]), reason: GapReason::Trimmed });
    assert!(got[in_segment] == trimmed, "expected {trimmed:?}");
}
