//! A full disk and a folder that cannot be written: errors, and never a signal.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use journal::{
    Ack, Batch, Codec, Cursors, Entry, Error, Level, Offset, Position, Reader, Start, Writer, verify,
};

use crate::support::{Got, drain, read_records, small};

/// A small file system in memory, unmounted in the end.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None`, said plainly, where mounting is not allowed.
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(folder)),
            Ok(output) => {
                println!("NOT TESTED: mount refused: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("NOT TESTED: no mount program: {error}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room there is.
    fn fill(&self) -> PathBuf {
        let ballast = self.path().join("ballast");
        let error = fs::write(&ballast, vec![1; 64 << 20]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        ballast
    }
}

/// Gives the room back that a file takes, also if a child that another test begins just now still has it open.
fn empty(ballast: &Path) {
    fs::File::options().write(true).open(ballast).unwrap().set_len(0).unwrap();
    fs::remove_file(ballast).unwrap();
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn entry(payload: &[u8]) -> Entry<'_> {
    Entry { topic: "filling", key: None, cause: None, codec: Codec::Raw, payload }
}

fn append(writer: &mut Writer) -> journal::Result<Offset> {
    let payload = [writer.next_offset().0.to_le_bytes(); 60].concat();
    writer.append(&entry(&payload))
}

/// Appends until there is no room; how many records were said.
fn append_until_full(writer: &mut Writer) -> u64 {
    for _ in 0..100_000 {
        match append(writer) {
            Ok(_) => {}
            Err(Error::Full { .. }) => return writer.next_offset().0,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk is never full");
}

fn check(instance: &Path, end: u64) {
    let read = read_records(instance, Start::Beginning);
    assert_eq!(read.len() as u64, end);
    for (index, (offset, said)) in read.iter().enumerate() {
        assert_eq!((offset.0, &said.payload), (index as u64, &[offset.0.to_le_bytes(); 60].concat()));
    }
    assert_eq!(verify(instance).unwrap().damage, []);
}

#[test]
fn a_full_disk_is_an_error_and_appending_goes_on_once_there_is_room() {
    let Some(disk) = Disk::mount("1536k") else { return };
    let instance = disk.path().join("full");
    let mut writer = Writer::open(&instance, &small(64)).unwrap();
    let end = append_until_full(&mut writer);
    assert!(end > 1000, "only {end} records fit");
    for _ in 0..10 {
        assert!(matches!(append(&mut writer), Err(Error::Full { .. })));
    }
    check(&instance, end);
    writer.sync().unwrap();

    // The operator makes room; the same writer goes on, and no offset was used up.
    let oldest = crate::support::segments(&instance).swap_remove(0);
    let kept = disk.0.path().parent().unwrap().join(format!("kept-{}", std::process::id()));
    fs::copy(&oldest, &kept).unwrap();
    fs::remove_file(&oldest).unwrap();
    assert_eq!(append(&mut writer).unwrap().0, end);
    let more = append_until_full(&mut writer);
    assert!(more > end);
    drop(writer);

    // And so does the next process, on the disk that is still full.
    let mut writer = Writer::open(&instance, &small(64)).unwrap();
    assert_eq!(writer.next_offset().0, more);
    let _ = append(&mut writer);
    let end = writer.next_offset().0;
    drop(writer);
    // A larger disk, and the oldest segment back from where it was kept.
    let size = Command::new("mount").args(["-o", "remount,size=4m"]).arg(disk.path()).status().unwrap();
    assert!(size.success());
    fs::rename(&kept, &oldest).or_else(|_| fs::copy(&kept, &oldest).map(drop)).unwrap();
    let _ = fs::remove_file(&kept);
    check(&instance, end);
}

#[test]
fn a_journal_is_taken_over_on_a_disk_that_others_keep_full() {
    let Some(disk) = Disk::mount("16m") else { return };
    let instance = disk.path().join("taken-over");
    append(&mut Writer::open(&instance, &small(4 << 10)).unwrap()).unwrap();
    let ballast = fs::File::create(disk.path().join("ballast")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Takes whatever room somebody lets go of, as soon as it is there.
            let (page, mut at) = ([1; 4096], 0);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                match std::os::unix::fs::FileExt::write_at(&ballast, &page, at) {
                    Ok(written) => at += written as u64,
                    Err(_) => std::thread::yield_now(),
                }
            }
        });
        // The next segment is made ahead, so some room may come back when a writer ends.
        let opened: Vec<_> = (0..20)
            .map(|_| Writer::open(&instance, &small(4 << 10)).map(|writer| writer.epoch().0))
            .collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for (opened, epoch) in opened.into_iter().zip(2..) {
            assert_eq!(opened.unwrap(), epoch);
        }
    });
    drop(ballast);
    empty(&disk.path().join("ballast"));
    append(&mut Writer::open(&instance, &small(4 << 10)).unwrap()).unwrap();
    check(&instance, 2);
}

#[test]
fn a_journal_cannot_begin_on_a_full_disk_and_can_once_there_is_room() {
    let Some(disk) = Disk::mount("1m") else { return };
    let instance = disk.path().join("begun");
    let ballast = disk.fill();
    for _ in 0..2 {
        match Writer::open(&instance, &small(64)) {
            Err(Error::Full { .. }) => {}
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::StorageFull => {}
            other => panic!("{other:?} on a full disk"),
        }
    }
    empty(&ballast);
    let mut writer = Writer::open(&instance, &small(64)).unwrap();
    append(&mut writer).unwrap();

    // Cursors are reserved as well.
    let ballast = disk.fill();
    assert!(matches!(Cursors::open(&instance, &writer), Err(Error::Full { .. })));
    empty(&ballast);
    Cursors::open(&instance, &writer).unwrap();
    check(&instance, 1);
}

#[test]
fn a_read_only_folder_is_an_error() {
    let Some(disk) = Disk::mount("1m") else { return };
    let instance = disk.path().join("frozen");
    append(&mut Writer::open(&instance, &small(64)).unwrap()).unwrap();
    let frozen = Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()).status().unwrap();
    assert!(frozen.success());
    for instance in [&instance, &disk.path().join("new")] {
        match Writer::open(instance, &small(64)) {
            Err(Error::Io { source, .. }) => {
                assert_eq!(source.kind(), std::io::ErrorKind::ReadOnlyFilesystem)
            }
            other => panic!("{other:?} in a read-only folder"),
        }
    }
    check(&instance, 1);
}

/// Of what can be read.
fn offsets(instance: &Path) -> Vec<u64> {
    let read = crate::support::read_all(instance, Start::Beginning);
    let record = |got: &Got| if let Got::Record(offset, _) = got { Some(offset.0) } else { None };
    read.iter().filter_map(record).collect()
}

/// A wrong bit in a record of the newest segment.
fn damage(instance: &Path) {
    let path = crate::support::segments(instance).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[2000] ^= 1;
    fs::File::options().write(true).open(&path).unwrap().write_all_at(&bytes, 0).unwrap();
}

#[test]
fn a_journal_whose_newest_segment_is_damaged_is_taken_over_on_a_full_disk() {
    for is_of_this_boot in [true, false] {
        let Some(disk) = Disk::mount("2m") else { return };
        let instance = disk.path().join("damaged");
        let mut writer = Writer::open(&instance, &small(64)).unwrap();
        let ack = Ack { subscription: "s", journal: "j", position: Position::at(Offset(7)) };
        writer.commit(&Batch { acks: &[ack], ..Batch::default() }).unwrap();
        while writer.next_offset().0 < 200 {
            append(&mut writer).unwrap();
        }
        let end = 200;
        drop(writer);
        damage(&instance);
        if !is_of_this_boot {
            let marks = fs::File::options().write(true).open(journal::marks_path(&instance)).unwrap();
            marks.write_all_at(&[7; 16], 32).unwrap();
        }
        let whole = offsets(&instance);
        assert!((150..200).contains(&whole.len()), "{whole:?}");
        let segments = crate::support::segments(&instance);
        let ballast = disk.fill();
        for epoch in 2..5 {
            let mut writer = Writer::open(&instance, &small(64)).unwrap();
            assert_eq!((writer.epoch().0, writer.next_offset().0), (epoch, end));
            assert_eq!(writer.acknowledged().next().unwrap().2, ack.position);
            for _ in 0..2 {
                assert!(matches!(append(&mut writer), Err(Error::Full { .. })));
            }
            writer.commit(&Batch::default()).unwrap();
            writer.sync().unwrap();
            assert_eq!(offsets(&instance), whole);
        }
        let mut writer = Writer::open(&instance, &small(64)).unwrap();
        assert!(matches!(append(&mut writer), Err(Error::Full { .. })));
        assert_eq!(crate::support::segments(&instance), segments);
        empty(&ballast);
        assert_eq!(append(&mut writer).unwrap().0, end);
        drop(writer);
        let mut writer = Writer::open(&instance, &small(64)).unwrap();
        assert_eq!(writer.acknowledged().next().unwrap().2, ack.position);
        assert_eq!(append(&mut writer).unwrap().0, end + 1);
        assert_eq!(offsets(&instance), [whole, vec![end, end + 1]].concat());
    }
}

#[test]
fn what_power_loss_has_torn_is_shown_to_nobody_while_a_full_disk_keeps_its_place() {
    let Some(disk) = Disk::mount("1m") else { return };
    let instance = disk.path().join("torn");
    let mut writer = Writer::open(&instance, &small(64)).unwrap();
    while writer.next_offset().0 < 20 {
        append(&mut writer).unwrap();
    }
    writer.sync().unwrap();
    let marks = fs::read(journal::marks_path(&instance)).unwrap();
    // Not durable, and torn below.
    let payloads: Vec<_> = (0..4).map(|_| [9; 480]).collect();
    let entries: Vec<_> = payloads.iter().map(|payload| Entry { topic: "torn", ..entry(payload) }).collect();
    let torn = writer.commit(&Batch { entries: &entries, ..Batch::default() }).unwrap();
    assert_eq!(torn.start, Offset(20));
    drop(writer);
    let file = fs::File::options().write(true).open(journal::marks_path(&instance)).unwrap();
    file.write_all_at(&marks, 0).unwrap();
    file.write_all_at(&[7; 16], 32).unwrap();
    // The last of the batch is lost, and a record that was durable is damaged.
    let path = &crate::support::segments(&instance)[0];
    let bytes = fs::read(path).unwrap();
    let segment = fs::File::options().write(true).open(path).unwrap();
    let last = bytes.iter().rposition(|byte| *byte == 9).unwrap();
    segment.write_all_at(&[8], last as u64).unwrap();
    damage(&instance);

    let ballast = disk.fill();
    let mut living = Reader::open(&instance, Start::Beginning, Level::Committed).unwrap().unwrap();
    let before = drain(&mut living, 100).unwrap();
    let mut writer = Writer::open(&instance, &small(64)).unwrap();
    assert_eq!(writer.next_offset(), Offset(20));
    let whole = offsets(&instance);
    assert!(whole.len() < 20 && whole.last() == Some(&19), "{whole:?}");
    assert_eq!(drain(&mut living, 100).unwrap(), []);
    assert!(matches!(append(&mut writer), Err(Error::Full { .. })));
    empty(&ballast);
    append(&mut writer).unwrap();
    assert_eq!(offsets(&instance), [whole, vec![20]].concat());
    let after = drain(&mut living, 100).unwrap();
    assert!(matches!(&after[..], [Got::Record(Offset(20), said)] if said.payload != [9; 480]), "{after:?}");
    assert_eq!([before, after].concat(), crate::support::read_all(&instance, Start::Beginning));
}

#[test]
fn a_journal_that_was_copied_without_its_reserved_room_is_taken_over_on_a_full_disk() {
    let Some(disk) = Disk::mount("1m") else { return };
    let instance = disk.path().join("sparse");
    let mut writer = Writer::open(&instance, &small(64)).unwrap();
    while writer.next_offset().0 < 20 {
        append(&mut writer).unwrap();
    }
    drop(writer);
    // As `cp --sparse` does.
    let path = &crate::support::segments(&instance)[0];
    let bytes = fs::read(path).unwrap();
    let data = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    fs::write(path, &bytes[..data]).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_len(bytes.len() as u64).unwrap();
    let ballast = disk.fill();
    for _ in 0..2 {
        let mut writer = Writer::open(&instance, &small(64)).unwrap();
        assert!(matches!(append(&mut writer), Err(Error::Full { .. })));
    }
    let mut living = Writer::open(&instance, &small(64)).unwrap();
    check(&instance, 20);
    empty(&ballast);
    append(&mut living).unwrap();
    check(&instance, 21);
    drop(living);
    append(&mut Writer::open(&instance, &small(64)).unwrap()).unwrap();
    check(&instance, 22);
}

#[test]
fn a_segment_that_cannot_get_its_name_takes_no_room() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("nameless");
    let mut writer = Writer::open(&instance, &small(64)).unwrap();
    let refused = loop {
        // The next segment would have this name.
        let folder = journal::journal_folder(&instance);
        let in_the_way = folder.join(format!("{:020}.seg", writer.next_offset().0));
        if !in_the_way.exists() {
            fs::create_dir(&in_the_way).unwrap();
        }
        let appended = append(&mut writer);
        if writer.next_offset().0 > 0 && in_the_way.is_dir() {
            fs::remove_dir(&in_the_way).unwrap();
        }
        if appended.is_err() {
            break appended;
        }
    };
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    assert!(!journal::journal_folder(&instance).join("taken.tmp").exists());
    let end = writer.next_offset().0;
    append(&mut writer).unwrap();
    check(&instance, end + 1);
}
