//! Events that are to be had once more while their journal is away, or cannot be read: they wait, whatever becomes of the
//! others, and nothing that was to come of them is lost. And a journal that appears while nothing can be kept about it.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;

use journal::{journal_folder, marks_path};
use serde_json::{Value, json};

use crate::keyed::{acknowledged, said, say, source};
use crate::letters::{call_of, error_name, health_of};
use crate::records::{offsets, said_by};
use crate::replaced::speak_as;
use crate::sample::{Home, Running, program};
use crate::swarm::wait_until;

const PATIENT: [&str; 4] = ["--subscription-max-attempts", "1000", "--subscription-backoff", "500ms"];
const IMPATIENT: [&str; 2] = ["--subscription-max-attempts", "1"];
/// What is said of the event at offset 1.
const WAITS: &str = "waits to read offset 1 of source again";

fn start(home: &Home, example: &str, arguments: &[&str]) -> Running {
    let arguments = [&["run", "--log-level", "debug"], arguments].concat();
    Running::start(home.command_of(&program(example), &arguments).stdout(Stdio::null()))
}

fn own_key(number: u64) -> String {
    format!("key-{number}")
}

fn numbers(said: &[Value]) -> Vec<u64> {
    said.iter().map(|said| said["number"].as_u64().unwrap()).collect()
}

/// The journal of `source`, somewhere else until this is told to put it back.
struct Aside {
    there: PathBuf,
    aside: PathBuf,
}

impl Aside {
    fn put(home: &Home) -> Aside {
        let (there, aside) = (home.instance("source"), home.path().join("aside"));
        fs::rename(&there, &aside).unwrap();
        Aside { there, aside }
    }

    fn put_back(self) {
        fs::rename(&self.aside, &self.there).unwrap();
    }
}

/// Of the format that an instance's marks have.
fn set_version(home: &Home, instance: &str, version: u8) {
    let marks = marks_path(&home.instance(instance));
    fs::File::options().write(true).open(&marks).unwrap().write_all_at(&[version], 8).unwrap();
}

#[test]
fn an_event_of_a_key_waits_for_its_next_attempt_while_its_journal_is_away() {
    let home = Home::new();
    say(&mut source(&home), 0..3, own_key);
    let mut failing = start(&home, "sorter", &[&["--fail", "1"], &PATIENT[..]].concat());
    failing.wait_for("refused, attempt 1");
    let aside = Aside::put(&home);
    failing.wait_for(WAITS);
    aside.put_back();
    // That it does no longer.
    failing.wait_for(WAITS);
    failing.wait_for("refused, attempt 2");
    assert_eq!(acknowledged(&home), 1);
    drop(failing);
    let _well = start(&home, "sorter", &PATIENT);
    wait_until("all is sorted", || said(&home, "sorted").len() == 3);
    assert_eq!(numbers(&said(&home, "sorted")), [0, 2, 1]);
}

#[test]
fn an_event_that_may_be_acknowledged_in_any_order_waits_while_its_journal_is_away() {
    let home = Home::new();
    say(&mut source(&home), 0..3, own_key);
    let mut careful = start(&home, "careful", &[&["--refuse", "1", "--any-order"], &PATIENT[..]].concat());
    wait_until("all is heard", || said_by(&home, "careful", "heard").len() == 3);
    let aside = Aside::put(&home);
    careful.wait_for(WAITS);
    aside.put_back();
    wait_until("it comes again", || said_by(&home, "careful", "heard").len() > 3);
    let again = said_by(&home, "careful", "heard").remove(3);
    assert_eq!((&again["number"], &again["attempt"]), (&1.into(), &2.into()), "no attempt was lost over it");
    careful.wait_for("no longer waiting");
}

#[test]
fn an_event_that_has_failed_for_good_is_parked_once_its_journal_is_back_and_those_behind_it_with_it() {
    let home = Home::new();
    let mut writer = source(&home);
    say(&mut writer, 0..3, |number| if number == 0 { "other".to_owned() } else { "one".to_owned() });
    let gate = home.path().join("gate");
    let gated = ["--fail", "1", "--gated", "1", "--gate", gate.to_str().unwrap()];
    let mut failing = start(&home, "sorter", &[&gated[..], &IMPATIENT].concat());
    wait_until("the others are said", || said(&home, "sorted").len() == 1);
    let aside = Aside::put(&home);
    fs::write(&gate, "").unwrap();
    failing.wait_for(WAITS);
    aside.put_back();
    wait_until("both are parked", || said(&home, "_dead-letter").len() == 2);
    wait_until("all is acknowledged", || acknowledged(&home) == 3);
    let letters = said(&home, "_dead-letter");
    assert_eq!([&letters[0]["offset"], &letters[1]["offset"]], [&Value::from(1), &Value::from(2)]);
    assert_eq!((&letters[0]["reason"], &letters[0]["attempts"]), (&"told so".into(), &1.into()));
    drop(failing);
    // One that comes behind them later, and is parked by itself.
    let mut well = start(&home, "sorter", &IMPATIENT);
    say(&mut writer, 3..4, |_| "other".to_owned());
    wait_until("it reads", || said(&home, "sorted").len() == 2);
    let aside = Aside::put(&home);
    say(&mut writer, 4..5, |_| "one".to_owned());
    well.wait_for("waits to read offset 4 of source again");
    aside.put_back();
    wait_until("it is parked, too", || said(&home, "_dead-letter").len() == 3);
    wait_until("all is acknowledged", || acknowledged(&home) == 5);
}

#[test]
fn an_event_waits_while_its_journal_is_put_back_file_by_file() {
    let home = Home::new();
    say(&mut source(&home), 0..3, own_key);
    let mut failing = start(&home, "sorter", &[&["--fail", "1"], &PATIENT[..]].concat());
    failing.wait_for("refused, attempt 1");
    let aside = Aside::put(&home);
    failing.wait_for(WAITS);
    fs::create_dir_all(journal_folder(&aside.there)).unwrap();
    fs::rename(marks_path(&aside.aside), marks_path(&aside.there)).unwrap();
    let health = || health_of(&home, "sorter").to_string();
    wait_until("it waits for the others", || health().contains("not done: it is not there now"));
    for file in fs::read_dir(journal_folder(&aside.aside)).unwrap() {
        let file = file.unwrap();
        fs::rename(file.path(), journal_folder(&aside.there).join(file.file_name())).unwrap();
    }
    failing.wait_for("refused, attempt 2");
    assert_eq!(acknowledged(&home), 1);
}

#[test]
fn an_event_whose_journal_cannot_be_read_for_its_next_attempt_waits_and_ends_nothing() {
    let home = Home::new();
    say(&mut source(&home), 0..3, own_key);
    let mut failing = start(&home, "sorter", &[&["--fail", "1"], &PATIENT[..]].concat());
    failing.wait_for("refused, attempt 1");
    set_version(&home, "source", 99);
    failing.wait_for(WAITS);
    set_version(&home, "source", 1);
    failing.wait_for("refused, attempt 2");
    assert_eq!(said(&home, "sorted").len(), 2);
}

#[test]
fn an_event_that_its_journal_has_dropped_is_waited_for_no_more() {
    let home = Home::new();
    say(&mut source(&home), 0..3, own_key);
    let mut failing = start(&home, "sorter", &[&["--fail", "1"], &PATIENT[..]].concat());
    failing.wait_for("refused, attempt 1");
    // Another journal.
    fs::remove_dir_all(home.instance("source")).unwrap();
    say(&mut source(&home), 10..13, own_key);
    wait_until("what is there now is said", || said(&home, "sorted").len() == 5);
    wait_until("all is acknowledged", || acknowledged(&home) == 3);
    assert_eq!(numbers(&said(&home, "sorted")), [0, 2, 10, 11, 12]);
}

#[test]
fn a_journal_is_waited_for_while_nothing_can_be_kept_about_it_whenever_it_appears() {
    for is_there_before in [true, false] {
        let home = Home::new();
        let finished = home.instance("careful").join("finished");
        fs::create_dir_all(home.instance("careful")).unwrap();
        fs::write(&finished, "").unwrap();
        let speak = || say(&mut source(&home), 1..4, own_key);
        if is_there_before {
            speak();
        }
        let mut careful = start(&home, "careful", &["--any-order"]);
        if !is_there_before {
            careful.wait_for("ready");
            speak();
        }
        careful.wait_for("what is done of journal source cannot be kept");
        assert_eq!(said_by(&home, "careful", "heard"), Vec::<Value>::new());
        fs::remove_file(&finished).unwrap();
        wait_until("all is heard", || said_by(&home, "careful", "heard").len() == 3);
        careful.wait_for("no longer waiting");
    }
}

#[test]
fn a_history_that_parts_is_waited_for_while_nothing_can_be_kept_about_it() {
    let home = Home::new();
    say(&mut source(&home), 1..4, own_key);
    let mut careful = start(&home, "careful", &["--any-order"]);
    wait_until("all is heard", || said_by(&home, "careful", "heard").len() == 3);
    let finished = home.instance("careful").join("finished");
    fs::remove_dir_all(&finished).unwrap();
    fs::write(&finished, "").unwrap();
    fs::remove_dir_all(home.instance("source")).unwrap();
    say(&mut source(&home), 10..13, own_key);
    careful.wait_for("what is done of journal source cannot be kept");
    fs::remove_file(&finished).unwrap();
    wait_until("what is there now is heard", || said_by(&home, "careful", "heard").len() == 6);
    assert_eq!(numbers(&said_by(&home, "careful", "heard")), [1, 2, 3, 10, 11, 12]);
}

/// Where the letters of an instance lie.
fn letters_at(home: &Home, instance: &str) -> Vec<u64> {
    offsets(home, instance, "_dead-letter")
}

#[test]
fn letters_about_one_offset_of_two_journals_are_dealt_with_side_by_side() {
    let home = Home::new();
    say(&mut source(&home), 0..3, own_key);
    let first = start(&home, "careful", &[&["--any-order", "--refuse", "1"], &IMPATIENT[..]].concat());
    let count = |topic: &str| said_by(&home, "careful", topic).len();
    wait_until("its event is parked", || count("_dead-letter") == 1);
    fs::remove_dir_all(home.instance("source")).unwrap();
    say(&mut source(&home), 0..3, own_key);
    wait_until("that of the other journal is, too", || count("_dead-letter") == 2 && count("heard") == 6);
    drop(first);
    let _second = start(&home, "careful", &["--any-order", "--hold", "100"]);
    for letter in letters_at(&home, "careful") {
        call_of(&home, "careful", "Retry", &json!({"offset": letter})).unwrap();
    }
    wait_until("both are delivered", || count("heard") == 8);
    let again = call_of(&home, "careful", "Retry", &json!({"offset": letters_at(&home, "careful")[0]}));
    assert_eq!(error_name(again), "Failed", "each of them once at a time");
}

#[test]
fn an_order_about_a_letter_that_cannot_be_read_now_is_refused_and_ends_nothing() {
    let home = Home::new();
    speak_as(&home, "source", 0..3);
    let failing = start(&home, "sorter", &[&["--fail", "1"], &IMPATIENT[..]].concat());
    wait_until("all is dealt with", || acknowledged(&home) == 3);
    drop(failing);
    speak_as(&home, "source", 3..4);
    let mut dying = start(&home, "sorter", &["--die", "3"]);
    wait_until("it has died over an event", || dying.has_ended());
    // Which has the process for itself now: orders wait for it.
    let gate = home.path().join("gate");
    let mut sorter = start(&home, "sorter", &["--gated", "3", "--gate", gate.to_str().unwrap()]);
    sorter.wait_for("ready");
    let retry = |offset: u64| call_of(&home, "sorter", "Retry", &json!({"offset": offset}));
    let letter = letters_at(&home, "sorter")[0];
    let refused = thread::scope(|scope| {
        let asked = scope.spawn(|| retry(letter));
        sorter.wait_for("an order about dead letters waits");
        set_version(&home, "sorter", 99);
        fs::write(&gate, "").unwrap();
        asked.join().unwrap()
    });
    assert!(format!("{refused:?}").contains("that cannot be done now"), "{refused:?}");
    set_version(&home, "sorter", 1);
    retry(letter).unwrap();
    wait_until("it is dealt with", || said(&home, "sorted").len() == 4);
    assert!(!sorter.has_ended());
}

#[test]
fn what_was_in_hand_of_another_journal_is_no_success_of_those_that_have_failed_in_a_row() {
    let home = Home::new();
    say(&mut source(&home), 1..25, own_key);
    // Every other event fails, and none of the others is done.
    let refusing = ["--any-order", "--hold", "1000", "--refuse-one-in", "2", "--subscription-backoff", "1ms"];
    let mut careful = start(&home, "careful", &[&refusing[..], &IMPATIENT].concat());
    careful.wait_for("the last 10 events");
    let health = || health_of(&home, "careful").to_string();
    wait_until("all have been tried", || health().contains("the last 12 events"));
    fs::remove_dir_all(home.instance("source")).unwrap();
    say(&mut source(&home), 1..2, own_key);
    wait_until("the only one of the other journal is parked", || {
        said_by(&home, "careful", "_dead-letter").len() == 13
    });
    wait_until("it is one more in a row", || health().contains("the last 13 events"));
}
