//! One flipped bit anywhere in what a process keeps: it is told, and nothing else is lost; or the process says
//! that it can't go on. Never a wrong record, a panic or a hang.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::Value;
use testkit::{DEADLINE, Home, Running, flip_bit, seeded, wait_until};

use crate::blocks;
use crate::swarm::Swarm;
use crate::tape::{Line, Record, Tape, place};

const ROUNDS: usize = 16;
const BEFORE: u32 = 60;
const AFTER: u32 = 80;
/// The broadcaster has some of them then.
const SEGMENT_BYTES: &str = "128 KiB";

/// Where the marks say in which boot of the machine they were made.
const BOOT: Range<u64> = 32..48;

/// A swarm at rest, to be copied for each round.
fn template() -> Swarm {
    let swarm = Swarm::new();
    swarm.set_segment_bytes(SEGMENT_BYTES);
    let recording = blocks::write(swarm.home.path(), BEFORE);
    let running = [swarm.node(&recording, &[]), swarm.broadcaster(), swarm.bot()];
    swarm.until_said("broadcaster", blocks::operations(BEFORE));
    swarm.until_heard("bot");
    for process in running {
        process.kill9();
    }
    swarm
}

fn copy_of(home: &Home) -> Swarm {
    let swarm = Swarm::new();
    // Holes stay holes: the segments are mostly empty.
    let copied =
        Command::new("cp").args(["-a", "--sparse=always"]).arg(home.state()).arg(swarm.home.path()).status();
    assert!(copied.unwrap().success());
    swarm
}

/// A random bit among those that are in use in one of the instance's files.
fn flip_somewhere(home: &Home, instance: &str, random: &mut StdRng) -> (PathBuf, u64) {
    let folder = home.instance(instance);
    let mut files = vec![folder.join("journal/marks"), folder.join("cursors")];
    // Most bits are in the segments.
    for _ in 0..4 {
        files.extend(home.segments(instance));
    }
    let file = files.swap_remove(random.random_range(0..files.len()));
    let used: Vec<u64> =
        (0..).zip(fs::read(&file).unwrap()).filter(|(_, byte)| *byte != 0).map(|(at, _)| at).collect();
    let at = used[random.random_range(0..used.len())];
    flip_bit(&file, at, random.random_range(0..8));
    (file, at)
}

fn by_offset(tape: &Tape) -> BTreeMap<u64, Record> {
    tape.records().into_iter().map(|record| (record.offset, record)).collect()
}

/// Records that were there are as they were, or in a gap.
#[track_caller]
fn check_kept(before: &BTreeMap<u64, Record>, after: &Tape) {
    after.assert_contiguous();
    let gaps = after.gaps();
    let found = by_offset(after);
    for (offset, record) in before {
        let in_gap = gaps.iter().any(|gap| (gap.from..gap.to).contains(offset));
        match found.get(offset) {
            Some(same) => assert_eq!((&same.topic, &same.payload), (&record.topic, &record.payload)),
            None => assert!(in_gap, "offset {offset} is neither there nor in a gap: {gaps:?}"),
        }
    }
}

/// What is wrong is told by `verify`, unless the flipped bit has changed nothing that matters.
#[track_caller]
fn check_told(swarm: &Swarm, instance: &str, before: &BTreeMap<u64, Record>, (file, at): (&Path, u64)) {
    let verified = swarm.verify(&[instance]);
    assert!(matches!(verified.code(), Some(0 | 1)), "{verified:?}");
    let found: Value = serde_json::from_str(verified.stdout.trim()).unwrap();
    let whole = found["damage"].as_array().unwrap().is_empty();
    assert_eq!(verified.code() == Some(0), whole, "{verified:?}");
    // After another boot readers wait until the owner has looked at what may be torn.
    let another_boot = file.ends_with("marks") && BOOT.contains(&at);
    if whole && !another_boot {
        let tape = swarm.tail(instance);
        check_kept(before, &tape);
        assert_eq!(
            tape.records().len(),
            before.len(),
            "records are missing, and nothing is wrong: {verified:?}"
        );
    }
}

/// Whether the process has got over it. If not, it has ended with a clear error.
#[track_caller]
fn recovers(process: &mut Option<Running>, done: impl Fn() -> bool) -> bool {
    let running = process.as_mut().unwrap();
    wait_until(DEADLINE, "it has caught up, or ended", || done() || !running.is_alive());
    if running.is_alive() {
        return true;
    }
    let ended = process.take().unwrap().wait(DEADLINE);
    ended.assert_code(1);
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    let last: Value = serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
    println!("  refused: {}", last["message"]);
    assert_eq!(last["level"], "ERROR", "{ended:?}");
    false
}

#[test]
fn a_flipped_bit_anywhere_under_the_broadcaster() {
    let mut random = seeded("bits under the broadcaster");
    let template = template();
    let before = by_offset(&template.tail("broadcaster"));
    for round in 0..ROUNDS {
        let swarm = copy_of(&template.home);
        let (file, at) = flip_somewhere(&swarm.home, "broadcaster", &mut random);
        println!("{round}: byte {at} of {}", name(&file));
        check_told(&swarm, "broadcaster", &before, (&file, at));
        let recording = blocks::write(swarm.home.path(), AFTER);
        let _node = swarm.node(&recording, &[]);
        let mut broadcaster = Some(swarm.broadcaster());
        let last = blocks::permlink(AFTER - 1);
        if !recovers(&mut broadcaster, || swarm.said("broadcaster") > 0 && has_said(&swarm, &last)) {
            continue;
        }
        let tape = swarm.tail("broadcaster");
        check_kept(&before, &tape);
        // Everything is there once, but for what is in a gap. What comes after a gap may be said again, if the
        // place in the chain was in it.
        let said: Vec<[u64; 3]> = tape.records().iter().map(|record| place(&record.payload)).collect();
        if tape.gaps().is_empty() {
            assert!(said.is_sorted_by(|one, next| one < next), "repeated or out of order");
            assert_eq!(said.len() as u64, blocks::operations(AFTER));
        }
        let lost: u64 = tape.gaps().iter().map(|gap| gap.to - gap.from).sum();
        let mut unique = said.clone();
        unique.sort_unstable();
        unique.dedup();
        assert!(
            unique.len() as u64 + lost >= blocks::operations(AFTER),
            "{lost} in gaps, {} there",
            unique.len()
        );
    }
}

#[test]
fn a_flipped_bit_anywhere_under_a_bot() {
    let mut random = seeded("bits under a bot");
    let template = template();
    let before = by_offset(&template.tail("bot"));
    for round in 0..ROUNDS {
        let swarm = copy_of(&template.home);
        let (file, at) = flip_somewhere(&swarm.home, "bot", &mut random);
        println!("{round}: byte {at} of {}", name(&file));
        check_told(&swarm, "bot", &before, (&file, at));
        let recording = blocks::write(swarm.home.path(), AFTER);
        let (_node, _broadcaster) = (swarm.node(&recording, &[]), swarm.broadcaster());
        swarm.until_said("broadcaster", blocks::operations(AFTER));
        let mut bot = Some(swarm.bot());
        let end = swarm.said("broadcaster");
        let heard = || {
            let status = swarm.status("bot");
            status.is_some_and(|status| status["subscriptions"][0]["acknowledged"] == end)
        };
        if !recovers(&mut bot, heard) {
            continue;
        }
        let tape = swarm.tail("bot");
        check_kept(&before, &tape);
        let lost: u64 = tape.gaps().iter().map(|gap| gap.to - gap.from).sum();
        let mut posts: Vec<String> =
            tape.records().iter().map(|post| post.payload["permlink"].to_string()).collect();
        posts.sort_unstable();
        posts.dedup();
        let expected = u64::from(AFTER - AFTER / 5);
        assert!(
            posts.len() as u64 + lost >= expected,
            "{lost} in gaps, {} announced of {expected}",
            posts.len()
        );
        if lost == 0 {
            assert_eq!(tape.records().len() as u64, expected, "announced twice");
        }
    }
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether a post has been said; the journal's own files are asked, for `tail` may not be able to.
fn has_said(swarm: &Swarm, permlink: &str) -> bool {
    let arguments = ["tail", "broadcaster/comment", "--json", "--from", "beginning", "--until-end"];
    let ended = swarm.home.run("procession", &arguments);
    let said = |line: &str| matches!(serde_json::from_str(line), Ok(Line::Record(record)) if record.payload["op"]["value"]["permlink"] == permlink);
    ended.code() == Some(0) && ended.stdout.lines().any(said)
}
