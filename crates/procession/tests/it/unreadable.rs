//! A journal that cannot be read: nobody else's is held up by it, and it is read once it can be.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use journal::{journal_folder, marks_path};
use rustix::process::geteuid;

use crate::replaced::{health, heard, speak_as, start, wait_to_hear};
use crate::sample::{self, Home};
use crate::swarm::wait_until;

fn write_at(path: &Path, bytes: &[u8], at: u64) {
    fs::File::options().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

fn segment(home: &Home, instance: &str) -> std::path::PathBuf {
    journal_folder(&home.instance(instance)).join(format!("{:020}.seg", 0))
}

#[test]
fn who_cannot_be_read_keeps_nobody_else_from_being_heard() {
    let home = Home::new();
    speak_as(&home, "source", 1..3);
    speak_as(&home, "source@marks", 10..12);
    speak_as(&home, "source@segment", 20..22);
    let foreign_marks = marks_path(&home.instance("source@marks"));
    write_at(&foreign_marks, &[99], 8);
    let foreign_segment = segment(&home, "source@segment");
    let header = fs::read(&foreign_segment).unwrap()[..128].to_vec();
    write_at(&foreign_segment, &[99], 8);
    write_at(&foreign_segment, b"else", 124);
    fs::create_dir_all(marks_path(&home.instance("source@folder"))).unwrap();

    let _careful = start(&home, "careful", &[]);
    wait_to_hear(&home, &[1, 2]);
    let all = ["source@folder", "source@marks", "source@segment"];
    let waits_for = |names: &[&str]| {
        let health = health(&home);
        all.iter()
            .all(|name| names.contains(name) == health.contains(&format!("journal {name} cannot be read")))
    };
    wait_until("it says what it cannot read", || waits_for(&all));
    speak_as(&home, "source", 3..4);
    wait_to_hear(&home, &[1, 2, 3]);
    // Each is heard as soon as it is mended.
    write_at(&foreign_marks, &[1], 8);
    wait_to_hear(&home, &[1, 2, 3, 10, 11]);
    wait_until("it waits for the others", || waits_for(&["source@folder", "source@segment"]));
    write_at(&foreign_segment, &header, 0);
    wait_to_hear(&home, &[1, 2, 3, 10, 11, 20, 21]);
    fs::remove_dir(marks_path(&home.instance("source@folder"))).unwrap();
    speak_as(&home, "source@folder", 30..31);
    wait_to_hear(&home, &[1, 2, 3, 10, 11, 20, 21, 30]);
    wait_until("it waits no more", || waits_for(&[]));
}

#[test]
fn the_only_journal_is_waited_for_until_it_can_be_read() {
    let home = Home::new();
    speak_as(&home, "source", 1..3);
    let marks = marks_path(&home.instance("source"));
    write_at(&marks, &[99], 8);
    let mut command = home.command_of(&sample::program("careful"), &["run"]);
    let mut careful = sample::Running::start(command.stdout(Stdio::null()));
    careful.wait_for("ready");
    let says = "journal source cannot be read";
    wait_until("it says so", || health(&home).contains(says) && !health(&home).contains("never run"));
    write_at(&marks, &[1], 8);
    wait_to_hear(&home, &[1, 2]);
    wait_until("it says so no more", || !health(&home).contains(says));
}

#[test]
fn an_instance_that_appears_while_nobody_can_tell_which_there_are_is_heard_later() {
    const USER: u32 = 20_012;
    let home = Home::new();
    let program = home.path().join("program");
    assert!(Command::new("cp").arg(sample::program("careful")).arg(&program).status().unwrap().success());
    let state = home.path().join("state");
    fs::create_dir(&state).unwrap();
    let mut command = home.command_of(&program, &["run"]);
    // Root may list whatever it wants.
    let give = |path: &Path| {
        if geteuid().is_root() {
            chown(path, Some(USER), None).unwrap();
        }
    };
    if geteuid().is_root() {
        command.uid(USER).gid(0);
    }
    give(home.path());
    give(&state);
    let mut careful = sample::Running::start(command.stdout(Stdio::null()));
    careful.wait_for("ready");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o300)).unwrap();
    fs::create_dir(home.instance("source@1")).unwrap();
    give(&home.instance("source@1"));
    speak_as(&home, "source@1", 1..3);
    let says = "nobody knows which instances there are";
    wait_until("it says so", || health(&home).contains(says));
    assert!(heard(&home).is_empty());
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    wait_to_hear(&home, &[1, 2]);
    wait_until("it says so no more", || !health(&home).contains(says));
}
