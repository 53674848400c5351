//! The soak itself, for seconds: that it passes, and that it can fail.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn soak(out: &Path, arguments: &[&str]) -> Output {
    let common = ["--sample-every", "100ms", "--segment-kib", "64", "--keep-kib", "8192"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
    command.args(common).args(arguments).arg("--out").arg(out);
    command.output().unwrap()
}

fn summary(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap()
}

#[test]
fn nothing_is_lost_while_processes_are_killed() {
    let out = tempfile::tempdir().unwrap();
    let ended = soak(out.path(), &["--for", "4s", "--rate", "2000", "--kill-every", "500ms"]);
    let summary = summary(out.path());
    // Whether four seconds are flat is up to the machine; that nothing is lost isn't.
    assert_eq!(summary["faults_count"], 0, "{ended:?}");
    let kills: u64 =
        summary["kills"].as_object().unwrap().values().map(|kills| kills.as_u64().unwrap()).sum();
    assert!(kills >= 3, "{summary}");
    assert!(summary["records"].as_u64().unwrap() > 1000, "{summary}");
    let samples = std::fs::read_to_string(out.path().join("samples.csv")).unwrap();
    assert!(samples.starts_with("seconds,process,pid,resident_mib,") && samples.lines().count() > 60);
    let picture = std::fs::read_to_string(out.path().join("soak.svg")).unwrap();
    for title in ["Private memory", "Open descriptors", "records/s", "seconds"] {
        assert!(picture.contains(title), "{title}");
    }
}

#[test]
fn a_leak_is_noticed() {
    let out = tempfile::tempdir().unwrap();
    let ended =
        soak(out.path(), &["--for", "5s", "--rate", "4000", "--kill-every", "0s", "--sabotage", "leak"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let summary = summary(out.path());
    assert_eq!(summary["faults_count"], 0, "{summary}");
    let grows: Vec<_> =
        summary["figures"].as_array().unwrap().iter().filter(|row| row["grows"] == true).collect();
    assert!(grows.iter().any(|row| row["process"] == "left" && row["figure"] == "private_mib"), "{grows:?}");
}

#[test]
fn a_lost_item_is_noticed() {
    let out = tempfile::tempdir().unwrap();
    let ended =
        soak(out.path(), &["--for", "4s", "--rate", "2000", "--kill-every", "0s", "--sabotage", "skip"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let faults = summary(out.path())["faults"].to_string();
    assert!(faults.contains("instead of 999") && faults.contains("left, offset"), "{faults}");
    assert!(faults.contains("sink@1, offset") && !faults.contains("right, offset"), "{faults}");
}

#[test]
fn it_can_be_ended_early_and_leaves_nothing_behind() {
    let (out, dir) = (tempfile::tempdir().unwrap(), tempfile::Builder::new().tempdir_in("/tmp").unwrap());
    let child = Command::new(env!("CARGO_BIN_EXE_soak"))
        .args(["--for", "1h", "--rate", "200", "--sample-every", "50ms", "--segment-kib", "64"])
        .arg("--out")
        .arg(out.path())
        .arg("--dir")
        .arg(dir.path())
        .spawn()
        .unwrap();
    let samples =
        || std::fs::read_to_string(out.path().join("samples.csv")).unwrap_or_default().lines().count();
    let begun = std::time::Instant::now();
    while samples() < 60 {
        assert!(begun.elapsed().as_secs() < 60, "there are no samples");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.code().is_some(), "{ended:?}");
    assert_eq!(summary(out.path())["faults_count"], 0);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the journals were left behind");
}
