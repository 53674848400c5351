//! Dead letters that are delivered once more, given up, or fail again; and parked keys that are released.

use std::time::Duration;

use procession::varlink::{Client, ClientError};
use serde_json::{Value, json};

use crate::keyed::{acknowledged, expected, kill_until_done, said, say, seeded, sorted, sorter, source};
use crate::sample::{self, Home, program};
use crate::swarm::wait_until;

pub(crate) const IMPATIENT: [&str; 4] = ["--subscription-max-attempts", "2", "--subscription-backoff", "1ms"];

pub(crate) fn of_three(number: u64) -> String {
    format!("key-{}", number % 3)
}

/// Asks the sorter how it is.
pub(crate) fn health(home: &Home) -> Value {
    health_of(home, "sorter")
}

pub(crate) fn health_of(home: &Home, instance: &str) -> Value {
    call_method_of(home, instance, "io.procession.Process.Health", &json!({})).unwrap()
}

/// Calls the sorter once it answers.
pub(crate) fn call(home: &Home, method: &str, parameters: &Value) -> Result<Value, ClientError> {
    call_of(home, "sorter", method, parameters)
}

/// Calls a process about its letters once it answers.
pub(crate) fn call_of(
    home: &Home,
    instance: &str,
    method: &str,
    parameters: &Value,
) -> Result<Value, ClientError> {
    call_method_of(home, instance, &format!("io.procession.DeadLetters.{method}"), parameters)
}

fn call_method_of(
    home: &Home,
    instance: &str,
    method: &str,
    parameters: &Value,
) -> Result<Value, ClientError> {
    let socket = home.socket(instance);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut client = None;
    wait_until("it listens", || {
        client = runtime.block_on(Client::connect(&socket)).ok();
        client.is_some()
    });
    let mut client = client.unwrap();
    let mut answer = None;
    wait_until("it reads", || {
        let called = runtime.block_on(client.call(method, parameters));
        let reads = !matches!(&called, Err(ClientError::Error { name, .. }) if name.ends_with(".NotReading"));
        answer = Some(called);
        reads
    });
    answer.unwrap()
}

fn release(home: &Home) -> Result<Value, ClientError> {
    call(home, "Release", &json!({"subscription": "sorted", "key": "key-1"}))
}

pub(crate) fn error_name(outcome: Result<Value, ClientError>) -> String {
    match outcome {
        Err(ClientError::Error { name, .. }) => name.rsplit('.').next().unwrap_or_default().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// Letters that nobody has settled.
fn open_letters(home: &Home) -> usize {
    said(home, "_dead-letter").len() - said(home, "_dead-letter-settled").len()
}

/// A home where key-1 is parked from number 10 on, and 36 numbers were said.
fn parked() -> Home {
    let home = Home::new();
    let mut source = source(&home);
    say(&mut source, 0..30, of_three);
    let failing = sorter(&home, &[&["--fail", "10"], &IMPATIENT[..]].concat());
    wait_until("all is dealt with", || acknowledged(&home) == 30);
    failing.kill();
    say(&mut source, 30..36, of_three);
    home
}

#[test]
fn a_released_key_goes_on_where_it_was_parked() {
    let home = parked();
    let running = sorter(&home, &[]);
    wait_until("all is dealt with", || acknowledged(&home) == 36);
    assert_eq!(error_name(call(&home, "Retry", &json!({"offset": 0}))), "NoLetter");
    let parked = call(&home, "Parked", &json!({})).unwrap();
    assert_eq!(parked, json!({"parked": [{"subscription": "sorted", "keys": ["key-1"]}]}));
    assert_eq!(release(&home).unwrap(), json!({"letters": 9}));
    wait_until("its letters are settled", || open_letters(&home) == 0);
    assert_eq!(error_name(release(&home)), "NotParked");
    say(&mut source(&home), 36..42, of_three);
    wait_until("its later events come", || acknowledged(&home) == 42);
    running.kill();
    assert_eq!(sorted(&home), expected(0..42, of_three));
    // It is free for good.
    say(&mut source(&home), 42..45, of_three);
    let later = sorter(&home, &[]);
    wait_until("its later events come", || acknowledged(&home) == 45);
    later.kill();
    assert_eq!(sorted(&home), expected(0..45, of_three));
}

#[test]
fn a_key_that_fails_again_stays_parked_and_can_be_given_up() {
    let home = parked();
    let failing = sorter(&home, &[&["--fail", "10"], &IMPATIENT[..]].concat());
    wait_until("all is dealt with", || acknowledged(&home) == 36);
    assert_eq!(release(&home).unwrap(), json!({"letters": 9}));
    let is_parked = || call(&home, "Parked", &json!({})).unwrap()["parked"] != json!([]);
    assert!(is_parked());
    say(&mut source(&home), 36..39, of_three);
    wait_until("all is dealt with", || acknowledged(&home) == 39);
    assert_eq!(open_letters(&home), 10, "what comes later is parked, too");
    let give_up = json!({"subscription": "sorted", "key": "key-1", "drop": true});
    assert_eq!(call(&home, "Release", &give_up).unwrap(), json!({"letters": 10}));
    assert_eq!(open_letters(&home), 0);
    assert!(!is_parked());
    say(&mut source(&home), 39..42, of_three);
    wait_until("its later events come", || acknowledged(&home) == 42);
    failing.kill();
    assert_eq!(sorted(&home)["key-1"], [1, 4, 7, 40]);
}

#[test]
fn a_key_that_is_released_while_its_events_come_keeps_their_order() {
    let home = parked();
    let running = sorter(&home, &["--pause", "2ms"]);
    wait_until("all is dealt with", || acknowledged(&home) == 36);
    let mut source = source(&home);
    say(&mut source, 36..60, of_three);
    assert!(release(&home).unwrap()["letters"].as_u64().unwrap() >= 9);
    say(&mut source, 60..120, of_three);
    wait_until("its letters are settled", || open_letters(&home) == 0 && acknowledged(&home) == 120);
    running.kill();
    assert_eq!(sorted(&home), expected(0..120, of_three));
}

#[test]
fn letters_of_a_subscription_with_the_longest_name_are_delivered_once_more() {
    let name = "n".repeat(120);
    let named = ["--name", &name, "--one-by-one"];
    let home = Home::new();
    say(&mut source(&home), 0..1, of_three);
    let failing = sorter(&home, &[&named[..], &["--fail", "0"], &IMPATIENT[..]].concat());
    wait_until("it is parked", || acknowledged(&home) == 1);
    failing.kill();
    let mending = sorter(&home, &named);
    call(&home, "Retry", &json!({"offset": 0})).unwrap();
    wait_until("it is settled", || open_letters(&home) == 0);
    mending.kill();
    assert_eq!(said(&home, "sorted").len(), 1);
}

#[test]
fn a_program_that_can_deal_with_nothing_slows_down_says_so_and_is_given_all_again_once_it_is_mended() {
    let slow = ["--fail-from", "0", "--subscription-max-attempts", "1", "--subscription-backoff", "1h"];
    for way in [&[][..], &["--one-by-one"]] {
        let home = Home::new();
        say(&mut source(&home), 0..60, |number| format!("key-{}", number % 20));
        let arguments = [&["run"], &slow[..], way].concat();
        let mut failing = sample::Running::start(
            home.command_of(&program("sorter"), &arguments).stdout(std::process::Stdio::null()),
        );
        failing.wait_for("have failed");
        // The process may have yet to say that it is ready.
        wait_until("its health says so", || health(&home)["waiting"].to_string().contains("have failed"));
        assert!(said(&home, "_dead-letter").len() <= 10, "it goes on at full speed");
        failing.signal(rustix::process::Signal::TERM);
        assert_eq!(failing.wait().code, Some(0));
        let letters = open_letters(&home);
        assert!(letters > 0);
        let mended = sorter(&home, &[&["--subscription-max-attempts", "1"], way].concat());
        wait_until("the rest is dealt with", || acknowledged(&home) == 60);
        let all = open_letters(&home);
        assert!(all >= letters);
        let retried = call(&home, "RetryAll", &json!({})).unwrap();
        assert_eq!(retried, json!({"letters": all, "failed": []}));
        wait_until("they are settled", || open_letters(&home) == 0);
        mended.kill();
        let mut by_key = sorted(&home);
        if !way.is_empty() {
            // What was parked comes behind, in its own order.
            let numbers: Vec<u64> =
                said(&home, "sorted").iter().map(|said| said["number"].as_u64().unwrap()).collect();
            assert!(numbers[60 - all..].is_sorted(), "{numbers:?}");
            by_key.values_mut().for_each(|numbers| numbers.sort_unstable());
        }
        assert_eq!(by_key, expected(0..60, |number| format!("key-{}", number % 20)));
    }
}

#[test]
fn a_process_that_is_killed_over_a_release_says_nothing_twice() {
    let mut random = seeded("kills over a release");
    let home = parked();
    let mut kills = 0;
    loop {
        let running = sorter(&home, &["--pause", "20ms"]);
        if let Err(ClientError::Error { name, .. }) = release(&home) {
            assert!(name.ends_with(".NotParked"), "{name}");
            break;
        }
        let before = open_letters(&home);
        wait_until("it goes on", || open_letters(&home) < before || before == 0);
        std::thread::park_timeout(Duration::from_micros(rand::RngExt::random_range(&mut random, 0..20_000)));
        running.kill();
        kills += 1;
    }
    println!("{kills} kills");
    kill_until_done(&home, 36, &[], &mut random);
    assert_eq!(sorted(&home), expected(0..36, of_three));
}

#[test]
fn a_letter_of_a_plain_subscription_is_delivered_once_more_or_dropped() {
    let home = Home::new();
    say(&mut source(&home), 0..6, of_three);
    let one_by_one = [&["--one-by-one", "--fail", "3"], &IMPATIENT[..]].concat();
    let failing = sorter(&home, &one_by_one);
    wait_until("all is dealt with", || acknowledged(&home) == 6);
    let at = said(&home, "sorted").len();
    assert_eq!(open_letters(&home), 1);
    // Its place: behind the three outputs before it.
    let letter = json!({"offset": 3});
    assert_eq!(at, 5);
    failing.kill();
    let mending = sorter(&home, &["--one-by-one"]);
    call(&home, "Retry", &letter).unwrap();
    wait_until("it is settled", || open_letters(&home) == 0);
    assert_eq!(error_name(call(&home, "Retry", &letter)), "NoLetter");
    assert_eq!(error_name(call(&home, "Drop", &letter)), "NoLetter");
    mending.kill();
    assert_eq!(said(&home, "sorted")[5]["number"], 3);

    say(&mut source(&home), 6..7, of_three);
    let failing = sorter(&home, &[&["--one-by-one", "--fail", "6"], &IMPATIENT[..]].concat());
    wait_until("all is dealt with", || acknowledged(&home) == 7);
    let offset = said(&home, "sorted").len() + 2;
    call(&home, "Drop", &json!({"offset": offset})).unwrap();
    assert_eq!(open_letters(&home), 0);
    failing.kill();
}
