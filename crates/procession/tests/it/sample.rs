//! The example `behaviours` as a real process in a home of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use procession::folders::Folders;
use procession::names::Instance;
use procession::varlink::Endpoint;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;
use tempfile::TempDir;

/// More than a slow machine under load needs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A scratch folder with state, runtime and configuration of one process.
pub(crate) struct Home(TempDir);

/// How a process ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn folders(&self) -> Folders {
        let config = self.path().to_owned();
        let (state, runtime) = (config.join("state"), config.join("run"));
        Folders { state, runtime, credentials: config.join("credentials"), config }
    }

    /// The state folder of an instance.
    pub(crate) fn instance(&self, name: &str) -> PathBuf {
        self.folders().instance(&Instance::new(name).unwrap())
    }

    /// Where an instance listens.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.folders().socket(&Instance::new(name).unwrap()).unwrap()
    }

    pub(crate) fn endpoint(&self, name: &str) -> Endpoint {
        self.folders().endpoint(&Instance::new(name).unwrap())
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// `sample` with these arguments, and nothing in its environment but this home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&program("behaviours"), arguments)
    }

    pub(crate) fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let (mut command, folders) = (Command::new(program), self.folders());
        command
            .args(arguments)
            .env_clear()
            .env("PROCESSION_STATE", folders.state)
            .env("PROCESSION_RUNTIME", folders.runtime)
            .env("PROCESSION_CONFIG", folders.config)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to the end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        finish(&mut self.command(arguments))
    }

    /// The settings that `sample run` arrives at with these arguments and variables.
    pub(crate) fn settings(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Value {
        let arguments = [&["run", "--behaviour", "finish"], arguments].concat();
        let ended = finish(self.command(&arguments).envs(variables.iter().copied()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }
}

/// An example, which is built with the tests, beside them.
pub(crate) fn program(example: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().with_file_name("examples").join(example);
    assert!(path.is_file(), "{} is missing: cargo build --examples", path.display());
    path
}

/// Runs a command to its end, which must come before the deadline.
pub(crate) fn finish(command: &mut Command) -> Ended {
    Running::start(command).wait()
}

/// A started process; killed by its own pid when the test ends first.
pub(crate) struct Running {
    child: Child,
    stderr: Receiver<String>,
    heard: Vec<String>,
    stdout: Option<thread::JoinHandle<String>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        let mut child = command.spawn().unwrap();
        let (lines, stderr) = channel();
        if let Some(pipe) = child.stderr.take() {
            thread::spawn(move || {
                // The receiver is gone when the test is over.
                BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
            });
        }
        let stdout = child.stdout.take().map(|mut pipe| {
            thread::spawn(move || {
                let mut text = String::new();
                pipe.read_to_string(&mut text).unwrap();
                text
            })
        });
        Running { child, stderr, heard: Vec::new(), stdout }
    }

    /// Waits until a line with this text is logged.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.stderr.recv_timeout(left) {
                Ok(line) => {
                    let found = line.contains(text);
                    self.heard.push(line);
                    if found {
                        return;
                    }
                }
                Err(error) => panic!("no {text:?} in the log ({error}): {:#?}", self.heard),
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal. Who is told to halt has halted when this returns.
    pub(crate) fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn wait(mut self) -> Ended {
        let status = self.wait_status();
        loop {
            match self.stderr.recv_timeout(DEADLINE) {
                Ok(line) => self.heard.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("standard error stays open"),
            }
        }
        let stdout = self.stdout.take().map(|thread| thread.join().unwrap()).unwrap_or_default();
        Ended { code: status.code(), stdout, stderr: self.heard.join("\n") }
    }

    fn wait_status(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running: {:#?}", self.heard);
            thread::park_timeout(Duration::from_millis(2));
        }
    }
}

/// Sends a signal. Who is told to halt has halted, with all of its threads, when this returns: on a busy machine some of
/// them would go on for a while.
pub(crate) fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).unwrap();
    if signal == Signal::STOP {
        let either = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), either).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended already, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
