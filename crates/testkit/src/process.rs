//! Real processes.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::home::Home;
use crate::wait::ready_within;

/// So many bytes of what a process printed are shown when a test fails.
const SHOWN_BYTES: usize = 4000;

/// A process that runs. Dropped, it is killed by its own id and reaped; if the test has failed, what it printed
/// is shown.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    /// It has been reaped: its id may be another's by now.
    ended: Option<ExitStatus>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts the program `name` with these arguments.
    ///
    /// # Panics
    /// If it can't be started.
    #[track_caller]
    #[must_use]
    pub fn start(home: &Home, name: &str, arguments: &[&str]) -> Self {
        Self::spawn(home, name, home.command(name, arguments))
    }

    /// Starts a command made by [`Home::command`], perhaps with further variables. `name` is for messages.
    ///
    /// # Panics
    /// If it can't be started.
    #[track_caller]
    #[must_use]
    pub fn spawn(home: &Home, name: &str, mut command: Command) -> Self {
        let (stdout, stderr) = home.next_output(name);
        let file = |path| File::create(path).expect("a file in the home can be made");
        command.stdout(file(&stdout)).stderr(file(&stderr));
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        Self { name: name.to_owned(), child, ended: None, stdout, stderr }
    }

    /// What it was called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it hasn't ended by itself.
    ///
    /// # Panics
    /// If the system doesn't tell.
    pub fn is_alive(&mut self) -> bool {
        self.ended = self.child.try_wait().expect("the system knows its children");
        self.ended.is_none()
    }

    /// Sends a signal, if it still runs.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_alive() {
            // Not reaped yet, so the id is still its own.
            let pid = Pid::from_child(&self.child);
            kill_process(pid, signal).unwrap_or_else(|error| panic!("{signal:?} to {}: {error}", self.name));
        }
    }

    /// The file that holds what it prints.
    pub(crate) fn stdout_path(&self) -> &Path {
        &self.stdout
    }

    /// SIGKILL, and it is gone.
    pub fn kill9(mut self) {
        self.end_now();
    }

    /// SIGKILL unless it has ended already, and how it ended. What it printed is read and its files are removed: for
    /// processes that are killed by the thousand.
    ///
    /// # Panics
    /// If the system doesn't tell.
    pub fn kill9_at_last(&mut self) -> Ended {
        self.end_now();
        let status = self.ended.expect("the system knows its children");
        let ended = Ended { name: self.name.clone(), status, stdout: self.stdout(), stderr: self.stderr() };
        for path in [&self.stdout, &self.stderr] {
            // Gone already, if this is the second time.
            let _ = fs::remove_file(path);
        }
        ended
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Panics
    /// If it doesn't end within `deadline`.
    #[track_caller]
    pub fn terminate(mut self, deadline: Duration) -> Ended {
        self.signal(Signal::TERM);
        self.wait(deadline)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it doesn't end within `deadline`.
    #[track_caller]
    pub fn wait(mut self, deadline: Duration) -> Ended {
        let what = format!("{} (process {}) ends", self.name, self.pid());
        let status = ready_within(deadline, &what, || {
            self.is_alive();
            self.ended
        });
        Ended { name: self.name.clone(), status, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// What it has printed so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// What it has logged so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Waits until its log has this text.
    ///
    /// # Panics
    /// If it hasn't within `deadline`, or the process ends before.
    #[track_caller]
    pub fn wait_for_log(&mut self, deadline: Duration, text: &str) {
        let what = format!("{} logs {text:?}", self.name);
        ready_within(deadline, &what, || {
            let alive = self.is_alive();
            let found = self.stderr().contains(text);
            assert!(found || alive, "{} ended ({:?}) and never logged {text:?}", self.name, self.ended);
            found.then_some(())
        });
    }

    fn end_now(&mut self) {
        if self.ended.is_none() {
            // It fails only if it has ended already.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let by_itself = (!self.is_alive()).then_some(self.ended).flatten();
        self.end_now();
        if thread::panicking() {
            let how =
                by_itself.map_or_else(|| "ran until now".to_owned(), |status| format!("had ended: {status}"));
            println!("---- {} (process {}) {how}", self.name, self.pid());
            print!("{}", shown("standard output", &self.stdout()));
            print!("{}", shown("standard error", &self.stderr()));
        }
    }
}

/// A process that has ended.
#[derive(Clone)]
pub struct Ended {
    name: String,
    status: ExitStatus,
    /// All that it printed.
    pub stdout: String,
    /// All that it logged.
    pub stderr: String,
}

impl Ended {
    /// Its exit code; none if a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The number of the signal that ended it, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// # Panics
    /// If it ended in another way.
    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code(), Some(code), "{self:?}");
        self
    }

    /// # Panics
    /// If one of the texts isn't in its log.
    #[track_caller]
    pub fn assert_says(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} isn't in what it said: {self:?}");
        }
        self
    }
}

/// With line breaks as they are: this is what failing tests show.
impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ended: {}", self.name, self.status)?;
        f.write_str(&shown("standard output", &self.stdout))?;
        f.write_str(&shown("standard error", &self.stderr))
    }
}

fn text(path: &PathBuf) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn shown(stream: &str, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut start = text.len().saturating_sub(SHOWN_BYTES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let cut = if start > 0 { format!(", its last {SHOWN_BYTES} bytes") } else { String::new() };
    format!("---- {stream}{cut}\n{}\n", text[start..].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::DEADLINE;

    fn shell(home: &Home, script: &str) -> Running {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        Running::spawn(home, "sh", command)
    }

    #[test]
    fn how_a_process_ended_and_what_it_said() {
        let home = Home::new();
        let ended = shell(&home, "echo out; echo err >&2; exit 3").wait(DEADLINE);
        ended.assert_code(3).assert_says(&["err"]);
        assert_eq!(ended.stdout, "out\n");
        let ended = shell(&home, "kill -9 $$").wait(DEADLINE);
        assert_eq!((ended.code(), ended.signal()), (None, Some(9)));
    }

    #[test]
    fn a_log_line_can_be_waited_for_and_the_process_stopped() {
        let home = Home::new();
        let mut running =
            shell(&home, "trap 'kill $!; exit 7' TERM; tail -f /dev/null & echo here >&2; wait");
        running.wait_for_log(DEADLINE, "here");
        assert!(running.is_alive());
        running.terminate(DEADLINE).assert_code(7);
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let home = Home::new();
        let running = shell(&home, "exec tail -f /dev/null");
        let folder = PathBuf::from(format!("/proc/{}", running.pid()));
        assert!(folder.exists());
        drop(running);
        assert!(!folder.exists());
    }

    #[test]
    #[should_panic(expected = "ended (Some(ExitStatus(unix_wait_status(0)))) and never logged")]
    fn a_log_line_that_will_not_come_is_not_waited_for() {
        shell(&Home::new(), "true").wait_for_log(DEADLINE, "here");
    }
}
