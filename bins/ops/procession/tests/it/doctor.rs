//! `procession doctor`: finds what is broken, and says how to mend it.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::{DEADLINE, overwrite};

use crate::support::{Swarm, json_lines};

/// Findings of a verdict: check and what was found.
fn findings(swarm: &Swarm, code: i32, verdict: &str) -> Vec<(String, String)> {
    let ended = swarm.run(&["doctor", "--json"]);
    let lines = json_lines(&ended.assert_code(code).stdout);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines
        .iter()
        .filter(|line| line["verdict"] == json!(verdict))
        .inspect(|line| assert_eq!(line["mend"].is_null(), verdict == "ok", "{line}"))
        .map(|line| (text(&line["check"]), text(&line["found"])))
        .collect()
}

#[test]
fn what_is_well_is_said_to_be() {
    let swarm = Swarm::new();
    let sample = swarm.ready_sample("sample", &[]);
    let ok = findings(&swarm, 0, "ok");
    for check in [
        "versions",
        "state folder",
        "runtime folder",
        "socket paths",
        "configuration",
        "journals",
        "processes",
    ] {
        assert!(ok.iter().any(|(name, _)| name == check), "{check} isn't among {ok:?}");
    }
    assert!(ok.iter().any(|(_, found)| found.contains("sample 1.2.3")), "{ok:?}");
    assert!(swarm.run(&["doctor"]).stdout.contains("ok    processes: all well"));
    sample.kill9();
    let warned = findings(&swarm, 0, "warn");
    assert!(
        warned.iter().any(|(check, found)| check == "sockets" && found.contains("sample/socket")),
        "{warned:?}"
    );
}

#[test]
fn broken_journals_and_configuration_are_failures() {
    let swarm = Swarm::new();
    swarm.speaker("sample").say("x", "1");
    swarm.speaker("other").say("x", "1");
    overwrite(&swarm.instance("sample").join("journal/marks"), 0, b"nonsense");
    overwrite(&swarm.instance("other").join("journal/marks"), 8, &[99]);
    swarm.configure("procession.toml", "[process.journal]\nsync = \"evry 1s\"\n");
    swarm.configure("sample.toml", "key = \n");
    let failed = findings(&swarm, 1, "fail");
    let has = |check: &str, part: &str| {
        let found = failed.iter().any(|(name, found)| name == check && found.contains(part));
        assert!(found, "{check} {part:?} isn't among {failed:?}");
    };
    has("journals", "sample: its marks are damaged");
    has("journals", "version 99");
    has("configuration", "evry 1s");
    has("configuration", "sample.toml");
}

#[test]
fn a_runtime_path_that_is_too_long_is_a_failure() {
    let swarm = Swarm::new();
    let long: PathBuf = swarm.path().join("x".repeat(100));
    fs::create_dir(&long).unwrap();
    swarm.speaker("sample").say("x", "1");
    let mut command = swarm.command(&["doctor"]);
    command.env("PROCESSION_RUNTIME", &long);
    let ended = testkit::Running::spawn(&swarm, "procession", command).wait(DEADLINE);
    assert!(ended.assert_code(1).stdout.contains("fail  socket paths"), "{ended:?}");
}
