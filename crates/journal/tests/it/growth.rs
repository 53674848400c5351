//! A process that says little takes little room; one that says much soon has large segments.

use std::fs;
use std::path::Path;

use journal::{
    Batch, Checkpoint, Codec, Entry, Item, Level, Options, Reader, Start, Writer, journal_folder, verify,
};

use crate::support::{append_until, bases, fast_folder, keeps, segments, wait_until};

const MIB: u64 = 1 << 20;

/// Bytes of all files of the journal, those that are made ready ahead included.
fn bytes(instance: &Path) -> u64 {
    let files = fs::read_dir(journal_folder(instance)).unwrap();
    files.filter_map(|found| found.unwrap().metadata().ok()).map(|found| found.len()).sum()
}

fn largest(instance: &Path) -> u64 {
    let files = fs::read_dir(journal_folder(instance)).unwrap();
    files.filter_map(|found| found.unwrap().metadata().ok()).map(|found| found.len()).max().unwrap()
}

fn say(writer: &mut Writer, payload: &[u8]) {
    writer.append(&Entry { topic: "t", key: None, cause: None, codec: Codec::Raw, payload }).unwrap();
}

#[test]
fn a_quiet_process_takes_little_room() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("quiet");
    for _ in 0..3 {
        let mut writer = Writer::open(&instance, &Options::default()).unwrap();
        for _ in 0..100 {
            say(&mut writer, &[7; 100]);
        }
        assert!(bytes(&instance) <= MIB / 2, "{}", bytes(&instance));
    }
}

#[test]
fn a_fast_writer_soon_has_segments_of_full_size() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("fast");
    let options = Options { segment_bytes: 8 * MIB, ..Options::default() };
    let mut writer = Writer::open(&instance, &options).unwrap();
    let mut said: u64 = 0;
    while largest(&instance) < 8 * MIB {
        say(&mut writer, &[7; 60_000]);
        said += 1;
        assert!(said < 2_000, "{} bytes at most", largest(&instance));
    }
    drop(writer);
    let mut reader = Reader::open(&instance, Start::Beginning, Level::Committed).unwrap().unwrap();
    let mut read = 0;
    while let Some(item) = reader.next().unwrap() {
        assert!(matches!(item, Item::Record(record) if record.offset.0 == read));
        read += 1;
    }
    assert_eq!(read, said);
    assert_eq!(verify(&instance).unwrap().damage, []);
}

#[test]
fn what_does_not_fit_into_a_small_segment_gets_a_large_one() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("large");
    let options = Options { segment_bytes: 8 * MIB, ..Options::default() };
    let mut writer = Writer::open(&instance, &options).unwrap();
    say(&mut writer, &[1; 10]);
    say(&mut writer, &vec![2; 7 << 20]);
    let value = vec![3; 2 << 20];
    writer
        .commit(&Batch { checkpoints: &[Checkpoint { name: "c", value: &value }], ..Batch::default() })
        .unwrap();
    say(&mut writer, &vec![4; 5 << 20]);
    drop(writer);
    // Its state does not fit into the first segment of a journal either.
    for found in fs::read_dir(journal_folder(&instance)).unwrap() {
        let path = found.unwrap().path();
        assert!(path.metadata().unwrap().len() <= 8 * MIB);
    }
    let writer = Writer::open(&instance, &options).unwrap();
    assert_eq!(writer.checkpoint("c"), Some(&*value));
    assert_eq!(writer.next_offset().0, 3);
    assert_eq!(verify(&instance).unwrap().damage, []);
}

#[test]
fn the_next_segment_is_there_before_a_small_one_is_full() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("small");
    let mut writer = Writer::open(&instance, &Options::default()).unwrap();
    let bytes = fs::metadata(&segments(&instance)[0]).unwrap().len();
    for _ in 0..bytes / 1100 * 2 / 3 {
        say(&mut writer, &[7; 1000]);
    }
    assert_eq!(segments(&instance).len(), 1);
    let next = journal_folder(&instance).join("next.tmp");
    wait_until("the next segment is made", || next.exists());
}

#[test]
fn many_segments_go_at_once_without_another_append() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("many");
    let mut writer = Writer::open(&instance, &keeps(1000)).unwrap();
    while bases(&instance).len() < 100 {
        let end = writer.next_offset().0 + 50;
        append_until(&mut writer, end);
    }
    drop(writer);
    let mut writer = Writer::open(&instance, &keeps(1)).unwrap();
    // A writer that needs the next segment waits for a few of them only.
    let newest = bases(&instance).pop();
    while bases(&instance).pop() == newest {
        let end = writer.next_offset().0 + 1;
        append_until(&mut writer, end);
    }
    wait_until("the others are gone", || bases(&instance).len() <= 3);
    let end = writer.next_offset().0;
    assert!(end > 0 && verify(&instance).unwrap().damage.is_empty());
}

#[test]
fn a_journal_whose_segments_were_larger_starts_with_what_it_carries() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("shrunk");
    let sized = |segment_bytes: u64| {
        let mut options = Options { segment_bytes, ..Options::default() };
        options.retention.bytes_max = Some(2 * segment_bytes);
        options
    };
    let value = vec![7; 100_000];
    let mut writer = Writer::open(&instance, &sized(MIB)).unwrap();
    say(&mut writer, &[1; 200_000]);
    let checkpoints = [Checkpoint { name: "model", value: &value }];
    writer.commit(&Batch { checkpoints: &checkpoints, ..Batch::default() }).unwrap();
    drop(writer);
    let mut said = 1;
    for _ in 0..3 {
        let mut writer = Writer::open(&instance, &sized(8 << 10)).unwrap();
        assert_eq!(writer.checkpoint("model"), Some(&value[..]));
        // Over the ends of several segments.
        for _ in 0..40 {
            say(&mut writer, &[2; 30_000]);
            said += 1;
        }
        assert!(largest(&instance) <= MIB);
    }
    // Once there is less to carry, the journal goes on as asked for.
    let mut writer = Writer::open(&instance, &sized(8 << 10)).unwrap();
    let nothing = [Checkpoint { name: "model", value: &[] }];
    writer.commit(&Batch { checkpoints: &nothing, ..Batch::default() }).unwrap();
    drop(writer);
    let mut writer = Writer::open(&instance, &sized(8 << 10)).unwrap();
    say(&mut writer, b"small");
    assert_eq!(writer.next_offset().0, said + 1);
}
