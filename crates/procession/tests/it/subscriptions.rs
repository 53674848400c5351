//! What a subscription does with refusals, late acknowledgements, gaps and records that are not durable yet.
//!
//! The example `careful` hears a journal that the test itself writes, so every record is where the test wants it.

use std::fs;
use std::process::Stdio;

use journal::{Codec, Entry, Options, SyncPolicy, Writer, read_cursors};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::records::said_by;
use crate::sample::{Home, finish, program};
use crate::swarm::{Running, wait_until};

/// The journal that is heard. It has no socket: the subscriber looks by itself.
fn source(home: &Home) -> Writer {
    fs::create_dir_all(home.instance("source")).unwrap();
    let options = Options { sync: SyncPolicy::Never, ..Options::default() };
    Writer::open(&home.instance("source"), &options).unwrap()
}

fn say(writer: &mut Writer, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let payload = json!({"number": number}).to_string();
        let codec = Codec::Json;
        writer
            .append(&Entry { topic: "count", key: None, cause: None, codec, payload: payload.as_bytes() })
            .unwrap();
    }
}

fn careful(home: &Home, arguments: &[&str]) -> Running {
    let mut command = home.command_of(&program("careful"), &[&["run"], arguments].concat());
    Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// Number and attempt of each delivery.
fn heard(home: &Home, instance: &str) -> Vec<(u64, u64)> {
    let both = |value: Value| (value["number"].as_u64().unwrap(), value["attempt"].as_u64().unwrap());
    said_by(home, instance, "heard").into_iter().map(both).collect()
}

fn acknowledged(home: &Home) -> u64 {
    let cursors = read_cursors(&home.instance("careful")).unwrap();
    cursors.iter().find(|cursor| cursor.journal == "source").map_or(0, |cursor| cursor.position.next.0)
}

#[test]
fn what_is_refused_comes_again_before_anything_later_and_is_then_parked() {
    let home = Home::new();
    let mut source = source(&home);
    say(&mut source, 1..=3);
    let attempts = ["--refuse", "2", "--subscription-max-attempts", "3", "--subscription-backoff", "1ms"];
    let careful = careful(&home, &attempts);
    wait_until("the third is heard", || heard(&home, "careful").contains(&(3, 1)));
    wait_until("all is acknowledged", || acknowledged(&home) == 3);
    careful.kill();
    assert_eq!(heard(&home, "careful"), [(1, 1), (2, 1), (2, 2), (2, 3), (3, 1)]);
    let letters = said_by(&home, "careful", "_dead-letter");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["payload"]["number"], 2);
    assert_eq!(letters[0]["reason"], "told so");
}

#[test]
fn deliveries_count_in_order_however_they_are_acknowledged() {
    let home = Home::new();
    let mut source = source(&home);
    say(&mut source, 1..=8);
    let hold = ["--hold", "3"];
    let first = careful(&home, &hold);
    wait_until("two groups are acknowledged", || acknowledged(&home) == 8);
    say(&mut source, 9..=10);
    wait_until("two more are heard", || heard(&home, "careful").contains(&(10, 1)));
    assert_eq!(acknowledged(&home), 8);
    first.kill();
    let again = careful(&home, &hold);
    wait_until("they are heard again", || heard(&home, "careful").len() == 12);
    again.kill();
    let once: Vec<_> = (1..=10).map(|number| (number, 1)).collect();
    // The process died over the ninth; whether the tenth had a part in it, nobody can say.
    assert_eq!(heard(&home, "careful"), [&once[..], &[(9, 2), (10, 1)]].concat());
}

#[test]
fn only_what_is_durable_is_heard_if_that_is_asked_for() {
    let home = Home::new();
    let mut source = source(&home);
    say(&mut source, 1..=3);
    let durable = careful(&home, &["--durable", "--instance", "careful@durable"]);
    let any = careful(&home, &["--instance", "careful@any"]);
    let heard_all = |instance| heard(&home, instance).len();
    wait_until("the other one hears them", || heard_all("careful@any") == 3);
    wait_until("it has a cursor", || !read_cursors(&home.instance("careful@durable")).unwrap().is_empty());
    say(&mut source, 4..=5);
    wait_until("the other one hears more", || heard_all("careful@any") == 5);
    assert_eq!(heard_all("careful@durable"), 0);
    source.sync().unwrap();
    wait_until("it hears what is durable", || heard_all("careful@durable") == 5);
    say(&mut source, 6..=6);
    wait_until("the other one hears the last", || heard_all("careful@any") == 6);
    assert_eq!(heard_all("careful@durable"), 5);
    durable.kill();
    any.kill();
}

/// Damages the record of a number of two digits at most.
fn damage(home: &Home, number: u64) {
    let segment = journal::journal_folder(&home.instance("source")).join(format!("{:020}.seg", 0));
    let mut bytes = fs::read(&segment).unwrap();
    let payload = json!({"number": number}).to_string();
    let at = bytes.windows(payload.len()).position(|window| window == payload.as_bytes()).unwrap();
    bytes[at + payload.len() - 2] ^= 1;
    fs::write(&segment, bytes).unwrap();
}

#[test]
fn a_gap_is_told_also_to_one_who_gives_up_while_others_have_their_turn() {
    let home = Home::new();
    let mut writer = source(&home);
    // Others have their turn after 64 of them.
    say(&mut writer, 1..=80);
    drop(writer);
    damage(&home, 64);
    let asking = careful(&home, &["--impatient"]);
    wait_until("all is acknowledged", || acknowledged(&home) == 80);
    asking.kill();
    assert_eq!(said_by(&home, "careful", "missing"), [json!({"from": 63, "to": 64})]);
}

#[test]
fn a_strict_subscription_ends_at_a_gap_and_others_go_on() {
    let home = Home::new();
    let mut writer = source(&home);
    say(&mut writer, 1..=3);
    drop(writer);
    damage(&home, 2);

    let arguments = ["run", "--strict", "--instance", "careful@strict"];
    let ended = finish(&mut home.command_of(&program("careful"), &arguments));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("source") && ended.stderr.contains("damaged"), "{}", ended.stderr);
    assert_eq!(heard(&home, "careful@strict"), [(1, 1)]);

    let lenient = careful(&home, &[]);
    wait_until("the last is heard", || heard(&home, "careful").contains(&(3, 1)));
    lenient.kill();
    assert_eq!(heard(&home, "careful"), [(1, 1), (3, 1)]);
}

#[test]
fn who_begins_at_the_end_hears_the_first_words_of_a_publisher_that_had_never_run() {
    // Whether the publisher has run before the subscription begins, and whether the subscriber is there when it speaks.
    for (has_run, is_there) in [(false, true), (false, false), (true, true), (true, false)] {
        let home = Home::new();
        if has_run {
            say(&mut source(&home), 1..=2);
        }
        let mut subscriber = Some(careful(&home, &["--end"]));
        wait_until("it has begun", || said_by(&home, "careful", "begun").len() == 1);
        // It must not look before the first words are said.
        match &subscriber {
            Some(subscriber) if is_there => subscriber.signal(Signal::STOP),
            _ => drop(subscriber.take()),
        }
        let mut writer = source(&home);
        say(&mut writer, 3..=4);
        subscriber.iter().for_each(|subscriber| subscriber.signal(Signal::CONT));
        let subscriber = subscriber.unwrap_or_else(|| careful(&home, &["--end"]));
        wait_until("it hears", || {
            say(&mut writer, 5..=5);
            !heard(&home, "careful").is_empty()
        });
        wait_until("it hears all", || heard(&home, "careful").contains(&(5, 1)));
        let begins: Vec<_> = heard(&home, "careful").into_iter().map(|(number, _)| number).take(3).collect();
        assert_eq!(
            begins,
            [3, 4, 5],
            "the publisher had run: {has_run}; the subscriber was there: {is_there}"
        );
        drop(subscriber);
    }
}
