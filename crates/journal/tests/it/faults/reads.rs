//! A disk that cannot read a block: what lay there is named, and nothing else is lost.

use std::path::{Path, PathBuf};

use journal::{
    Batch, Checkpoint, Codec, Entry, Error, Gap, GapReason, Level, Offset, Reader, Start, Writer, fault,
    marks_path, verify,
};

use crate::support::{Got, bases, drain, read_all, segments, small};

const BLOCK: usize = 4096;

/// Says records up to an offset, all under one name: it is lost with the first block only.
fn append_until(writer: &mut Writer, end: u64) {
    while writer.next_offset().0 < end {
        let payload = writer.next_offset().0.to_le_bytes().repeat(30);
        let entry = Entry { topic: "t", key: None, cause: None, codec: Codec::Raw, payload: &payload };
        writer.append(&entry).unwrap();
    }
}

/// A journal of several segments, whose writer is gone; its end.
fn make(instance: &Path) -> u64 {
    let mut writer = Writer::open(instance, &small(16)).unwrap();
    while bases(instance).len() < 3 {
        let next = writer.next_offset().0;
        append_until(&mut writer, next + 1);
    }
    let end = writer.next_offset().0 + 20;
    append_until(&mut writer, end);
    end
}

/// What is given must be all that there is, in order, with one gap; the gap.
#[track_caller]
fn only_gap(got: &[Got], end: u64) -> Gap {
    let (mut next, mut gaps) = (Offset::ZERO, Vec::new());
    for got in got {
        next = match got {
            Got::Record(offset, _) => {
                assert_eq!(*offset, next);
                Offset(offset.0 + 1)
            }
            Got::Gap(gap) => {
                assert_eq!(gap.from, next);
                gaps.push(*gap);
                gap.to
            }
        };
    }
    assert_eq!(next.0, end);
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0].reason, GapReason::Corrupt);
    gaps[0]
}

fn segment(instance: &Path, index: usize) -> PathBuf {
    segments(instance)[index].clone()
}

#[test]
fn a_block_that_cannot_be_read_is_a_named_gap_and_the_writer_goes_on() {
    // In the middle of a segment, at its very beginning, and in the newest one.
    for (index, block) in [(0, 1), (1, 0), (1, 2), (2, 0)] {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("a");
        let end = make(&instance);
        let bases = bases(&instance);
        let path = segment(&instance, index);
        let refused = fault::refuse_reads(&path, block * BLOCK..(block + 1) * BLOCK);
        let gap = only_gap(&read_all(&instance, Start::Beginning), end);
        let around = bases[index]..bases.get(index + 1).copied().unwrap_or(end);
        assert!(around.contains(&gap.from.0) && gap.to.0 <= around.end, "{gap:?} is not in {around:?}");
        assert!(block == 0 || gap.to.0 - gap.from.0 < (around.end - around.start) / 2, "{gap:?}");
        assert!(!verify(&instance).unwrap().damage.is_empty());
        // Over and over: what was said since is read like all the rest.
        for life in 1..3 {
            let mut writer = Writer::open(&instance, &small(16)).unwrap();
            assert_eq!(writer.next_offset().0, end + (life - 1) * 10);
            append_until(&mut writer, end + life * 10);
            drop(writer);
            assert_eq!(only_gap(&read_all(&instance, Start::Beginning), end + life * 10), gap);
        }
        // The disk may think better of it: what was kept is there.
        drop(refused);
        assert!(read_all(&instance, Start::Beginning).iter().all(|got| matches!(got, Got::Record(..))));
    }
}

/// Makes the marks those of an earlier boot, of which only the first `durable` records are certain.
fn lose_power(instance: &Path, durable: u64) {
    use std::os::unix::fs::FileExt as _;
    let marks = std::fs::File::options().write(true).open(marks_path(instance)).unwrap();
    marks.write_all_at(&[7; 16], 32).unwrap();
    let folded = durable ^ durable >> 32;
    let folded = folded ^ folded >> 16;
    let check = (folded ^ folded >> 8) & 0xff ^ 0xa5;
    marks.write_all_at(&(durable << 8 | check).to_le_bytes(), 2048).unwrap();
}

#[test]
fn a_tail_that_cannot_be_read_is_cut_off_where_that_begins() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("a");
    let mut writer = Writer::open(&instance, &small(64)).unwrap();
    append_until(&mut writer, 200);
    drop(writer);
    lose_power(&instance, 10);
    let _refused = fault::refuse_reads(&segment(&instance, 0), 2 * BLOCK..3 * BLOCK);
    let mut reader = Reader::open(&instance, Start::Beginning, Level::Committed).unwrap().unwrap();
    assert_eq!(drain(&mut reader, 1_000).unwrap().len(), 10);
    let mut writer = Writer::open(&instance, &small(64)).unwrap();
    let cut = writer.next_offset().0;
    assert!((10..150).contains(&cut), "cut at {cut}");
    append_until(&mut writer, cut + 20);
    drop(writer);
    // Neither alive nor anew, what lay behind it is taken for what was said in its place.
    let rest = drain(&mut reader, 1_000).unwrap();
    assert_eq!(rest.len() as u64, cut + 10);
    for got in [rest, read_all(&instance, Start::Beginning)] {
        assert!(got.iter().all(|got| matches!(got, Got::Record(..))), "{got:?}");
    }
    for _ in 0..2 {
        assert_eq!(Writer::open(&instance, &small(64)).unwrap().next_offset().0, cut + 20);
    }
    assert_eq!(read_all(&instance, Start::Beginning).len() as u64, cut + 20);
}

#[test]
fn marks_that_cannot_be_read_are_made_anew_by_their_owner_and_waited_for_by_readers() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("a");
    let end = make(&instance);
    let refused = fault::refuse_reads(&marks_path(&instance), 0..BLOCK);
    let opened = Reader::open(&instance, Start::Beginning, Level::Committed);
    assert!(matches!(opened, Err(Error::Io { .. })), "{opened:?}");
    let mut writer = Writer::open(&instance, &small(16)).unwrap();
    assert_eq!(writer.next_offset().0, end);
    append_until(&mut writer, end + 5);
    // Written anew, the block can be read.
    drop(refused);
    assert_eq!(read_all(&instance, Start::Beginning).len() as u64, end + 5);
}

#[test]
fn without_marks_a_newest_segment_that_cannot_be_read_is_kept_and_its_offsets_with_it() {
    // Of several segments, and the only one.
    for records in [200, 20] {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("a");
        append_until(&mut Writer::open(&instance, &small(16)).unwrap(), records);
        let (bases, path) = (bases(&instance), segments(&instance).pop().unwrap());
        assert_eq!(bases.len() == 1, records == 20, "{bases:?}");
        let newest = bases.last().copied().unwrap();
        let content = std::fs::read(&path).unwrap();
        let refused =
            [fault::refuse_reads(&marks_path(&instance), 0..BLOCK), fault::refuse_reads(&path, 0..BLOCK)];
        let mut writer = Writer::open(&instance, &small(16)).unwrap();
        let (journal, next) = (writer.journal(), writer.next_offset().0);
        assert!(next >= records, "offsets from {next} to {records} are used again");
        append_until(&mut writer, next + 5);
        drop(writer);
        // The marks were written anew.
        let [marks, refused] = refused;
        drop(marks);
        let gap = only_gap(&read_all(&instance, Start::Beginning), next + 5);
        assert_eq!((gap.from.0, gap.to.0), (newest, next));

        // The disk reads it again: it is as it was, and whoever starts next goes on behind what was said since.
        drop(refused);
        assert!(std::fs::read(&path).unwrap() == content, "the segment was changed");
        let writer = Writer::open(&instance, &small(16)).unwrap();
        assert_eq!((writer.journal(), writer.next_offset().0), (journal, next + 5));
        let read = read_all(&instance, Start::Beginning);
        let count = read.iter().filter(|got| matches!(got, Got::Record(..))).count() as u64;
        // Whose records those of the only segment are is not known any more.
        assert_eq!(count, if newest == 0 { 5 } else { records + 5 });
    }
}

#[test]
fn without_marks_what_lies_behind_a_block_that_cannot_be_read_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("a");
    let mut writer = Writer::open(&instance, &small(64)).unwrap();
    append_until(&mut writer, 100);
    let point = Checkpoint { name: "late", value: b"kept" };
    writer.commit(&Batch { checkpoints: &[point], ..Batch::default() }).unwrap();
    drop(writer);
    let marks = fault::refuse_reads(&marks_path(&instance), 0..BLOCK);
    let refused = fault::refuse_reads(&segment(&instance, 0), 2 * BLOCK..3 * BLOCK);
    let mut writer = Writer::open(&instance, &small(64)).unwrap();
    assert_eq!(writer.checkpoint("late"), Some(&b"kept"[..]));
    let next = writer.next_offset().0;
    assert!(next >= 100, "offsets from {next} to 100 are used again");
    append_until(&mut writer, next + 5);
    drop((writer, marks));
    let read = |what: &str| {
        let read = read_all(&instance, Start::Beginning);
        let offsets =
            read.iter().filter_map(|got| if let Got::Record(at, _) = got { Some(at.0) } else { None });
        let offsets: Vec<u64> = offsets.collect();
        assert_eq!(offsets[offsets.len() - 5..], Vec::from_iter(next..next + 5), "{what}");
        offsets[..offsets.len() - 5].to_vec()
    };
    let before = read("while it is refused");
    assert!(before.contains(&0) && before.contains(&99), "{before:?}");
    drop(refused);
    assert_eq!(read("once it is read again"), Vec::from_iter(0..100));
}

#[test]
fn a_journal_whose_identity_nobody_can_read_gets_one_of_its_own() {
    let journals = [(); 2].map(|()| {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("a");
        append_until(&mut Writer::open(&instance, &small(16)).unwrap(), 20);
        let marks = fault::refuse_reads(&marks_path(&instance), 0..BLOCK);
        let _header = fault::refuse_reads(&segment(&instance, 0), 0..BLOCK);
        let journal = Writer::open(&instance, &small(16)).unwrap().journal();
        drop(marks);
        let position =
            Reader::open(&instance, Start::Beginning, Level::Committed).unwrap().unwrap().position();
        (journal, position.journal)
    });
    assert_ne!(journals[0], journals[1]);
    assert!(journals.iter().all(|(_, half)| *half != 0), "positions take 0 for unknown: {journals:?}");
}
