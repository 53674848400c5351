//! Users with and without rights, and their load.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use procession::varlink::{Allow, Limits, Options, Rights, error_names};
use rustix::process::geteuid;
use serde_json::{Value, json};

use super::support::{Stage, request};
use crate::sample::{Home, Running};

/// Neither this user nor any that the machine has.
const STRANGER: u32 = 20_011;

/// Says each message on a connection of its own, and prints the first reply, or null.
const SCRIPT: &str = "
import json, socket, sys
held = []
for message in sys.argv[2:]:
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    # Fails where the other side has hung up before it has heard anything.
    s.sendall(message.encode() + bytes(1))
    reply = b''
    while not reply.endswith(bytes(1)):
        got = s.recv(65536)
        if not got:
            break
        reply += got
    print(reply[:-1].decode() or 'null')
    held.append(s)
";

/// What a stranger is told on so many connections, all held until the end. None where this can't be tried.
fn as_stranger(socket: &Path, group: u32, messages: &[Value]) -> Option<Vec<Value>> {
    if !geteuid().is_root() {
        println!("not run: only root can act as another user");
        return None;
    }
    // A way to the socket, whatever folder it is in.
    for folder in socket.ancestors().skip(1).filter(|folder| folder.starts_with("/tmp/")) {
        let mode = fs::metadata(folder).unwrap().permissions().mode();
        fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o011)).unwrap();
    }
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT]).arg(socket).args(messages.iter().map(Value::to_string));
    let Ok(output) = python.uid(STRANGER).gid(group).output() else {
        println!("not run: no python3 here");
        return None;
    };
    assert!(output.status.success(), "{output:?}");
    let replies = String::from_utf8(output.stdout).unwrap();
    Some(replies.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn echo() -> Value {
    request("Echo", json!({"text": "here"}))
}

#[test]
fn who_has_no_right_is_told_so_before_the_end() {
    let nobody = || Allow::Listed(Vec::new());
    let rights = Rights { read: nobody(), publish: nobody(), control: nobody(), call: nobody() };
    let stage = Stage::with_options(Options { rights, ..Options::default() });
    let Some(replies) = as_stranger(&stage.path(), 0, &[echo(), echo()]) else { return };
    assert!(replies.iter().all(|reply| reply["error"] == error_names::PERMISSION_DENIED), "{replies:?}");
    // Our own user always may.
    stage.assert_answers();
}

#[test]
fn calls_are_the_group_s_or_whose_they_are_said_to_be() {
    let group = rustix::process::getegid().as_raw();
    let to_stranger = Allow::Listed(vec![STRANGER.to_string().parse().unwrap()]);
    let denied = error_names::PERMISSION_DENIED;
    for (call, with, expected) in [
        (Allow::Group, group, Value::Null),
        (Allow::Group, STRANGER, denied.into()),
        (to_stranger, STRANGER, Value::Null),
        (Allow::Owner, group, denied.into()),
    ] {
        let rights = Rights { call: call.clone(), ..Rights::default() };
        let stage = Stage::with_options(Options { rights, ..Options::default() });
        fs::set_permissions(stage.path(), fs::Permissions::from_mode(0o666)).unwrap();
        let Some(replies) = as_stranger(&stage.path(), with, &[echo()]) else { return };
        assert_eq!(replies[0]["error"], expected, "{call:?} {with}");
    }
}

#[test]
fn one_user_s_connections_leave_room_for_the_others() {
    let limits = Limits { connections_max: 16, connections_per_user: 4, ..Limits::default() };
    let stage = Stage::with(limits);
    let messages: Vec<Value> = (0..6).map(|_| echo()).collect();
    let Some(replies) = as_stranger(&stage.path(), 0, &messages) else { return };
    for (number, reply) in replies.iter().enumerate() {
        if number < 4 {
            assert!(reply["error"].is_null(), "{number}: {reply}");
        } else {
            assert_eq!(reply["error"], error_names::TOO_MANY_CONNECTIONS, "{number}: {reply}");
            assert_eq!(reply["parameters"]["limit"], 4);
        }
    }
}

fn start(home: &Home, arguments: &[&str]) -> Running {
    let arguments = [&["run", "--behaviour", "wait"], arguments].concat();
    let mut running = Running::start(home.command(&arguments).stdout(Stdio::null()));
    running.wait_for("ready");
    running
}

#[test]
fn who_is_turned_away_again_and_again_fills_no_log() {
    let home = Home::new();
    home.write("procession.toml", "[process.socket]\nconnections_per_user = 4\n");
    let sample = start(&home, &[]);
    let socket = home.socket("sample");
    let stop = without_parameters("io.procession.Process.Stop");
    let messages: Vec<Value> = std::iter::repeat_n(stop.clone(), 40).collect();
    let group = rustix::process::getegid().as_raw();
    let Some(_) = as_stranger(&socket, group, &messages) else { return };
    let stopped = as_stranger(&socket, group, &[stop]).unwrap();
    assert_eq!(stopped[0]["error"], error_names::PERMISSION_DENIED);
    sample.signal(rustix::process::Signal::TERM);
    let ended = sample.wait();
    let lines = |text: &str| {
        let lines: Vec<_> = ended.stderr.lines().filter(|line| line.contains(text)).collect();
        assert!((2..=4).contains(&lines.len()), "{lines:#?}");
        lines.iter().any(|line| line.contains("more"))
    };
    assert!(lines("call denied") && lines("connection denied: too many"), "{}", ended.stderr);
}

fn without_parameters(method: &str) -> Value {
    json!({"method": method})
}

#[test]
fn the_group_may_look_and_not_decide() {
    let home = Home::new();
    let mut sample = start(&home, &[]);
    let socket = home.socket("sample");
    let looking = ["Process.Status", "Process.Health", "Journal.Info", "DeadLetters.Parked"];
    let deciding = ["Process.Stop", "DeadLetters.Drop", "DeadLetters.Retry", "DeadLetters.Release"];
    let messages: Vec<Value> = looking
        .iter()
        .chain(&deciding)
        .map(|method| without_parameters(&format!("io.procession.{method}")))
        .collect();
    let group = rustix::process::getegid().as_raw();
    let Some(replies) = as_stranger(&socket, group, &messages) else { return };
    for (method, reply) in looking.iter().zip(&replies) {
        assert!(reply["error"].is_null(), "{method}: {reply}");
    }
    for (method, reply) in deciding.iter().zip(&replies[looking.len()..]) {
        assert_eq!(reply["error"], error_names::PERMISSION_DENIED, "{method}: {reply}");
    }
    sample.wait_for("call denied");
    drop(sample);

    let stranger = STRANGER.to_string();
    let allowing = ["--socket-allow-control", "no-such-user", "--socket-allow-control", &stranger];
    let arguments = [&["run", "--behaviour", "wait"], &allowing[..]].concat();
    let mut sample = Running::start(home.command(&arguments).stdout(Stdio::null()));
    // Somebody who may come to be: nobody for now, and no reason not to start.
    sample.wait_for("no-such-user");
    sample.wait_for("ready");
    let stop = without_parameters("io.procession.Process.Stop");
    let Some(replies) = as_stranger(&socket, group, &[stop]) else { return };
    assert!(replies[0]["error"].is_null(), "{replies:?}");
    assert_eq!(sample.wait().code, Some(0));
}
