//! Damaged journals, under their owner and under their readers: nothing is skipped without a word.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::{DEADLINE, Running, flip_bit, overwrite, truncate};

use crate::blocks;
use crate::swarm::Swarm;
use crate::tape::{Gap, Line, Tape, place};

/// What is said before the damage, and after it.
const BEFORE: u32 = 200;
const AFTER: u32 = 260;
/// A block near the end of what is said before the damage.
const LATE: u32 = 191;

/// Where in its segment a record lies.
struct Spot {
    segment: PathBuf,
    at: u64,
}

impl Spot {
    /// The payload that has this text; it must be in one record only.
    fn of(swarm: &Swarm, instance: &str, text: &str) -> Self {
        let mut spots = Vec::new();
        for segment in swarm.home.segments(instance) {
            let bytes = fs::read(&segment).unwrap();
            // Behind the last record there are only zeros, and many of them.
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let found =
                bytes[..end].windows(text.len()).enumerate().filter(|(_, window)| *window == text.as_bytes());
            spots.extend(found.map(|(at, _)| Self { segment: segment.clone(), at: at as u64 }));
        }
        assert_eq!(spots.len(), 1, "{text:?} is in {} places", spots.len());
        spots.remove(0)
    }
}

/// A swarm that has dealt with the first blocks, and stands still: all processes are dead.
fn at_rest() -> Swarm {
    let swarm = Swarm::new();
    // Few segments, which are small enough to be searched.
    swarm.set_segment_bytes("4 MiB");
    let recording = blocks::write(swarm.home.path(), BEFORE);
    let running = [swarm.node(&recording, &[]), swarm.broadcaster(), swarm.bot(), swarm.watch()];
    swarm.until_said("broadcaster", blocks::operations(BEFORE));
    swarm.until_heard("bot");
    swarm.until_heard("transfer-watch");
    for process in running {
        process.kill9();
    }
    swarm
}

/// The segment that is being written.
fn newest(swarm: &Swarm, instance: &str) -> PathBuf {
    swarm.home.segments(instance).pop().expect("something was said")
}

/// The node plays on, from the blocks before to some more.
fn play_on(swarm: &Swarm) -> Running {
    swarm.node(&blocks::write(swarm.home.path(), AFTER), &[])
}

/// `procession verify` ends with 1 and names a damaged place in each of these files; of the journal alone.
#[track_caller]
fn check_verify_finds(swarm: &Swarm, instance: &str, file: &Path) -> Vec<Value> {
    let ended = swarm.verify(&[instance]);
    ended.assert_code(1);
    let found: Value = serde_json::from_str(ended.stdout.trim()).unwrap();
    assert_eq!(found["journal"], instance);
    let damage = found["damage"].as_array().unwrap().clone();
    assert!(damage.iter().any(|damage| damage["path"] == file.to_str().unwrap()), "{found:#}");
    damage
}

/// The post's place in the journal: one record has it, and no other has its author and permlink.
fn offset_of_post(tape: &Tape, topic: &str, block: u32) -> u64 {
    let permlink = Value::from(blocks::permlink(block));
    let has =
        |payload: &Value| [&payload["permlink"], &payload["op"]["value"]["permlink"]].contains(&&permlink);
    let mut records =
        tape.records().into_iter().filter(|record| record.topic == topic && has(&record.payload));
    records.next().expect("the post was said").offset
}

fn corrupt(journal: &str, from: u64, to: u64) -> Gap {
    Gap { journal: journal.to_owned(), from, to, reason: "corrupt".to_owned() }
}

/// A flipped bit in the middle of the broadcaster's journal: exactly that record is a gap, for its readers and in its
/// tail; the broadcaster goes on after its last block.
#[test]
fn a_flipped_bit_under_the_broadcaster_is_a_gap_of_one_record() {
    let swarm = at_rest();
    let before = swarm.tail("broadcaster");
    let lost = offset_of_post(&before, "comment", LATE);
    // The text of a reply names its parent, so it is the post's own record that has this.
    let spot = Spot::of(
        &swarm,
        "broadcaster",
        &format!(
            r#""parent_permlink":"category","author":"ann{}","permlink":"{}","title":"Gr"#,
            LATE % 7,
            blocks::permlink(LATE)
        ),
    );
    // Whoever takes the journal over reads the newest segment.
    assert_eq!(spot.segment, newest(&swarm, "broadcaster"));
    flip_bit(&spot.segment, spot.at, 0);
    let damage = check_verify_finds(&swarm, "broadcaster", &spot.segment);
    assert_eq!((&damage[0]["from"], &damage[0]["to"]), (&lost.into(), &(lost + 1).into()), "{damage:?}");

    let (_node, mut broadcaster) = (play_on(&swarm), swarm.broadcaster());
    broadcaster.wait_for_log(DEADLINE, "damaged");
    // A subscription of its own, from the beginning.
    let fresh = swarm.home.command("bot", &["run", "--instance", "bot@2"]);
    let mut fresh = swarm.spawn("bot@2", fresh);
    let (_bot, _watch) = (swarm.bot(), swarm.watch());
    swarm.until_said("broadcaster", blocks::operations(AFTER));
    for instance in ["bot", "bot@2", "transfer-watch"] {
        swarm.until_heard(instance);
    }
    fresh.wait_for_log(DEADLINE, "records are missing");

    let tape = swarm.tail("broadcaster");
    tape.assert_contiguous();
    assert_eq!(tape.gaps(), [corrupt("broadcaster", lost, lost + 1)]);
    assert_eq!(swarm.said("broadcaster"), blocks::operations(AFTER));
    check_same(&before, &tape);
    // All but the lost post, or that, too: it is edited a few blocks later.
    let posts: Vec<Value> =
        swarm.tail("bot@2").records().iter().map(|post| post.payload["permlink"].clone()).collect();
    let wanted: Vec<u32> = (1..=AFTER).filter(|block| !block.is_multiple_of(5)).collect();
    for block in &wanted {
        let count = posts.iter().filter(|post| **post == blocks::permlink(*block)).count();
        assert_eq!(count, 1, "post of block {block}");
    }
    check_verify_finds(&swarm, "broadcaster", &spot.segment);
    swarm.verify(&["bot", "transfer-watch"]).assert_code(0);
}

/// What is in both tails is the same.
#[track_caller]
fn check_same(before: &Tape, after: &Tape) {
    let after = after.records();
    for record in before.records() {
        if let Some(same) = after.iter().find(|other| other.offset == record.offset) {
            assert_eq!((&same.topic, &same.payload), (&record.topic, &record.payload));
        }
    }
}

/// A journal that ends too early: what is missing is a gap, and the broadcaster says it again behind that.
#[test]
fn a_truncated_journal_under_the_broadcaster_is_a_gap_and_is_said_again() {
    let swarm = at_rest();
    let before = swarm.tail("broadcaster");
    let said = swarm.said("broadcaster");
    let cut = offset_of_post(&before, "comment", 151);
    let spot = Spot::of(
        &swarm,
        "broadcaster",
        &format!(r#""author":"ann{}","permlink":"{}","title":"Gr"#, 151 % 7, blocks::permlink(151)),
    );
    truncate(&spot.segment, spot.at);
    check_verify_finds(&swarm, "broadcaster", &spot.segment);

    let (_node, _broadcaster) = (play_on(&swarm), swarm.broadcaster());
    let (_bot, _watch) = (swarm.bot(), swarm.watch());
    swarm.until_said("broadcaster", said + blocks::operations(AFTER) - blocks::operations(150));
    swarm.until_heard("bot");
    swarm.until_heard("transfer-watch");

    let tape = swarm.tail("broadcaster");
    tape.assert_contiguous();
    assert_eq!(tape.gaps(), [corrupt("broadcaster", cut, said)]);
    // Before the gap and behind it together: each operation once, in the chain's order.
    let places: Vec<[u64; 3]> = tape.records().iter().map(|record| place(&record.payload)).collect();
    assert!(places.is_sorted(), "out of order");
    assert_eq!(places.len() as u64, blocks::operations(AFTER));
    // The bot has dealt with the lost ones already, and doesn't announce them anew.
    let posts = swarm.tail("bot");
    assert_eq!(posts.records().len(), 208);
    check_verify_finds(&swarm, "broadcaster", &spot.segment);
}

/// A journal of another format version is nobody's to touch.
#[test]
fn a_foreign_version_under_the_broadcaster_is_refused() {
    let swarm = at_rest();
    let segment = newest(&swarm, "broadcaster");
    make_foreign(&segment);
    let bytes = fs::read(&segment).unwrap();
    let path = segment.to_str().unwrap();

    let _node = play_on(&swarm);
    let says = [path, "format version 99", "version 1"];
    swarm.broadcaster().wait(DEADLINE).assert_code(1).assert_says(&says);
    // Its readers don't take it for an empty journal either, and wait until it can be read.
    let fresh = swarm.home.command("bot", &["run", "--instance", "bot@2"]);
    let mut fresh = swarm.spawn("bot@2", fresh);
    for text in says {
        fresh.wait_for_log(DEADLINE, text);
    }
    fresh.wait_for_log(DEADLINE, "journal broadcaster cannot be read");
    fresh.terminate(DEADLINE).assert_code(0);
    assert!(fs::read(&segment).unwrap() == bytes, "it was changed");
    check_verify_names_version(&swarm, "broadcaster");
}

/// The same of the bot's own journal.
#[test]
fn a_foreign_version_under_a_bot_is_refused() {
    let swarm = at_rest();
    let segment = newest(&swarm, "bot");
    make_foreign(&segment);
    swarm.bot().wait(DEADLINE).assert_code(1).assert_says(&[segment.to_str().unwrap(), "format version 99"]);
    check_verify_names_version(&swarm, "bot");

    let swarm = at_rest();
    let marks = swarm.home.instance("bot").join("journal/marks");
    overwrite(&marks, 8, &99_u64.to_le_bytes());
    swarm.bot().wait(DEADLINE).assert_code(1).assert_says(&[marks.to_str().unwrap(), "format version 99"]);
    check_verify_names_version(&swarm, "bot");
}

/// Another version of the format has something else where this one has its header's checksum. (With the checksum left as it
/// is, the version would be a damaged field of this one.)
fn make_foreign(segment: &Path) {
    overwrite(segment, 8, &99_u32.to_le_bytes());
    overwrite(segment, 124, b"else");
}

#[track_caller]
fn check_verify_names_version(swarm: &Swarm, instance: &str) {
    let ended = swarm.verify(&[instance]);
    ended.assert_code(1);
    assert!(ended.stdout.contains("format version 99"), "{ended:?}");
}

/// A flipped bit in the bot's own journal: that announcement is a gap, everything after it goes on.
#[test]
fn a_flipped_bit_under_a_bot_is_a_gap_of_one_record() {
    let swarm = at_rest();
    let before = swarm.tail("bot");
    let lost = offset_of_post(&before, "new-post", 101);
    let spot = Spot::of(&swarm, "bot", &format!("/@ann{}/{}", 101 % 7, blocks::permlink(101)));
    flip_bit(&spot.segment, spot.at, 3);
    check_verify_finds(&swarm, "bot", &spot.segment);

    let (_node, _broadcaster, mut bot, _watch) =
        (play_on(&swarm), swarm.broadcaster(), swarm.bot(), swarm.watch());
    bot.wait_for_log(DEADLINE, "damaged");
    swarm.until_said("broadcaster", blocks::operations(AFTER));
    swarm.until_heard("bot");
    let tape = swarm.tail("bot");
    tape.assert_contiguous();
    assert_eq!(tape.gaps(), [corrupt("bot", lost, lost + 1)]);
    check_same(&before, &tape);
    assert_eq!(tape.records().len(), 208 - 1);
    check_verify_finds(&swarm, "bot", &spot.segment);
}

/// The bot's journal ends too early: what is missing is a gap. Its cursors say what it has dealt with, so nothing is
/// announced anew, and nothing that comes later is missed.
#[test]
fn a_truncated_journal_under_a_bot_is_a_gap() {
    let swarm = at_rest();
    let before = swarm.tail("bot");
    let (cut, said) = (offset_of_post(&before, "new-post", 151), swarm.said("bot"));
    let spot = Spot::of(&swarm, "bot", &format!("/@ann{}/{}", 151 % 7, blocks::permlink(151)));
    truncate(&spot.segment, spot.at);
    check_verify_finds(&swarm, "bot", &spot.segment);

    let (_node, _broadcaster, _bot, _watch) =
        (play_on(&swarm), swarm.broadcaster(), swarm.bot(), swarm.watch());
    swarm.until_said("broadcaster", blocks::operations(AFTER));
    swarm.until_heard("bot");
    let tape = swarm.tail("bot");
    tape.assert_contiguous();
    assert_eq!(tape.gaps(), [corrupt("bot", cut, said)]);
    let announced = tape.lines().iter().filter(|line| matches!(line, Line::Record(_))).count() as u64;
    // Posts that were announced in what is lost may be announced again when they are edited: the bot has said so.
    assert!(announced >= 208 - (said - cut), "{announced}");
    for block in (BEFORE + 1..=AFTER).filter(|block| !block.is_multiple_of(5)) {
        offset_of_post(&tape, "new-post", block);
    }
}

/// A torn tail, as a machine that loses power leaves it, is cut off and is no damage.
#[test]
fn rubbish_behind_the_last_record_is_cut_off() {
    let swarm = at_rest();
    let segment = newest(&swarm, "broadcaster");
    let bytes = fs::read(&segment).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    overwrite(&segment, end.next_multiple_of(8), &[0x5a; 200]);
    swarm.verify(&["broadcaster"]).assert_code(0);
    let (_node, mut broadcaster) = (play_on(&swarm), swarm.broadcaster());
    broadcaster.wait_for_log(DEADLINE, "torn tail");
    swarm.until_said("broadcaster", blocks::operations(AFTER));
    let tape = swarm.tail("broadcaster");
    assert_eq!(tape.gaps(), []);
    assert_eq!(tape.records().len() as u64, blocks::operations(AFTER));
    assert_eq!(tape.records().last().unwrap().epoch, 2);
    swarm.verify(&["broadcaster"]).assert_code(0);
}
