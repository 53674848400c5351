//! One writer: the kernel says who, whatever happens to that process.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use journal::{Error, Offset, Options, Writer, is_locked, read_marks};
use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::support::{Process, Said, as_child, small, wait_until};

/// Not a test by itself: holds a journal until it is killed, and leaves a child program behind.
#[test]
#[expect(clippy::zombie_processes, reason = "it is to outlive this process")]
fn holder() {
    let Some(instance) = as_child() else { return };
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    // The program inherits whatever is not close-on-exec, and lives on.
    let mut program = Command::new("sh");
    let program = program.args(["-c", "echo; exec sleep 60 > /dev/null"]);
    let mut heir = program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // Only what runs has closed what is close-on-exec: `spawn` returns a little earlier.
    let mut said = [0];
    heir.stdout.take().unwrap().read_exact(&mut said).unwrap();
    let id = heir.id().to_string();
    fs::write(instance.join("heir.tmp"), id).unwrap();
    fs::rename(instance.join("heir.tmp"), instance.join("heir")).unwrap();
    writer.append(&Said::at(0).entry()).unwrap();
    loop {
        std::thread::park();
    }
}

fn hold(instance: &Path) -> Process {
    let holder = Process::child("lock::holder", instance);
    wait_until("the holder has spoken", || {
        read_marks(instance).unwrap().is_some_and(|marks| marks.committed > Offset::ZERO)
    });
    holder
}

/// Options of one who does not wait.
fn impatient() -> Options {
    Options { lock_patience: Duration::ZERO, ..small(8) }
}

fn assert_locked_by(holder: u32, instance: &Path) {
    match Writer::open(instance, &impatient()) {
        Err(Error::Locked { holder: Some(found), .. }) => assert_eq!(found.pid_here(), Some(holder)),
        other => panic!("{other:?} instead of the lock's holder {holder}"),
    }
    assert_eq!(journal::holder(instance).unwrap().and_then(|found| found.pid_here()), Some(holder));
    assert!(is_locked(instance).unwrap());
}

#[test]
fn a_second_writer_is_refused_and_told_by_whom() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("one");
    assert!(!is_locked(&instance).unwrap(), "there is nothing to lock yet");
    let writer = Writer::open(&instance, &small(8)).unwrap();
    assert_locked_by(std::process::id(), &instance);

    let patient = Options { lock_patience: Duration::from_millis(150), ..small(8) };
    let began = Instant::now();
    assert!(matches!(Writer::open(&instance, &patient), Err(Error::Locked { .. })));
    assert!(began.elapsed() >= Duration::from_millis(150), "it should have waited");

    // One who waits gets it as soon as the holder goes.
    let patient = Options { lock_patience: Duration::from_secs(20), ..small(8) };
    let waiting = std::thread::spawn({
        let instance = instance.clone();
        move || Writer::open(&instance, &patient).map(|writer| writer.epoch())
    });
    drop(writer);
    assert_eq!(waiting.join().unwrap().unwrap().0, 2);
    wait_until("the lock is gone", || !is_locked(&instance).unwrap());
}

#[test]
fn a_watch_keeps_the_journal_locked_until_it_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("watched");
    let writer = Writer::open(&instance, &small(8)).unwrap();
    let watch = writer.watch();
    drop(writer);
    assert!(is_locked(&instance).unwrap(), "the watch could still sync");
    drop(watch);
    // Another test may be starting a process just now, which shares the lock from its fork to its exec.
    wait_until("the lock is gone", || !is_locked(&instance).unwrap());
}

/// The program that a holder has left behind; ends with its owner.
struct Heir(Pid);

impl Heir {
    fn of(instance: &Path) -> Self {
        let id = fs::read_to_string(instance.join("heir")).unwrap();
        Self(Pid::from_raw(id.parse().unwrap()).unwrap())
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[test]
fn a_killed_holder_lets_go_at_once() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("killed");
    let mut holder = hold(&instance);
    let _heir = Heir::of(&instance);
    assert_locked_by(holder.0.id(), &instance);
    holder.kill();
    let writer = Writer::open(&instance, &impatient()).unwrap();
    assert_eq!((writer.next_offset(), writer.epoch().0), (Offset(1), 2));
}

#[test]
fn a_child_program_does_not_inherit_the_lock() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("inherited");
    let mut holder = hold(&instance);
    let heir = Heir::of(&instance);
    holder.kill();
    test_kill_process(heir.0).expect("the child program lives on");
    assert!(!is_locked(&instance).unwrap());
    Writer::open(&instance, &small(8)).unwrap();
}

#[test]
fn a_stopped_holder_keeps_the_lock() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("stopped");
    let mut holder = hold(&instance);
    let _heir = Heir::of(&instance);
    holder.signal(Signal::STOP);
    let stat = format!("/proc/{}/stat", holder.0.id());
    wait_until("the holder is stopped", || fs::read_to_string(&stat).unwrap().contains(") T "));
    assert_locked_by(holder.0.id(), &instance);
    holder.signal(Signal::CONT);
    assert_locked_by(holder.0.id(), &instance);
    holder.kill();
    Writer::open(&instance, &small(8)).unwrap();
}

#[test]
fn nobody_but_the_owner_may_open_the_lock_and_everybody_may_see_life() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("private");
    fs::create_dir(&instance).unwrap();
    // As earlier versions made it: whoever could read it could lock it.
    fs::write(instance.join("lock"), "4711\n").unwrap();
    fs::set_permissions(instance.join("lock"), Permissions::from_mode(0o640)).unwrap();
    let _writer = Writer::open(&instance, &small(8)).unwrap();
    let mode = |name: &str| fs::metadata(instance.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(format!("{:o} {:o}", mode("lock"), mode("alive")), "600 640");
}

#[test]
fn whoever_may_read_can_fake_life_and_cannot_keep_the_owner_out() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("faked");
    drop(Writer::open(&instance, &small(8)).unwrap());
    wait_until("the lock is gone", || !is_locked(&instance).unwrap());
    let reader = File::open(instance.join("alive")).unwrap();
    flock(&reader, FlockOperation::NonBlockingLockExclusive).unwrap();
    fcntl_lock(&reader, FlockOperation::NonBlockingLockShared).unwrap();
    let writer = Writer::open(&instance, &impatient()).unwrap();
    assert!(is_locked(&instance).unwrap());
    drop(writer);
    Writer::open(&instance, &small(8)).unwrap();
}

#[test]
fn a_lock_that_was_removed_is_nobodys() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("removed");
    drop(Writer::open(&instance, &small(8)).unwrap());
    let stale = File::options().read(true).write(true).open(instance.join("lock")).unwrap();
    flock(&stale, FlockOperation::NonBlockingLockExclusive).unwrap();
    let waiting = std::thread::spawn({
        let instance = instance.clone();
        move || Writer::open(&instance, &small(8)).map(|writer| writer.epoch().0)
    });
    fs::remove_file(instance.join("lock")).unwrap();
    drop(stale);
    assert_eq!(waiting.join().unwrap().unwrap(), 2);
    assert!(instance.join("lock").exists());
}

#[test]
fn a_holder_in_another_pid_namespace_is_not_taken_for_one_of_ours() {
    let home = tempfile::tempdir().unwrap();
    let instance = home.path().join("contained");
    let Some(_holder) = Process::in_pid_namespace("lock::holder", &instance) else { return };
    wait_until("the holder has spoken", || {
        read_marks(&instance).unwrap().is_some_and(|marks| marks.committed > Offset::ZERO)
    });
    assert!(is_locked(&instance).unwrap());
    let holder = journal::holder(&instance).unwrap().expect("it has written itself down");
    assert_eq!(holder.pid_here(), None);
    let refused = Writer::open(&instance, &impatient()).unwrap_err().to_string();
    assert!(refused.contains("of another PID namespace"), "{refused}");
}
