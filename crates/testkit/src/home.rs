//! The folders of one swarm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::find::bin;
use crate::process::{Ended, Running};
use crate::wait::DEADLINE;

/// State, runtime and configuration folders of a swarm, gone when it is dropped.
///
/// They lie right below `/tmp`, whatever `TMPDIR` says: a socket's path may have 107 bytes only.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
    /// Counts what was started here: each has its own files for what it prints.
    started: AtomicU32,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// Makes the folders.
    ///
    /// # Panics
    /// If they can't be made.
    #[must_use]
    pub fn new() -> Self {
        Self::new_in(Path::new("/tmp"))
    }

    /// As [`Self::new`], in memory where there is such a folder: for what kills processes by the thousand and must not
    /// wait for a disk each time.
    #[must_use]
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        Self::new_in(if memory.is_dir() { memory } else { Path::new("/tmp") })
    }

    /// As [`Self::new`], in this folder.
    ///
    /// # Panics
    /// If they can't be made.
    #[must_use]
    pub fn new_in(folder: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("swarm-").tempdir_in(folder);
        let folder = folder.expect("the folder can be written in");
        let home = Self { folder, started: AtomicU32::new(0) };
        for folder in [home.state(), home.runtime(), home.config(), home.output()] {
            fs::create_dir(folder).expect("a folder in a new folder can be made");
        }
        home
    }

    /// The folder that the others lie in.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folders where they are, for a person to look at.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    /// The folder of the instance folders.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The folder of an instance: lock, journal, cursors.
    #[must_use]
    pub fn instance(&self, instance: &str) -> PathBuf {
        self.state().join(instance)
    }

    /// The segment files of an instance's journal, oldest first.
    ///
    /// # Panics
    /// If its journal isn't there.
    #[must_use]
    pub fn segments(&self, instance: &str) -> Vec<PathBuf> {
        let folder = self.instance(instance).join("journal");
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let paths = files.map(|file| file.expect("a folder can be read to its end").path());
        let mut segments: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|kind| kind == "seg")).collect();
        segments.sort();
        segments
    }

    /// The folder of the sockets' folders.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.path().join("run")
    }

    /// An instance's socket.
    #[must_use]
    pub fn socket(&self, instance: &str) -> PathBuf {
        self.runtime().join(instance).join("socket")
    }

    /// The folder of the configuration files.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path().join("config")
    }

    /// Writes a configuration file.
    ///
    /// # Panics
    /// If it can't be written.
    pub fn configure(&self, file: &str, text: &str) {
        fs::write(self.config().join(file), text).expect("a new file can be written");
    }

    /// All that processes called `name` have logged, in the order of their starts.
    ///
    /// # Panics
    /// If it can't be read.
    #[must_use]
    pub fn logs(&self, name: &str) -> String {
        let files = fs::read_dir(self.output())
            .expect("the folder is there")
            .map(|file| file.expect("it can be read").path());
        let end = format!("-{name}.stderr");
        let mut logs: Vec<PathBuf> = files.filter(|path| path.to_string_lossy().ends_with(&end)).collect();
        logs.sort();
        let read =
            |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).expect("it can be read")).into_owned();
        logs.iter().map(read).collect()
    }

    fn output(&self) -> PathBuf {
        self.path().join("out")
    }

    /// Files for the standard output and error of the next process.
    pub(crate) fn next_output(&self, name: &str) -> (PathBuf, PathBuf) {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let file = |stream: &str| self.output().join(format!("{number:03}-{name}.{stream}"));
        (file("stdout"), file("stderr"))
    }

    /// The program `name` with these arguments, in this home's folders and no other's.
    #[must_use]
    pub fn command(&self, name: &str, arguments: &[&str]) -> Command {
        self.command_at(&bin(name), arguments)
    }

    /// As [`Self::command`], for a program that lies elsewhere.
    #[must_use]
    pub fn command_at(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        // Whatever the developer has set is not what the test means.
        for (variable, _) in std::env::vars_os() {
            let ours = variable
                .to_str()
                .is_some_and(|name| name.starts_with("PROCESSION_") || name.ends_with("_DIRECTORY"));
            if ours || variable == "NOTIFY_SOCKET" {
                command.env_remove(variable);
            }
        }
        command.env("PROCESSION_STATE", self.state());
        command.env("PROCESSION_RUNTIME", self.runtime());
        command.env("PROCESSION_CONFIG", self.config());
        // Never through a proxy: the nodes are on this machine.
        command.env("NO_PROXY", "*").env("RUST_BACKTRACE", "1");
        command.current_dir(self.path()).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a program to its end.
    ///
    /// # Panics
    /// If it can't be started, or doesn't end within [`DEADLINE`].
    #[track_caller]
    pub fn run(&self, name: &str, arguments: &[&str]) -> Ended {
        Running::spawn(self, name, self.command(name, arguments)).wait(DEADLINE)
    }
}
