//! The way out is open: whatever an event is like, and however little room there is, it can be parked.

use std::fs;
use std::process::Stdio;

use journal::{Codec, Cursors, Entry, Options, Position, SyncPolicy, Writer};
use serde_json::{Value, json};

use crate::keyed::{acknowledged, say, source};
use crate::records::{self, read_on, said_by};
use crate::sample::{Home, Running, program};
use crate::swarm::wait_until;

fn start(home: &Home, example: &str, arguments: &[&str]) -> Running {
    let arguments = [&["run", "--log-level", "debug"], arguments].concat();
    Running::start(home.command_of(&program(example), &arguments).stdout(Stdio::null()))
}

fn greeter(home: &Home) -> Writer {
    let folder = home.instance("greeter");
    fs::create_dir_all(&folder).unwrap();
    Writer::open(&folder, &Options { sync: SyncPolicy::Never, ..Options::default() }).unwrap()
}

fn greeting<'a>(codec: Codec, key: Option<&'a [u8]>, payload: &'a [u8]) -> Entry<'a> {
    Entry { topic: "greeting", key, cause: None, codec, payload }
}

/// One greeting that can't be decoded, one that can; the letter of the first.
fn parked(codec: Codec, key: &[u8], payload: &[u8], segment_bytes: &str) -> Value {
    let home = Home::new();
    let mut writer = greeter(&home);
    writer.append(&greeting(codec, Some(key), payload)).unwrap();
    writer.append(&greeting(Codec::Json, None, br#"{"number":1,"whom":"a"}"#)).unwrap();
    let listener = start(&home, "listener", &["--journal-segment-bytes", segment_bytes]);
    wait_until("the second is answered", || said_by(&home, "listener", "answer").len() == 1);
    drop(listener);
    let mut letters = said_by(&home, "listener", "_dead-letter");
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0]["journal"], &letters[0]["offset"]), (&json!("greeter"), &json!(0)));
    letters.remove(0)
}

#[test]
fn an_event_whose_letter_would_be_too_large_is_parked_by_its_place() {
    let large = parked(Codec::Bincode, b"k", &vec![7; 13 << 20], "64MiB");
    assert_eq!(large["payload"], Value::Null);
    assert_eq!((&large["payload_kept"], &large["epoch"]), (&json!("by-publisher"), &json!(1)));
    let small = parked(Codec::Raw, b"k", &vec![7; 200 << 10], "128KiB");
    assert_eq!(small["payload"], Value::Null);
}

#[test]
fn an_event_with_the_longest_key_and_reason_is_parked_in_the_smallest_segments() {
    // As JSON each byte of this key takes six, and the decoder repeats the name of a field in its reason.
    let field = format!(r#"{{"number":"{}"}}"#, "x".repeat(60_000));
    let letter = parked(Codec::Json, &[1; 65_534], field.as_bytes(), "8KiB");
    assert!(letter["reason"].as_str().unwrap().contains("decoded"), "{letter}");
}

const CRAMPED: [&str; 10] = [
    "--journal-segment-bytes",
    "16KiB",
    "--journal-max-bytes",
    "32KiB",
    "--journal-when-full",
    "wait",
    "--subscription-backoff",
    "1ms",
    "--subscription-backoff-max",
    "20ms",
];

/// Has the sorter deal with 200 events, of which it can say what came of about the first fifty before somebody reads it.
/// Returns all that it said, by topic.
fn deal_without_room(arguments: &[&str]) -> Vec<(String, Value)> {
    let home = Home::new();
    say(&mut source(&home), 0..200, |number| format!("key-{}", number % 10));
    // A subscriber that holds all of it back.
    fs::create_dir_all(home.instance("slow")).unwrap();
    let writer = Writer::open(&home.instance("slow"), &Options::default()).unwrap();
    let cursor = Cursors::open(&home.instance("slow"), &writer).unwrap().claim("l", "sorter").unwrap();
    cursor.store(Position::default());
    let mut sorter = start(&home, "sorter", &[&CRAMPED[..], arguments].concat());
    sorter.wait_for("no room");
    assert!(!sorter.has_ended());
    let mut reader = records::open(&home, "sorter").unwrap();
    let mut said = Vec::new();
    wait_until("all is dealt with", || {
        assert!(!sorter.has_ended());
        said.extend(read_on(&mut reader).into_iter().map(|said| (said.topic.clone(), said.json())));
        cursor.store(reader.position());
        acknowledged(&home) == 200 && said.len() == 200
    });
    said
}

/// This number of all of one topic, in order; nothing else was said.
fn numbers(said: &[(String, Value)], topic: &str, name: &str) -> Vec<u64> {
    assert!(said.iter().all(|(of, _)| of == topic));
    let mut numbers: Vec<u64> = said.iter().map(|(_, said)| said[name].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn an_event_that_cannot_be_parked_for_want_of_room_waits_until_there_is_some() {
    let failing = ["--fail-from", "0", "--subscription-max-attempts", "1"];
    for way in [&[][..], &["--one-by-one"]] {
        let said = deal_without_room(&[&failing[..], way].concat());
        assert_eq!(numbers(&said, "_dead-letter", "offset"), (0..200).collect::<Vec<_>>());
        let attempts = said.iter().map(|(_, letter)| letter["attempts"].as_u64().unwrap()).max();
        assert!(attempts <= Some(2), "waiting is no attempt: {attempts:?}");
    }
}

#[test]
fn want_of_room_is_no_fault_of_the_events_whose_outcome_cannot_be_said() {
    let said = deal_without_room(&["--subscription-max-attempts", "2"]);
    assert_eq!(numbers(&said, "sorted", "number"), (0..200).collect::<Vec<_>>());
}
