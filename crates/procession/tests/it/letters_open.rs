//! Which dead letters are open: each is settled once, whoever decides about it, and the open ones are counted.

use std::fs;
use std::path::PathBuf;

use journal::{Codec, Cursors, Entry, Options, Position, Writer};
use procession::varlink::ClientError;
use serde_json::{Value, json};

use crate::keyed::{acknowledged, said, say, sorter, source};
use crate::letters::{IMPATIENT, call, error_name, health, of_three};
use crate::records::{self, offsets};
use crate::sample::{self, Home, program};
use crate::swarm::wait_until;

const CRAMPED: [&str; 6] =
    ["--journal-segment-bytes", "16KiB", "--journal-max-bytes", "32KiB", "--journal-when-full", "wait"];

/// What has become of letters, in order.
fn settled(home: &Home) -> Vec<(u64, String)> {
    let both =
        |said: &Value| (said["letter"].as_u64().unwrap(), said["outcome"].as_str().unwrap().to_owned());
    said(home, "_dead-letter-settled").iter().map(both).collect()
}

/// A file that lets the gated event go on.
fn gate(home: &Home) -> (PathBuf, String) {
    let gate = home.path().join("gate");
    let text = gate.to_str().unwrap().to_owned();
    (gate, text)
}

fn dropped(home: &Home, offset: u64) {
    call(home, "Drop", &json!({"offset": offset})).unwrap();
}

#[test]
fn a_letter_that_is_dropped_while_it_is_delivered_once_more_is_settled_once() {
    // Acknowledged by itself, and with an output.
    drop_while_delivered(&["--plain-one-in", "1"]);
    drop_while_delivered(&[]);
}

fn drop_while_delivered(plain: &[&str]) {
    let home = Home::new();
    say(&mut source(&home), 0..1, of_three);
    let failing = sorter(&home, &[&["--one-by-one", "--fail", "0"], &IMPATIENT[..]].concat());
    wait_until("it is parked", || acknowledged(&home) == 1);
    failing.kill();
    let (file, gate) = gate(&home);
    let arguments = [&["--one-by-one", "--gated", "0", "--gate", &gate], plain].concat();
    let gated = sorter(&home, &arguments);
    call(&home, "Retry", &json!({"offset": 0})).unwrap();
    dropped(&home, 0);
    assert_eq!(error_name(call(&home, "Drop", &json!({"offset": 0}))), "NoLetter");
    fs::write(&file, "").unwrap();
    say(&mut source(&home), 1..2, of_three);
    wait_until("the next one comes", || acknowledged(&home) == 2);
    gated.kill();
    assert_eq!(settled(&home), [(0, "dropped".to_owned())]);
}

#[test]
fn a_letter_that_is_dropped_while_its_key_is_released_is_passed_over() {
    let home = Home::new();
    say(&mut source(&home), 0..12, of_three);
    let failing = sorter(&home, &[&["--fail", "1"], &IMPATIENT[..]].concat());
    wait_until("all is dealt with", || acknowledged(&home) == 12);
    failing.kill();
    let letters: Vec<u64> = letters(&home);
    assert_eq!(letters.len(), 4, "1, 4, 7 and 10");
    let (file, gate) = gate(&home);
    let gated = sorter(&home, &["--gated", "1", "--gate", &gate]);
    let release = json!({"subscription": "sorted", "key": "key-1"});
    assert_eq!(call(&home, "Release", &release).unwrap(), json!({"letters": 4}));
    // One that is next, and the last one.
    dropped(&home, letters[1]);
    dropped(&home, letters[3]);
    fs::write(&file, "").unwrap();
    wait_until("the key is free", || call(&home, "Parked", &json!({})).unwrap()["parked"] == json!([]));
    gated.kill();
    let mut all = settled(&home);
    all.sort();
    let outcomes = ["retried", "dropped", "retried", "dropped"].map(str::to_owned);
    assert_eq!(all, letters.into_iter().zip(outcomes).collect::<Vec<_>>());
    let numbers: Vec<u64> = said(&home, "sorted")
        .iter()
        .map(|said| said["number"].as_u64().unwrap())
        .filter(|n| n % 3 == 1)
        .collect();
    assert_eq!(numbers, [1, 7]);
}

/// Where the sorter's letters lie.
fn letters(home: &Home) -> Vec<u64> {
    offsets(home, "sorter", "_dead-letter")
}

/// The event of number 0, without a key, is parked.
fn parked_alone(arguments: &[&str]) -> Home {
    let home = Home::new();
    let payload = json!({"number": 0}).to_string();
    let entry =
        Entry { topic: "count", key: None, cause: None, codec: Codec::Json, payload: payload.as_bytes() };
    source(&home).append(&entry).unwrap();
    let failing = sorter(&home, &[&["--fail", "0"], &IMPATIENT[..], arguments].concat());
    wait_until("it is parked", || acknowledged(&home) == 1);
    failing.kill();
    home
}

#[test]
fn a_letter_that_is_dealt_with_and_cannot_be_settled_for_want_of_room_is_settled_once_there_is_some() {
    let home = parked_alone(&CRAMPED);
    // Somebody who holds back all that the sorter says.
    fs::create_dir_all(home.instance("slow")).unwrap();
    let writer = Writer::open(&home.instance("slow"), &Options::default()).unwrap();
    let cursor = Cursors::open(&home.instance("slow"), &writer).unwrap().claim("l", "sorter").unwrap();
    cursor.store(Position::default());
    let (file, gate) = gate(&home);
    let arguments =
        [&["run"], &CRAMPED[..], &["--gated", "0", "--gate", &gate, "--plain-one-in", "1000"]].concat();
    let mut full = sample::Running::start(
        home.command_of(&program("sorter"), &arguments).stdout(std::process::Stdio::null()),
    );
    let retry = || call(&home, "Retry", &json!({"offset": 0}));
    retry().unwrap();
    say(&mut source(&home), 1..900, |number| format!("key-{number}"));
    full.wait_for("no room");
    fs::write(&file, "").unwrap();
    // It is dealt with, which nobody can undo, and it is not said.
    wait_until("it is dealt with", || match retry() {
        Err(ClientError::Error { parameters, .. }) => parameters.to_string().contains("was dealt with"),
        other => panic!("{other:?}"),
    });
    assert_eq!(error_name(call(&home, "Drop", &json!({"offset": 0}))), "Failed");
    assert_eq!((settled(&home), health(&home)["open_letters"].clone()), (vec![], json!(1)));
    let mut reader = records::open(&home, "sorter").unwrap();
    wait_until("there is room, and it is settled", || {
        while reader.next().unwrap().is_some() {}
        cursor.store(reader.position());
        health(&home)["open_letters"] == json!(0)
    });
    assert_eq!(error_name(retry()), "NoLetter");
    wait_until("the rest is dealt with", || {
        while reader.next().unwrap().is_some() {}
        cursor.store(reader.position());
        acknowledged(&home) == 900
    });
    assert!(!full.has_ended());
    drop(full);
}

#[test]
fn open_letters_of_earlier_lives_are_counted_and_never_none_before_they_are() {
    let home = parked_alone(&[]);
    // More than is looked through before the process is ready.
    let mut writer = Writer::open(&home.instance("sorter"), &Options::default()).unwrap();
    for _ in 0..30_000 {
        let entry = Entry { topic: "more", key: None, cause: None, codec: Codec::Raw, payload: b"" };
        writer.append(&entry).unwrap();
    }
    drop(writer);
    for drops in [false, true, true] {
        let running = sorter(&home, &[]);
        let open = u64::from(settled(&home).is_empty());
        wait_until("they are counted", || {
            let counted = health(&home)["open_letters"].clone();
            assert!(counted.is_null() || counted == json!(open), "{counted}");
            !counted.is_null()
        });
        if drops && open == 1 {
            call(&home, "Drop", &json!({"offset": 0})).unwrap();
            assert_eq!(health(&home)["open_letters"], json!(0));
        }
        assert_eq!(health(&home)["parked"], json!(0), "nothing was parked in this life");
        running.kill();
    }
    // The next life needs not look through all of it once more.
    let writer = Writer::open(&home.instance("sorter"), &Options::default()).unwrap();
    let from: u64 = serde_json::from_slice(writer.checkpoint("_letters/none-before").unwrap()).unwrap();
    assert!(from >= 30_000, "{from}");
}

#[test]
fn what_cannot_be_retried_is_told_with_the_reason_and_all_else_is_retried() {
    let home = Home::new();
    say(&mut source(&home), 0..6, of_three);
    let other =
        sorter(&home, &[&["--one-by-one", "--name", "other", "--fail", "3"], &IMPATIENT[..]].concat());
    wait_until("it is parked", || acknowledged(&home) == 6);
    other.kill();
    let failing = sorter(&home, &[&["--fail", "1"], &IMPATIENT[..]].concat());
    let keyed = || said(&home, "_dead-letter").len() == 3;
    wait_until("they are parked", keyed);
    failing.kill();
    let all = letters(&home);
    let mended = sorter(&home, &[]);
    wait_until("it reads", || health(&home)["ready"] == json!(true));
    let answer = call(&home, "RetryAll", &json!({})).unwrap();
    println!("{answer}");
    assert_eq!(answer["letters"], json!(2));
    let [failed] = &answer["failed"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!(failed["letter"], json!(all[0]));
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("does not read other now"), "{reason}");
    wait_until("they are settled", || settled(&home).len() == 2);
    assert_eq!(health(&home)["open_letters"], json!(1));
    mended.kill();
}
