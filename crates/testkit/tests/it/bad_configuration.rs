//! Configuration that can't be meant, files that can't be read, folders that can't be used: exit code 78, and a message
//! that names the place.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use testkit::{DEADLINE, Ended, Home, Running, Tmpfs, bin, is_root};

/// Somebody whom file modes do stop.
const NOBODY: u32 = 65_534;

fn broadcaster(home: &Home) -> Ended {
    home.run("broadcaster", &["run"])
}

#[track_caller]
fn check_refused(file: &str, text: &str, says: &[&str]) {
    let home = Home::new();
    home.configure(file, text);
    let path = home.config().join(file);
    let ended = broadcaster(&home);
    ended.assert_code(78).assert_says(&[path.to_str().unwrap()]).assert_says(says);
    // Nothing has begun: no state, no socket.
    assert!(!home.instance("broadcaster").exists() && !home.socket("broadcaster").exists());
}

#[test]
fn an_unknown_key_is_named_with_its_file() {
    check_refused("broadcaster.toml", "nodez = [\"http://127.0.0.1:9\"]\n", &["`nodez`", "nodes"]);
    check_refused("procession.toml", "[broadcaster]\nstrat = \"head\"\n", &["`broadcaster.strat`", "start"]);
    check_refused("procession.toml", "[process.journal]\nsink = \"always\"\n", &["`process.journal.sink`"]);
    check_refused(
        "broadcaster.toml",
        "[process.log]\nlevels = \"info\"\n",
        &["`process.log.levels`", "level"],
    );
}

#[test]
fn a_wrong_type_is_named_with_its_file_and_key() {
    check_refused("broadcaster.toml", "range_blocks = \"many\"\n", &["`range_blocks`", "many"]);
    check_refused("broadcaster.toml", "nodes = 7\n", &["`nodes`"]);
    check_refused("broadcaster.toml", "poll_interval = \"soon\"\n", &["`poll_interval`", "soon"]);
    check_refused("broadcaster.toml", "virtual_operations = \"perhaps\"\n", &["`virtual_operations`"]);
    check_refused("broadcaster.toml", "mode = \"sideways\"\n", &["`mode`", "sideways"]);
    check_refused(
        "procession.toml",
        "[process.journal]\nsync = \"sometimes\"\n",
        &["`process.journal.sync`", "sometimes"],
    );
    check_refused(
        "procession.toml",
        "[process.socket]\nconnections_max = 0\n",
        &["`process.socket.connections_max`"],
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let home = Home::new();
    home.configure("broadcaster.toml", "nodez = []\nmode = 3\n");
    home.configure("procession.toml", "[process]\nshutdown = \"1s\"\n");
    broadcaster(&home).assert_code(78).assert_says(&["`nodez`", "`mode`", "`process.shutdown`"]);
}

#[test]
fn a_file_that_is_no_toml_is_named_with_the_place() {
    check_refused("broadcaster.toml", "nodes = [\n\n", &[]);
    check_refused("procession.toml", "[process\n", &["1"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let home = Home::new();
    let path = home.config().join("broadcaster.toml");
    fs::create_dir(&path).unwrap();
    broadcaster(&home).assert_code(78).assert_says(&[path.to_str().unwrap(), "can't be read"]);

    let home = Home::new();
    let path = home.config().join("procession.toml");
    fs::write(&path, b"# \xff\n").unwrap();
    broadcaster(&home).assert_code(78).assert_says(&[path.to_str().unwrap(), "not valid UTF-8"]);

    let home = Home::new();
    home.configure("broadcaster.toml", "");
    let path = home.config().join("broadcaster.toml");
    set_mode(&path, 0o000);
    let ended = as_nobody(&home);
    ended.assert_code(78).assert_says(&[path.to_str().unwrap(), "can't be read", "ermission denied"]);
}

#[test]
fn a_variable_and_a_flag_are_named_like_a_file() {
    let home = Home::new();
    let mut command = home.command("broadcaster", &["run"]);
    command.env("PROCESSION_BROADCASTER__RANGE_BLOCKS", "lots");
    let ended = Running::spawn(&home, "broadcaster", command).wait(DEADLINE);
    ended.assert_code(78).assert_says(&["PROCESSION_BROADCASTER__RANGE_BLOCKS", "lots"]);

    let ended = home.run("broadcaster", &["run", "--range-blocks", "lots"]);
    ended.assert_code(2).assert_says(&["--range-blocks", "lots"]);
    home.run("broadcaster", &["run", "--rainge-blocks", "7"])
        .assert_code(2)
        .assert_says(&["--rainge-blocks"]);
    home.run("broadcaster", &["run", "--instance", "../elsewhere"])
        .assert_code(2)
        .assert_says(&["../elsewhere"]);
}

#[test]
fn what_only_the_application_can_know_to_be_wrong_is_a_matter_of_configuration_too() {
    let home = Home::new();
    home.configure("transfer-watch.toml", "[thresholds]\nHIVE = \"1\"\nSTEEM = \"2\"\n");
    home.run("transfer-watch", &["run"]).assert_code(78).assert_says(&["thresholds.STEEM", "another name"]);
    home.configure("broadcaster.toml", "poll_interval = \"0s\"\n");
    broadcaster(&home).assert_code(78).assert_says(&["poll_interval", "more than 0"]);
}

#[test]
fn a_read_only_state_folder_is_a_matter_of_configuration() {
    let home = Home::new();
    set_mode(&home.state(), 0o555);
    let state = home.state();
    let says = ["state folder", state.to_str().unwrap(), "PROCESSION_STATE"];
    as_nobody(&home).assert_code(78).assert_says(&says).assert_says(&["ermission denied"]);
    set_mode(&home.state(), 0o755);

    // Root isn't stopped by modes, but by this.
    let home = Home::new();
    let Some(disk) = Tmpfs::mount(&home.state(), 1 << 20) else { return };
    disk.make_read_only();
    let state = home.state();
    let says = ["state folder", state.to_str().unwrap(), "PROCESSION_STATE", "ead-only"];
    broadcaster(&home).assert_code(78).assert_says(&says);
}

/// The instance's folder is there from before, and everything in it; only then it has become read-only.
#[test]
fn a_state_folder_that_became_read_only_is_a_matter_of_configuration() {
    let home = Home::new();
    let Some(disk) = Tmpfs::mount(&home.state(), 200 << 20) else { return };
    let mut bot = Running::start(&home, "bot", &["run"]);
    bot.wait_for_log(DEADLINE, "ready");
    bot.terminate(DEADLINE).assert_code(0);
    disk.make_read_only();
    let ended = home.run("bot", &["run"]);
    ended.assert_code(78).assert_says(&[home.instance("bot").to_str().unwrap(), "ead-only"]);
}

#[test]
fn a_runtime_path_beyond_the_sockets_limit_is_refused_with_advice() {
    let home = Home::new();
    // The limit is 107 bytes, and this ends right behind it, or right at it.
    let length = |folder: &Path| folder.join("broadcaster/socket").as_os_str().len();
    let with = |bytes: usize| {
        let spare = bytes - length(&home.path().join("x")) + 1;
        home.path().join("r".repeat(spare))
    };
    let (long, short) = (with(108), with(107));
    assert_eq!((length(&long), length(&short)), (108, 107));

    let mut command = home.command("broadcaster", &["run"]);
    command.env("PROCESSION_RUNTIME", &long);
    let ended = Running::spawn(&home, "broadcaster", command).wait(DEADLINE);
    ended.assert_code(78).assert_says(&["108 bytes", "limit is 107", "set PROCESSION_RUNTIME"]);
    assert!(!long.exists() && !home.instance("broadcaster").exists());

    let mut command = home.command("broadcaster", &["run", "--nodes", "http://127.0.0.1:9"]);
    command.env("PROCESSION_RUNTIME", &short);
    let mut running = Running::spawn(&home, "broadcaster", command);
    running.wait_for_log(DEADLINE, "ready");
    assert!(short.join("broadcaster/socket").exists());
    running.terminate(DEADLINE).assert_code(0);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs the broadcaster as somebody whom file modes stop.
fn as_nobody(home: &Home) -> Ended {
    if !is_root() {
        return broadcaster(home);
    }
    // The target folder may lie where only root may look. Not copied by this process: what another thread starts at
    // that moment would inherit the open file for an instant, and nobody may run what somebody writes.
    let program = home.path().join("broadcaster");
    let copied = Command::new("cp").arg(bin("broadcaster")).arg(&program).status().unwrap();
    assert!(copied.success());
    for path in [home.path(), &program] {
        set_mode(path, 0o755);
    }
    set_mode(&home.runtime(), 0o777);
    let mut command = home.command("broadcaster", &["run"]);
    let mut copy = Command::new(program);
    copy.args(command.get_args()).current_dir(home.path()).uid(NOBODY).gid(NOBODY);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => copy.env(name, value),
            None => copy.env_remove(name),
        };
    }
    command = copy;
    Running::spawn(home, "broadcaster", command).wait(DEADLINE)
}
