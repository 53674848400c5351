//! `procession tail`: what is shown, where it begins and ends, and that it follows through deaths.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use journal::Codec;
use serde_json::{Value, json};
use testkit::{DEADLINE, Running, flip_bit, wait_until};

use crate::support::{Swarm, json_lines};

/// A journal with five records, the second of them hidden.
fn spoken() -> Swarm {
    let swarm = Swarm::new();
    let mut speaker = swarm.speaker("speaker");
    speaker.say("vote", r#"{"n":0}"#);
    speaker.say("_trace", r#"{"n":1}"#);
    speaker.say_raw("vote", Some(b"alice"), Codec::Json, b"{\n \"n\": 2.0 }");
    speaker.say_because("comment", "chain", 41);
    speaker.say_raw("raw", Some(b"\xff\x1b"), Codec::Raw, b"\x00\x1b[31m");
    swarm
}

/// Takes the time out of a line of JSON, after a look at it.
fn without_time(line: &str) -> String {
    let (before, rest) = line.split_once(r#""time":""#).unwrap();
    let (time, after) = rest.split_once('"').unwrap();
    assert_eq!(time.len(), "2026-01-31T12:00:00.000000000Z".len(), "{time}");
    time.parse::<jiff::Timestamp>().unwrap();
    format!("{before}{}", after.strip_prefix(',').unwrap())
}

fn numbers(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["offset"].as_u64().unwrap()).collect()
}

#[test]
fn a_record_is_one_json_object_of_the_promised_form() {
    let swarm = spoken();
    let ended = swarm.run(&["tail", "speaker/*", "--until-end", "--json"]);
    ended.assert_code(0);
    let lines: Vec<_> = ended.stdout.lines().map(without_time).collect();
    let expected = [
        r#"{"journal":"speaker","offset":0,"epoch":1,"topic":"vote","key":null,"cause":null,"payload":{"n":0}}"#,
        r#"{"journal":"speaker","offset":2,"epoch":1,"topic":"vote","key":"alice","cause":null,"payload":{"n":2.0}}"#,
        r#"{"journal":"speaker","offset":3,"epoch":1,"topic":"comment","key":null,"cause":{"journal":"chain","offset":41},"payload":{}}"#,
        r#"{"journal":"speaker","offset":4,"epoch":1,"topic":"raw","key":"�\u001b","cause":null,"codec":"raw","payload":"ABtbMzFt"}"#,
    ];
    // The second payload is read again, since it was said on two lines.
    let lines: Vec<_> = lines.iter().map(|line| line.replace(": ", ":")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_person_gets_aligned_fields_and_nothing_that_a_terminal_obeys() {
    let swarm = spoken();
    let ended = swarm.run(&["tail", "speaker/*", "--until-end"]);
    let lines: Vec<_> =
        ended.assert_code(0).stdout.lines().map(|line| line.split_once("Z  ").unwrap().1).collect();
    let expected = [
        r#"speaker/vote  0  -  {"n":0}"#,
        r#"speaker/vote  2  alice  {"n":2.0}"#,
        "speaker/comment  3  -  {}",
        r"speaker/raw  4  \xff\x1b  \u{0}\u{1b}[31m",
    ];
    assert_eq!(lines, expected);
    let ended = swarm.run(&["tail", "speaker/vote", "--until-end", "--format", r"{offset}\t{payload}"]);
    assert_eq!(ended.stdout, "0\t{\"n\":0}\n2\t{\"n\":2.0}\n");
}

#[test]
fn patterns_say_what_is_meant() {
    let swarm = spoken();
    swarm.speaker("speaker@2").say("vote", "{}");
    swarm.speaker("other").say("vote", "{}");
    let of = |pattern: &str| {
        let lines = swarm.json(&["tail", pattern, "--until-end", "--json"]);
        lines
            .iter()
            .map(|line| format!("{}/{}", line["journal"], line["offset"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("speaker/_trace"), ["speaker/1"]);
    assert_eq!(of("speaker/vote"), ["speaker/0", "speaker/2", "speaker@2/0"]);
    assert_eq!(of("speaker@2/*"), ["speaker@2/0"]);
    assert_eq!(of("*/vote"), ["speaker/0", "speaker/2", "speaker@2/0", "other/0"]);
    assert_eq!(of("speaker"), ["speaker/0", "speaker/2", "speaker/3", "speaker/4", "speaker@2/0"]);
    assert_eq!(of("*/nothing-of-that-name"), [""; 0]);
}

#[test]
fn where_it_begins_and_ends() {
    let swarm = spoken();
    let of = |arguments: &[&str]| {
        numbers(&swarm.json(&[&["tail", "speaker/*", "--until-end", "--json"], arguments].concat()))
    };
    assert_eq!(of(&["--from", "beginning"]), [0, 2, 3, 4]);
    assert_eq!(of(&["--from", "3"]), [3, 4]);
    assert_eq!(of(&["--from", "3", "--count", "1"]), [3]);
    assert_eq!(of(&["--from", "99"]), [0_u64; 0]);
    assert_eq!(of(&["--from", "end"]), [0_u64; 0]);
    assert_eq!(of(&["--from", "1999-12-31T23:59:59Z"]), [0, 2, 3, 4]);
    assert_eq!(of(&["--from", "2999-12-31T23:59:59Z"]), [0_u64; 0]);
    let lines = swarm.json(&["tail", "speaker/*", "--until-end", "--json"]);
    assert_eq!(of(&["--from", lines[2]["time"].as_str().unwrap()]), [3, 4]);
    // Without --until-end, a count alone ends it.
    assert_eq!(numbers(&swarm.json(&["tail", "speaker/*", "--from", "0", "--count", "2", "--json"])), [0, 2]);
}

#[test]
fn several_journals_are_merged_by_time() {
    let swarm = Swarm::new();
    let (mut a, mut b) = (swarm.speaker("a"), swarm.speaker("b"));
    for number in 0..500 {
        let speaker = if number % 3 == 0 { &mut a } else { &mut b };
        speaker.say("n", &number.to_string());
    }
    let lines = swarm.json(&["tail", "b/*", "a/*", "--until-end", "--json"]);
    let payloads: Vec<_> = lines.iter().map(|line| line["payload"].as_u64().unwrap()).collect();
    assert_eq!(payloads, (0..500).collect::<Vec<_>>());
}

#[test]
fn a_damaged_record_is_a_gap() {
    let swarm = Swarm::new();
    let mut speaker = swarm.speaker("speaker");
    for number in 0..5 {
        speaker.say("n", &format!(r#"{{"number":"is {number}"}}"#));
    }
    drop(speaker);
    let (segment, at) = swarm.find_bytes("speaker", b"is 2");
    flip_bit(&segment, at, 3);
    let lines = swarm.json(&["tail", "speaker/n", "--until-end", "--json"]);
    assert_eq!(lines[2], json!({"gap": {"journal": "speaker", "from": 2, "to": 3, "reason": "corrupt"}}));
    assert_eq!(numbers(&[&lines[..2], &lines[3..]].concat()), [0, 1, 3, 4]);
    let ended = swarm.run(&["tail", "speaker/n", "--until-end"]);
    assert_eq!(ended.assert_code(0).stdout.lines().nth(2), Some("gap  speaker  2 up to 3  corrupt"));
}

#[test]
fn what_was_trimmed_is_a_gap() {
    let swarm = Swarm::new();
    let mut speaker = swarm.speaker("speaker");
    let payload = format!("\"{}\"", "x".repeat(1000));
    for _ in 0..200 {
        speaker.say("n", &payload);
    }
    drop(speaker);
    std::fs::remove_file(&swarm.segments("speaker")[0]).unwrap();
    let lines = swarm.json(&["tail", "speaker/n", "--from", "0", "--until-end", "--json"]);
    let to = lines[0]["gap"]["to"].as_u64().unwrap();
    assert_eq!(lines[0]["gap"], json!({"journal": "speaker", "from": 0, "to": to, "reason": "trimmed"}));
    assert_eq!(numbers(&lines[1..]), (to..200).collect::<Vec<_>>());
    // The beginning is what is kept.
    assert_eq!(
        numbers(&swarm.json(&["tail", "speaker/n", "--until-end", "--json"])),
        (to..200).collect::<Vec<_>>()
    );
}

#[test]
fn a_process_that_is_not_there_is_an_error_at_the_end_of_which_nobody_waits() {
    let swarm = Swarm::new();
    let ended = swarm.run(&["tail", "nobody/x", "--until-end"]);
    ended.assert_code(1).assert_says(&["error: ", "`nobody`", "never run", "try: "]);
    swarm.speaker("somebody").say("x", "{}");
    let ended = swarm.run(&["tail", "somebody/x", "nobody/x", "--until-end"]);
    ended.assert_code(1).assert_says(&["`nobody`", "somebody"]);
    assert_eq!(ended.stdout, "");
    for bad in [
        &["tail"][..],
        &["tail", "A/b"],
        &["tail", "a/b", "--from", "yesterday"],
        &["tail", "a/b", "--count", "-1"],
    ] {
        swarm.run(bad).assert_code(2);
    }
}

#[test]
fn following_begins_at_the_end_and_takes_in_who_comes_later() {
    let swarm = spoken();
    let mut tail = swarm.start(&["tail", "speaker/*", "late/*", "--json", "--count", "3"]);
    // It says so once everything that there is has been opened.
    tail.wait_for_log(DEADLINE, "waiting for `late`");
    swarm.speaker("late").say("hello", "1");
    wait_until(DEADLINE, "the newcomer is heard", || tail.stdout().lines().count() == 1);
    swarm.speaker("speaker").say("vote", "2");
    wait_until(DEADLINE, "the old one is heard", || tail.stdout().lines().count() == 2);
    swarm.speaker("late").say("hello", "3");
    let ended = tail.wait(DEADLINE);
    let heard: Vec<_> = json_lines(&ended.assert_code(0).stdout)
        .iter()
        .map(|line| (line["journal"].as_str().unwrap().to_owned(), line["payload"].as_u64().unwrap()))
        .collect();
    assert_eq!(heard, [("late".into(), 1), ("speaker".into(), 2), ("late".into(), 3)]);
}

#[test]
fn a_publisher_is_followed_through_its_deaths() {
    let swarm = Swarm::new();
    let tail = swarm.start(&["tail", "sample/tick", "--from", "beginning", "--json"]);
    let mut heard = 0;
    for _ in 0..3 {
        let sample = swarm.sample(&["--ticks", "5", "--every-ms", "2"]);
        wait_until(DEADLINE, "twenty more ticks are heard", || tail.stdout().lines().count() >= heard + 20);
        sample.kill9();
        heard = tail.stdout().lines().count();
    }
    let all = swarm.json(&["tail", "sample/tick", "--until-end", "--json"]);
    wait_until(DEADLINE, "the rest is heard", || tail.stdout().lines().count() == all.len());
    assert_eq!(json_lines(&tail.stdout()), all);
    assert_eq!(numbers(&all), (0..all.len() as u64).collect::<Vec<_>>());
    let epochs: Vec<_> = all.iter().map(|line| line["epoch"].as_u64().unwrap()).collect();
    assert_eq!((epochs[0], epochs[all.len() - 1]), (1, 3));
}

#[test]
fn it_ends_quietly_when_nobody_reads_on() {
    let swarm = spoken();
    for arguments in
        [&["tail", "speaker/*", "--from", "0"][..], &["tail", "speaker/*", "--from", "0", "--json"]]
    {
        let mut command = swarm.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "{line}");
        // The pipe is closed now, and nothing more is said.
        wait_until(DEADLINE, "it ends by itself", || child.try_wait().unwrap().is_some());
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "");
    }
}

#[test]
fn a_stopped_publisher_can_be_read_all_the_same() {
    let swarm = Swarm::new();
    let mut sample: Running = swarm.ready_sample("sample", &["--ticks", "7"]);
    sample.signal(rustix::process::Signal::STOP);
    assert_eq!(numbers(&swarm.json(&["tail", "sample/*", "--until-end", "--json"])), [0, 1, 2, 3, 4, 5, 6]);
    sample.signal(rustix::process::Signal::CONT);
    sample.terminate(DEADLINE).assert_code(0);
}
