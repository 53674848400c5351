//! A peer's server: started for one run in a folder of its own, stopped by its own pid.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::contender::Missing;

const READY_WITHIN: Duration = Duration::from_secs(20);
/// What the kernel counts in, on every architecture that matters here.
const TICK_NS: u64 = 10_000_000;
const STOPPED_WITHIN: Duration = Duration::from_secs(5);

/// A running server. Dropping it stops it, also when a run failed.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it and waits until `is_up`.
    pub(crate) fn start(
        command: &mut Command,
        folder: &Path,
        is_up: impl Fn() -> bool,
    ) -> anyhow::Result<Self> {
        let log = folder.join("log");
        let output = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let mut server = Self { child, log };
        let deadline = Instant::now() + READY_WITHIN;
        while !is_up() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended, {status}: {}", server.last_words());
            }
            if Instant::now() > deadline {
                bail!("the server is not up after {READY_WITHIN:?}: {}", server.last_words());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().rev().take(3).collect::<Vec<_>>().join(" | ")
    }

    /// Processor time that it has used so far, in the kernel's ticks of 10 ms.
    pub(crate) fn cpu_ns(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(&path).context("the server is gone")?;
        // The second field is the program's name in parentheses and may hold anything; state is the next.
        let (_, rest) = stat.rsplit_once(')').context("a name in parentheses")?;
        let fields = rest.split_whitespace().collect::<Vec<_>>();
        let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(ticks * TICK_NS)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + STOPPED_WITHIN;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the program is, and the first line of what it says of its version.
pub(crate) fn version_of(program: &str, arguments: &[&str]) -> Result<String, Missing> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Missing(format!("{program}: {error}")))?;
    if !output.status.success() {
        return Err(Missing(format!("{program}: {}", output.status)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> std::io::Result<u16> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr().map(|address| address.port())
}
