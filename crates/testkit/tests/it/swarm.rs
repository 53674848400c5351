//! Node, broadcaster and the two bots in one home.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use testkit::{DEADLINE, Ended, Home, Running, call, free_port, script, wait_until};

use crate::tape::Tape;

/// What the transfer watch is told to take for large, in thousandths of HIVE and HBD.
pub(crate) const THRESHOLD: &str = "1000";
const THRESHOLDS: &str = "HIVE=1,HBD=1.000";

/// The four processes' home, and the port that the node is at.
pub(crate) struct Swarm {
    pub(crate) home: Home,
    port: u16,
    tails: AtomicU32,
}

impl Swarm {
    pub(crate) fn new() -> Self {
        Self { home: Home::new(), port: free_port(), tails: AtomicU32::new(0) }
    }

    /// For all processes that are started from now on.
    pub(crate) fn set_segment_bytes(&self, size: &str) {
        self.home.configure("procession.toml", &format!("[process.journal]\nsegment_bytes = \"{size}\"\n"));
    }

    /// Where the node listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The node, with all blocks at once unless `more` says otherwise.
    pub(crate) fn node(&self, recording: &Path, more: &[&str]) -> Running {
        let listen = format!("127.0.0.1:{}", self.port);
        let mut arguments = vec!["run", "--listen", &listen, "--recording", recording.to_str().unwrap()];
        if !more.contains(&"--block-interval") {
            arguments.extend(["--block-interval", "0s"]);
        }
        Running::start(&self.home, "hive-node", &[arguments.as_slice(), more].concat())
    }

    /// The broadcaster, from the first block, quick to come back from what fails.
    pub(crate) fn broadcaster_command(&self) -> Command {
        let nodes = format!("http://127.0.0.1:{}", self.port);
        self.broadcaster_of(&nodes)
    }

    pub(crate) fn broadcaster_of(&self, nodes: &str) -> Command {
        let mut command = self.home.command("broadcaster", &["run", "--nodes", nodes, "--start", "first"]);
        command.args(["--poll-interval", "20ms", "--backoff-max", "300ms", "--request-timeout", "1s"]);
        command
    }

    pub(crate) fn broadcaster(&self) -> Running {
        self.spawn("broadcaster", self.broadcaster_command())
    }

    pub(crate) fn bot(&self) -> Running {
        Running::start(&self.home, "bot", &["run"])
    }

    pub(crate) fn watch(&self) -> Running {
        Running::start(&self.home, "transfer-watch", &["run", "--thresholds", THRESHOLDS])
    }

    pub(crate) fn spawn(&self, name: &str, command: Command) -> Running {
        Running::spawn(&self.home, name, command)
    }

    /// How many records the instance has said.
    pub(crate) fn said(&self, instance: &str) -> u64 {
        let marks = journal::read_marks(&self.home.instance(instance));
        marks.ok().flatten().map_or(0, |marks| marks.committed.0)
    }

    #[track_caller]
    pub(crate) fn until_said(&self, instance: &str, records: u64) {
        let what = format!("{instance} says {records} records");
        wait_until(DEADLINE, &what, || self.said(instance) >= records);
    }

    pub(crate) fn status(&self, instance: &str) -> Option<Value> {
        call(&self.home.socket(instance), "io.procession.Process.Status", &json!({})).ok()
    }

    #[track_caller]
    pub(crate) fn until_ready(&self, instance: &str) {
        let is_ready = |status: Value| status["state"] == "ready";
        wait_until(DEADLINE, &format!("{instance} is ready"), || self.status(instance).is_some_and(is_ready));
    }

    /// The instance has dealt with all that the broadcaster has said.
    #[track_caller]
    pub(crate) fn until_heard(&self, instance: &str) {
        wait_until(DEADLINE, &format!("{instance} has dealt with all that the broadcaster has said"), || {
            let Some(status) = self.status(instance) else { return false };
            let heard = status["subscriptions"][0]["acknowledged"].as_u64();
            heard == Some(self.said("broadcaster"))
        });
    }

    /// Everything that a process has said, as the command line gives it.
    #[track_caller]
    pub(crate) fn tail(&self, instance: &str) -> Tape {
        let pattern = format!("{instance}/*");
        let arguments = ["tail", &pattern, "--json", "--from", "beginning", "--until-end"];
        let ended = self.home.run("procession", &arguments);
        ended.assert_code(0);
        let number = self.tails.fetch_add(1, Ordering::Relaxed);
        let path = self.home.path().join(format!("tail-{number}-{instance}.ndjson"));
        std::fs::write(&path, ended.stdout).unwrap();
        Tape { path }
    }

    /// Compares tails with a recording by the script that does it.
    #[track_caller]
    pub(crate) fn compare(
        &self,
        python: &Path,
        what: &str,
        recording: &Path,
        tails: &[&Tape],
        more: &[&str],
    ) {
        let mut command = Command::new(python);
        command.arg("-B").arg(script("compare.py")).arg(what).arg(recording);
        command.args(tails.iter().map(|tape| &tape.path)).args(more);
        let ended = self.spawn("compare.py", command).wait(DEADLINE);
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        println!("{what}: {}", ended.stdout.trim());
    }

    /// All three processes' tails against the recording.
    #[track_caller]
    pub(crate) fn compare_all(&self, python: &Path, recording: &Path) {
        let broadcaster = self.tail("broadcaster");
        self.compare(python, "operations", recording, &[&broadcaster], &[]);
        self.compare(python, "posts", recording, &[&broadcaster, &self.tail("bot")], &[]);
        let watch = self.tail("transfer-watch");
        self.compare(python, "transfers", recording, &[&broadcaster, &watch], &["--threshold", THRESHOLD]);
    }

    /// `procession verify` of these instances, or of all.
    #[track_caller]
    pub(crate) fn verify(&self, instances: &[&str]) -> Ended {
        self.home.run("procession", &[&["verify", "--json"], instances].concat())
    }
}

/// How many operations a recording has, as the script counts them.
pub(crate) fn operations_in(python: &Path, recording: &Path) -> u64 {
    let output =
        Command::new(python).arg("-B").arg(script("expected_operations.py")).arg(recording).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.iter().filter(|byte| **byte == b'\n').count() as u64
}
