//! Formats: files of another version are refused by name, and files of each version are read for good.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use journal::{
    Ack, Batch, Cause, Checkpoint, Codec, Cursors, Entry, Epoch, Error, FORMAT_VERSION, Gap, GapReason,
    Level, Offset, Position, Reader, Start, Writer, read_cursors, verify,
};

use crate::support::{Got, Said, copy_instance, fast_folder, read_all, read_records, segments, small};

fn position() -> Position {
    Position { next: Offset(42), epoch: Epoch(3), checksum: 0xdead_beef, journal: 0x0123_4567_89ab_cdef }
}

/// The records of the golden journals.
fn said() -> Vec<Said> {
    let said = |topic: &str, key: Option<&[u8]>, cause: Option<(&str, u64)>, codec, payload: &[u8]| Said {
        topic: topic.to_owned(),
        key: key.map(<[u8]>::to_vec),
        cause: cause.map(|(journal, offset)| (journal.to_owned(), Offset(offset))),
        codec,
        payload: payload.to_vec(),
    };
    vec![
        said("greeting", None, None, Codec::Raw, b"hello"),
        said("greeting", Some(b"key"), Some(("source", 41)), Codec::Json, br#"{"a":1}"#),
        said("größe", Some(b""), Some(("source", u64::MAX)), Codec::Bincode, &[0, 255, 1]),
        said("greeting", None, Some(("other", 0)), Codec::Raw, b""),
        said("large", None, None, Codec::Raw, &[7; 7400]),
        said("after", None, None, Codec::Raw, b"in the second segment"),
    ]
}

fn write_golden(instance: &Path) {
    let said = said();
    let entries: Vec<Entry<'_>> = said.iter().map(Said::entry).collect();
    let mut writer = Writer::open(instance, &small(8)).unwrap();
    let cursors = Cursors::open(instance, &writer).unwrap();
    cursors.claim("reads", "source").unwrap().store(position());
    writer.append(&entries[0]).unwrap();
    let acks = [Ack { subscription: "reads", journal: "source", position: position() }];
    let checkpoints = [Checkpoint { name: "state", value: b"value" }];
    writer.commit(&Batch { entries: &entries[1..4], acks: &acks, checkpoints: &checkpoints }).unwrap();
    drop((cursors, writer));
    let mut writer = Writer::open(instance, &small(8)).unwrap();
    writer.append(&entries[4]).unwrap();
    writer.append(&entries[5]).unwrap();
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{FORMAT_VERSION}/speaker"))
}

/// Makes the files that are checked in; run once for a new version, by name.
#[test]
#[ignore = "writes into the source tree"]
fn make_golden() {
    let home = tempfile::tempdir().unwrap();
    let made = home.path().join("speaker");
    write_golden(&made);
    let _ = fs::remove_dir_all(golden());
    copy_instance(&made, &golden());
    // Zeros at the end say nothing; marks are a page.
    for path in segments(&golden()).into_iter().chain([journal::cursors_path(&golden())]) {
        let bytes = fs::read(&path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        fs::write(&path, &bytes[..used.next_multiple_of(64)]).unwrap();
    }
}

fn check(instance: &Path) {
    let (offsets, read): (Vec<_>, Vec<_>) = read_records(instance, Start::Beginning).into_iter().unzip();
    assert_eq!(offsets, (0..6).map(Offset).collect::<Vec<_>>());
    assert_eq!(read, said());
    let report = verify(instance).unwrap();
    assert_eq!((report.records, report.segments, report.damage, report.torn_tail), (6, 2, Vec::new(), false));
}

#[test]
fn what_version_1_wrote_is_read() {
    check(&golden());
    let cursors = read_cursors(&golden()).unwrap();
    let found: Vec<_> =
        cursors.iter().map(|cursor| (&*cursor.subscription, &*cursor.journal, cursor.position)).collect();
    assert_eq!(found, [("reads", "source", position())]);
}

#[test]
fn what_version_1_wrote_is_gone_on_with() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("speaker");
    copy_instance(&golden(), &instance);
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    assert_eq!((writer.next_offset(), writer.epoch()), (Offset(6), Epoch(3)));
    assert_eq!(writer.acknowledged().collect::<Vec<_>>(), [("reads", "source", position())]);
    assert_eq!(writer.checkpoint("state"), Some(&b"value"[..]));
    let cursors = Cursors::open(&instance, &writer).unwrap();
    assert_eq!(cursors.claim("reads", "source").unwrap().position(), Some(position()));
    check(&instance);
    let cause = Some(Cause { journal: "source", offset: Offset(1) });
    let more = Entry { topic: "greeting", key: None, cause, codec: Codec::Raw, payload: b"more" };
    assert_eq!(writer.append(&more).unwrap(), Offset(6));
    assert_eq!(read_records(&instance, Start::Offset(Offset(6))).len(), 1);
}

#[test]
fn the_writer_still_makes_what_is_checked_in() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("speaker");
    write_golden(&instance);
    check(&instance);
    let names = |instance: &Path| -> Vec<_> {
        segments(instance).iter().map(|path| path.file_name().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&instance), names(&golden()));
}

/// An instance whose `file` says that it has version `version`.
fn with_version(home: &Path, file: &str, version: u32) -> PathBuf {
    let instance = home.join("foreign");
    let _ = fs::remove_dir_all(&instance);
    copy_instance(&golden(), &instance);
    let handle = File::options().read(true).write(true).open(instance.join(file)).unwrap();
    handle.write_all_at(&version.to_le_bytes(), 8).unwrap();
    if file.ends_with(".seg") {
        let mut header = [0; 124];
        handle.read_exact_at(&mut header, 0).unwrap();
        handle.write_all_at(&crc32c::crc32c(&header).to_le_bytes(), 124).unwrap();
    }
    instance
}

fn assert_foreign<T: std::fmt::Debug>(result: journal::Result<T>, file: &str, version: u32) {
    match result {
        Err(Error::ForeignVersion { path, found, supported }) => {
            assert!(path.ends_with(file), "{}", path.display());
            assert_eq!((found, supported), (version, FORMAT_VERSION));
        }
        other => panic!("{other:?} instead of a foreign version of {file}"),
    }
}

#[test]
fn another_version_is_refused_by_name() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    for version in [0, 2, u32::MAX] {
        let segment = "journal/00000000000000000000.seg";
        let instance = with_version(home.path(), segment, version);
        let mut reader =
            Reader::open(&instance, Start::Offset(Offset(0)), Level::Committed).unwrap().unwrap();
        assert_foreign(reader.next().map(|item| format!("{item:?}")), segment, version);
        assert_foreign(verify(&instance), segment, version);

        let newest = segments(&golden())[1].strip_prefix(golden()).unwrap().to_str().unwrap().to_owned();
        let instance = with_version(home.path(), &newest, version);
        assert_foreign(Writer::open(&instance, &small(8)), &newest, version);

        let instance = with_version(home.path(), "journal/marks", version);
        assert_foreign(Reader::open(&instance, Start::Beginning, Level::Committed), "marks", version);
        assert_foreign(Writer::open(&instance, &small(8)), "marks", version);
        assert_foreign(verify(&instance), "marks", version);
        assert_foreign(journal::read_marks(&instance), "marks", version);

        let instance = with_version(home.path(), "cursors", version);
        assert_foreign(read_cursors(&instance), "cursors", version);
        let writer = Writer::open(&instance, &small(8)).unwrap();
        assert_foreign(Cursors::open(&instance, &writer), "cursors", version);
    }
}

/// Nobody can use "the program that wrote it" for what a flipped bit says: that is damage like any other.
#[test]
fn a_damaged_version_of_a_segment_is_a_gap() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("damaged");
    for (damaged, from, to) in [(0, 0, 4), (1, 4, 6)] {
        for bit in 0..32 {
            let _ = fs::remove_dir_all(&instance);
            copy_instance(&golden(), &instance);
            let path = &segments(&instance)[damaged];
            let handle = File::options().read(true).write(true).open(path).unwrap();
            let flipped = FORMAT_VERSION ^ 1 << bit;
            handle.write_all_at(&flipped.to_le_bytes(), 8).unwrap();

            let gap = Got::Gap(Gap { from: Offset(from), to: Offset(to), reason: GapReason::Corrupt });
            let read = |start| {
                let got = read_all(&instance, Start::Offset(Offset(start)));
                assert_eq!(got.iter().filter(|got| matches!(got, Got::Gap(_))).collect::<Vec<_>>(), [&gap]);
                got.len()
            };
            assert_eq!(read(0), usize::try_from(6 - (to - from) + 1).unwrap());
            assert!(verify(&instance).unwrap().damage.iter().any(|damage| damage.path == *path));
            // The owner goes on behind it, and leaves it as it is.
            let mut writer = Writer::open(&instance, &small(8)).unwrap();
            assert_eq!(writer.append(&said()[0].entry()).unwrap(), Offset(6));
            assert_eq!(read(0), usize::try_from(6 - (to - from) + 2).unwrap());
            let mut header = [0; 12];
            handle.read_exact_at(&mut header, 0).unwrap();
            assert_eq!(header[8..], flipped.to_le_bytes());
        }
    }
}
