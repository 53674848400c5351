//! A hold on the very process that holds an instance's lock: never on another one that got its id.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, test_kill_process};

/// Why a process is left alone.
#[derive(Debug)]
pub(super) enum Refused {
    /// It has ended, or its lock is in other hands.
    NotHolder(String),
    /// This command was started by it.
    Ancestor(u32),
    /// This user may not.
    Permission(u32),
    /// It can't be told.
    Unclear(anyhow::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHolder(why) => f.write_str(why),
            Self::Ancestor(pid) => write!(f, "this command was started by it (process {pid})"),
            Self::Permission(pid) => write!(f, "no permission to signal process {pid}"),
            Self::Unclear(error) => write!(f, "{error:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Unclear(error.into())
    }
}

/// A process by its descriptor. Dropped, it is resumed if it was stopped.
#[derive(Debug)]
pub(super) struct Grip {
    process: OwnedFd,
    pid: u32,
    folder: PathBuf,
    stopped: bool,
}

impl Grip {
    /// Takes hold of the process that holds the lock in an instance's folder.
    ///
    /// # Errors
    /// There is none, it can't be told which it is, it is one of ours, or we may not signal it.
    pub(super) fn take(folder: &Path) -> Result<Self, Refused> {
        if !journal::is_locked(folder)? {
            return Err(Refused::NotHolder("it isn't running".to_owned()));
        }
        let holder = journal::holder(folder)?.context("it isn't known who holds its lock")?;
        let elsewhere = || Refused::NotHolder(format!("it is {holder}"));
        let pid = holder.pid_here().ok_or_else(elsewhere)?;
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).context("its lock names no process")?;
        // First the hold, then the question whether it is the right one: what has this id later doesn't matter.
        let process = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(Errno::SRCH) => return Err(Refused::NotHolder("it isn't running".to_owned())),
            Err(error) => return Err(Refused::Unclear(error.into())),
        };
        let grip = Self { process, pid, folder: folder.to_owned(), stopped: false };
        grip.check()?;
        if is_ancestor(pid) {
            return Err(Refused::Ancestor(pid));
        }
        match test_kill_process(number) {
            Ok(()) => Ok(grip),
            Err(Errno::PERM) => Err(Refused::Permission(pid)),
            Err(error) => Err(Refused::Unclear(error.into())),
        }
    }

    /// Whether it holds the instance's lock.
    fn check(&self) -> Result<(), Refused> {
        let pid = self.pid;
        let lock = journal::lock_path(&self.folder);
        let lock = fs::metadata(&lock).with_context(|| format!("can't inspect {}", lock.display()))?;
        let folder = format!("/proc/{pid}/fd");
        let descriptors = match fs::read_dir(&folder) {
            Ok(descriptors) => descriptors,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(Refused::Permission(pid));
            }
            Err(_) => return Err(Refused::NotHolder(format!("process {pid} has ended"))),
        };
        let is_lock = |path: PathBuf| {
            // It may close others while we look.
            fs::metadata(path).is_ok_and(|file| (file.dev(), file.ino()) == (lock.dev(), lock.ino()))
        };
        let has_it = descriptors.flatten().any(|descriptor| is_lock(descriptor.path()));
        if has_it && journal::is_locked(&self.folder)? && !self.has_ended() {
            return Ok(());
        }
        Err(Refused::NotHolder(format!("process {pid} doesn't hold its lock")))
    }

    /// Sends a signal, if it still is the process that is meant.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Refused> {
        self.check()?;
        Ok(pidfd_send_signal(&self.process, signal)?)
    }

    pub(super) fn stop(&mut self) -> Result<(), Refused> {
        // Also if the answer is lost: to resume somebody who isn't stopped does no harm.
        self.stopped = true;
        self.signal(Signal::STOP)
    }

    /// Lets it go on. That is right for whoever the descriptor means, and nothing can be done if it fails: then it is
    /// dead.
    pub(super) fn resume(&mut self) {
        if std::mem::take(&mut self.stopped) {
            let _ = pidfd_send_signal(&self.process, Signal::CONT);
        }
    }

    pub(super) const fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether the process is dead, reaped or not.
    pub(super) fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.process, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }
}

impl Drop for Grip {
    fn drop(&mut self) {
        self.resume();
    }
}

/// Whether a process has started this one, or one that did.
fn is_ancestor(pid: u32) -> bool {
    let mut at = std::process::id();
    // A tree has an end; one that changes while we climb shall not keep us.
    for _ in 0..1000 {
        if at == pid {
            return true;
        }
        match parent(at) {
            Some(parent) if parent != 0 => at = parent,
            _ => return false,
        }
    }
    false
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold spaces and parentheses: state, then parent.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::parent_id;
    use std::process::{Child, Command, Stdio};

    use journal::{Options, Writer};

    use super::*;

    #[test]
    fn ancestors_are_known() {
        assert!(is_ancestor(std::process::id()) && is_ancestor(parent_id()));
        assert!(!is_ancestor(u32::MAX));
    }

    const HELD: &str = "PROCESSION_TEST_HELD";

    /// Not a test by itself: holds an instance until it is killed.
    #[test]
    fn holds() {
        let Some(folder) = std::env::var_os(HELD) else { return };
        let _writer = Writer::open(Path::new(&folder), &Options::default()).unwrap();
        loop {
            std::thread::park();
        }
    }

    /// A process that holds an instance, and does nothing else.
    fn holder(folder: &Path) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["chaos::grip::tests::holds", "--exact", "--nocapture"]).env(HELD, folder);
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        let pid = || journal::holder(folder).unwrap().and_then(|holder| holder.pid_here());
        while pid() != Some(child.id()) {
            std::thread::yield_now();
        }
        child
    }

    #[test]
    fn nobody_stays_stopped_after_a_panic_and_the_dead_are_not_touched() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("held");
        let mut child = holder(&folder);
        let is_stopped = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
            stat.rsplit_once(')').unwrap().1.trim_start().starts_with('T')
        };
        let mut grip = Grip::take(&folder).unwrap();
        grip.stop().unwrap();
        while !is_stopped() {
            std::thread::yield_now();
        }
        let panicked = std::panic::catch_unwind(move || {
            let _grip = grip;
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        while is_stopped() {
            std::thread::yield_now();
        }
        let grip = Grip::take(&folder).unwrap();
        assert!(!grip.has_ended());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(grip.has_ended());
        assert!(matches!(grip.signal(Signal::TERM), Err(Refused::NotHolder(_))));
    }

    #[test]
    fn nobody_is_touched_who_does_not_hold_the_lock() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("mine");
        let writer = Writer::open(&folder, &Options::default()).unwrap();
        // This test holds it, and is its own ancestor.
        assert!(Grip::take(&folder).unwrap_err().to_string().contains("started by it"));
        drop(writer);
        assert!(Grip::take(&folder).unwrap_err().to_string().contains("it isn't running"));

        // A word about somebody else, whoever has put it there.
        let other_folder = home.path().join("other");
        let mut other = holder(&other_folder);
        let _writer = Writer::open(&folder, &Options::default()).unwrap();
        let about_other = fs::read(other_folder.join("alive")).unwrap();
        fs::write(folder.join("alive"), about_other).unwrap();
        let refused = Grip::take(&folder).unwrap_err().to_string();
        fs::write(folder.join("alive"), "nobody\n").unwrap();
        let unknown = Grip::take(&folder).unwrap_err().to_string();
        fs::write(folder.join("alive"), format!("{} 1 1\n", other.id())).unwrap();
        let elsewhere = Grip::take(&folder).unwrap_err().to_string();
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(refused.contains("doesn't hold its lock"), "{refused}");
        assert!(unknown.contains("who holds its lock"), "{unknown}");
        assert!(elsewhere.contains("another PID namespace"), "{elsewhere}");
    }
}
