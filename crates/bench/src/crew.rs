//! The parent's side: starts the processes of one run, tells them when, and adds up what they report.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::de::DeserializeOwned;

use crate::member::{Heard, Part, Role, Said, Used};
use crate::server::Server;
use crate::work::{Measured, Task, Work, as_float};

/// No run takes longer; what does hangs.
const RUN_WITHIN: Duration = Duration::from_secs(180);
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How the processes of a contender find each other.
pub(crate) struct Stage<'a> {
    pub(crate) contender: &'a str,
    pub(crate) address: String,
    /// Who must be there first: the side that listens.
    pub(crate) first: Role,
    pub(crate) server: Option<&'a Server>,
    /// The program of the members and its arguments; without one, this executable.
    pub(crate) program: Option<Vec<String>>,
}

impl Stage<'_> {
    /// Runs one task with real processes.
    pub(crate) fn perform(&self, task: &Task) -> anyhow::Result<Measured> {
        let deadline = Instant::now() + RUN_WITHIN;
        let server_before = self.server.map_or(Ok(0), Server::cpu_ns)?;
        let is_catch_up = matches!(task.work, Work::CatchUp { .. });
        let subscribers = task.work.subscribers();
        let mut hearing = Vec::new();
        if self.first == Role::Subscriber && !is_catch_up {
            hearing = self.start_subscribers(task, subscribers)?;
        }
        let mut publisher = self.start(task, Role::Publisher, 0)?;
        publisher.wait_ready()?;
        if self.first == Role::Publisher && !is_catch_up {
            hearing = self.start_subscribers(task, subscribers)?;
        }
        publisher.tell("go")?;
        let said: Said = publisher.read(deadline).context("the publisher")?;
        let server_said = self.server.map_or(Ok(0), Server::cpu_ns)?;
        if is_catch_up {
            hearing = self.start_subscribers(task, subscribers)?;
        }
        for subscriber in &mut hearing {
            // One that is done already is gone.
            let _ = subscriber.tell("said");
        }
        let heard = hearing
            .iter_mut()
            .map(|subscriber| subscriber.read(deadline).context("a subscriber"))
            .collect::<anyhow::Result<Vec<Heard>>>()?;
        publisher.tell("end")?;
        let used: Used = publisher.read(deadline).context("the publisher's end")?;
        let server_after = self.server.map_or(Ok(0), Server::cpu_ns)?;
        let (server_ns, publisher_ns) = if is_catch_up {
            (server_after - server_said, 0)
        } else {
            (server_after - server_before, used.cpu_ns)
        };
        Ok(add_up(task, &said, &heard, server_ns + publisher_ns))
    }

    fn start_subscribers(&self, task: &Task, count: u32) -> anyhow::Result<Vec<Process>> {
        let mut started = (0..count)
            .map(|number| self.start(task, Role::Subscriber, number))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for one in &mut started {
            one.wait_ready()?;
        }
        Ok(started)
    }

    fn start(&self, task: &Task, role: Role, number: u32) -> anyhow::Result<Process> {
        let (contender, address) = (self.contender.to_owned(), self.address.clone());
        let part = Part { contender, role, task: *task, address, number };
        let part = serde_json::to_string(&part)?;
        let mut command = match &self.program {
            Some(program) => {
                let mut command = Command::new(&program[0]);
                command.args(&program[1..]);
                command
            }
            None => {
                // This very file, even if a build has put another one in its place.
                let mut command = Command::new("/proc/self/exe");
                command.arg("member");
                command
            }
        };
        Process::start(command.arg(part), &format!("{} {role:?}", self.contender))
    }
}

fn add_up(task: &Task, said: &Said, heard: &[Heard], others_cpu_ns: u64) -> Measured {
    let took_ns = if matches!(task.work, Work::CatchUp { .. }) {
        heard.iter().map(|one| one.last_ns.saturating_sub(one.first_ns)).max()
    } else {
        heard.iter().map(|one| one.last_ns.saturating_sub(said.first_ns)).max()
    }
    .unwrap_or(said.took_ns);
    // The slowest subscriber's rate, over what really came.
    let came = heard.iter().map(|one| one.received).min().unwrap_or(task.messages);
    let cpu_ns = others_cpu_ns + heard.iter().map(|one| one.cpu_ns).sum::<u64>();
    Measured {
        messages: task.messages,
        messages_per_second: as_float(came) / (as_float(took_ns.max(1)) / 1e9),
        received: heard.iter().map(|one| one.received).collect(),
        lost: heard.iter().map(|one| one.lost).sum(),
        duplicated: heard.iter().map(|one| one.duplicated).sum(),
        wrong: heard.iter().map(|one| one.wrong).sum(),
        cpu_ns_per_message: as_float(cpu_ns) / as_float(task.messages.max(1)),
        latency_us: heard.first().and_then(|one| one.latency_us),
    }
}

/// One process; killed by its own pid when dropped.
struct Process {
    what: String,
    child: Child,
    says: BufReader<ChildStdout>,
    told: ChildStdin,
}

impl Process {
    fn start(command: &mut Command, what: &str) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {what}"))?;
        let says = BufReader::new(child.stdout.take().context("it has an output")?);
        let told = child.stdin.take().context("it has an input")?;
        Ok(Self { what: what.to_owned(), child, says, told })
    }

    fn wait_ready(&mut self) -> anyhow::Result<()> {
        let line = self.read_line(Instant::now() + READY_WITHIN)?;
        if line.trim_end() != "ready" {
            bail!("{} says {line:?} instead of being ready", self.what);
        }
        Ok(())
    }

    fn tell(&mut self, word: &str) -> std::io::Result<()> {
        self.told.write_all(word.as_bytes()).and_then(|()| self.told.write_all(b"\n"))
    }

    fn read<T: DeserializeOwned>(&mut self, deadline: Instant) -> anyhow::Result<T> {
        let line = self.read_line(deadline)?;
        serde_json::from_str(&line).with_context(|| format!("{} reports nonsense: {line}", self.what))
    }

    /// A line is written whole, so the first byte tells that all of it is there soon.
    fn read_line(&mut self, deadline: Instant) -> anyhow::Result<String> {
        if self.says.buffer().is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).context("a deadline is near")?;
            let mut output = [PollFd::new(self.says.get_ref(), PollFlags::IN)];
            if poll(&mut output, Some(&left))? == 0 {
                bail!("{} says nothing within the time it has", self.what);
            }
        }
        let mut line = String::new();
        self.says.read_line(&mut line)?;
        if line.is_empty() {
            bail!("{} ended without a report: {}", self.what, self.child.wait()?);
        }
        Ok(line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
