//! The command line and the life of a process: exit codes, signals, readiness, logs.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;

use crate::sample::{DEADLINE, Home, Running};
use crate::swarm::wait_until;

#[test]
fn no_verb_is_usage_and_help_is_help() {
    let home = Home::new();
    let ended = home.run(&[]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stdout.is_empty() && ended.stderr.contains("Usage: behaviours <COMMAND>"), "{ended:?}");

    let ended = home.run(&["--help"]);
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.is_empty() && ended.stdout.contains("Says its settings"), "{ended:?}");

    assert_eq!(home.run(&["--version"]).stdout, "sample 1.2.3\n");
    assert_eq!(home.run(&["walk"]).code, Some(2));

    let ended = home.run(&["run", "--help"]);
    assert_eq!(ended.code, Some(0));
    for text in ["--nodes", "[default: http://localhost:8091]", "--retry-max-attempts", "--journal-sync"] {
        assert!(ended.stdout.contains(text), "{text} is missing in {}", ended.stdout);
    }
}

#[test]
fn either_signal_stops_with_success() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::new();
        let mut running = Running::start(&mut home.command(&["run"]));
        running.wait_for("ready");
        running.signal(signal);
        let ended = running.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[test]
fn a_second_copy_says_how_to_stop_the_first() {
    let home = Home::new();
    let mut first = Running::start(&mut home.command(&["run"]));
    first.wait_for("ready");
    let second = home.run(&["run", "--log-format", "human"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("try: `procession call sample Stop`"), "{second:?}");
    first.signal(Signal::TERM);
    assert_eq!(first.wait().code, Some(0));
}

#[test]
fn a_second_signal_ends_at_once_whatever_the_application_does() {
    for behaviour in ["linger", "hang"] {
        let home = Home::new();
        let mut running = Running::start(&mut home.command(&["run", "--behaviour", behaviour]));
        running.wait_for("ready");
        running.signal(Signal::TERM);
        running.wait_for("stopping");
        let second = Instant::now();
        running.signal(Signal::INT);
        let ended = running.wait();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("second signal"), "{ended:?}");
        assert!(second.elapsed().as_secs() < 5, "shutdown_timeout is 10 s");
    }
}

#[test]
fn an_application_that_does_not_stop_is_ended_after_the_timeout() {
    for (behaviour, text) in [("linger", "did not stop within shutdown_timeout (100ms)"), ("hang", "hangs")] {
        let home = Home::new();
        let arguments = ["run", "--behaviour", behaviour, "--shutdown-timeout", "100ms"];
        let mut running = Running::start(&mut home.command(&arguments));
        running.wait_for("ready");
        running.signal(Signal::TERM);
        let ended = running.wait();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(text), "{ended:?}");
    }
}

#[test]
fn a_failure_is_reported_with_its_cause() {
    let home = Home::new();
    let ended = home.run(&["run", "--behaviour", "fail", "--log-format", "human"]);
    assert_eq!(ended.code, Some(1));
    let report = "error: the work could not be done\n  caused by: the far end is gone";
    assert!(ended.stderr.ends_with(report), "{ended:?}");

    let ended = home.run(&["run", "--behaviour", "fail"]);
    let last: Value = serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "ERROR");
    assert_eq!(last["message"], report);
}

#[test]
fn a_panic_anywhere_is_logged_with_its_place_and_ends_the_process() {
    for (behaviour, text) in [("panic", "was three"), ("panic-in-task", "was four")] {
        let ended = Home::new().run(&["run", "--behaviour", behaviour]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let last: Value = serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
        assert!(last["message"].as_str().unwrap().contains(text), "{last}");
        assert!(last["fields"]["place"].as_str().unwrap().contains("behaviours.rs:"), "{last}");
    }
}

#[test]
fn a_runtime_path_beyond_the_socket_limit_is_refused_with_advice() {
    let home = Home::new();
    let long = home.path().join("r".repeat(120));
    let mut command = home.command(&["run", "--log-format", "human"]);
    let ended = Running::start(command.env("PROCESSION_RUNTIME", &long)).wait();
    assert_eq!(ended.code, Some(78), "{ended:?}");
    for text in ["the limit is 107", "try: set PROCESSION_RUNTIME"] {
        assert!(ended.stderr.contains(text), "{ended:?}");
    }
    assert!(!long.exists());
}

#[test]
fn logs_are_json_lines_that_name_the_instance() {
    let ended = Home::new().run(&["run", "--instance", "sample@2", "--behaviour", "finish"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for line in ended.stderr.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["instance"], "sample@2");
    }
    let quiet = Home::new().run(&["run", "--behaviour", "finish", "--log-level", "off"]);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn under_systemd_lines_have_a_priority_and_nothing_that_the_journal_adds() {
    let home = Home::new();
    let path = home.path().join("journal");
    let file = File::create(&path).unwrap();
    let data = file.metadata().unwrap();
    let mut command = home.command(&["run", "--behaviour", "fail"]);
    command.env("JOURNAL_STREAM", format!("{}:{}", data.dev(), data.ino())).stderr(file);
    assert_eq!(Running::start(&mut command).wait().code, Some(1));
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("<6>ready"), "{text}");
    assert!(text.lines().all(|line| line.starts_with('<')), "{text}");
    let report = "<3>error: the work could not be done\n<3>  caused by: the far end is gone\n";
    assert!(text.ends_with(report), "{text}");
}

#[test]
fn the_service_manager_hears_ready_watchdog_and_stopping() {
    let home = Home::new();
    let path = home.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let hear = || {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).expect("a message before the deadline");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };

    let mut command = home.command(&["run"]);
    let running = Running::start(command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "20000"));
    assert!(hear().starts_with("READY=1\nSTATUS="));
    for _ in 0..3 {
        assert_eq!(hear(), "WATCHDOG=1\n");
    }
    running.signal(Signal::TERM);
    while !hear().starts_with("STOPPING=1\n") {}
    assert_eq!(running.wait().code, Some(0));
}

#[test]
fn a_hung_application_no_longer_feeds_the_watchdog() {
    let home = Home::new();
    let path = home.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut command = home.command(&["run", "--behaviour", "hang"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "20000");
    let mut running = Running::start(&mut command);
    running.wait_for("ready");
    // Fifty periods; a fed watchdog sends at the first.
    socket.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let mut fed = 0;
    let mut buffer = [0; 512];
    while let Ok(length) = socket.recv(&mut buffer) {
        fed += usize::from(buffer[..length].starts_with(b"WATCHDOG"));
        assert!(fed < 3, "the watchdog is fed by something else than the application's loop");
    }
}

#[test]
fn what_lies_where_the_socket_belongs_is_named() {
    use std::os::unix::fs::symlink;
    let home = Home::new();
    let socket = home.socket("sample");
    let own = socket.parent().unwrap();
    std::fs::create_dir_all(own).unwrap();
    std::fs::set_permissions(own, std::os::unix::fs::PermissionsExt::from_mode(0o750)).unwrap();
    let refused = |what: &str| {
        let ended = home.run(&["run", "--behaviour", "finish"]);
        assert_eq!(ended.code, Some(1), "{what}: {ended:?}");
        assert!(ended.stderr.contains("run/sample/socket"), "{what}: {ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{what}: {ended:?}");
    };
    std::fs::create_dir(&socket).unwrap();
    refused("a folder");
    std::fs::remove_dir(&socket).unwrap();
    std::fs::write(&socket, "precious").unwrap();
    refused("a file");
    std::fs::remove_file(&socket).unwrap();
    symlink(home.path().join("nowhere"), &socket).unwrap();
    refused("a dangling link");
    std::fs::remove_file(&socket).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    refused("somebody's socket");
    drop(listener);
    assert_eq!(home.run(&["run", "--behaviour", "finish"]).code, Some(0));
}

/// How the sample says that it is, asked at a socket.
fn health_at(socket: &Path) -> Option<Value> {
    use procession::varlink::Client;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut client = runtime.block_on(Client::connect(socket)).ok()?;
    runtime.block_on(client.call("io.procession.Process.Health", &serde_json::json!({}))).ok()
}

#[test]
fn a_socket_is_not_put_back_where_somebody_else_may_write() {
    let home = Home::new();
    let mut running = Running::start(home.command(&["run", "--behaviour", "wait"]).stdout(Stdio::null()));
    running.wait_for("ready");
    let own = home.path().join("run/sample");
    let moved = home.path().join("run/moved");
    fs::rename(&own, &moved).unwrap();
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
    running.wait_for("nobody can reach this process");
    assert!(!home.socket("sample").exists());
    let health = health_at(&home.socket("moved")).unwrap();
    assert!(health["waiting"].to_string().contains("others may write"), "{health}");

    let other = home.path().join("elsewhere");
    fs::create_dir(&other).unwrap();
    fs::remove_dir(&own).unwrap();
    std::os::unix::fs::symlink(&other, &own).unwrap();
    let waiting = || health_at(&home.socket("moved")).unwrap()["waiting"].to_string();
    wait_until("it says why", || waiting().contains("can't be created"));
    fs::remove_file(&own).unwrap();
    wait_until("it is there again", || health_at(&home.socket("sample")).is_some());
    assert!(!other.join("socket").exists());
    wait_until("it no longer waits", || {
        health_at(&home.socket("sample"))
            .is_some_and(|health| !health["waiting"].to_string().contains("nobody can reach"))
    });
    let mode = fs::metadata(home.path().join("run")).unwrap().mode();
    assert_eq!(mode & 0o1000, 0o1000, "the next folder could be exchanged: {mode:o}");
}

#[test]
fn a_folder_of_another_user_s_is_named_by_its_owner() {
    const STRANGER: u32 = 20_012;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = Home::new();
    let started = |folder: &str| {
        let mut command = home.command(&["run", "--behaviour", "finish"]);
        command.env("PROCESSION_RUNTIME", home.path().join(folder)).uid(STRANGER).gid(STRANGER);
        command.spawn()
    };
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let Ok(mut able) = started("theirs") else {
        return println!("not run: another user can't reach the program");
    };
    assert!(able.wait().unwrap().success());
    fs::create_dir_all(home.path().join("run/sample")).unwrap();
    let ended = started("run").unwrap().wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(78), "{said}");
    assert!(said.contains("belongs to user root") && said.contains("20012"), "{said}");
}
