//! Deliveries by key: order within keys, fairness between them, exactly-once outputs whoever is killed, parked keys, and
//! the same under faults on purpose.
//!
//! The example `sorter` hears a journal that the test itself writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use journal::{Codec, Entry, Options, SyncPolicy, Writer, read_cursors};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::records::said_by;
use crate::sample::{self, Home, program};
use crate::swarm::{Running, wait_until};

/// More kills in a row than a delivery may be unlucky with.
const PATIENT: [&str; 2] = ["--subscription-max-attempts", "1000"];

/// The journal that is heard. It has no socket: the subscriber looks by itself.
pub(crate) fn source(home: &Home) -> Writer {
    fs::create_dir_all(home.instance("source")).unwrap();
    let options = Options { sync: SyncPolicy::Never, ..Options::default() };
    Writer::open(&home.instance("source"), &options).unwrap()
}

/// Says numbers, each under the key that it is given.
pub(crate) fn say(writer: &mut Writer, numbers: std::ops::Range<u64>, key: impl Fn(u64) -> String) {
    for number in numbers {
        let (key, payload) = (key(number), json!({"number": number}).to_string());
        let (key, payload) = (Some(key.as_bytes()), payload.as_bytes());
        writer.append(&Entry { topic: "count", key, cause: None, codec: Codec::Json, payload }).unwrap();
    }
}

/// Half of all events have one key.
fn half_hot(number: u64) -> String {
    if number.is_multiple_of(2) { "hot".to_owned() } else { format!("key-{}", number % 80) }
}

pub(crate) fn sorter(home: &Home, arguments: &[&str]) -> Running {
    let mut command = home.command_of(&program("sorter"), &[&["run"], arguments].concat());
    Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// What the sorter has said under a topic.
pub(crate) fn said(home: &Home, topic: &str) -> Vec<Value> {
    said_by(home, "sorter", topic)
}

/// Numbers in the order in which they were dealt with, by key.
pub(crate) fn sorted(home: &Home) -> BTreeMap<String, Vec<u64>> {
    let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for said in said(home, "sorted") {
        let key = said["key"].as_str().unwrap_or_default().to_owned();
        by_key.entry(key).or_default().push(said["number"].as_u64().unwrap());
    }
    by_key
}

/// What `sorted` is to be once all is done.
pub(crate) fn expected(
    numbers: impl Iterator<Item = u64>,
    key: impl Fn(u64) -> String,
) -> BTreeMap<String, Vec<u64>> {
    let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    numbers.for_each(|number| by_key.entry(key(number)).or_default().push(number));
    by_key
}

pub(crate) fn acknowledged(home: &Home) -> u64 {
    let cursors = read_cursors(&home.instance("sorter")).unwrap_or_default();
    cursors.iter().find(|cursor| cursor.journal == "source").map_or(0, |cursor| cursor.position.next.0)
}

/// Chance that can be repeated.
pub(crate) fn seeded(what: &str) -> StdRng {
    let seed = std::env::var("PROCESSION_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::rng().random());
    println!("{what}: PROCESSION_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Kills the sorter over and over, at moments of chance, until it has dealt with everything.
pub(crate) fn kill_until_done(home: &Home, events: u64, arguments: &[&str], random: &mut StdRng) -> u32 {
    let mut kills = 0;
    let arguments = [arguments, &PATIENT[..], &["--subscription-backoff", "1ms"]].concat();
    while acknowledged(home) < events {
        let sorter = sorter(home, &arguments);
        // It gets somewhere each time, and a while of its own choice beyond that.
        let before = said(home, "sorted").len();
        wait_until("it goes on", || said(home, "sorted").len() > before || acknowledged(home) == events);
        std::thread::park_timeout(Duration::from_micros(random.random_range(0..30_000)));
        sorter.kill();
        kills += 1;
    }
    kills
}

#[test]
fn each_event_has_one_output_in_the_order_of_its_key_whenever_it_is_killed() {
    let mut random = seeded("kills by key");
    for threads in [&[][..], &["--threads"][..]] {
        let home = Home::new();
        say(&mut source(&home), 0..1200, half_hot);
        // One in seven is acknowledged without an output: of those nothing can be seen but that none holds things up.
        let arguments = [&["--pause", "4ms", "--plain-one-in", "7"], threads].concat();
        let kills = kill_until_done(&home, 1200, &arguments, &mut random);
        println!("{kills} kills");
        assert_eq!(sorted(&home), expected((0..1200).filter(|number| number % 7 != 0), half_hot));
        assert!(kills > 3, "only {kills} kills");
    }
}

#[test]
fn a_stuck_key_holds_up_nobody_and_a_restart_repeats_only_what_was_not_done() {
    let home = Home::new();
    let mut source = source(&home);
    // More than all keys together may have in memory.
    say(&mut source, 0..12_000, half_hot);
    let stuck = sorter(&home, &["--hang", "hot"]);
    wait_until("all others are done", || said(&home, "sorted").len() == 6_000);
    assert_eq!(acknowledged(&home), 0);
    stuck.kill();
    let rest = sorter(&home, &[]);
    wait_until("the rest is done", || acknowledged(&home) == 12_000);
    rest.kill();
    assert_eq!(sorted(&home), expected(0..12_000, half_hot));
}

#[test]
fn in_any_order_nothing_comes_that_could_not_be_remembered() {
    let home = Home::new();
    say(&mut source(&home), 0..3000, half_hot);
    let arguments = ["run", "--any-order", "--journal-segment-bytes", "64KiB"];
    let mut leaving =
        sample::Running::start(home.command_of(&program("sorter"), &arguments).stdout(Stdio::null()));
    leaving.wait_for("too far ahead");
    drop(leaving);
    let ahead = said(&home, "sorted").len();
    assert!((1024..2999).contains(&ahead), "{ahead}");
    let rest = sorter(&home, &["--journal-segment-bytes", "64KiB"]);
    wait_until("all is done", || sorted(&home).values().map(Vec::len).sum::<usize>() >= 3000);
    wait_until("all is acknowledged", || acknowledged(&home) == 3000);
    rest.kill();
    let mut numbers: Vec<u64> = sorted(&home).into_values().flatten().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..3000).collect::<Vec<_>>());
}

#[test]
fn what_is_kept_of_a_journal_goes_when_it_is_no_source_any_more() {
    let home = Home::new();
    say(&mut source(&home), 0..10, half_hot);
    let stuck = sorter(&home, &["--hang", "hot"]);
    wait_until("all others are done", || said(&home, "sorted").len() == 5);
    stuck.kill();
    let kept = || {
        let writer = Writer::open(&home.instance("sorter"), &Options::default()).unwrap();
        let blocks = writer.checkpoint_names().filter(|name| name.starts_with("_finished/")).count();
        (blocks, fs::exists(home.instance("sorter").join("finished/sorted@source")).unwrap())
    };
    assert_eq!(kept(), (1, true));
    let arguments = ["run", "--sources", "another/*"];
    let mut other =
        sample::Running::start(home.command_of(&program("sorter"), &arguments).stdout(Stdio::null()));
    other.wait_for("ready");
    drop(other);
    assert_eq!(kept(), (0, false));
}

/// A number whose event takes nearly the whole of the pause.
const SLOW: u64 = 13;

#[test]
fn what_is_kept_of_many_journals_goes_once_it_is_done() {
    let home = Home::new();
    let payload = |number: u64| json!({"number": number}).to_string();
    for instance in 0..24 {
        let name = format!("source@{instance}");
        fs::create_dir_all(home.instance(&name)).unwrap();
        let options = Options { sync: SyncPolicy::Never, segment_bytes: 1 << 20, ..Options::default() };
        let mut writer = Writer::open(&home.instance(&name), &options).unwrap();
        for _ in 0..4 {
            // The second is done before the first, so it is kept that it is; records that nobody hears lie between.
            for (key, number) in [("slow", SLOW), ("fast", 0)] {
                let (key, payload) = (format!("{key}-{instance}"), payload(number));
                let (key, payload) = (Some(key.as_bytes()), payload.as_bytes());
                let codec = Codec::Json;
                writer.append(&Entry { topic: "count", key, cause: None, codec, payload }).unwrap();
            }
            for _ in 0..510 {
                let codec = Codec::Raw;
                writer
                    .append(&Entry { topic: "_filler", key: None, cause: None, codec, payload: b"" })
                    .unwrap();
            }
        }
    }
    let arguments = ["--journal-segment-bytes", "16KiB", "--pause", "30ms", "--subscription-backoff", "1ms"];
    let running = sorter(&home, &arguments);
    wait_until("all is dealt with", || {
        said(&home, "sorted").len() + said(&home, "_dead-letter").len() >= 24 * 8
    });
    running.kill();
    assert_eq!(said(&home, "_dead-letter").len(), 0, "healthy events are parked");
    let kept = || {
        let writer = Writer::open(&home.instance("sorter"), &Options::default()).unwrap();
        writer.checkpoint_names().filter(|name| name.starts_with("_finished/")).count()
    };
    assert!(kept() <= 24 * 2, "blocks that are wholly done have gone");
    let arguments = ["run", "--journal-segment-bytes", "16KiB"];
    let mut idle =
        sample::Running::start(home.command_of(&program("sorter"), &arguments).stdout(Stdio::null()));
    idle.wait_for("ready");
    drop(idle);
    assert_eq!(kept(), 0, "nothing is open");
}

#[test]
fn a_key_whose_event_fails_for_good_is_parked_and_others_go_on() {
    let home = Home::new();
    let mut source = source(&home);
    let of_three = |number: u64| format!("key-{}", number % 3);
    say(&mut source, 0..30, of_three);
    let failing = ["--fail", "10", "--subscription-max-attempts", "3", "--subscription-backoff", "1ms"];
    let first = sorter(&home, &failing);
    wait_until("all is dealt with", || acknowledged(&home) == 30);
    first.kill();
    let parked: Vec<u64> = (0..30).filter(|number| number % 3 == 1 && *number >= 10).collect();
    let letters = said(&home, "_dead-letter");
    let numbers: Vec<u64> =
        letters.iter().map(|letter| letter["payload"]["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, parked);
    assert_eq!((&letters[0]["reason"], &letters[0]["attempts"]), (&json!("told so"), &json!(3)));
    assert_eq!(letters[1]["attempts"], 0);
    // It stays parked, whatever a later process would make of it.
    say(&mut source, 30..36, of_three);
    let second = sorter(&home, &[]);
    wait_until("all is dealt with", || acknowledged(&home) == 36);
    second.kill();
    let all: BTreeSet<u64> = sorted(&home).into_values().flatten().collect();
    assert_eq!(all, (0..36).filter(|number| number % 3 != 1 || *number < 10).collect());
    assert_eq!(said(&home, "_dead-letter").len(), parked.len() + 2);
}

#[test]
fn an_event_that_ends_the_process_each_time_is_found_and_parked() {
    let home = Home::new();
    say(&mut source(&home), 0..200, |number| format!("key-{}", number % 20));
    let deadly = ["--die", "77", "--pause", "2ms", "--subscription-max-attempts", "3"];
    let mut starts = 0;
    while acknowledged(&home) < 200 {
        starts += 1;
        assert!(starts < 20, "it dies on and on");
        let mut command = home.command_of(&program("sorter"), &[&["run"], &deadly[..]].concat());
        let mut running = sample::Running::start(command.stdout(Stdio::null()));
        wait_until("it is done, or dead", || acknowledged(&home) == 200 || running.has_ended());
    }
    let letters = said(&home, "_dead-letter");
    assert_eq!(letters[0]["payload"]["number"], 77, "{letters:?}");
    let parked = (0..200).filter(|number| number % 20 == 17 && *number >= 77);
    let numbers: Vec<u64> =
        letters.iter().map(|letter| letter["payload"]["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, parked.collect::<Vec<_>>(), "an innocent one is parked");
}

#[test]
fn what_is_in_hand_is_finished_when_it_is_told_to_stop() {
    let home = Home::new();
    say(&mut source(&home), 0..500, |number| format!("key-{}", number % 50));
    let arguments = ["run", "--pause", "40ms", "--concurrency", "50"];
    let mut command = home.command_of(&program("sorter"), &arguments);
    let running = sample::Running::start(command.stdout(Stdio::null()));
    wait_until("some are done", || said(&home, "sorted").len() > 60);
    running.signal(Signal::TERM);
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(said(&home, "sorted").iter().all(|said| said["attempt"] == 1));
    let done = said(&home, "sorted").len();
    assert!(done < 500, "it was to be stopped before the end");
    let rest = sorter(&home, &[]);
    wait_until("the rest is done", || acknowledged(&home) == 500);
    rest.kill();
    // Nothing was begun and left.
    assert!(said(&home, "sorted").iter().all(|said| said["attempt"] == 1));
    assert_eq!(sorted(&home), expected(0..500, |number| format!("key-{}", number % 50)));
}

/// All faults that bring each event once; `duplicate` is another matter.
const FAULTS: [&str; 8] = [
    "--subscription-faults-delay-one-in",
    "10",
    "--subscription-faults-reorder-one-in",
    "10",
    "--subscription-faults-redeliver-one-in",
    "10",
    "--subscription-faults-delay-max",
    "20ms",
];

fn in_order(numbers: &[u64]) -> bool {
    numbers.is_sorted()
}

#[test]
fn faults_lose_nothing_and_repeat_no_output_whenever_the_process_is_killed() {
    let mut random = seeded("faults and kills");
    for one_by_one in [&[][..], &["--one-by-one"][..]] {
        let home = Home::new();
        say(&mut source(&home), 0..1000, half_hot);
        let kills = kill_until_done(&home, 1000, &[&FAULTS[..], one_by_one].concat(), &mut random);
        println!("{kills} kills");
        let mut hot = sorted(&home);
        let all_in_order = hot.values().all(|numbers| in_order(numbers));
        hot.values_mut().for_each(|numbers| numbers.sort_unstable());
        assert_eq!(hot, expected(0..1000, half_hot));
        assert!(!all_in_order, "no fault was seen");
    }
}

#[test]
fn a_delivery_that_comes_twice_is_acknowledged_once() {
    let home = Home::new();
    say(&mut source(&home), 0..500, half_hot);
    let twice = ["--subscription-faults-duplicate-one-in", "3", "--subscription-faults-seed", "1"];
    let first = sorter(&home, &twice);
    wait_until("all is done", || acknowledged(&home) == 500);
    first.kill();
    let numbers: Vec<u64> = sorted(&home).into_values().flatten().collect();
    let once: BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(once, (0..500).collect());
    assert!(numbers.len() > 600, "{} deliveries of 500 events", numbers.len());
}

#[test]
fn faults_are_told_and_can_be_kept_to_one_subscription() {
    let home = Home::new();
    say(&mut source(&home), 0..10, half_hot);
    let settings = "[process.subscription.faults]\nseed = 7\nreorder_one_in = 2\n";
    home.write("sorter.toml", settings);
    let mut running =
        sample::Running::start(home.command_of(&program("sorter"), &["run"]).stdout(Stdio::null()));
    running.wait_for("FAULTS ARE ON");
    wait_until("all is done", || acknowledged(&home) == 10);
    drop(running);
    home.write("sorter.toml", format!("{settings}only = \"another\"\n"));
    say(&mut source(&home), 10..20, half_hot);
    let mut command = home.command_of(&program("sorter"), &["run"]);
    let running = sample::Running::start(command.stdout(Stdio::null()));
    wait_until("all is done", || acknowledged(&home) == 20);
    running.signal(Signal::TERM);
    let ended = running.wait();
    assert!(!ended.stderr.contains("FAULTS"), "{}", ended.stderr);
}

#[test]
fn what_nobody_wants_between_two_events_does_not_keep_the_second_out_of_reach() {
    let home = Home::new();
    let mut writer = source(&home);
    say(&mut writer, 1..3, half_hot);
    let beat = Entry { topic: "_heartbeat", key: None, cause: None, codec: Codec::Json, payload: b"{}" };
    // Further than what is done can be remembered in segments as small as these.
    for _ in 0..3000 {
        writer.append(&beat).unwrap();
    }
    say(&mut writer, 3..5, half_hot);
    let _sorter = sorter(&home, &["--any-order", "--journal-segment-bytes", "64KiB"]);
    wait_until("all is said", || said(&home, "sorted").len() == 4);
    wait_until("all is acknowledged", || acknowledged(&home) == 3004);
}

#[test]
fn what_a_key_is_at_is_not_lost_when_an_older_copy_is_put_back() {
    let home = Home::new();
    let mut writer = source(&home);
    let key = |number| if number == 3 { "three".to_owned() } else { half_hot(number) };
    say(&mut writer, 0..10, key);
    drop(writer);
    let (source_folder, aside) = (home.instance("source"), home.path().join("aside"));
    let copied = std::process::Command::new("cp").arg("-a").arg(&source_folder).arg(&aside).status().unwrap();
    assert!(copied.success());
    let first = sorter(&home, &["--hang", "three"]);
    say(&mut source(&home), 10..14, key);
    wait_until("all but one are said", || said(&home, "sorted").len() == 13);
    fs::remove_dir_all(&source_folder).unwrap();
    fs::rename(&aside, &source_folder).unwrap();
    say(&mut source(&home), 100..102, key);
    wait_until("what is new is said", || said(&home, "sorted").len() == 15);
    assert_eq!(acknowledged(&home), 3);
    first.kill();
    let _second = sorter(&home, &[]);
    wait_until("the one is said", || said(&home, "sorted").len() == 16);
    wait_until("all is acknowledged", || acknowledged(&home) == 12);
    let mut numbers: Vec<_> =
        said(&home, "sorted").iter().filter_map(|said| said["number"].as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..14).chain(100..102).collect::<Vec<_>>());
}
