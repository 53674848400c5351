//! Power loss: whatever subset of the unsynced pages reached the disk, the journal reopens to a prefix that
//! holds everything synced.
//!
//! An image is what was on the disk at the last sync, with a random subset of what has changed since: of its
//! pages, or of its sectors, for a page may be torn. A file made since may be missing, empty or full of holes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use journal::{
    Ack, Batch, Cause, Checkpoint, Codec, Entry, Epoch, Gap, GapReason, Item, Level, Offset, Position,
    Reader, Start, Writer, verify,
};

use crate::support::{
    Got, Random, Said, copy_instance, drain, fast_folder, prove_time, read_all, read_records, segments, small,
};

/// The files of a journal by name.
type Image = BTreeMap<PathBuf, Vec<u8>>;

fn capture(instance: &Path) -> Image {
    let paths = segments(instance).into_iter().chain([journal::marks_path(instance)]);
    paths.map(|path| (path.strip_prefix(instance).unwrap().to_owned(), fs::read(&path).unwrap())).collect()
}

fn write(image: &Image, instance: &Path) {
    let _ = fs::remove_dir_all(instance);
    fs::create_dir_all(journal::journal_folder(instance)).unwrap();
    for (name, bytes) in image {
        fs::write(instance.join(name), bytes).unwrap();
    }
}

/// The disk after power loss: `synced`, with some of what became of it until `now`.
fn lose_power(synced: &Image, now: &Image, random: &mut Random) -> Image {
    let unit = [512, 4096][random.below(2)];
    let kept_of_8 = [1, 4, 7][random.below(3)];
    let mut image = Image::new();
    for name in synced.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
        let empty = Vec::new();
        let (old, new) = (synced.get(name), now.get(name).unwrap_or(&empty));
        let mut bytes = match old {
            Some(old) => old.clone(),
            None if random.below(4) == 0 => continue,
            None if random.below(4) == 0 => Vec::new(),
            None => vec![0; new.len()],
        };
        let length = bytes.len().min(new.len());
        for at in (0..length).step_by(unit) {
            if random.below(8) < kept_of_8 {
                let end = length.min(at + unit);
                bytes[at..end].copy_from_slice(&new[at..end]);
            }
        }
        image.insert(name.clone(), bytes);
    }
    // Another boot.
    for byte in &mut image.get_mut(Path::new("journal/marks")).unwrap()[32..48] {
        *byte = random.byte();
    }
    image
}

/// Speaks `count` batches, each with a checkpoint that says where it ends; adds the ends to `ends`.
fn speak(
    writer: &mut Writer,
    count: usize,
    random: &mut Random,
    ends: &mut BTreeSet<u64>,
    said: &mut Vec<Said>,
) {
    for _ in 0..count {
        let start = said.len() as u64;
        // Of another epoch, other things are said at the same offsets.
        let other = u64::from(writer.epoch().0) << 32;
        let says: Vec<Said> = (0..=random.next() % 4).map(|index| Said::at(start + index + other)).collect();
        let entries: Vec<Entry<'_>> = says.iter().map(Said::entry).collect();
        said.extend_from_slice(&says);
        let end = said.len() as u64;
        let position = Position { next: Offset(end), ..Position::default() };
        let acks = [Ack { subscription: "reads", journal: "source", position }];
        let checkpoints = [Checkpoint { name: "end", value: &end.to_le_bytes() }];
        writer.commit(&Batch { entries: &entries, acks: &acks, checkpoints: &checkpoints }).unwrap();
        ends.insert(end);
    }
}

/// Checks that the state is that of the last batch.
fn check_state(writer: &Writer) {
    let end = writer.next_offset();
    assert_eq!(writer.checkpoint("end"), Some(&end.0.to_le_bytes()[..]));
    assert_eq!(writer.acknowledged().map(|(_, _, position)| position.next).collect::<Vec<_>>(), [end]);
}

fn contents(read: Vec<(Offset, Said)>) -> Vec<Said> {
    read.into_iter().map(|(_, said)| said).collect()
}

/// Where a reader stands that has read everything.
fn position_at_end(instance: &Path) -> Position {
    let mut reader = Reader::open(instance, Start::Beginning, Level::Committed).unwrap().unwrap();
    drain(&mut reader, 100_000).unwrap();
    reader.position()
}

#[test]
fn whatever_was_written_back_the_journal_reopens_to_a_prefix() {
    let mut random = Random::announced();
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let (mut images, mut lost, mut whole) = (0, 0, 0);
    let (began, time) = (Instant::now(), prove_time(Duration::ZERO));
    for round in (0..).take_while(|round| *round < 25 || began.elapsed() < time) {
        let instance = home.path().join(format!("round{round}"));
        let (mut said, mut ends) = (Vec::new(), BTreeSet::new());
        let mut writer = Writer::open(&instance, &small(8 + 4 * (round % 3))).unwrap();
        let before = random.below(30) + 1;
        speak(&mut writer, before, &mut random, &mut ends, &mut said);
        let durable = writer.sync().unwrap();
        let synced = capture(&instance);
        let after = random.below(40) + 1;
        speak(&mut writer, after, &mut random, &mut ends, &mut said);
        let (now, position) = (capture(&instance), position_at_end(&instance));
        assert_eq!(position.next.0, said.len() as u64);
        for _ in 0..10 {
            let image = lose_power(&synced, &now, &mut random);
            let end = check_image(&image, &home.path().join("image"), durable, &said, &ends, position);
            images += 1;
            lost += usize::from(end < position.next);
            whole += usize::from(end == position.next);
        }
        drop(writer);
        fs::remove_dir_all(&instance).unwrap();
    }
    println!("{images} images: {lost} lost records, {whole} lost none");
    assert!(lost > 20 && whole > 0, "the images are all alike");
}

/// Reopens an image and checks everything about it; where it ends.
fn check_image(
    image: &Image,
    instance: &Path,
    durable: Offset,
    said: &[Said],
    ends: &BTreeSet<u64>,
    position: Position,
) -> Offset {
    write(image, instance);
    let sure = contents(read_records(instance, Start::Beginning));
    assert_eq!(
        sure,
        said[..usize::try_from(durable.0).unwrap()],
        "before recovery: what is durable, no more"
    );
    assert_eq!(verify(instance).unwrap().damage, []);

    let mut writer = Writer::open(instance, &small(8)).unwrap();
    let end = writer.next_offset();
    assert!(end >= durable && ends.contains(&end.0), "ends at {end}, durable {durable}");
    assert_eq!(writer.epoch(), Epoch(2));
    check_state(&writer);
    let mut said = said[..usize::try_from(end.0).unwrap()].to_vec();
    assert_eq!(contents(read_records(instance, Start::Beginning)), said);

    // One who has read what is lost is told, before and after something else was said in its place.
    check_position(instance, end, position, &[]);
    let first = said.len();
    speak(&mut writer, 12, &mut Random(end.0), &mut BTreeSet::new(), &mut said);
    check_position(instance, end, position, &said[first..]);
    assert_eq!(contents(read_records(instance, Start::Beginning)), said);
    drop(writer);
    let report = verify(instance).unwrap();
    assert_eq!((report.records, report.damage, report.torn_tail), (said.len() as u64, Vec::new(), false));
    end
}

fn check_position(instance: &Path, end: Offset, position: Position, later: &[Said]) {
    let mut got = read_all(instance, Start::Position(position));
    if end < position.next {
        let gap = Gap { from: end, to: position.next, reason: GapReason::Diverged };
        assert_eq!(got.remove(0), Got::Gap(gap));
    }
    let wanted =
        later.iter().enumerate().map(|(index, said)| Got::Record(end.plus(index as u64), said.clone()));
    assert_eq!(got, wanted.collect::<Vec<_>>());
}

/// Every record takes as many bytes as the one that begins an epoch: what an earlier epoch left behind the torn
/// place lies exactly where later records will.
fn speak_evenly(writer: &mut Writer, count: usize) {
    for _ in 0..count {
        let cause = Some(Cause { journal: "source", offset: Offset(u64::from(writer.epoch().0)) });
        writer.append(&Entry { topic: "even", key: None, cause, codec: Codec::Raw, payload: &[] }).unwrap();
    }
}

/// A writer's marks are durable when it has begun.
fn sync_marks(image: &mut Image, instance: &Path) {
    image.insert(PathBuf::from("journal/marks"), fs::read(journal::marks_path(instance)).unwrap());
}

fn epochs(instance: &Path) -> Vec<u32> {
    let mut reader = Reader::open(instance, Start::Beginning, Level::Committed).unwrap().unwrap();
    let mut epochs = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        let Item::Record(record) = item else { panic!("{item:?}") };
        assert_eq!(record.cause.map(|cause| cause.offset.0), Some(u64::from(record.epoch.0)));
        epochs.push(record.epoch.0);
    }
    epochs
}

#[test]
fn a_second_power_loss_brings_nothing_back_that_the_first_one_cut_off() {
    let mut random = Random::announced();
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let [first, second, image] = ["first", "second", "image"].map(|name| home.path().join(name));
    let mut writer = Writer::open(&first, &small(8)).unwrap();
    speak_evenly(&mut writer, 5);
    let durable = writer.sync().unwrap();
    let mut synced = capture(&first);
    // Killed after some more, then another process goes on: its epoch's beginning shifts what follows.
    speak_evenly(&mut writer, 30);
    copy_instance(&first, &second);
    let mut writer = Writer::open(&second, &small(8)).unwrap();
    sync_marks(&mut synced, &second);
    speak_evenly(&mut writer, 200);
    let now = capture(&second);
    let (began, time) = (Instant::now(), prove_time(Duration::ZERO));
    for case in (0..).take_while(|case| *case < 600 || began.elapsed() < time) {
        let mut lost = lose_power(&synced, &now, &mut random);
        write(&lost, &image);
        let mut writer = Writer::open(&image, &small(8)).unwrap();
        sync_marks(&mut lost, &image);
        let cut = usize::try_from(writer.next_offset().0).unwrap();
        let count = random.below(150);
        speak_evenly(&mut writer, count);
        let said = epochs(&image);
        let again = lose_power(&lost, &capture(&image), &mut random);
        drop(writer);
        write(&again, &image);
        drop(Writer::open(&image, &small(8)).unwrap());
        let left = epochs(&image);
        assert!(left.len() as u64 >= durable.0);
        // Nothing new may have been written back: then it is the first power loss again.
        let anew = left.iter().any(|epoch| *epoch > 2);
        assert!(
            said.starts_with(&left),
            "case {case}: cut at {cut}, new {anew}: {left:?} is no prefix of {said:?}"
        );
    }
}

/// Recovery removes what lies behind a torn place. A later power loss may undo that, and keep what was said since.
#[test]
fn a_removed_segment_that_comes_back_is_removed_again() {
    for end in [8, 9, 10, 40] {
        let home = tempfile::tempdir_in(fast_folder()).unwrap();
        let [instance, image] = ["first", "image"].map(|name| home.path().join(name));
        let mut writer = Writer::open(&instance, &small(8)).unwrap();
        speak_evenly(&mut writer, 5);
        writer.sync().unwrap();
        let mut lost = capture(&instance);
        // The second segment begins at 9; of the first, nothing was written back after the sync.
        for _ in 0..5 {
            let cause = Some(Cause { journal: "source", offset: Offset(1) });
            let payload = &[7; 1500];
            writer.append(&Entry { topic: "even", key: None, cause, codec: Codec::Raw, payload }).unwrap();
        }
        let second = segments(&instance)[1].strip_prefix(&instance).unwrap().to_owned();
        assert!(second.ends_with("00000000000000000009.seg"), "{}", second.display());
        lost.insert(second.clone(), fs::read(instance.join(&second)).unwrap());
        let lost = lose_power(&lost, &Image::new(), &mut Random(0));

        write(&lost, &image);
        let mut writer = Writer::open(&image, &small(8)).unwrap();
        assert_eq!((writer.next_offset(), segments(&image).len()), (Offset(5), 1));
        speak_evenly(&mut writer, end - 5);
        let mut again = capture(&image);
        again.insert(second.clone(), lost[&second].clone());
        drop(writer);
        write(&lose_power(&again, &Image::new(), &mut Random(0)), &image);
        let mut writer = Writer::open(&image, &small(8)).unwrap();
        assert_eq!(writer.next_offset().0, end as u64);
        speak_evenly(&mut writer, 3);
        let wanted: Vec<u32> =
            (0..end + 3).map(|index| if index < 5 { 1 } else { 2 + u32::from(index >= end) }).collect();
        assert_eq!(epochs(&image), wanted);
        assert_eq!(verify(&image).unwrap().damage, []);
    }
}
