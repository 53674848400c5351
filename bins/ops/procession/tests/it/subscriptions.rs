//! `procession subscriptions`: places are seen, and forgotten for good.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use journal::{Ack, Batch, Cursors, Offset, Options, Position, Writer, read_cursors};
use serde_json::{Value, json};

use crate::support::Swarm;

/// A dead process with places in `source`: alone in the table, and with an output.
fn leave(swarm: &Swarm, instance: &str) {
    let folder = swarm.instance(instance);
    let mut writer = Writer::open(&folder, &Options::default()).unwrap();
    let cursors = Cursors::open(&folder, &writer).unwrap();
    for (subscription, next) in [("old", 2), ("kept", 5)] {
        let position = Position::at(Offset(next));
        cursors.claim(subscription, "source").unwrap().store(position);
        let acks = [Ack { subscription, journal: "source", position }];
        writer.commit(&Batch { acks: &acks, ..Batch::default() }).unwrap();
    }
}

fn names(swarm: &Swarm, instance: &str) -> Vec<String> {
    let mut names: Vec<String> = read_cursors(&swarm.instance(instance))
        .unwrap()
        .into_iter()
        .map(|cursor| cursor.subscription)
        .collect();
    names.sort();
    names
}

#[test]
fn places_of_a_dead_process_are_listed_and_forgotten() {
    let swarm = Swarm::new();
    let mut speaker = swarm.speaker("source");
    for _ in 0..12 {
        speaker.say("tick", r#"{"number":1}"#);
    }
    leave(&swarm, "reader");
    let listed = swarm.json(&["subscriptions", "list", "--json"]);
    let old = listed.iter().find(|place| place["subscription"] == "old").unwrap();
    assert_eq!((&old["acknowledged"], &old["behind"]), (&json!(2), &json!(10)));
    assert!(old["kept_bytes"].as_u64().unwrap() > 0);
    assert!(swarm.run(&["subscriptions", "list"]).assert_code(0).stdout.contains("KEPT FOR IT"));

    let forgotten = swarm.run(&["subscriptions", "forget", "reader", "old"]);
    forgotten.assert_code(0);
    assert_eq!(names(&swarm, "reader"), ["kept"]);
    let folder = swarm.instance("reader");
    let writer = Writer::open(&folder, &Options::default()).unwrap();
    let cursors = Cursors::open(&folder, &writer).unwrap();
    assert_eq!(cursors.names(), [("kept".to_owned(), "source".to_owned())], "it has come back");
    drop((cursors, writer));
    let again = swarm.run(&["subscriptions", "forget", "reader", "old", "source"]);
    again.assert_code(1).assert_says(&["no place of subscription `old` in `source`", "subscriptions list"]);
    let restarts = || swarm.json(&["ps", "reader", "--json"])[0]["restarts"].clone();
    let before = restarts();
    swarm.run(&["subscriptions", "forget", "reader", "nosuch"]).assert_code(1);
    assert_eq!(restarts(), before, "its journal was taken over for a name that is mistyped");
}

#[test]
fn what_a_dead_process_died_of_is_known_also_after_others_wrote_in_its_place() {
    let swarm = Swarm::new();
    swarm.sample(&["--fails"]).wait(testkit::DEADLINE).assert_code(1);
    leave_again(&swarm, "sample");
    let died = || swarm.run(&["health", "sample"]).assert_code(1).stdout.contains("it is bent");
    assert!(died());
    swarm.run(&["subscriptions", "forget", "sample", "old"]).assert_code(0);
    assert!(died(), "somebody has forgotten something for it");
    swarm.run(&["publish", "greeting", "{}", "--as", "sample"]).assert_code(0);
    assert!(died(), "somebody has spoken for it");
}

/// The same for one whose epoch stays what it was.
fn leave_again(swarm: &Swarm, instance: &str) {
    let note = swarm.instance(instance).join("last-death");
    let mut death: Value = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
    leave(swarm, instance);
    let marks = journal::read_marks(&swarm.instance(instance)).unwrap().unwrap();
    death["epoch"] = json!(marks.epoch.0);
    fs::write(&note, death.to_string()).unwrap();
}

#[test]
fn nothing_is_written_in_the_folder_of_another_user() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("not run: only root can make a folder another user's");
        return;
    }
    let swarm = Swarm::new();
    let _source = swarm.speaker("source");
    leave(&swarm, "reader");
    let folder = swarm.instance("reader");
    let state = || {
        let mut files: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let found = entry.metadata().unwrap();
                (entry.file_name(), found.ino(), found.modified().unwrap())
            })
            .collect();
        files.sort();
        files
    };
    let given = Command::new("chown").args(["-R", "12345"]).arg(&folder).status().unwrap();
    assert!(given.success());
    let before = state();
    let refused = swarm.run(&["subscriptions", "forget", "reader", "old"]);
    refused.assert_code(78).assert_says(&["belongs to user 12345", "try: run it as"]);
    assert_eq!(state(), before);
    assert_eq!(names(&swarm, "reader"), ["kept", "old"]);
}

#[test]
fn a_living_process_forgets_what_it_does_not_read() {
    let swarm = Swarm::new();
    let _source = swarm.ready_sample("source", &["--every-ms", "5"]);
    leave(&swarm, "reader");
    let reader = swarm.ready_sample("reader", &["--hears", "source"]);
    let hears = || names(&swarm, "reader").iter().any(|name| name == "source.tick");
    testkit::wait_until(testkit::DEADLINE, "it reads", hears);
    let refused = swarm.run(&["subscriptions", "forget", "reader", "source.tick"]);
    refused.assert_code(1).assert_says(&["reads subscription `source.tick` now", "stop it first"]);
    swarm.run(&["subscriptions", "forget", "reader", "old"]).assert_code(0);
    assert_eq!(names(&swarm, "reader"), ["kept", "source.tick"]);
    reader.terminate(testkit::DEADLINE).assert_code(0);
    let reader = swarm.ready_sample("reader", &["--hears", "source"]);
    assert_eq!(names(&swarm, "reader"), ["kept", "source.tick"], "it has come back");
    reader.terminate(testkit::DEADLINE).assert_code(0);
}

#[test]
fn what_is_wrong_with_one_instance_hides_no_other() {
    let swarm = Swarm::new();
    let mut speaker = swarm.speaker("source");
    speaker.say("tick", r#"{"number":1}"#);
    leave(&swarm, "reader");
    leave(&swarm, "evil");
    for file in [journal::cursors_path(&swarm.instance("evil")), journal::marks_path(&swarm.instance("evil"))]
    {
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", file).unwrap();
    }
    let verbs =
        [&["lag"][..], &["topics"], &["subscriptions", "list"], &["lag", "--json"], &["topics", "--json"]];
    for verb in verbs {
        let done = swarm.run(verb);
        done.assert_code(1);
        let sound = if verb[0] == "topics" { "tick" } else { "kept" };
        assert!(done.stdout.contains(sound), "{verb:?}: {}", done.stdout);
        assert!(done.stderr.contains("`evil`"), "{verb:?}: {}", done.stderr);
    }
    let letters = swarm.run(&["dead-letters", "list"]);
    letters.assert_code(1);
    assert!(letters.stdout.contains("no dead letters") && letters.stderr.contains("`evil`"));
}
