//! Bad bytes: every truncation and every flipped bit of a small journal is an error or a gap, never a wrong
//! record, a missing one, a panic or an endless loop.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use journal::{
    Ack, Batch, Checkpoint, Cursors, Entry, Epoch, Item, Level, Offset, Position, Reader, Start, Writer,
    read_cursors, verify,
};

use crate::support::{Random, Said, copy_instance, fast_folder, segments, small};

/// A closed journal with two segments, two epochs, batches, acknowledgements, a checkpoint and a cursor.
struct Original {
    folder: tempfile::TempDir,
    /// Its records, and one that is still to be said.
    said: Vec<Said>,
}

impl Original {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(fast_folder()).unwrap();
        let instance = folder.path().join("original");
        let mut said = Vec::new();
        for most in [25, 60] {
            let mut writer = Writer::open(&instance, &small(8)).unwrap();
            let cursors = Cursors::open(&instance, &writer).unwrap();
            let position = Position { next: Offset(9), epoch: Epoch(1), checksum: 2, journal: 3 };
            cursors.claim("reads", "source").unwrap().store(position);
            while said.len() < most {
                let next = said.len() as u64;
                let says: Vec<Said> = (next..next + 1 + next % 3).map(Said::at).collect();
                let entries: Vec<Entry<'_>> = says.iter().map(Said::entry).collect();
                let acks = [Ack { subscription: "reads", journal: "source", position }];
                let checkpoints = [Checkpoint { name: "state", value: &next.to_le_bytes() }];
                let marked = usize::from(next.is_multiple_of(5));
                let batch =
                    Batch { entries: &entries, acks: &acks[..marked], checkpoints: &checkpoints[..marked] };
                writer.commit(&batch).unwrap();
                said.extend(says);
            }
        }
        said.push(Said::at(said.len() as u64));
        let original = Self { folder, said };
        assert_eq!(segments(&original.instance()).len(), 2, "the journal should span two segments");
        original
    }

    fn instance(&self) -> PathBuf {
        self.folder.path().join("original")
    }

    /// Reads a damaged copy; whether all records came.
    fn read(&self, instance: &Path, end: usize, case: &str) -> bool {
        let Ok(opened) = Reader::open(instance, Start::Beginning, Level::Committed) else { return false };
        // Without marks there is no journal yet, as far as a reader can tell; they are made anew by the owner.
        let Some(mut reader) = opened else { return false };
        let (mut next, mut whole) = (0, true);
        for _ in 0..4 * end + 100 {
            match reader.next() {
                Err(error) => {
                    assert!(!case.contains(".seg"), "{case}: {error}, instead of a gap");
                    return false;
                }
                Ok(None) => {
                    assert!(
                        next >= end as u64 || reader.marks().is_err(),
                        "{case}: silent end at {next} of {end}"
                    );
                    return whole && next == end as u64;
                }
                Ok(Some(Item::Record(record))) => {
                    assert_eq!(record.offset.0, next, "{case}: offset out of turn");
                    let index = usize::try_from(next).unwrap();
                    assert_eq!(Some(&Said::of(&record)), self.said.get(index), "{case}: wrong record");
                    next += 1;
                }
                Ok(Some(Item::Gap(gap))) => {
                    assert!(gap.from.0 == next && gap.to > gap.from, "{case}: {gap:?} at {next}");
                    next = gap.to.0;
                    whole = false;
                }
            }
        }
        panic!("{case}: the reader never ends");
    }

    /// What readers and `verify` make of a damaged copy.
    fn check_reading(&self, instance: &Path, case: &str) {
        let whole = self.read(instance, self.said.len() - 1, case);
        let report = verify(instance);
        let clean = report.as_ref().is_ok_and(|report| report.damage.is_empty());
        assert!(whole || !clean, "{case}: a record is lost, but verify says {report:?}");
        let _ = read_cursors(instance);
    }

    /// What an owner makes of a damaged copy: it starts or says why not, and can go on speaking.
    fn check_writing(&self, instance: &Path, case: &str) {
        let Ok(mut writer) = Writer::open(instance, &small(8)) else { return };
        let said = &self.said[self.said.len() - 1];
        let offset = writer.append(&said.entry()).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(offset.0, self.said.len() as u64 - 1, "{case}: an offset is used twice or left out");
        let _ = Cursors::open(instance, &writer).map(|cursors| cursors.claim("other", "source").unwrap());
        drop(writer);
        self.read(instance, self.said.len(), case);
        let _ = verify(instance);
    }

    /// A fresh copy.
    fn copy(&self, name: &str) -> PathBuf {
        let copy = self.folder.path().join(name);
        let _ = fs::remove_dir_all(&copy);
        copy_instance(&self.instance(), &copy);
        copy
    }
}

/// The part of a file up to its last byte that is not zero.
fn used(path: &Path) -> usize {
    fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// The files of a journal that hold records or say something about them.
fn files(instance: &Path) -> Vec<PathBuf> {
    let files = segments(instance)
        .into_iter()
        .chain([journal::marks_path(instance), journal::cursors_path(instance)]);
    files.map(|path| path.strip_prefix(instance).unwrap().to_owned()).collect()
}

#[test]
fn every_truncation_is_an_error_or_a_gap() {
    let original = Original::new();
    let began = Instant::now();
    let (mut cases, mut stop) = (0, 0);
    for file in files(&original.instance()) {
        let bytes = fs::read(original.instance().join(&file)).unwrap();
        let used = used(&original.instance().join(&file));
        // The marks are one page, which is whole or useless.
        let step = if file.ends_with("marks") { 37 } else { 1 };
        let lengths = (0..used + 1).step_by(step).chain((used..bytes.len()).step_by(509));
        let read = original.copy("read");
        let handle = File::options().write(true).open(read.join(&file)).unwrap();
        // Nothing has the file mapped between two cases, so it may shrink.
        for length in lengths.rev() {
            let case = format!("{} cut to {length}", file.display());
            handle.set_len(length as u64).unwrap();
            original.check_reading(&read, &case);
            if length % WRITE_EVERY == stop % WRITE_EVERY {
                let write = original.copy("write");
                File::options().write(true).open(write.join(&file)).unwrap().set_len(length as u64).unwrap();
                original.check_writing(&write, &case);
            }
            cases += 1;
        }
        stop += 1;
    }
    println!("{cases} truncations in {:?}", began.elapsed());
}

/// Opening for writing is slower than reading: it is tried with every so-many-th case.
const WRITE_EVERY: usize = 19;

#[test]
fn every_flipped_bit_is_an_error_or_a_gap() {
    let original = Original::new();
    let began = Instant::now();
    // All bits take a minute: without being asked for them, one of seven, others each time.
    let step = if std::env::var_os("JOURNAL_EVERY_BIT").is_some() { 1 } else { 7 };
    let rotation = Random::announced().below(step * WRITE_EVERY);
    let (mut cases, mut skipped) = (0, 0);
    for file in files(&original.instance()) {
        let path = original.instance().join(&file);
        let bytes = fs::read(&path).unwrap();
        let read = original.copy("read");
        let handle = File::options().write(true).open(read.join(&file)).unwrap();
        for bit in 0..used(&path) * 8 {
            if bit % step != rotation % step || began.elapsed() > TIME_MAX {
                skipped += 1;
                continue;
            }
            let case = format!("{} bit {bit}", file.display());
            let flipped = bytes[bit / 8] ^ 1 << (bit % 8);
            handle.write_all_at(&[flipped], (bit / 8) as u64).unwrap();
            original.check_reading(&read, &case);
            handle.write_all_at(&[bytes[bit / 8]], (bit / 8) as u64).unwrap();
            if bit % (step * WRITE_EVERY) == rotation {
                let write = original.copy("write");
                let handle = File::options().write(true).open(write.join(&file)).unwrap();
                handle.write_all_at(&[flipped], (bit / 8) as u64).unwrap();
                original.check_writing(&write, &case);
            }
            cases += 1;
        }
    }
    println!(
        "{cases} flipped bits in {:?}, {skipped} left out: JOURNAL_EVERY_BIT=1 takes them all",
        began.elapsed()
    );
}

/// A machine that is too busy gets fewer cases.
const TIME_MAX: Duration = Duration::from_secs(120);
