//! Power loss at any step, on images of the real files: the journal reopens to a prefix that holds everything that
//! was reported durable, a reader that has seen more is told, and no cursor is ahead of what was said because of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use journal::{
    Ack, Batch, Checkpoint, Cursor, Cursors, Entry, Epoch, Gap, GapReason, Level, Offset, Options, Position,
    Reader, Start, Writer, verify,
};

use super::image::{Crash, Disk, Every, Image, write};
use crate::support::{
    Got, Random, Said, bases, drain, fast_folder, keeps, prove_time, read_all, read_records, segments, small,
};

/// Moments that are looked at closer, of each life of a writer.
const CRASHES: usize = 6;
/// Cursors that only the table knows: so many that they lie in several sectors.
const ALONE: usize = 6;

/// What was said, and what a reader knows that has read it.
#[derive(Debug, Clone, Default)]
struct Story {
    said: Vec<Said>,
    /// Where the batch ends that came of an input. Some inputs make no record.
    ends: BTreeMap<u64, u64>,
    positions: BTreeMap<u64, Position>,
    /// Positions in what was lost, and where that parts from what is kept.
    lost: Vec<(Position, u64)>,
    journal: u128,
    /// How much of its beginning is gone.
    trimmed: u64,
}

impl Story {
    /// What is left of it when the journal ends at `end`, with what came of an input.
    fn cut(&mut self, end: u64, input: u64) {
        self.said.truncate(usize::try_from(end).unwrap());
        self.ends.split_off(&(input + 1));
        for (_, parts) in &mut self.lost {
            *parts = end.min(*parts);
        }
        let gone = self.positions.split_off(&(end + 1));
        self.lost.extend(gone.into_values().map(|position| (position, end)));
    }
}

fn options(keeps_little: bool) -> Options {
    if keeps_little { keeps(2) } else { small(8) }
}

/// A writer and what it needs to tell the story.
struct Speaker {
    writer: Writer,
    reader: Reader,
    cursors: Vec<Cursor>,
    /// Where the cursors are that only the table knows.
    stored: u64,
}

impl Speaker {
    fn open(instance: &Path, options: &Options, story: &mut Story) -> Self {
        let writer = Writer::open(instance, options).unwrap();
        if story.journal != writer.journal().0 {
            // Nothing was left of the one before.
            story.lost.clear();
            story.journal = writer.journal().0;
        }
        let cursors = Cursors::open(instance, &writer).unwrap();
        let claim = |index| cursors.claim(&format!("alone-{index}"), "source").unwrap();
        let claimed: Vec<Cursor> = (0..ALONE).map(claim).collect();
        let next = writer.next_offset();
        let reader = Reader::open(instance, Start::Offset(next), Level::Committed).unwrap().unwrap();
        let stored = claimed[0].position().unwrap_or_default().next.0;
        Self { writer, reader, cursors: claimed, stored }
    }

    /// Says what comes of the next input: `count` records, each unlike what another epoch says at its place.
    fn speak(&mut self, story: &mut Story, count: u64) {
        let start = story.said.len() as u64;
        let other = u64::from(self.writer.epoch().0) << 32;
        let says: Vec<Said> = (start..start + count).map(|offset| Said::at(offset + other)).collect();
        let entries: Vec<Entry<'_>> = says.iter().map(Said::entry).collect();
        story.said.extend_from_slice(&says);
        let end = start + count;
        let input = story.ends.last_key_value().map_or(0, |(input, _)| *input) + 1;
        story.ends.insert(input, end);
        let acks = [Ack { subscription: "spoken", journal: "source", position: at(input) }];
        let checkpoints = [Checkpoint { name: "input", value: &input.to_le_bytes() }];
        self.writer.commit(&Batch { entries: &entries, acks: &acks, checkpoints: &checkpoints }).unwrap();
        for cursor in &self.cursors {
            cursor.store(at(input));
        }
        self.stored = input;
        assert_eq!(drain(&mut self.reader, 100).unwrap().len() as u64, count);
        if count > 0 {
            story.positions.insert(end, self.reader.position());
        }
    }

    fn sync(&mut self, disk: &Disk) {
        self.writer.sync().unwrap();
        disk.acknowledged(self.stored);
    }
}

fn at(end: u64) -> Position {
    Position { next: Offset(end), epoch: Epoch(1), checksum: 9, journal: 7 }
}

/// Counts of what was looked at.
#[derive(Debug, Default)]
struct Seen {
    moments: usize,
    images: usize,
    lost_records: usize,
    lost_nothing: usize,
}

/// Reopens an image, and checks everything about it. What is left of the story, and the journal as it was found.
fn check(image: &Image, instance: &Path, crash: &Crash, story: &Story, seen: &mut Seen) -> Story {
    let mut story = story.clone();
    write(image, instance);
    check_before_recovery(instance, &story);

    let mut writer = Writer::open(instance, &small(8)).unwrap();
    let end = writer.next_offset().0;
    let durable = crash.durable.0;
    assert!(end >= durable, "it ends at {end}, but {durable} were durable");
    let same = writer.journal().0 == story.journal;
    let input = writer.checkpoint("input").map_or(0, |value| u64::from_le_bytes(value.try_into().unwrap()));
    let ends = if input == 0 { 0 } else { story.ends[&input] };
    assert_eq!(ends, end, "what came of input {input} does not end here");
    let spoken: Vec<u64> = writer.acknowledged().map(|(_, _, position)| position.next.0).collect();
    assert_eq!(spoken, if input == 0 { vec![] } else { vec![input] });
    check_cursors(instance, &writer, crash, input);
    let committed = crash.committed.0;
    if committed > end {
        seen.lost_records += 1;
    } else {
        seen.lost_nothing += 1;
    }
    // Nobody has read what was not committed yet.
    story.positions.retain(|end, position| *end <= committed && u64::from(position.epoch.0) <= crash.epoch);
    let known: Vec<Position> = story.positions.values().copied().collect();
    let used = known.iter().map(|position| position.epoch).max().unwrap_or_default();
    assert!(writer.epoch() > used || !same, "epoch {used:?} is used twice");
    story.cut(end, input);

    let trimmed = crash.trimmed.0.max(story.trimmed);
    story.trimmed = check_kept(instance, trimmed, &story.said);
    if same {
        check_positions(instance, &story, &known, end);
        let mut speaks = Story { said: story.said.clone(), ..Story::default() };
        for _ in 0..3 {
            let offset = speaks.said.len() as u64;
            let said = Said::at(offset ^ 0xffff_0000);
            writer.append(&said.entry()).unwrap();
            speaks.said.push(said);
        }
        check_kept(instance, trimmed, &speaks.said);
        check_positions(instance, &story, &known, end);
    }
    drop(writer);
    assert_eq!(verify(instance).unwrap().damage, []);
    seen.images += 1;
    story
}

/// Readers that come before the owner get what is durable for sure.
fn check_before_recovery(instance: &Path, story: &Story) {
    let Some(mut reader) = Reader::open(instance, Start::Beginning, Level::Committed).unwrap() else {
        return;
    };
    let mut next = None;
    for got in drain(&mut reader, 100_000).unwrap() {
        let Got::Record(offset, said) = got else { panic!("before recovery: {got:?}") };
        assert!(next.is_none_or(|next| next == offset.0), "before recovery: {offset} instead of {next:?}");
        assert_eq!(said, story.said[usize::try_from(offset.0).unwrap()]);
        next = Some(offset.0 + 1);
    }
}

/// Everything that was not trimmed is there; the first offset.
fn check_kept(instance: &Path, trimmed: u64, said: &[Said]) -> u64 {
    let read = read_records(instance, Start::Beginning);
    let first = read.first().map_or(said.len() as u64, |(offset, _)| offset.0);
    assert!(first <= trimmed.min(said.len() as u64), "the first {first} are gone, trimmed were {trimmed}");
    let kept = said[usize::try_from(first).unwrap()..].iter().cloned();
    let wanted: Vec<_> = (first..).map(Offset).zip(kept).collect();
    assert_eq!(read, wanted);
    first
}

/// No cursor is ahead of what was said because of it, or behind what was synced.
fn check_cursors(instance: &Path, writer: &Writer, crash: &Crash, input: u64) {
    let cursors = Cursors::open(instance, writer).unwrap();
    let alone = (0..ALONE).map(|index| (format!("alone-{index}"), crash.acknowledged));
    for (subscription, least) in alone.chain([("spoken".to_owned(), input)]) {
        let position = cursors.claim(&subscription, "source").unwrap().position();
        let next = position.map_or(0, |position| position.next.0);
        assert!(
            next <= input,
            "{subscription} has acknowledged {next}, but only {input} inputs are dealt with"
        );
        assert!(next >= least, "{subscription} has acknowledged {next}, {least} were synced");
    }
}

/// Whoever has read what is lost is told, and from where on.
fn check_positions(instance: &Path, story: &Story, known: &[Position], end: u64) {
    let first_kept = bases(instance).first().copied().unwrap_or(end);
    let parted = known.iter().filter(|position| position.next.0 <= end).map(|position| (*position, None));
    let lost = story.lost.iter().map(|(position, parts)| (*position, Some(*parts)));
    // All of them would take long, and the last ones tell most.
    for (position, parts) in parted.rev().take(2).chain(lost.rev().take(3)) {
        let first = read_all(instance, Start::Position(position)).into_iter().next();
        match parts {
            // With what came before it trimmed there is nothing to compare with.
            Some(from) if from < position.next.0 && first_kept < position.next.0 => {
                let gap = Gap {
                    from: Offset(from.max(first_kept)),
                    to: position.next,
                    reason: GapReason::Diverged,
                };
                assert_eq!(first, Some(Got::Gap(gap)), "at {position:?}");
            }
            _ => match first {
                None => {}
                Some(Got::Record(offset, _)) => assert_eq!(offset, position.next),
                Some(Got::Gap(gap)) => assert_eq!(gap.reason, GapReason::Trimmed, "{gap:?} at {position:?}"),
            },
        }
    }
}

/// Opens a journal, says something, now and then synced or killed, and returns moments at which the power may go.
fn tell(instance: &Path, story: &mut Story, batches: usize, random: &mut Random) -> (Vec<Crash>, usize) {
    let mut disk = Disk::watch(instance, CRASHES, random);
    let (mut crashes, mut moments) = (Vec::new(), 0);
    let options = options(random.below(2) == 0);
    let sync_of = [3, 12, 1000][random.below(3)];
    let kill_of = [60, 1000][random.below(2)];
    let mut speaker = Speaker::open(instance, &options, story);
    let (mut lives, mut idle) = (1, 0);
    for _ in 0..batches {
        // Now and then many inputs make no record: their segments are replaced by their successors.
        idle = if random.below(40) == 0 { random.below(150) } else { idle };
        idle = idle.saturating_sub(1);
        speaker.speak(story, if idle > 0 { 0 } else { 1 + random.next() % 4 });
        if random.below(sync_of) == 0 {
            speaker.sync(&disk);
        }
        if random.below(kill_of) == 0 {
            let next = instance.with_extension(format!("life{lives}"));
            let _ = std::fs::remove_dir_all(&next);
            let after = disk.killed(&next);
            let (some, of) = std::mem::replace(&mut disk, after).crashes();
            crashes.extend(some);
            moments += of;
            let stored = speaker.stored;
            speaker = Speaker::open(&next, &options, story);
            assert_eq!(speaker.stored, stored, "a kill took an acknowledgement back");
            lives += 1;
        }
    }
    // Not closed: what it does in the end is seen by nobody.
    let (some, of) = disk.crashes();
    crashes.extend(some);
    drop(speaker);
    (crashes, moments + of)
}

/// Names the image that a check failed on.
fn blame<T>(crash: &Crash, image: &Image, case: &str, check: impl FnOnce() -> T) -> T {
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
    checked.unwrap_or_else(|panic| {
        println!("{case}: power lost at {}; {} of {} durable", crash.moment, crash.durable, crash.committed);
        for (name, bytes) in image {
            println!(
                "  {} of {} bytes, begins {:?}",
                name.display(),
                bytes.len(),
                &bytes[..bytes.len().min(8)]
            );
        }
        std::panic::resume_unwind(panic)
    })
}

#[test]
fn whenever_power_is_lost_what_was_durable_is_there() {
    let mut random = Random::announced();
    let (began, time, mut seen) = (Instant::now(), prove_time(Duration::from_secs(4)), Seen::default());
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    for round in 0.. {
        if began.elapsed() >= time {
            break;
        }
        let instance = home.path().join("journal-of-chance");
        let _ = std::fs::remove_dir_all(&instance);
        std::fs::create_dir_all(journal::journal_folder(&instance)).unwrap();
        let mut story = Story::default();
        // Power is lost again and again.
        for generation in 0..4 {
            let batches = 1 + random.below(200);
            let (crashes, moments) = tell(&instance, &mut story, batches, &mut random);
            seen.moments += moments;
            let mut last = None;
            for crash in &crashes {
                for _ in 0..3 {
                    let unit = [512, 4096][random.below(2)];
                    let (kept, of) = [(1, 8), (1, 2), (7, 8)][random.below(3)];
                    let mut choose = |end: usize| {
                        // Nothing, everything that is newest, or anything.
                        if random.below(of) < kept { random.below(end) } else { 0 }
                    };
                    let image = crash.image(unit, &mut choose);
                    let case = format!("round {round}, generation {generation}");
                    let left = blame(crash, &image, &case, || {
                        check(&image, &home.path().join("image"), crash, &story, &mut seen)
                    });
                    last = Some((image, left));
                }
            }
            let Some((image, left)) = last else { continue };
            write(&image, &instance);
            story = left;
        }
    }
    println!("{seen:?} in {:?}", began.elapsed());
    assert!(seen.lost_records > 10 && seen.lost_nothing > 10, "the images are all alike");
}

/// Everything that can become of a little journal, at every moment of its life, in whole pages.
#[test]
fn a_little_journal_survives_every_power_loss() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let [instance, image_of] = ["little", "image"].map(|name| home.path().join(name));
    std::fs::create_dir_all(journal::journal_folder(&instance)).unwrap();
    let (mut random, mut story, mut seen) = (Random(1), Story::default(), Seen::default());
    let disk = Disk::watch(&instance, usize::MAX, &mut random);
    let mut speaker = Speaker::open(&instance, &options(true), &mut story);
    speaker.speak(&mut story, 1);
    speaker.sync(&disk);
    speaker.speak(&mut story, 2);
    // On into the next segment.
    while segments(&instance).len() == 1 {
        speaker.speak(&mut story, 20);
    }
    speaker.sync(&disk);
    speaker.speak(&mut story, 1);
    let (crashes, moments) = disk.crashes();
    drop(speaker);
    seen.moments = moments;
    // Of a moment with more images than this, only so many are looked at.
    let images_max = if prove_time(Duration::ZERO).is_zero() { 60 } else { 300 };
    let (mut images, mut cut_short) = (BTreeSet::new(), 0);
    for crash in &crashes {
        let mut every = Every::default();
        for count in 1.. {
            let image = crash.image(4096, &mut |end| every.choose(end));
            // The same image is looked at once for each thing that was durable by then.
            if images.insert((image.clone(), crash.durable, crash.acknowledged)) {
                blame(crash, &image, "little", || check(&image, &image_of, crash, &story, &mut seen));
            }
            if !every.next() {
                break;
            }
            if count == images_max {
                cut_short += 1;
                break;
            }
        }
    }
    println!("every page of every moment, {cut_short} of them cut short: {seen:?}");
    assert!(seen.images > 300, "there are more images than that");
}
