//! A journal that is another one since it was read: its folder was removed and begun anew, or an older copy was put back,
//! while its subscribers went on running or were down. And one that nobody has recovered since power was lost.

use std::fs;
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use journal::{Codec, Entry, Options, SyncPolicy, Writer, read_cursors};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::records::said_by;
use crate::sample::{self, Home, program};
use crate::swarm::{Running, wait_until};

/// A life of the publisher `source`, without a socket, in which it says these numbers.
fn speak(home: &Home, numbers: Range<u64>) {
    speak_as(home, "source", numbers);
}

/// The same for any instance.
pub(crate) fn speak_as(home: &Home, instance: &str, numbers: Range<u64>) {
    fs::create_dir_all(home.instance(instance)).unwrap();
    let options = Options { sync: SyncPolicy::Never, ..Options::default() };
    let mut writer = Writer::open(&home.instance(instance), &options).unwrap();
    for number in numbers {
        let (payload, codec) = (json!({"number": number}).to_string(), Codec::Json);
        let entry = Entry { topic: "count", key: None, cause: None, codec, payload: payload.as_bytes() };
        writer.append(&entry).unwrap();
    }
}

pub(crate) fn start(home: &Home, name: &str, arguments: &[&str]) -> Running {
    let mut command = home.command_of(&program(name), &[&["run"], arguments].concat());
    Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// What `careful` says of its health.
pub(crate) fn health(home: &Home) -> String {
    let mut client = UnixStream::connect(home.socket("careful")).unwrap();
    client.write_all(b"{\"method\":\"io.procession.Process.Health\"}\0").unwrap();
    let mut reply = vec![0; 4096];
    let count = client.read(&mut reply).unwrap();
    String::from_utf8_lossy(&reply[..count]).into_owned()
}

/// The numbers that `careful` has heard.
pub(crate) fn heard(home: &Home) -> Vec<u64> {
    said_by(home, "careful", "heard").iter().map(|heard| heard["number"].as_u64().unwrap()).collect()
}

fn acknowledged(home: &Home) -> u64 {
    let cursors = read_cursors(&home.instance("careful")).unwrap_or_default();
    cursors.iter().find(|cursor| cursor.journal == "source").map_or(0, |cursor| cursor.position.next.0)
}

#[track_caller]
pub(crate) fn wait_to_hear(home: &Home, wanted: &[u64]) {
    wait_until("all is heard", || heard(home).len() >= wanted.len());
    assert_eq!(heard(home), wanted);
}

fn numbers(first: Range<u64>, then: Range<u64>) -> Vec<u64> {
    first.chain(then).collect()
}

#[test]
fn a_running_subscriber_hears_a_journal_begun_anew() {
    // Shorter and longer than the one before; with acknowledgements that come late, and in another order.
    for (count, hold, done) in [(2, "0", 2), (9, "2", 8)] {
        let home = Home::new();
        speak(&home, 1..5);
        let careful = start(&home, "careful", &["--hold", hold]);
        wait_to_hear(&home, &numbers(1..5, 0..0));
        fs::remove_dir_all(home.instance("source")).unwrap();
        speak(&home, 100..100 + count);
        wait_to_hear(&home, &numbers(1..5, 100..100 + count));
        // One that is held is of the journal before: its acknowledgement counts for nothing.
        wait_until("it is acknowledged", || acknowledged(&home) == done);
        // A restart repeats what is not acknowledged, and nothing of the journal before.
        careful.kill();
        let _careful = start(&home, "careful", &["--hold", "0"]);
        speak(&home, 200..201);
        wait_until("it goes on", || heard(&home).ends_with(&[200]));
        let rest = (100 + done..100 + count).chain([200]);
        assert!(heard(&home).ends_with(&rest.collect::<Vec<_>>()), "{:?}", heard(&home));
        assert_eq!(heard(&home).iter().filter(|number| **number < 5).count(), 4);
    }
}

#[test]
fn health_tells_that_a_journal_is_gone_for_as_long_as_it_is() {
    let home = Home::new();
    speak(&home, 1..3);
    let mut command = home.command_of(&program("careful"), &["run"]);
    let mut careful = sample::Running::start(command.stdout(Stdio::null()));
    careful.wait_for("ready");
    wait_to_hear(&home, &[1, 2]);
    let (source, aside) = (home.instance("source"), home.path().join("aside"));
    let tells = || health(&home).contains("hears nothing of source: its files are gone");
    assert!(!tells());
    for back in 0..3 {
        // First the same one is put back, then others are begun.
        let _ = fs::remove_dir_all(&aside);
        fs::rename(&source, &aside).unwrap();
        wait_until("it says that nothing is there", tells);
        if back == 0 {
            fs::rename(&aside, &source).unwrap();
        }
        speak(&home, 10 * (back + 1)..10 * (back + 1) + 2);
        wait_until("it goes on", || heard(&home).ends_with(&[10 * (back + 1) + 1]));
        wait_until("it says so no more", || !tells());
    }
}

#[test]
fn a_subscriber_goes_back_to_where_an_older_copy_parts() {
    for runs in [true, false] {
        let home = Home::new();
        speak(&home, 1..5);
        let source = home.instance("source");
        let copied =
            Command::new("cp").arg("-a").arg(&source).arg(home.path().join("copy")).status().unwrap();
        assert!(copied.success());
        speak(&home, 5..10);
        let mut careful = Some(start(&home, "careful", &[]));
        wait_to_hear(&home, &numbers(1..10, 0..0));
        wait_until("it is acknowledged", || acknowledged(&home) == 9);
        if !runs && let Some(careful) = careful.take() {
            careful.kill();
        }
        fs::remove_dir_all(&source).unwrap();
        fs::rename(home.path().join("copy"), &source).unwrap();
        // Of the same epoch as what was heard, if nobody took care; and further than it.
        speak(&home, 100..107);
        let _careful = careful.unwrap_or_else(|| start(&home, "careful", &[]));
        wait_to_hear(&home, &numbers(1..10, 100..107));
    }
}

#[test]
fn what_an_older_copy_still_has_and_is_not_done_comes_again() {
    let home = Home::new();
    speak(&home, 1..5);
    let source = home.instance("source");
    let copied = Command::new("cp").arg("-a").arg(&source).arg(home.path().join("copy")).status().unwrap();
    assert!(copied.success());
    speak(&home, 5..8);
    let careful = start(&home, "careful", &["--hold", "7"]);
    wait_to_hear(&home, &numbers(1..8, 0..0));
    fs::remove_dir_all(&source).unwrap();
    fs::rename(home.path().join("copy"), &source).unwrap();
    speak(&home, 100..103);
    let all: Vec<u64> = (1..8).chain(1..5).chain(100..103).collect();
    wait_to_hear(&home, &all);
    careful.kill();
    assert_eq!(acknowledged(&home), 1, "what was held of the history before counts for nothing");
    let _careful = start(&home, "careful", &["--hold", "0"]);
    wait_to_hear(&home, &[&all[..], &[2, 3, 4, 100, 101, 102]].concat());
}

#[test]
fn a_journal_begun_anew_before_anything_was_heard_is_another_one() {
    let home = Home::new();
    speak(&home, 1..1);
    let careful = start(&home, "careful", &["--hold", "0"]);
    let cursors = || read_cursors(&home.instance("careful")).unwrap_or_default();
    let of_source = || cursors().into_iter().find(|cursor| cursor.journal == "source");
    wait_until("it listens", || of_source().is_some());
    fs::remove_dir_all(home.instance("source")).unwrap();
    speak(&home, 100..103);
    wait_to_hear(&home, &[100, 101, 102]);
    wait_until("all is acknowledged", || acknowledged(&home) == 3);
    let marks = journal::read_marks(&home.instance("source")).unwrap().unwrap();
    let identity = of_source().map(|cursor| u128::from(cursor.position.journal));
    assert_eq!(identity, Some(marks.journal.0 & u128::from(u64::MAX)));
    careful.kill();
    speak(&home, 103..104);
    let _careful = start(&home, "careful", &["--hold", "0"]);
    wait_to_hear(&home, &[100, 101, 102, 103]);
}

#[test]
fn a_publisher_that_begins_anew_is_heard_by_those_who_listened_before() {
    let home = Home::new();
    let greet = ["--every", "1ms"];
    let answers = || said_by(&home, "listener", "answer").len();
    let mut greeter = start(&home, "greeter", &greet);
    let _listener = start(&home, "listener", &[]);
    let mut answered = 0;
    for round in 1..=3 {
        wait_until("it is answered", || answers() > answered + 5);
        greeter.kill();
        answered += said_by(&home, "greeter", "greeting").len();
        wait_until("all is answered", || answers() >= answered);
        assert_eq!(answers(), answered);
        fs::remove_dir_all(home.instance("greeter")).unwrap();
        greeter = start(&home, "greeter", &greet);
        wait_until("what is said anew is answered", || answers() > answered + 3);
        let anew = &said_by(&home, "listener", "answer")[answered..];
        for (offset, answer) in anew.iter().enumerate() {
            assert_eq!(answer["to"], offset as u64 + 1, "round {round}: not from its beginning");
        }
    }
    greeter.kill();
}

/// Makes the marks those of another boot, in which nothing but the first `durable` records was synced.
fn forge_marks(home: &Home, boot: &[u8; 16]) {
    let marks = journal::marks_path(&home.instance("source"));
    fs::File::options().write(true).open(marks).unwrap().write_all_at(boot, 32).unwrap();
}

#[test]
fn a_subscriber_of_a_journal_that_is_not_recovered_is_ready_and_waits() {
    let home = Home::new();
    speak(&home, 1..4);
    // It is not dropped, so nothing more is synced.
    let options = Options { sync: SyncPolicy::Never, ..Options::default() };
    let mut writer = Writer::open(&home.instance("source"), &options).unwrap();
    for number in 4..6 {
        let (payload, codec) = (json!({"number": number}).to_string(), Codec::Json);
        let entry = Entry { topic: "count", key: None, cause: None, codec, payload: payload.as_bytes() };
        writer.append(&entry).unwrap();
    }
    forge_marks(&home, &[7; 16]);
    let mut command = home.command_of(&program("careful"), &["run"]);
    let mut careful = sample::Running::start(command.stdout(Stdio::null()));
    careful.wait_for("ready");
    wait_to_hear(&home, &[1, 2, 3]);
    drop(writer);
    speak(&home, 6..7);
    wait_to_hear(&home, &numbers(1..7, 0..0));
}

#[test]
fn damaged_marks_do_not_keep_a_subscriber_busy() {
    let home = Home::new();
    speak(&home, 1..4);
    let mut command = home.command_of(&program("careful"), &["run"]);
    let mut careful = sample::Running::start(command.stdout(Stdio::null()));
    careful.wait_for("ready");
    wait_to_hear(&home, &[1, 2, 3]);
    // One word is damaged, and another one says that there is more.
    let marks = fs::File::options().write(true).open(journal::marks_path(&home.instance("source"))).unwrap();
    marks.write_all_at(&[0xff; 8], 3072).unwrap();
    let sealed = |value: u64| value << 8 | (value ^ 0xa5);
    marks.write_all_at(&sealed(9).to_le_bytes(), 1024).unwrap();
    wait_until("its loop turns", || health(&home).contains("\"healthy\":true"));
    speak(&home, 4..6);
    wait_to_hear(&home, &numbers(1..6, 0..0));
}

#[test]
fn that_two_journals_are_others_is_told_of_both_also_if_a_delivery_of_one_is_refused_in_between() {
    let home = Home::new();
    for source in ["a", "b"] {
        speak_as(&home, source, 1..2);
    }
    let careful = start(&home, "careful", &["--regret"]);
    wait_to_hear(&home, &[1, 1]);
    // It sees both of them replaced at once.
    careful.signal(Signal::STOP);
    for source in ["a", "b"] {
        fs::remove_dir_all(home.instance(source)).unwrap();
        speak_as(&home, source, 7..8);
    }
    careful.signal(Signal::CONT);
    wait_until("what lies there now is heard", || heard(&home).len() >= 4);
    assert_eq!(heard(&home), [1, 1, 7, 7]);
    let mut missing = said_by(&home, "careful", "missing");
    missing.sort_by_key(Value::to_string);
    assert_eq!(missing, [json!({"of": "a"}), json!({"of": "b"})], "in whichever order they were noticed");
}
