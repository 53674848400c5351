//! A home for a few processes, and the program that is tested.

use std::env;
use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use journal::{Codec, Entry, Offset, Options, Writer};
use serde_json::Value;
use testkit::{DEADLINE, Ended, Home, Running};

/// A home of its own for each test.
pub(crate) struct Swarm(Home);

impl Deref for Swarm {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.0
    }
}

impl Swarm {
    pub(crate) fn new() -> Self {
        Self(Home::new())
    }

    pub(crate) fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PROCESSION_STATE", self.state())
            .env("PROCESSION_RUNTIME", self.runtime())
            .env("PROCESSION_CONFIG", self.config())
            .current_dir(self.path())
            .stdin(std::process::Stdio::null());
        command
    }

    /// `procession` with these arguments, and nothing in its environment but this home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_procession")), arguments)
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::spawn(self, "procession", self.command(arguments))
    }

    /// Runs to the end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).wait(DEADLINE)
    }

    /// Runs to the end with this on standard input.
    #[track_caller]
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Ended {
        let path = self.path().join("input");
        fs::write(&path, input).unwrap();
        let mut command = self.command(arguments);
        command.stdin(File::open(path).unwrap());
        Running::spawn(self, "procession", command).wait(DEADLINE)
    }

    /// The lines of JSON that a run with exit code 0 prints.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        json_lines(&self.run(arguments).assert_code(0).stdout)
    }

    /// Starts the example `sample`, which was built with the tests.
    pub(crate) fn sample(&self, arguments: &[&str]) -> Running {
        Running::spawn(self, "sample", self.sample_command(arguments))
    }

    /// The same under a service manager that listens on a socket.
    pub(crate) fn sample_under(&self, manager: &Path, arguments: &[&str]) -> Running {
        let mut command = self.sample_command(arguments);
        command.env("NOTIFY_SOCKET", manager);
        Running::spawn(self, "sample", command)
    }

    fn sample_command(&self, arguments: &[&str]) -> Command {
        let tests = env::current_exe().unwrap();
        let sample = tests.parent().unwrap().parent().unwrap().join("examples/sample");
        assert!(sample.is_file(), "{} is missing: cargo build --examples", sample.display());
        let arguments = [&["run"], arguments].concat();
        self.command_of(&sample, &arguments)
    }

    /// A process that ticks, and is ready.
    pub(crate) fn ready_sample(&self, instance: &str, arguments: &[&str]) -> Running {
        let running = self.sample(&[&["--instance", instance], arguments].concat());
        self.run(&["wait", "--ready", instance]).assert_code(0);
        running
    }

    pub(crate) fn speaker(&self, instance: &str) -> Speaker {
        let options = Options { segment_bytes: 64 << 10, ..Options::default() };
        Speaker(Writer::open(&self.instance(instance), &options).unwrap())
    }

    /// The segment file that has these bytes, and where.
    pub(crate) fn find_bytes(&self, instance: &str, bytes: &[u8]) -> (PathBuf, u64) {
        let found = self.segments(instance).into_iter().find_map(|path| {
            let content = fs::read(&path).unwrap();
            let at = content.windows(bytes.len()).position(|window| window == bytes)?;
            Some((path, at as u64))
        });
        found.unwrap_or_else(|| panic!("{bytes:?} isn't in the journal of {instance}"))
    }
}

/// Somebody who writes a journal, without being a process.
pub(crate) struct Speaker(Writer);

impl Speaker {
    pub(crate) fn say(&mut self, topic: &str, payload: &str) -> Offset {
        self.say_raw(topic, None, Codec::Json, payload.as_bytes())
    }

    pub(crate) fn say_raw(
        &mut self,
        topic: &str,
        key: Option<&[u8]>,
        codec: Codec,
        payload: &[u8],
    ) -> Offset {
        self.0.append(&Entry { topic, key, cause: None, codec, payload }).unwrap()
    }

    pub(crate) fn say_because(&mut self, topic: &str, journal: &str, offset: u64) -> Offset {
        let cause = journal::Cause { journal, offset: Offset(offset) };
        let entry = Entry { topic, key: None, cause: Some(cause), codec: Codec::Json, payload: b"{}" };
        self.0.append(&entry).unwrap()
    }
}

pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}
