//! What instances have in their folders: each file is in the list of [`procession::files`], each of the list is met, and a copy
//! of what it calls needed is as good as the original.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use journal::{Codec, Entry, FileKind, Options, Purpose, Retention, Writer, read_cursors};
use procession::files::{self, CHECKPOINTS};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::keyed::{acknowledged, say, source};
use crate::letters::{IMPATIENT, call, of_three};
use crate::records::said_by;
use crate::sample::{Home, Running, program};
use crate::swarm::wait_until;

/// The instances of this test, in one home.
const INSTANCES: [&str; 5] = ["bank", "teller", "source", "sorter", "sample"];
/// No test can wait for it: it is there between two segments.
const FOR_AN_INSTANT: &str = "taken.tmp";
/// Only processes that have said very much, or that died while they said something final, have these checkpoints.
const RARE: [&str; 2] = ["_letters/none-before", "_final/"];

/// A bank that keeps no more than it must, and soon writes down how old its segments are, and who has not been seen.
fn bank(home: &Home) -> Writer {
    let folder = home.instance("bank");
    fs::create_dir_all(&folder).unwrap();
    let often = Duration::from_secs(100);
    let retention =
        Retention { bytes_kept: 0, age_kept: Some(often), lease: often, ..Options::default().retention };
    Writer::open(&folder, &Options { segment_bytes: 64 << 10, retention, ..Options::default() }).unwrap()
}

/// Cents of an account are moved.
fn moved(bank: &mut Writer, second: i64, account: &str, cents: i64) {
    let at = 1_700_000_000_000_000 + second * 1_000_000;
    let payload = json!({"account": account, "at": at.to_string(), "cents": cents}).to_string();
    let codec = Codec::Json;
    bank.append(&Entry { topic: "moved", key: None, cause: None, codec, payload: payload.as_bytes() })
        .unwrap();
}

fn start(home: &Home, example: &str, arguments: &[&str]) -> Running {
    Running::start(&mut home.command_of(&program(example), &[&["run"], arguments].concat()))
}

/// All files below a folder, by their path from there on.
fn below(folder: &Path) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => walk(&entry.path(), found),
                _ => found.push(entry.path()),
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, &mut found);
    found.iter().map(|path| path.strip_prefix(folder).unwrap().to_owned()).collect()
}

/// The files of all instances: the kinds of the list that are among them. Fails over a file that is not in the list.
fn kinds_met(home: &Home) -> BTreeSet<&'static str> {
    let mut met = BTreeSet::new();
    let mut meet = |path: PathBuf, kinds: &[FileKind]| {
        let kind = kinds.iter().find(|kind| kind.purpose_of(&path).is_some());
        let kind = kind.unwrap_or_else(|| panic!("{} is in no list", path.display()));
        met.insert(kind.name);
    };
    let (in_state, in_runtime): (Vec<_>, Vec<_>) =
        (files::in_state().collect(), files::in_runtime().collect());
    for instance in INSTANCES {
        below(&home.instance(instance)).into_iter().for_each(|path| meet(path, &in_state));
        let runtime = home.socket(instance).parent().unwrap().to_owned();
        below(&runtime).into_iter().for_each(|path| meet(path, &in_runtime));
    }
    met
}

fn checkpoints(home: &Home, instance: &str) -> Vec<String> {
    let writer = Writer::open(&home.instance(instance), &Options::default()).unwrap();
    writer.checkpoint_names().map(str::to_owned).collect()
}

/// Copies what is needed of all instances, and nothing else.
fn copy_needed(from: &Home, to: &Home) {
    for instance in INSTANCES {
        let folder = from.instance(instance);
        let needed = |path: &PathBuf| files::purpose_of(path) == Some(Purpose::Needed);
        for path in below(&folder).into_iter().filter(needed) {
            let copy = to.instance(instance).join(&path);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(folder.join(&path), copy).unwrap();
        }
        let report = journal::verify(&to.instance(instance)).unwrap();
        assert!(report.damage.is_empty() && report.strays.is_empty(), "{instance}: {report:?}");
        let cursors = [folder, to.instance(instance)].map(|folder| read_cursors(&folder).unwrap());
        assert_eq!(cursors[0], cursors[1], "{instance}");
    }
}

/// Numbers that the sorter has said, and those of its letters.
fn numbers(home: &Home) -> (Vec<u64>, Vec<u64>) {
    let sorted = |topic, number: fn(&Value) -> u64| {
        let mut numbers: Vec<u64> = said_by(home, "sorter", topic).iter().map(number).collect();
        numbers.sort_unstable();
        numbers
    };
    let said = sorted("sorted", |said| said["number"].as_u64().unwrap());
    (said, sorted("_dead-letter", |letter| letter["payload"]["number"].as_u64().unwrap()))
}

fn balances(home: &Home) -> Vec<i64> {
    said_by(home, "teller", "overdrawn").iter().map(|said| said["balance"].as_i64().unwrap()).collect()
}

#[test]
fn every_file_is_in_the_list_and_a_copy_of_those_that_are_needed_goes_on() {
    let home = Home::new();
    let mut met = BTreeSet::new();
    // A model whose publisher has dropped the first of what it has heard: nobody knows that but its snapshot.
    let mut bank = bank(&home);
    let teller = start(&home, "teller", &["--lateness", "1s", "--snapshot-after", "50"]);
    moved(&mut bank, 1, "a", 500);
    wait_until("it reads", || {
        let cursors = read_cursors(&home.instance("teller")).unwrap_or_default();
        cursors.iter().any(|cursor| cursor.journal == "bank")
    });
    let mut seconds = 2..;
    wait_until("it is dropped", || {
        seconds.by_ref().take(50).for_each(|second| moved(&mut bank, second, "b", 0));
        bank.watch().marks().trimmed.0 > 0
    });
    moved(&mut bank, seconds.next().unwrap(), "a", -501);
    wait_until("all is heard", || {
        met.extend(kinds_met(&home));
        balances(&home) == [-1]
    });
    teller.signal(Signal::TERM);
    assert_eq!(teller.wait().code, Some(0));
    wait_until("a segment is made ready, and it is noted how old others are and who is not there", || {
        seconds.by_ref().take(10).for_each(|second| moved(&mut bank, second, "b", 0));
        met.extend(kinds_met(&home));
        ["next.tmp", "ages", "leases"].iter().all(|name| met.contains(name))
    });

    // A subscriber that has finished what lies behind its cursor, and has parked a key; it is killed over the first event.
    say(&mut source(&home), 0..12, of_three);
    let gate = home.path().join("gate");
    let gated = ["--gated", "0", "--gate", gate.to_str().unwrap(), "--fail", "1"];
    let sorter = start(&home, "sorter", &[&gated[..], &IMPATIENT].concat());
    let all_but_key_0 = (vec![2, 5, 8, 11], vec![1, 4, 7, 10]);
    wait_until("the others are dealt with", || numbers(&home) == all_but_key_0);
    met.extend(kinds_met(&home));
    assert_eq!(acknowledged(&home), 0);
    drop(sorter);

    let failed = start(&home, "behaviours", &["--behaviour", "fail"]).wait();
    assert_eq!(failed.code, Some(1), "{failed:?}");
    met.extend(kinds_met(&home));
    drop(bank);

    let listed = files::in_state().chain(files::in_runtime()).map(|kind| kind.name);
    let unmet: Vec<_> = listed.filter(|name| !met.contains(name) && *name != FOR_AN_INSTANT).collect();
    assert!(unmet.is_empty(), "{unmet:?} of {met:?}");

    let again = Home::new();
    copy_needed(&home, &again);
    let mut bank = self::bank(&again);
    let teller = start(&again, "teller", &["--lateness", "1s"]);
    moved(&mut bank, seconds.next().unwrap(), "a", -1);
    wait_until("the model goes on", || balances(&again) == [-1, -2]);
    let sorter = start(&again, "sorter", &[]);
    wait_until("the rest is dealt with", || acknowledged(&again) == 12);
    assert_eq!(numbers(&again), (vec![0, 2, 3, 5, 6, 8, 9, 11], all_but_key_0.1));
    let parked = json!({"parked": [{"subscription": "sorted", "keys": ["key-1"]}]});
    assert_eq!(call(&again, "Parked", &json!({})).unwrap(), parked);
    drop((teller, sorter));
}

#[test]
fn every_checkpoint_of_the_framework_is_in_the_list() {
    let home = Home::new();
    say(&mut source(&home), 0..12, of_three);
    let gate = home.path().join("gate");
    let gated = ["--gated", "0", "--gate", gate.to_str().unwrap(), "--fail", "1"];
    let sorter = start(&home, "sorter", &[&gated[..], &IMPATIENT].concat());
    wait_until("the others are dealt with", || numbers(&home).0.len() == 4 && numbers(&home).1.len() == 4);
    drop(sorter);
    let found = checkpoints(&home, "sorter");
    for name in &found {
        assert!(CHECKPOINTS.iter().any(|kind| kind.is(name)), "{name}");
    }
    let unmet = CHECKPOINTS.iter().filter(|kind| !found.iter().any(|name| kind.is(name)));
    assert_eq!(unmet.map(|kind| kind.prefix).collect::<BTreeSet<_>>(), RARE.into());
}
