//! Segments that an operator puts back under the marks of another journal: nobody but a person knows what was meant.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use journal::{Error, Offset, Start, Writer};

use crate::support::{Said, append_until, read_records, segments, small};

/// A publisher that was started once without its state, said nothing, and was stopped. Its segments are the result; `backup`
/// has the state from before, of several segments.
fn started_without_state(home: &Path) -> (PathBuf, PathBuf) {
    let (instance, backup) = (home.join("a"), home.join("backup"));
    append_until(&mut Writer::open(&instance, &small(8)).unwrap(), 300);
    fs::rename(&instance, &backup).unwrap();
    drop(Writer::open(&instance, &small(8)).unwrap());
    (instance, backup)
}

/// Copies segments to under the marks and the lock that are there: those are newer (`cp -u`, `rsync -u`).
fn put_back(from: &[PathBuf], instance: &Path) {
    for path in from {
        let to = journal::journal_folder(instance).join(path.file_name().unwrap());
        fs::copy(path, to).unwrap();
    }
}

/// A start fails, says which segment it is about, and leaves everything as it is.
#[track_caller]
fn assert_left_alone(instance: &Path, is_wanted: impl Fn(&Error) -> bool) {
    let content = || -> Vec<_> {
        segments(instance).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect()
    };
    let before = content();
    for _ in 0..2 {
        let opened = Writer::open(instance, &small(8)).map(|writer| writer.next_offset());
        assert!(opened.as_ref().is_err_and(&is_wanted), "{opened:?}");
    }
    assert!(content() == before, "segments were changed or removed");
}

fn is_of_another_journal(error: &Error) -> bool {
    matches!(error, Error::Corrupt { reason, .. } if reason.contains("belongs to journal"))
}

#[test]
fn segments_of_another_journal_behind_a_hole_are_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let (instance, backup) = started_without_state(home.path());
    // The oldest was trimmed.
    put_back(&segments(&backup)[1..], &instance);
    assert_left_alone(&instance, is_of_another_journal);
    // With its marks it is the journal that it was.
    fs::copy(journal::marks_path(&backup), journal::marks_path(&instance)).unwrap();
    fs::copy(&segments(&backup)[0], &segments(&instance)[0]).unwrap();
    assert_eq!(Writer::open(&instance, &small(8)).unwrap().next_offset(), Offset(300));
    let wanted: Vec<_> = (0..300).map(|offset| (Offset(offset), Said::at(offset))).collect();
    assert_eq!(read_records(&instance, Start::Beginning), wanted);
}

#[test]
fn segments_of_another_journal_are_left_alone_where_nothing_was_ever_durable() {
    let home = tempfile::tempdir().unwrap();
    let (instance, backup) = started_without_state(home.path());
    fs::remove_file(&segments(&instance)[0]).unwrap();
    put_back(&segments(&backup)[1..], &instance);
    assert_left_alone(&instance, is_of_another_journal);
}

#[test]
fn segments_of_another_journal_behind_a_torn_one_are_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let (instance, backup) = started_without_state(home.path());
    put_back(&segments(&backup)[1..], &instance);
    // Torn from its very beginning, which is above the mark.
    let first = fs::File::options().write(true).open(&segments(&instance)[0]).unwrap();
    first.write_all_at(&[0; 128], 0).unwrap();
    assert_left_alone(&instance, is_of_another_journal);
}

#[test]
fn an_older_segment_of_another_journal_that_overlaps_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let (instance, backup) = started_without_state(home.path());
    // In a later epoch than the other one's.
    append_until(&mut Writer::open(&instance, &small(64)).unwrap(), 20);
    let second = &segments(&backup)[1];
    put_back(std::slice::from_ref(second), &instance);
    assert_left_alone(&instance, is_of_another_journal);
}

#[test]
fn segments_of_another_version_behind_a_hole_are_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let (instance, backup) = started_without_state(home.path());
    let restored = &segments(&backup)[2];
    put_back(std::slice::from_ref(restored), &instance);
    let path = segments(&instance).pop().unwrap();
    // Of another version all else may be different, too.
    let header = fs::File::options().write(true).open(path).unwrap();
    header.write_all_at(&[2, 0, 0, 0, 0xff], 8).unwrap();
    assert_left_alone(&instance, |error| matches!(error, Error::ForeignVersion { found: 2, .. }));
}
