//! A process that is told to stop spends no attempt on what it holds, however it ends then.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::keyed::{acknowledged, said, say, sorter, source};
use crate::sample::{Home, Running, program};
use crate::swarm::wait_until;

/// More stops than a delivery may have attempts.
const STOPS: usize = 4;
const ATTEMPTS: [&str; 2] = ["--subscription-max-attempts", "3"];

fn key(_: u64) -> String {
    "hot".to_owned()
}

fn start(home: &Home, example: &str, arguments: &[&str]) -> Running {
    let arguments = [&["run", "--log-level", "debug"], arguments, &ATTEMPTS[..]].concat();
    Running::start(home.command_of(&program(example), &arguments).stdout(Stdio::null()))
}

/// Whether the table of cursors says that its owner is told to stop.
fn is_noted(home: &Home, instance: &str) -> bool {
    let table = File::open(journal::cursors_path(&home.instance(instance))).unwrap();
    let mut noted = [0; 8];
    table.read_exact_at(&mut noted, 32).unwrap();
    noted != [0; 8]
}

/// All that the sorter is to have said in the end: the first event once, and as if it were new.
fn came_as_new(home: &Home, events: u64) {
    let last = sorter(home, &ATTEMPTS);
    wait_until("all is done", || acknowledged(home) == events);
    last.kill();
    assert_eq!(said(home, "_dead-letter").len(), 0, "a healthy event is parked");
    let attempts: Vec<Value> = said(home, "sorted").iter().map(|said| said["attempt"].clone()).collect();
    assert_eq!(attempts.len() as u64, events);
    assert!(attempts.iter().all(|attempt| attempt == 1), "{attempts:?}");
}

#[test]
fn deliveries_that_are_held_come_as_new_after_any_number_of_stops() {
    let home = Home::new();
    say(&mut source(&home), 1..4, key);
    let heard = || crate::records::said_by(&home, "careful", "heard");
    for stop in 1..=STOPS {
        let holding = start(&home, "careful", &["--hold", "10"]);
        wait_until("they are heard", || heard().len() == 3 * stop);
        holding.signal(Signal::TERM);
        assert_eq!(holding.wait().code, Some(0));
    }
    assert!(heard().iter().all(|heard| heard["attempt"] == 1), "{:?}", heard());
    assert_eq!(crate::records::said_by(&home, "careful", "_dead-letter").len(), 0);
}

#[test]
fn a_refused_delivery_that_waits_to_come_again_is_not_blamed_for_stops() {
    for keyed in [true, false] {
        let home = Home::new();
        say(&mut source(&home), 0..1, key);
        let way: &[&str] = if keyed { &[] } else { &["--one-by-one"] };
        for _ in 0..STOPS {
            let refusing =
                [&["--fail", "0", "--subscription-backoff", "1h", "--subscription-backoff-max", "1h"], way];
            let mut waiting = start(&home, "sorter", &refusing.concat());
            waiting.wait_for("refused, attempt");
            waiting.signal(Signal::TERM);
            assert_eq!(waiting.wait().code, Some(0));
        }
        came_as_new(&home, 1);
    }
}

/// Starts a sorter that hangs over the first of two events, `STOPS` times, and ends it by `end`, which is given the
/// process once that was told to stop.
fn hang_and_end(way: &[&str], end: impl Fn(&Home, &mut Running)) {
    let home = Home::new();
    say(&mut source(&home), 0..2, |number| format!("key-{number}"));
    for _ in 0..STOPS {
        let mut hanging = start(&home, "sorter", &[&["--hang", "key-0"], way].concat());
        hanging.wait_for("begins to hang");
        hanging.signal(Signal::TERM);
        end(&home, &mut hanging);
        let ended = hanging.wait();
        assert_ne!(ended.code, Some(0), "{ended:?}");
    }
    came_as_new(&home, 2);
}

#[test]
fn a_delivery_that_outlives_the_time_to_stop_comes_as_new() {
    for way in [&["--shutdown-timeout", "10ms"][..], &["--shutdown-timeout", "10ms", "--one-by-one"]] {
        hang_and_end(way, |_, _| {});
    }
}

#[test]
fn a_delivery_in_hand_at_a_second_signal_comes_as_new() {
    for way in [&["--shutdown-timeout", "1h"][..], &["--shutdown-timeout", "1h", "--one-by-one"]] {
        hang_and_end(way, |_, hanging| {
            hanging.wait_for("stopping");
            hanging.signal(Signal::INT);
        });
    }
}

#[test]
fn a_delivery_in_hand_when_a_stop_takes_too_long_for_the_supervisor_comes_as_new() {
    for way in [&["--shutdown-timeout", "1h"][..], &["--shutdown-timeout", "1h", "--one-by-one"]] {
        hang_and_end(way, |home, hanging| {
            wait_until("the stop is noted", || is_noted(home, "sorter"));
            hanging.signal(Signal::KILL);
        });
    }
}

#[test]
fn a_death_after_a_restart_counts_again() {
    let home = Home::new();
    say(&mut source(&home), 0..1, key);
    for attempt in 1..=3 {
        let mut hanging = start(&home, "sorter", &["--hang", "hot"]);
        hanging.wait_for(&format!("begins to hang, attempt {attempt}"));
        if attempt == 1 {
            // Told to stop, and not to blame.
            hanging.signal(Signal::TERM);
            wait_until("the stop is noted", || is_noted(&home, "sorter"));
            hanging.signal(Signal::KILL);
            hanging.wait();
            hanging = start(&home, "sorter", &["--hang", "hot"]);
            hanging.wait_for("begins to hang, attempt 1");
        }
        hanging.signal(Signal::KILL);
        hanging.wait();
    }
    let parking = start(&home, "sorter", &["--hang", "hot"]);
    wait_until("it is parked", || said(&home, "_dead-letter").len() == 1);
    drop(parking);
}

#[test]
fn a_stop_forgives_no_death_that_was_before_it() {
    for way in [&["--one-by-one"][..], &[]] {
        let home = Home::new();
        say(&mut source(&home), 0..1, key);
        let dying = || start(&home, "sorter", &[&["--die", "0"], way].concat());
        let die = || {
            let ended = dying().wait();
            assert_eq!(ended.code, None, "{ended:?}");
        };
        die();
        die();
        // Told to stop over it, any number of times.
        for _ in 0..STOPS {
            let mut hanging = start(&home, "sorter", &[&["--hang", "hot"], way].concat());
            hanging.wait_for("begins to hang, attempt 3");
            hanging.signal(Signal::TERM);
            wait_until("the stop is noted", || is_noted(&home, "sorter"));
            drop(hanging);
        }
        die();
        let last = dying();
        wait_until("it is parked", || said(&home, "_dead-letter").len() == 1);
        let reason = said(&home, "_dead-letter")[0]["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("ended 3 times"), "{reason}");
        drop(last);
    }
}
