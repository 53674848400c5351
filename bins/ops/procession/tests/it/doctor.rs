//! `procession doctor`: finds what is broken, and says how to mend it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

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
    let warned = findings(&swarm, 1, "warn");
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

/// What is wrong with processes.
fn failures(swarm: &Swarm, code: i32) -> Vec<String> {
    let failed = findings(swarm, code, "fail").into_iter();
    failed.filter(|(check, _)| check == "processes").map(|(_, found)| found).collect()
}

#[test]
fn where_no_process_has_run_is_not_well() {
    let swarm = Swarm::new();
    assert!(failures(&swarm, 1)[0].starts_with("none has run in "));
    // Nor is that of somebody who has forgotten where to look.
    let mut command = swarm.command(&["doctor"]);
    command.env("PROCESSION_STATE", swarm.path().join("elsewhere"));
    let ended = testkit::Running::spawn(&swarm, "procession", command).wait(DEADLINE);
    assert!(ended.assert_code(1).stdout.contains("fail  processes: none has run in "), "{ended:?}");
}

#[test]
fn who_has_run_and_does_not_now_is_named_with_what_ended_it() {
    let swarm = Swarm::new();
    let well = swarm.ready_sample("well", &[]);
    swarm.sample(&["--instance", "failed", "--fails"]).wait(DEADLINE).assert_code(1);
    swarm.ready_sample("stopped", &[]).terminate(DEADLINE).assert_code(0);
    // Somebody has spoken in these names: they are no processes.
    swarm.run(&["publish", "x", "1"]).assert_code(0);
    swarm.speaker("me").say("x", "1");
    let [failed, stopped] = &failures(&swarm, 1)[..] else { panic!("{:?}", failures(&swarm, 1)) };
    assert!(
        failed.starts_with("failed doesn't run; it died at 20") && failed.contains("it is bent"),
        "{failed}"
    );
    assert_eq!(stopped, "stopped doesn't run");
    well.terminate(DEADLINE).assert_code(0);
}

#[test]
fn who_does_not_stay_up_is_found_also_while_it_is_up() {
    let swarm = Swarm::new();
    for _ in 0..5 {
        swarm.sample(&["--fails"]).wait(DEADLINE).assert_code(1);
    }
    assert!(failures(&swarm, 1)[0].starts_with("sample doesn't run; it died at "), "five are not many");
    let sample = swarm.ready_sample("sample", &[]);
    let found = failures(&swarm, 1);
    assert!(
        found[0].starts_with("sample restarts again and again: 6 times or more within the last minute"),
        "{found:?}"
    );
    sample.terminate(DEADLINE).assert_code(0);
}

#[test]
fn who_should_run_beside_others_and_has_never_is_named() {
    let swarm = Swarm::new();
    let process = |name: &str, more: &str| {
        format!("[[process]]\nname = '{name}'\ndescription = 'x'\nnetwork = 'local'\n{more}\n")
    };
    let described = [
        process("sample", "context = 'here'"),
        process("missing", "context = 'here'\ninstances = 2"),
        process("disabled", "context = 'here'\nenabled = false"),
        process("elsewhere", "context = 'there'"),
    ];
    fs::create_dir(swarm.path().join("deploy")).unwrap();
    fs::write(swarm.path().join("deploy/swarm.toml"), described.concat()).unwrap();
    let sample = swarm.ready_sample("sample", &[]);
    let has_never_run = |name: &str| format!("{name} has never run here, and deploy/swarm.toml has it");
    assert_eq!(failures(&swarm, 1), [has_never_run("missing@1"), has_never_run("missing@2")]);
    sample.terminate(DEADLINE).assert_code(0);
}

#[test]
fn what_cannot_be_seen_is_not_well() {
    if !rustix::process::geteuid().is_root() {
        return testkit::left_out("only root can look as somebody else");
    }
    let swarm = Swarm::new();
    let sample = swarm.ready_sample("sample", &[]);
    // What leads there is open to all, as /var/lib is; the instance is not.
    for folder in [swarm.path().to_owned(), swarm.state(), swarm.runtime(), swarm.config()] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let copy = swarm.path().join("procession");
    // Not copied by this process: a test that forks meanwhile would hold it open for writing.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_procession")).arg(&copy).status().unwrap();
    assert!(copied.success());
    let asked = |arguments: &[&str]| {
        let mut command = swarm.command_of(&copy, arguments);
        command.uid(65534).gid(65534);
        testkit::Running::spawn(&swarm, "procession", command).wait(DEADLINE)
    };
    let ended = asked(&["doctor"]);
    ended.assert_code(1);
    assert!(ended.stdout.contains("fail  processes: it can't be seen whether sample runs"), "{ended:?}");
    // Nor is it broken.
    let ended = asked(&["health", "sample"]);
    assert!(ended.assert_code(1).stdout.starts_with("sample: unknown: you may not ask it: "), "{ended:?}");
    sample.terminate(DEADLINE).assert_code(0);
}
