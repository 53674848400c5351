//! A process's journal through its socket, and what that may cost the process.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use journal::{Codec, Entry, Options, Writer};
use rustix::process::geteuid;
use serde_json::{Value, json};

use crate::sample::{Home, Running};
use crate::varlink::support::{Wire, wait_until};

const INFO: &str = "io.procession.Journal.Info";
const READ: &str = "io.procession.Journal.Read";
const USER: u32 = 20_012;

/// A journal that a `sample` will take over.
fn write(home: &Home, records: &[(&str, Codec, &[u8])]) {
    let folder = home.instance("sample");
    fs::create_dir_all(&folder).unwrap();
    let mut writer = Writer::open(&folder, &Options::default()).unwrap();
    for (topic, codec, payload) in records {
        writer.append(&Entry { topic, key: None, cause: None, codec: *codec, payload }).unwrap();
    }
}

fn start(home: &Home) -> Running {
    let mut running = Running::start(home.command(&["run", "--behaviour", "wait"]).stdout(Stdio::null()));
    running.wait_for("ready");
    running
}

fn socket(home: &Home) -> PathBuf {
    home.socket("sample")
}

/// All replies to a `Read`.
fn read(wire: &mut Wire, parameters: &Value) -> Vec<Value> {
    wire.send(&json!({"method": READ, "parameters": parameters, "more": true}));
    let mut replies = Vec::new();
    loop {
        let reply = wire.receive().expect("an end of the stream");
        let goes_on = reply["continues"] == true;
        replies.push(reply);
        if !goes_on {
            return replies;
        }
    }
}

fn call(wire: &mut Wire, method: &str) -> Value {
    wire.send(&json!({"method": method}));
    wire.receive().expect("a reply")
}

#[test]
fn a_record_that_no_message_has_room_for_is_told_of_and_passed() {
    let home = Home::new();
    let large = format!("\"{}\"", "x".repeat(3 << 20));
    // As text it takes a third more.
    let raw = vec![7; 900 << 10];
    write(
        &home,
        &[
            ("x", Codec::Json, b"1"),
            ("x", Codec::Json, large.as_bytes()),
            ("x", Codec::Raw, &raw),
            ("x", Codec::Json, b"2"),
        ],
    );
    let _sample = start(&home);
    let mut wire = Wire::connect(&socket(&home));
    let replies = read(&mut wire, &json!({"topics": ["x"]}));
    let seen: Vec<_> = replies
        .iter()
        .map(|reply| &reply["parameters"]["record"])
        .map(|record| (record["offset"].as_u64(), record["payload"].clone(), record["omitted"].as_u64()))
        .collect();
    let size = |bytes: usize| Some(u64::try_from(bytes).unwrap());
    assert_eq!(seen.len(), 5, "{seen:?}");
    assert_eq!(seen[0], (Some(0), json!(1), None));
    assert_eq!(seen[1], (Some(1), Value::Null, size(large.len())));
    assert_eq!(seen[2], (Some(2), Value::Null, size(raw.len())));
    assert_eq!(seen[3], (Some(3), json!(2), None));
    assert_eq!(replies[2]["parameters"]["record"]["codec"], "raw");
    assert_eq!(replies[4]["parameters"]["next"], 4);
}

#[test]
fn a_reader_may_choose_a_thousand_topics_and_not_a_hundred_thousand() {
    let home = Home::new();
    write(&home, &[("a", Codec::Json, b"1"), ("b", Codec::Json, b"2"), ("a", Codec::Json, b"3")]);
    let _sample = start(&home);
    let mut wire = Wire::connect(&socket(&home));
    let mut topics: Vec<String> = (0..1023).map(|number| format!("t{number}")).collect();
    topics.push("a".to_owned());
    let offsets = |replies: &[Value]| -> Vec<Option<u64>> {
        replies.iter().map(|reply| reply["parameters"]["record"]["offset"].as_u64()).collect()
    };
    assert_eq!(offsets(&read(&mut wire, &json!({"topics": topics}))), [Some(0), Some(2), None]);
    assert_eq!(offsets(&read(&mut wire, &json!({"topics": ["*"]}))), [Some(0), Some(1), Some(2), None]);
    let topics: Vec<String> = (0..100_000).map(|number| format!("{number}")).collect();
    let replies = read(&mut wire, &json!({"topics": topics}));
    assert_eq!(replies[0]["error"], "org.varlink.service.InvalidParameter", "{replies:?}");
    assert!(replies[0]["parameters"]["reason"].as_str().unwrap().contains("at most 1024"), "{replies:?}");
}

#[test]
fn waiting_without_wanting_to_know_leaves_nothing_behind() {
    let home = Home::new();
    let sample = start(&home);
    let mut wire = Wire::connect(&socket(&home));
    let mut wait_in_vain = |count: usize| {
        let request = json!({
            "method": "io.procession.Journal.Wait", "parameters": {"after": 1_000_000}, "oneway": true
        });
        let request = format!("{request}\0").repeat(100);
        for _ in 0..count / 100 {
            wire.send_bytes(request.as_bytes());
        }
        // All before it are dealt with.
        assert!(call(&mut wire, "io.procession.Process.Health")["error"].is_null());
    };
    wait_in_vain(10_000);
    let before = resident_kib(&sample);
    wait_in_vain(100_000);
    let grown = resident_kib(&sample).saturating_sub(before);
    assert!(grown < 5 << 10, "it has grown by {grown} KiB");
}

#[test]
fn a_crowd_that_asks_for_counts_takes_one_thread() {
    let home = Home::new();
    let records = vec![("x", Codec::Json, &b"1"[..]); 200_000];
    write(&home, &records);
    let sample = start(&home);
    let mut crowd: Vec<Wire> = (0..40).map(|_| Wire::connect(&socket(&home))).collect();
    let before = threads(&sample);
    for wire in &mut crowd {
        wire.send(&json!({"method": INFO}));
    }
    let mut most = 0;
    for wire in &mut crowd {
        most = most.max(threads(&sample));
        let reply = wire.receive().unwrap();
        assert_eq!(reply["parameters"]["topics"], json!([{"name": "x", "records": 200_000}]), "{reply}");
    }
    assert!(most <= before + 2, "{most} threads, {before} before");
}

#[test]
fn without_a_thread_to_be_had_there_is_an_error_and_the_process_goes_on() {
    if !geteuid().is_root() {
        println!("not run: only root can act as another user");
        return;
    }
    let home = Home::new();
    let program = home_of_user(&home);
    let mut running = Running::start(&mut as_user(&home, &program));
    running.wait_for("ready");
    // Only its own user may set another process's limits, where root has not all of its rights.
    let allow_threads = |count: &str| {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nproc={count}:")).args(["--pid", &running.id().to_string()]);
        assert!(command.uid(USER).status().unwrap().success());
    };
    allow_threads("1");
    let mut wire = Wire::connect(&socket(&home));
    let reply = call(&mut wire, INFO);
    assert_eq!(reply["error"], "io.procession.Journal.Unreadable", "{reply}");
    wire.send(&json!({"method": "io.procession.DeadLetters.Drop", "parameters": {"offset": 0}}));
    assert_eq!(wire.receive().unwrap()["error"], "io.procession.DeadLetters.Failed");
    allow_threads("100");
    wait_until("a thread", || call(&mut wire, INFO)["error"].is_null());
}

#[test]
fn a_start_without_threads_to_be_had_is_an_error_and_no_panic() {
    if !geteuid().is_root() {
        println!("not run: only root can act as another user");
        return;
    }
    let home = Home::new();
    let program = home_of_user(&home);
    let plain = as_user(&home, &program);
    let mut limited = Command::new("prlimit");
    limited.args(["--nproc=1:1", "--"]).arg(plain.get_program()).args(plain.get_args());
    limited.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.uid(USER + 1).gid(0).current_dir(home.path()).stdin(Stdio::null());
    limited.stdout(Stdio::null()).stderr(Stdio::piped());
    chown(home.path(), Some(USER + 1), None).unwrap();
    let ended = crate::sample::finish(&mut limited);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}

/// Gives the home to [`USER`], and the program where that user can run it.
fn home_of_user(home: &Home) -> PathBuf {
    let program = home.path().join("sample");
    let own = home.command(&[]).get_program().to_owned();
    // Not copied by this process: what another thread starts at that moment would inherit the file, open for writing.
    assert!(Command::new("cp").arg(own).arg(&program).status().unwrap().success());
    chown(home.path(), Some(USER), None).unwrap();
    program
}

fn as_user(home: &Home, program: &std::path::Path) -> Command {
    let mut command = home.command_of(program, &["run", "--behaviour", "wait"]);
    command.uid(USER).gid(0).stdout(Stdio::null());
    command
}

/// A number of `/proc/PID/status`.
fn of_status(running: &Running, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn resident_kib(running: &Running) -> u64 {
    of_status(running, "RssAnon:")
}

fn threads(running: &Running) -> u64 {
    of_status(running, "Threads:")
}
