//! Tiny runs of every contender that needs no installation: messages are counted, results have their shape, and a
//! contender that loses messages is shown to lose them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const MESSAGES: u64 = 1_000;

/// Runs `bench` beside the other programs of this workspace, which it looks for in its own folder.
fn run(contenders: &[&str], work: &[&str], out: &Path) -> (Value, String) {
    let bench = testkit::bin("bench");
    let mut command = Command::new(bench);
    command.args(["run", "--rounds", "1", "--messages", &MESSAGES.to_string()]);
    command.arg("--out").arg(out).arg("--dir").arg(std::env::temp_dir());
    for name in contenders {
        command.args(["--contender", name]);
    }
    for text in work {
        command.args(["--work", text]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let results = std::fs::read_to_string(out.join("results.json")).unwrap();
    (serde_json::from_str(&results).unwrap(), said)
}

fn cells<'a>(results: &'a Value, contender: &str) -> Vec<&'a Value> {
    let cells = results["cells"].as_array().unwrap();
    cells.iter().filter(|cell| cell["contender"] == contender).collect()
}

fn is_file(folder: &Path, name: &str) -> bool {
    PathBuf::from(folder).join(name).is_file()
}

#[test]
fn every_contender_that_needs_no_installation_delivers_every_message_once() {
    let out = tempfile::tempdir().unwrap();
    let contenders = ["procession", "unix socket", "interprocess", "interprocess, 64 a flush"];
    let work = ["throughput, 64 B", "latency, 64 B, sleeping"];
    let (results, said) = run(&contenders, &work, out.path());
    for contender in contenders {
        let cells = cells(&results, contender);
        assert!(!cells.is_empty(), "{contender} took no part: {said}");
        for cell in cells {
            assert_eq!(cell["failed"], serde_json::json!([]), "{cell}");
            let run = &cell["runs"][0];
            assert_eq!(run["messages"], MESSAGES, "{cell}");
            for received in run["received"].as_array().unwrap() {
                assert_eq!(received, MESSAGES, "{cell}");
            }
            assert_eq!(cell["summary"]["whole"], true, "{cell}");
            assert!(run["messages_per_second"].as_f64().unwrap() > 0.0, "{cell}");
            assert!(run["cpu_ns_per_message"].as_f64().unwrap() > 0.0, "{cell}");
            let is_latency = cell["work"]["kind"] == "latency";
            assert_eq!(run["latency_us"].is_object(), is_latency, "{cell}");
        }
    }
    let eight = &results["cells"].as_array().unwrap().iter().find(|cell| cell["work"]["subscribers"] == 8);
    assert_eq!(eight.unwrap()["runs"][0]["received"].as_array().unwrap().len(), 8);
    for name in ["table.md", "throughput.svg", "latency.svg", "cpu.svg"] {
        assert!(is_file(out.path(), name), "{name} is missing");
    }
    assert!(said.contains("round 1/1: procession"), "one line a round: {said}");
}

#[test]
fn waiting_publishers_and_a_reader_that_comes_late_are_counted_too() {
    let out = tempfile::tempdir().unwrap();
    let (results, said) = run(&["procession"], &["always, 64 B, 16", "catch-up"], out.path());
    let cells = cells(&results, "procession");
    assert_eq!(cells.len(), 2, "{said}");
    for cell in cells {
        assert_eq!(cell["summary"]["whole"], true, "{cell}");
        let readers = if cell["work"]["kind"] == "catch-up" { 1 } else { 0 };
        assert_eq!(cell["runs"][0]["received"].as_array().unwrap().len(), readers, "{cell}");
    }
}

#[test]
fn what_loses_messages_is_reported_as_lossy() {
    let out = tempfile::tempdir().unwrap();
    let (results, said) = run(&["lossy stub"], &["throughput, 64 B, 1"], out.path());
    let cell = cells(&results, "lossy stub")[0];
    assert_eq!(cell["summary"]["whole"], false, "{cell}");
    assert_eq!(cell["runs"][0]["lost"], MESSAGES / 100, "{cell}");
    assert_eq!(cell["runs"][0]["received"][0], MESSAGES - MESSAGES / 100, "{cell}");
    assert!(said.contains("(lost 10)"), "{said}");
    let table = std::fs::read_to_string(out.path().join("table.md")).unwrap();
    assert!(table.contains("**lost 1.00 %**"), "{table}");
}
