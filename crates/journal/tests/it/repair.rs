//! Readers that are there while a writer recovers what power loss has torn: nothing is shown that is taken back.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use journal::{Batch, Item, Level, Offset, Reader, Start, Writer};

use crate::support::{Said, small};

/// Synced records, and an unsynced batch whose second record was lost with the power.
fn tear(from: &Path, instance: &Path) {
    let mut writer = Writer::open(from, &small(8)).unwrap();
    for offset in 0..5 {
        writer.append(&Said::at(offset).entry()).unwrap();
    }
    writer.sync().unwrap();
    let torn = [Said { topic: "torn".to_owned(), ..Said::at(6) }, Said::at(7)];
    let entries = torn.each_ref().map(Said::entry);
    writer.commit(&Batch { entries: &entries, ..Batch::default() }).unwrap();
    fs::create_dir_all(instance.join("journal")).unwrap();
    for found in fs::read_dir(from.join("journal")).unwrap() {
        let path = found.unwrap().path();
        fs::copy(&path, instance.join("journal").join(path.file_name().unwrap())).unwrap();
    }
    let marks = fs::File::options().write(true).open(journal::marks_path(instance)).unwrap();
    marks.write_all_at(&[7; 16], 32).unwrap();
    let segment = instance.join("journal").join(format!("{:020}.seg", 0));
    let bytes = fs::read(&segment).unwrap();
    let second = 8 * bytes.chunks(8).position(|word| word == 6_u64.to_le_bytes()).unwrap();
    fs::File::options().write(true).open(segment).unwrap().write_all_at(&[0xff], second as u64 + 10).unwrap();
}

#[test]
fn a_reader_that_polls_through_a_recovery_is_shown_nothing_that_is_cut_off() {
    for _ in 0..20 {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("torn");
        tear(&home.path().join("whole"), &instance);
        let mut reader = Reader::open(&instance, Start::Beginning, Level::Committed).unwrap().unwrap();
        let recovered = AtomicBool::new(false);
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut heard = Vec::new();
                loop {
                    let done = recovered.load(Ordering::Acquire);
                    while let Some(item) = reader.next().unwrap() {
                        let Item::Record(record) = item else { panic!("{item:?}") };
                        heard.push((record.offset, Said::of(&record)));
                    }
                    if done {
                        return heard;
                    }
                }
            });
            let mut writer = Writer::open(&instance, &small(8)).unwrap();
            assert_eq!(writer.next_offset(), Offset(5));
            writer.append(&Said::at(5).entry()).unwrap();
            recovered.store(true, Ordering::Release);
            let wanted: Vec<_> = (0..6).map(|offset| (Offset(offset), Said::at(offset))).collect();
            assert_eq!(reading.join().unwrap(), wanted);
        });
    }
}
