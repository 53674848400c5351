//! Events that fail while others are at work: what is done with them is neither too much nor out of turn.

use std::fs;
use std::process::Stdio;

use journal::{Codec, Entry, Writer, read_cursors};
use serde_json::{Value, json};

use crate::keyed::{acknowledged, said, say, sorter, source};
use crate::letters::{call, error_name};
use crate::records::{of_topic, said_by};
use crate::sample::{Home, Running, program};
use crate::swarm::wait_until;

const SMALL: [&str; 2] = ["--journal-segment-bytes", "64KiB"];
const ONE_ATTEMPT: [&str; 4] = ["--subscription-max-attempts", "1", "--subscription-backoff", "1ms"];

fn start(home: &Home, example: &str, arguments: &[&str]) -> Running {
    let arguments = [&["run", "--log-level", "debug"], arguments].concat();
    Running::start(home.command_of(&program(example), &arguments).stdout(Stdio::null()))
}

fn put(writer: &mut Writer, key: &str, payload: &Value) {
    let (key, payload) = (Some(key.as_bytes()), payload.to_string());
    let entry = Entry { topic: "count", key, cause: None, codec: Codec::Json, payload: payload.as_bytes() };
    writer.append(&entry).unwrap();
}

fn numbers(home: &Home) -> Vec<u64> {
    said(home, "sorted").iter().map(|said| said["number"].as_u64().unwrap()).collect()
}

#[test]
fn an_event_that_cannot_be_decoded_waits_until_that_it_is_parked_can_be_remembered() {
    let home = Home::new();
    let mut writer = source(&home);
    say(&mut writer, 0..2, |number| format!("key-{number}"));
    // More than may lie between what is done and what is not.
    for _ in 0..3000 {
        let beat = Entry { topic: "other", key: None, cause: None, codec: Codec::Json, payload: b"{}" };
        writer.append(&beat).unwrap();
    }
    // Of a key that has nothing else to do, and of the one that is at work.
    put(&mut writer, "key-9", &json!({"other": 1}));
    put(&mut writer, "key-0", &json!({"other": 2}));
    let gate = home.path().join("gate");
    let gated = ["--typed", "--gated", "0", "--gate", gate.to_str().unwrap()];
    let mut typed = start(&home, "sorter", &[&gated[..], &SMALL].concat());
    typed.wait_for("too far ahead");
    assert_eq!(said(&home, "_dead-letter").len(), 0);
    fs::write(&gate, "").unwrap();
    wait_until("all is dealt with", || {
        assert!(!typed.has_ended());
        acknowledged(&home) == 3004
    });
    assert_eq!(said(&home, "_dead-letter").len(), 2);
}

#[test]
fn a_key_whose_next_letter_cannot_be_had_stays_parked_and_in_order() {
    let home = Home::new();
    let mut writer = source(&home);
    // The second letter has not room for its event.
    let of = |number: u64, bytes: usize| json!({"number": number, "pad": "z".repeat(bytes)});
    for (number, bytes) in [(0, 1), (1, 30_000), (2, 1)] {
        put(&mut writer, "key-1", &of(number, bytes));
    }
    let failing = sorter(&home, &[&["--fail", "0"], &ONE_ATTEMPT[..], &SMALL].concat());
    wait_until("all is parked", || acknowledged(&home) == 3);
    failing.kill();
    // Its publisher does not have it any more, either.
    drop(writer);
    fs::remove_dir_all(home.instance("source")).unwrap();
    let mut writer = source(&home);
    let mut mended = start(&home, "sorter", &[&ONE_ATTEMPT[..], &SMALL].concat());
    let release = || call(&home, "Release", &json!({"subscription": "sorted", "key": "key-1"}));
    assert_eq!(release().unwrap(), json!({"letters": 3}));
    mended.wait_for("stays");
    let parked = json!({"parked": [{"subscription": "sorted", "keys": ["key-1"]}]});
    assert_eq!(call(&home, "Parked", &json!({})).unwrap(), parked);
    put(&mut writer, "key-1", &of(7, 1));
    wait_until("the new one is behind the others", || said(&home, "_dead-letter").len() == 4);
    assert_eq!(numbers(&home), [0]);
    // It can be given up, and the others are dealt with in their order.
    assert_eq!(error_name(release()), "Failed");
    let offset = letter_of(&home, 1);
    call(&home, "Drop", &json!({"offset": offset})).unwrap();
    assert_eq!(release().unwrap(), json!({"letters": 2}));
    wait_until("they are dealt with", || numbers(&home) == [0, 2, 7]);
    wait_until("it is free", || call(&home, "Parked", &json!({})).unwrap()["parked"] == json!([]));
    drop(mended);
}

/// Where the letter lies of an event of `source`.
fn letter_of(home: &Home, event: u64) -> u64 {
    let mut letters = of_topic(home, "sorter", "_dead-letter").into_iter();
    letters.find(|letter| letter.json()["offset"] == json!(event)).unwrap().offset
}

#[test]
fn scattered_failures_are_no_row_however_many_deliveries_are_in_hand() {
    // By a breaker that opens nothing would go on for an hour.
    let slow = ["--subscription-max-attempts", "1", "--subscription-backoff", "1h"];
    let failing = ["--refuse-one-in", "10", "--hold", "44", "--subscription-backoff-max", "1h"];
    for way in [&[][..], &["--any-order"]] {
        let home = Home::new();
        say(&mut source(&home), 1..601, |number| format!("key-{number}"));
        let careful = start(&home, "careful", &[&slow[..], &failing, way].concat());
        wait_until(&format!("all is dealt with, {way:?}"), || {
            let cursors = read_cursors(&home.instance("careful")).unwrap_or_default();
            cursors.iter().any(|cursor| cursor.journal == "source" && cursor.position.next.0 == 600)
        });
        assert_eq!(said_by(&home, "careful", "_dead-letter").len(), 60);
        drop(careful);
    }
}
