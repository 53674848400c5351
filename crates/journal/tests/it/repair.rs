//! Readers that are there while a writer recovers what power loss has torn: nothing is shown that is taken back.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use journal::{
    Ack, Batch, Gap, GapReason, Item, Level, Offset, Position, Reader, Start, Time, Writer, verify,
};

use crate::support::{Got, Said, append_until, copy_instance, drain, read_all, segments, small};

/// A synced journal of five records, in another boot.
fn synced(from: &Path) -> Writer {
    let mut writer = Writer::open(from, &small(8)).unwrap();
    append_until(&mut writer, 5);
    writer.sync().unwrap();
    writer
}

/// The disk after a loss of power, on which all is that was said, but for what the test damages.
fn lose_power(from: &Path, instance: &Path) {
    copy_instance(from, instance);
    let marks = fs::File::options().write(true).open(journal::marks_path(instance)).unwrap();
    marks.write_all_at(&[7; 16], 32).unwrap();
}

/// Damages the record of an offset in the first segment.
fn damage(instance: &Path, offset: u64) {
    let segment = &segments(instance)[0];
    let bytes = fs::read(segment).unwrap();
    let mut records = bytes.chunks(8).enumerate().skip(17);
    // The last one with this word where a record has its offset: control records come before.
    let place = records.rfind(|(_, word)| *word == offset.to_le_bytes()).unwrap().0 * 8;
    let file = fs::File::options().write(true).open(segment).unwrap();
    file.write_all_at(&[!bytes[place + 10]], place as u64 + 10).unwrap();
}

/// Synced records, and an unsynced batch whose second record was lost with the power.
fn tear(from: &Path, instance: &Path) {
    let mut writer = synced(from);
    let torn = [Said { topic: "torn".to_owned(), ..Said::at(6) }, Said::at(7)];
    let entries = torn.each_ref().map(Said::entry);
    writer.commit(&Batch { entries: &entries, ..Batch::default() }).unwrap();
    lose_power(from, instance);
    damage(instance, 6);
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

/// What was said in another life at the same offsets.
fn old(offset: u64) -> Said {
    Said { topic: Said::at(0).topic, key: None, cause: None, payload: vec![0xab; 70], ..Said::at(offset) }
}

/// Like [`tear`], but one of the synced records is damaged as well, so that the segment is kept as it is: `torn` is the one of
/// the later ones that is torn, which are a batch or not.
fn tear_damaged(from: &Path, instance: &Path, batch: bool, torn: u64) {
    let mut writer = synced(from);
    let later: Vec<Said> = (5..9).map(old).collect();
    let entries: Vec<_> = later.iter().map(Said::entry).collect();
    if batch {
        writer.commit(&Batch { entries: &entries, ..Batch::default() }).unwrap();
    } else {
        for entry in &entries {
            writer.append(entry).unwrap();
        }
    }
    lose_power(from, instance);
    damage(instance, 2);
    damage(instance, torn);
}

/// All from `from` to `end`, as it was said in the life that counts, but for the damaged record.
fn whole(from: u64, end: u64) -> Vec<Got> {
    let gap = Got::Gap(Gap { from: Offset(2), to: Offset(3), reason: GapReason::Corrupt });
    let record =
        |offset| if offset == 2 { gap.clone() } else { Got::Record(Offset(offset), Said::at(offset)) };
    (from..end).map(record).collect()
}

#[test]
fn what_is_torn_behind_damage_is_shown_to_nobody() {
    for (batch, torn) in [(true, 8), (false, 5)] {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("torn");
        tear_damaged(&home.path().join("whole"), &instance, batch, torn);
        let open = || Reader::open(&instance, Start::Beginning, Level::Committed).unwrap().unwrap();
        let (mut before, mut idle) = (open(), open());
        assert_eq!(drain(&mut before, 100).unwrap(), whole(0, 5));
        let mut writer = Writer::open(&instance, &small(8)).unwrap();
        assert_eq!(writer.next_offset(), Offset(5));
        assert_eq!(drain(&mut before, 100).unwrap(), []);
        append_until(&mut writer, 7);
        assert_eq!(drain(&mut before, 100).unwrap(), whole(5, 7));
        append_until(&mut writer, 12);
        assert_eq!(drain(&mut before, 100).unwrap(), whole(7, 12));
        assert_eq!(drain(&mut idle, 100).unwrap(), whole(0, 12));
        assert_eq!(read_all(&instance, Start::Beginning), whole(0, 12));
        let all = drain(
            &mut Reader::open(&instance, Start::Time(Time(0)), Level::Committed).unwrap().unwrap(),
            100,
        );
        assert_eq!(all.unwrap(), whole(0, 12));

        let places = |instance: &Path| -> Vec<_> {
            verify(instance).unwrap().damage.into_iter().map(|damage| (damage.from.0, damage.to.0)).collect()
        };
        assert_eq!(places(&instance), [(2, 3)]);

        // Damage to what the newest segment begins with makes recovery go through the one before it.
        writer.sync().unwrap();
        drop(writer);
        let newest = fs::File::options().write(true).open(&segments(&instance)[1]).unwrap();
        let place = 128 + 20;
        let byte = fs::read(&segments(&instance)[1]).unwrap()[place];
        newest.write_all_at(&[!byte], place as u64).unwrap();
        let mut writer = Writer::open(&instance, &small(8)).unwrap();
        assert_eq!(writer.next_offset(), Offset(12));
        append_until(&mut writer, 15);
        assert_eq!(read_all(&instance, Start::Offset(Offset(12))), whole(12, 15));
    }
}

#[test]
fn a_reader_that_polls_is_shown_nothing_that_is_torn_behind_damage() {
    for round in 0..20 {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("torn");
        tear_damaged(
            &home.path().join("whole"),
            &instance,
            round % 2 == 0,
            if round % 2 == 0 { 8 } else { 5 },
        );
        let recovered = AtomicBool::new(false);
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut reader =
                    Reader::open(&instance, Start::Beginning, Level::Committed).unwrap().unwrap();
                let mut heard = Vec::new();
                loop {
                    let done = recovered.load(Ordering::Acquire);
                    heard.extend(drain(&mut reader, 100).unwrap());
                    if done {
                        return heard;
                    }
                }
            });
            let opened = Writer::open(&instance, &small(8)).map(|mut writer| append_until(&mut writer, 7));
            recovered.store(true, Ordering::Release);
            opened.unwrap();
            assert_eq!(reading.join().unwrap(), whole(0, 7));
        });
    }
}

#[test]
fn what_was_forgotten_in_a_damaged_place_stays_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let (from, instance) = (home.path().join("whole"), home.path().join("forgotten"));
    let mut writer = Writer::open(&from, &small(8)).unwrap();
    let ack = Ack { subscription: "gone", journal: "j", position: Position::at(Offset(7)) };
    writer.commit(&Batch { acks: &[ack], ..Batch::default() }).unwrap();
    append_until(&mut writer, 3);
    writer.forget("gone", "j").unwrap();
    append_until(&mut writer, 5);
    writer.sync().unwrap();
    append_until(&mut writer, 200);
    lose_power(&from, &instance);
    // The last that the first segment says of it.
    let segment = &segments(&instance)[0];
    let bytes = fs::read(segment).unwrap();
    let place = bytes.windows(5).rposition(|word| word == b"gonej").unwrap();
    fs::File::options().write(true).open(segment).unwrap().write_all_at(b"X", place as u64).unwrap();
    let writer = Writer::open(&instance, &small(8)).unwrap();
    assert!(writer.next_offset() > Offset(100), "the later segments are whole");
    assert_eq!(writer.acknowledged().next(), None);
}
