//! `procession verify` and `topics`: what is in the journals.

use std::fs;

use serde_json::json;
use testkit::{flip_bit, overwrite};

use crate::support::{Swarm, json_lines};

fn spoken() -> Swarm {
    let swarm = Swarm::new();
    let mut speaker = swarm.speaker("speaker");
    for number in 0..10 {
        speaker.say(if number < 7 { "even" } else { "odd" }, &format!(r#""number is {number}""#));
    }
    swarm.speaker("other").say("word", "1");
    swarm
}

#[test]
fn sound_journals_are_counted() {
    let swarm = spoken();
    let lines = swarm.json(&["verify", "--json"]);
    let names: Vec<_> = lines.iter().map(|line| line["journal"].as_str().unwrap()).collect();
    assert_eq!(names, ["other", "speaker"]);
    let speaker = &lines[1];
    assert_eq!((&speaker["records"], &speaker["segments"]), (&json!(10), &json!(1)));
    assert_eq!((&speaker["damage"], &speaker["torn_tail"]), (&json!([]), &json!(false)));
    assert_eq!((&speaker["marks"]["committed"], &speaker["marks"]["epoch"]), (&json!(10), &json!(1)));
    assert_eq!(speaker["bytes"], json!(64 << 10));
    let ended = swarm.run(&["verify", "speaker"]);
    assert!(ended.assert_code(0).stdout.starts_with("speaker: sound, 10 records, 1 segment"), "{ended:?}");
}

#[test]
fn damage_is_exit_code_1_and_says_where() {
    let swarm = spoken();
    let (segment, at) = swarm.find_bytes("speaker", b"number is 4");
    flip_bit(&segment, at, 0);
    let ended = swarm.run(&["verify", "--json"]);
    let lines = json_lines(&ended.assert_code(1).stdout);
    assert_eq!(lines[0]["damage"], json!([]));
    let damage = &lines[1]["damage"][0];
    assert_eq!((&damage["from"], &damage["to"]), (&json!(4), &json!(5)));
    assert_eq!(damage["path"], json!(segment));
    swarm.run(&["verify", "other"]).assert_code(0);
    let ended = swarm.run(&["verify", "speaker"]);
    assert!(ended.assert_code(1).stdout.contains("offsets 4 up to 5"), "{ended:?}");
}

#[test]
fn damaged_marks_and_cursors_are_damage() {
    let swarm = spoken();
    overwrite(&swarm.instance("speaker").join("journal/marks"), 0, b"nonsense");
    let ended = swarm.run(&["verify", "speaker", "--json"]);
    let line = &json_lines(&ended.assert_code(1).stdout)[0];
    assert_eq!((&line["marks"], &line["records"]), (&json!(null), &json!(10)));
    let ended = swarm.run(&["tail", "speaker/*", "--until-end"]);
    ended.assert_code(1).assert_says(&["marks of `speaker` are damaged", "verify"]);

    fs::write(swarm.instance("other").join("cursors"), [7; 4096]).unwrap();
    let ended = swarm.run(&["verify", "other", "--json"]);
    let line = &json_lines(&ended.assert_code(1).stdout)[0];
    assert!(line["damage"][0]["path"].as_str().unwrap().ends_with("other/cursors"), "{line}");
}

#[test]
fn a_journal_of_another_version_is_named() {
    let swarm = spoken();
    overwrite(&swarm.instance("speaker").join("journal/marks"), 8, &[99]);
    let ended = swarm.run(&["verify", "speaker"]);
    assert!(ended.assert_code(1).stdout.contains("version 99"), "{ended:?}");
}

#[test]
fn a_name_that_is_not_there_is_an_error() {
    let swarm = spoken();
    swarm.run(&["verify", "nobody"]).assert_code(1).assert_says(&["`nobody`", "other, speaker"]);
    fs::remove_dir_all(swarm.state()).unwrap();
    swarm.run(&["verify"]).assert_code(1).assert_says(&["no state folder", "PROCESSION_STATE"]);
}

#[test]
fn topics_are_counted() {
    let swarm = spoken();
    let expected = [
        json!({"journal": "speaker", "topic": "even", "records": 7}),
        json!({"journal": "speaker", "topic": "odd", "records": 3}),
    ];
    assert_eq!(swarm.json(&["topics", "speaker", "--json"]), expected);
    let ended = swarm.run(&["topics"]);
    let expected =
        "PROCESS  RECORDS  TOPIC\nother          1  word\nspeaker        7  even\nspeaker        3  odd\n";
    assert_eq!(ended.assert_code(0).stdout, expected);
}
