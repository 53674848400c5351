//! A process that may not have more: descriptors, or bytes of a file. That passes, and nothing of it is final.

use std::path::Path;

use journal::{Cursors, Error, Offset, Start, Writer, verify};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Process, Said, append, append_until, as_child, fast_folder, read_records, small};

fn run(test: &str) {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let mut child = Process::child(&format!("limits::{test}"), &home.path().join("limited"));
    let status = child.0.wait().unwrap();
    assert!(status.success(), "{test}: {status}");
}

/// Allows this process so much, as long as it does not ask for more.
fn limit(resource: Resource, current: u64) {
    setrlimit(resource, Rlimit { current: Some(current), ..getrlimit(resource) }).unwrap();
}

/// Everything that was said is there.
fn check(instance: &Path, end: u64) {
    let wanted: Vec<_> = (0..end).map(|offset| (Offset(offset), Said::at(offset))).collect();
    assert_eq!(read_records(instance, Start::Beginning), wanted);
    assert_eq!(verify(instance).unwrap().damage, []);
}

/// Appends until it is refused.
fn refused(writer: &mut Writer) -> Error {
    (0..1000).find_map(|_| append(writer).err()).expect("it is never refused")
}

#[test]
fn child_without_descriptors() {
    let Some(instance) = as_child() else { return };
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    let before = getrlimit(Resource::Nofile).current.unwrap();
    // The second segment has a name that is not durable yet.
    while crate::support::segments(&instance).len() < 2 {
        append(&mut writer).unwrap();
    }
    limit(Resource::Nofile, 3);
    writer.sync().unwrap();
    let error = refused(&mut writer);
    assert!(matches!(error, Error::Io { .. }), "{error}");
    writer.watch().check().unwrap();
    limit(Resource::Nofile, before);
    let end = writer.next_offset().0;
    append_until(&mut writer, end + 100);
    writer.sync().unwrap();
    check(&instance, end + 100);
}

#[test]
fn a_lack_of_descriptors_is_no_failed_sync() {
    run("child_without_descriptors");
}

#[test]
fn child_with_many_segments() {
    let Some(instance) = as_child() else { return };
    limit(Resource::Nofile, 100);
    let mut end = 0;
    for _ in 0..2 {
        let mut writer = Writer::open(&instance, &small(8)).unwrap();
        end += 12_000;
        append_until(&mut writer, end);
        assert!(crate::support::segments(&instance).len() > 120);
    }
    check(&instance, end);
}

#[test]
fn a_journal_that_is_never_synced_needs_few_descriptors() {
    run("child_with_many_segments");
}

#[test]
fn child_after_many_segments() {
    let Some(instance) = as_child() else { return };
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    append_until(&mut writer, 12_000);
    drop(writer);
    // As if nothing had ever been synced: the mark that says so is lost.
    std::fs::remove_file(journal::marks_path(&instance)).unwrap();
    limit(Resource::Nofile, 100);
    let writer = Writer::open(&instance, &small(8)).unwrap();
    assert_eq!(writer.sync().unwrap(), Offset(12_000));
    check(&instance, 12_000);
}

#[test]
fn what_a_killed_writer_left_unsynced_needs_few_descriptors() {
    run("child_after_many_segments");
}

#[test]
fn child_with_small_files() {
    let Some(instance) = as_child() else { return };
    limit(Resource::Fsize, 48 << 10);
    let full = |error: &Error| matches!(error, Error::Full { .. }) && error.to_string().contains("ulimit -f");
    let error = Writer::open(&instance, &small(64)).unwrap_err();
    assert!(full(&error), "{error}");
    let mut writer = Writer::open(&instance, &small(16)).unwrap();
    Cursors::open(&instance, &writer).unwrap();
    append_until(&mut writer, 200);
    limit(Resource::Fsize, 8 << 10);
    let error = refused(&mut writer);
    assert!(full(&error), "{error}");
    let end = writer.next_offset().0;
    limit(Resource::Fsize, 48 << 10);
    append_until(&mut writer, end + 200);
    check(&instance, end + 200);
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_not_a_signal() {
    run("child_with_small_files");
}
