//! `procession publish`: what is said, and what isn't.

use std::fmt::Write as _;

use serde_json::{Value, json};
use testkit::DEADLINE;

use crate::support::Swarm;

fn payloads(swarm: &Swarm, pattern: &str) -> Vec<String> {
    let ended = swarm.run(&["tail", pattern, "--until-end", "--format", "{key}:{payload}"]);
    ended.assert_code(0).stdout.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_given_is_said_as_it_is() {
    let swarm = Swarm::new();
    let ended = swarm.run(&["publish", "greeting", " { \"b\" : 1.0, \"a\": [1e3, \"x  y\"] } "]);
    assert_eq!(ended.assert_code(0).stdout, "0\n");
    let said = swarm.json(&["publish", "greeting", "[]", "--as", "me@2", "--key", "k", "--json"]);
    assert_eq!(said, [json!({"journal": "me@2", "offset": 0})]);
    assert_eq!(payloads(&swarm, "cli/greeting"), [r#":{"b":1.0,"a":[1e3,"x  y"]}"#]);
    assert_eq!(payloads(&swarm, "me/greeting"), ["k:[]"]);
}

#[test]
fn lines_of_standard_input_are_said_up_to_a_bad_one() {
    let swarm = Swarm::new();
    let ended = swarm.run_with_input(&["publish", "n"], "{\"n\":1}\n\n  {\"n\": 2}\r\n{\"n\":3}");
    assert_eq!(ended.assert_code(0).stdout, "0\n1\n2\n");
    let ended = swarm.run_with_input(&["publish", "n"], "{\"n\":4}\n\nnonsense\n{\"n\":5}\n");
    ended.assert_code(1).assert_says(&["line 3", "not JSON", "1 record before"]);
    assert_eq!(ended.stdout, "3\n");
    let ended = swarm.run_with_input(&["publish", "n"], b"{\"n\":5}\n\"\xff\"\n");
    ended.assert_code(1).assert_says(&["line 2", "UTF-8"]);
    let said = payloads(&swarm, "cli/n");
    assert_eq!(said, [r#":{"n":1}"#, r#":{"n":2}"#, r#":{"n":3}"#, r#":{"n":4}"#, r#":{"n":5}"#]);
}

#[test]
fn many_lines_take_many_segments() {
    let swarm = Swarm::new();
    let mut input = String::new();
    for number in 0..3000 {
        writeln!(input, r#"{{"number":{number},"text":"{}"}}"#, "x".repeat(1000)).unwrap();
    }
    swarm.run_with_input(&["publish", "n"], &input).assert_code(0);
    assert!(swarm.segments("cli").len() > 2);
    let said = swarm.json(&["tail", "cli/n", "--until-end", "--json"]);
    let numbers: Vec<_> = said.iter().map(|line| line["payload"]["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..3000).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_said_leaves_no_trace() {
    let swarm = Swarm::new();
    swarm.run(&["publish", "n", "nonsense"]).assert_code(1).assert_says(&["not JSON", "try: "]);
    swarm.run(&["publish", "n", "{} {}"]).assert_code(1);
    swarm.run(&["publish", "No Topic", "{}"]).assert_code(2).assert_says(&["topic"]);
    swarm.run(&["publish", "n", "{}", "--as", "../x"]).assert_code(2);
    assert!(!swarm.instance("cli").exists());
}

#[test]
fn nobody_speaks_for_a_process_that_runs() {
    let swarm = Swarm::new();
    let sample = swarm.ready_sample("sample", &["--ticks", "1"]);
    let ended = swarm.run(&["publish", "tick", "{}", "--as", "sample"]);
    ended.assert_code(1).assert_says(&["`sample` is running", &sample.pid().to_string(), "--as"]);
    sample.terminate(DEADLINE).assert_code(0);
    let ended = swarm.run(&["publish", "tick", "{}", "--as", "sample"]);
    assert_eq!(ended.assert_code(0).stdout, "1\n");
}

#[test]
fn a_record_that_is_too_large_is_refused_with_its_line() {
    let swarm = Swarm::new();
    let input = format!("1\n\"{}\"\n2\n", "x".repeat(2 << 20));
    let ended = swarm.run_with_input(&["publish", "n"], input);
    ended.assert_code(1).assert_says(&["line 2", "limit"]);
    assert_eq!(payloads(&swarm, "cli/n"), [":1"]);
    let value: Value = serde_json::from_str("1").unwrap();
    assert_eq!(swarm.json(&["tail", "cli/n", "--until-end", "--json"])[0]["payload"], value);
}

#[test]
fn a_topic_of_another_process_is_not_said_by_mistake() {
    let swarm = Swarm::new();
    swarm.ready_sample("sample", &["--ticks", "1"]).terminate(DEADLINE).assert_code(0);
    let ended = swarm.run(&["publish", "sample/tick", "{}"]);
    ended.assert_code(1).assert_says(&["`sample` is a process", "--as sample tick", "--as cli"]);
    assert!(!swarm.instance("cli").exists());
    // Whoever says so may; and a first word that is nobody's name is a topic's.
    swarm.run(&["publish", "sample/tick", "{}", "--as", "cli"]).assert_code(0);
    swarm.run(&["publish", "other/tick", "{}"]).assert_code(0);
    // Nobody takes cli for a process that is down.
    let shown = swarm.json(&["ps", "--json"]);
    assert_eq!(shown.iter().map(|row| &row["process"]).collect::<Vec<_>>(), [&json!("sample")]);
    assert_eq!(swarm.json(&["ps", "cli", "--json"])[0]["records"], json!(2));
}
