//! The layers of the configuration, with real files, variables and flags of a real process.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::json;

use crate::sample::{Ended, Home, finish};

const NOBODY: u32 = 65534;

fn refused(ended: &Ended, code: i32, texts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(ended.stdout.is_empty(), "it must not have started: {ended:?}");
    for text in texts {
        assert!(ended.stderr.contains(text), "{text:?} is missing in: {}", ended.stderr);
    }
}

#[test]
fn each_layer_overrides_the_one_below_key_by_key() {
    let home = Home::new();
    let defaults = home.settings(&[], &[]);
    assert_eq!(defaults["nodes"], json!(["http://localhost:8091"]));
    assert_eq!(defaults["block_interval"], "3s");
    assert_eq!(defaults["retry"], json!({"max_attempts": 3, "pause": 0.5}));

    home.write(
        "procession.toml",
        "[sample]\nport = 1\nlabel = \"shared\"\nnodes = [\"http://a\", \"http://b\"]\n\
         [sample.retry]\nmax_attempts = 4\n[other]\nanything = true\n",
    );
    let shared = home.settings(&[], &[]);
    assert_eq!(shared["nodes"], json!(["http://a", "http://b"]), "a list is replaced");
    assert_eq!(shared["retry"], json!({"max_attempts": 4, "pause": 0.5}), "a table is merged");
    assert_eq!((&shared["port"], &shared["label"]), (&json!(1), &json!("shared")));

    home.write(
        "sample.toml",
        "port = 2\nstart = 17\n[thresholds]\nHBD = 7\n[process.log]\nlevel = \"warn\"\n",
    );
    let private = home.settings(&[], &[]);
    assert_eq!((&private["port"], &private["label"]), (&json!(2), &json!("shared")));
    assert_eq!(private["start"], 17);
    assert_eq!(private["thresholds"], json!({"HIVE": 1000, "HBD": 7}));

    let variables = [
        ("PROCESSION_SAMPLE__PORT", "3"),
        ("PROCESSION_SAMPLE__RETRY__PAUSE", "2"),
        ("PROCESSION_SAMPLE__THRESHOLDS__HBD", "8"),
        ("PROCESSION_SAMPLE__NODES", "http://c, http://d"),
        ("PROCESSION_SAMPLE__BLOCK_INTERVAL", "0s"),
        ("PROCESSION_OTHER__PORT", "x"),
    ];
    let environment = home.settings(&[], &variables);
    assert_eq!((&environment["port"], &environment["start"]), (&json!(3), &json!(17)));
    assert_eq!(environment["retry"], json!({"max_attempts": 4, "pause": 2.0}));
    assert_eq!(environment["thresholds"], json!({"HIVE": 1000, "HBD": 8}));
    assert_eq!(environment["nodes"], json!(["http://c", "http://d"]));
    assert_eq!(environment["block_interval"], "0s");

    let flags = [
        "--port=4",
        "--start",
        "head",
        "--nodes",
        "http://e,http://f",
        "--nodes=http://g",
        "--thresholds",
        "HIVE=1,XYZ=2",
        "--retry-max-attempts",
        "9",
        "--label",
        "",
        "--loud",
    ];
    let flags = home.settings(&flags, &variables);
    assert_eq!((&flags["port"], &flags["start"]), (&json!(4), &json!("head")));
    assert_eq!(flags["nodes"], json!(["http://e", "http://f", "http://g"]));
    assert_eq!(flags["thresholds"], json!({"HIVE": 1, "HBD": 8, "XYZ": 2}));
    assert_eq!(flags["retry"], json!({"max_attempts": 9, "pause": 2.0}));
    assert_eq!((&flags["label"], &flags["loud"]), (&json!(null), &json!(true)));
    assert_eq!(home.settings(&["--loud=false"], &[])["loud"], false);
}

#[test]
fn an_unknown_key_is_named_with_its_file_and_the_nearest_known_one() {
    let home = Home::new();
    let file = home.write("sample.toml", "prot = 1\nquite_different = 2\n[retry]\nmax-attempts = 3\n");
    let ended = home.run(&["run"]);
    let path = file.display().to_string();
    let lines = [
        &format!("{path}: key `prot`: unknown key; did you mean `port`?"),
        &format!("{path}: key `quite_different`: unknown key; known are "),
        &format!("{path}: key `retry.max-attempts`: unknown key; did you mean `max_attempts`?"),
    ];
    refused(&ended, 78, &lines.map(String::as_str));

    let home = Home::new();
    home.write("procession.toml", "[sample]\nprot = 1\n[process.journal]\nsnyc = \"never\"\n");
    let ended = home.run(&["run"]);
    refused(&ended, 78, &["procession.toml: key `sample.prot`", "key `process.journal.snyc`", "`sync`"]);
}

#[test]
fn a_wrong_type_is_named_with_what_was_expected_and_found() {
    let cases = [
        ("port = \"high\"", "key `port`: expected an integer, found the string \"high\""),
        ("port = 2.5", "key `port`: expected an integer, found the number 2.5"),
        ("port = 70000", "key `port`: expected"),
        ("port = -1", "key `port`: expected"),
        ("loud = 1", "key `loud`: expected true or false, found the integer 1"),
        ("nodes = \"http://a\"", "key `nodes`: expected a list, each a string, found the string"),
        ("nodes = [\"a\", 2]", "key `nodes[1]`: expected a string, found the integer 2"),
        ("start = \"haed\"", "found the string \"haed\"; did you mean \"head\"?"),
        ("start = -5", "key `start`"),
        ("block_interval = 3", "key `block_interval`: expected a string such as \"3s\", found the integer 3"),
        ("block_interval = \"3 parsecs\"", "key `block_interval`: "),
        ("retry = 3", "key `retry`: expected a table"),
        ("behaviour = \"wiat\"", "did you mean \"wait\"?"),
        ("[thresholds]\nHBD = \"x\"", "key `thresholds.HBD`: expected an integer"),
        (
            "[process.journal]\nsync = \"evry 1s\"",
            "key `process.journal.sync`: expected \"never\", \"always\"",
        ),
        ("[process.journal]\nsegment_bytes = \"64 MB i\"", "key `process.journal.segment_bytes`"),
        ("[process.socket]\nconnections_max = 0", "key `process.socket.connections_max`"),
        ("[process.log]\nlevel = \"debg\"", "key `process.log.level`: expected a level"),
    ];
    for (content, text) in cases {
        let home = Home::new();
        let file = home.write("sample.toml", content);
        let ended = home.run(&["run"]);
        refused(&ended, 78, &[text, &file.display().to_string()]);
    }
}

#[test]
fn an_unreadable_file_is_named_with_the_reason() {
    let home = Home::new();
    home.write("sample.toml", "port = 1\nnodes = [\"a\"\nloud = true\n");
    refused(&home.run(&["run"]), 78, &["sample.toml: ", "line 3"]);

    home.write("sample.toml", b"label = \"\xff\xfe\"\n");
    refused(&home.run(&["run"]), 78, &["sample.toml: is not valid UTF-8"]);

    let home = Home::new();
    std::fs::create_dir(home.path().join("procession.toml")).unwrap();
    refused(&home.run(&["run"]), 78, &["procession.toml: can't be read: Is a directory"]);

    let home = Home::new();
    home.write("procession.toml", "sample = 5\nsync = \"never\"\n");
    let ended = home.run(&["run"]);
    refused(&ended, 78, &["key `sample`: expected a table", "key `sync`: settings belong in a table"]);
}

#[test]
fn a_file_without_permission_is_named() {
    let home = Home::new();
    let file = home.write("sample.toml", "port = 1\n");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
    let ended = finish(&mut as_ordinary_user(&home, &["run"]));
    refused(&ended, 78, &["sample.toml: can't be read: Permission denied"]);
}

#[test]
fn a_state_folder_that_can_t_be_written_is_named_with_advice() {
    let home = Home::new();
    let state = home.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o555)).unwrap();
    let ended = finish(&mut as_ordinary_user(&home, &["run", "--log-format", "human"]));
    let texts = ["error: the state folder `", "Permission denied", "try: ", "PROCESSION_STATE"];
    refused(&ended, 78, &texts);
}

/// Permissions bind everybody but root.
fn as_ordinary_user(home: &Home, arguments: &[&str]) -> Command {
    if !rustix::process::geteuid().is_root() {
        return home.command(arguments);
    }
    let mut command = home.command(arguments);
    let copy = home.path().join("sample");
    // Not copied by this process: a test that forks at the same moment would inherit the open copy,
    // and an executable that is open for writing can't be run.
    let copied = Command::new("cp").arg(command.get_program()).arg(&copy).status().unwrap();
    assert!(copied.success());
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    command = home.command_of(&copy, arguments);
    command.uid(NOBODY).gid(NOBODY);
    command
}

#[test]
fn a_wrong_variable_is_named() {
    let home = Home::new();
    let cases = [
        ("PROCESSION_SAMPLE__PROT", "1", "unknown key PROT; did you mean PORT?"),
        ("PROCESSION_SAMPLE__PORT", "high", "expected an integer, found \"high\""),
        ("PROCESSION_SAMPLE__PORT", "70000", "expected"),
        ("PROCESSION_SAMPLE__PORT__X", "1", "PORT has no keys of its own"),
        ("PROCESSION_SAMPLE__RETRY", "1", "is a table: set its keys one by one"),
        ("PROCESSION_SAMPLE_PORT", "1", "two underscores"),
        ("PROCESSION_SAMPLE__THRESHOLDS", "HIVE", "KEY=VALUE"),
        ("PROCESSION_PROCESS__JOURNAL__SNYC", "never", "unknown key SNYC; did you mean SYNC?"),
        ("PROCESSION_PROCESS__JOURNAL__SYNC", "evry 1s", "\"every 1s\""),
    ];
    for (name, value, text) in cases {
        let ended = finish(home.command(&["run"]).env(name, value));
        refused(&ended, 78, &[&format!("environment variable {name}: "), text]);
    }
}

#[test]
fn one_list_for_all_rights_is_refused_with_the_names_of_the_new_ones() {
    let home = Home::new();
    home.write("sample.toml", "[process.socket]\nallow = [\"alice\"]\n");
    let names = ["`process.socket.allow`", "allow_read", "allow_publish", "allow_control", "allow_calls"];
    refused(&home.run(&["run"]), 78, &names);
}

#[test]
fn a_wrong_flag_is_a_mistake_in_usage() {
    let home = Home::new();
    let cases: [(&[&str], &str); 9] = [
        (&["--prot", "1"], "--port"),
        (&["--port", "high"], "flag --port: expected an integer, found \"high\""),
        (&["--port", "70000"], "flag --port: expected"),
        (&["--start", "haed"], "flag --start: expected"),
        (&["--block-interval", "3 parsecs"], "flag --block-interval: "),
        (&["--behaviour", "wiat"], "wait"),
        (&["--journal-sync", "evry 1s"], "flag --journal-sync: expected \"never\""),
        (&["--port", "1", "--port", "2"], "cannot be used multiple times"),
        (&["--instance", "../x"], "instance"),
    ];
    for (flags, text) in cases {
        let ended = home.run(&[&["run"], flags].concat());
        refused(&ended, 2, &[text, "--help"]);
    }
    assert_eq!(home.settings(&["--journal-segment-bytes", "1 MiB"], &[])["port"], 8080);
}

#[test]
fn a_mistake_in_a_file_outweighs_one_in_a_flag() {
    let home = Home::new();
    home.write("sample.toml", "prot = 1\n");
    refused(&home.run(&["run", "--port", "high"]), 78, &["key `prot`", "flag --port"]);
}
