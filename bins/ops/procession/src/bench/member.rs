//! The processes of a benchmark, and the folder they live in.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use procession::calls;
use procession::folders::Folders;
use procession::interfaces::process::{GetHealth, Health};
use procession::names::Instance;
use procession::varlink::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

/// How long a member may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// State and runtime folders of one run, removed when it ends.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    folders: Folders,
}

impl Home {
    pub(super) fn new(parent: Option<&Path>) -> anyhow::Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let path = parent.join(format!("procession-bench-{}", std::process::id()));
        let (state, runtime) = (path.join("state"), path.join("run"));
        for folder in [&state, &runtime] {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let credentials = path.join("credentials");
        Ok(Self { folders: Folders { state, runtime, config: path.clone(), credentials }, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn folders(&self) -> &Folders {
        &self.folders
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// One process, started from this executable under another name. Killed when dropped.
#[derive(Debug)]
pub(super) struct Member {
    instance: Instance,
    child: Child,
    said: BufReader<ChildStdout>,
    told: Option<ChildStdin>,
}

impl Member {
    pub(super) fn start(home: &Home, name: &str, instance: &str, settings: &[&str]) -> anyhow::Result<Self> {
        let this = std::env::current_exe().context("cannot find this executable")?;
        let instance = Instance::new(instance)?;
        let mut child = Command::new(this)
            .arg0(name)
            .args(["run", "--instance", instance.as_str(), "--log-level", "warn"])
            .args(settings)
            .env("PROCESSION_STATE", &home.folders.state)
            .env("PROCESSION_RUNTIME", &home.folders.runtime)
            .env("PROCESSION_CONFIG", &home.folders.config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {instance}"))?;
        let said = BufReader::new(child.stdout.take().context("it has an output")?);
        let told = child.stdin.take();
        Ok(Self { instance, child, said, told })
    }

    /// Waits until it has subscribed.
    pub(super) fn wait_ready(&self, home: &Home) -> anyhow::Result<()> {
        let endpoint = home.folders.endpoint(&self.instance);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let deadline = Instant::now() + READY_WITHIN;
            while Instant::now() < deadline {
                if let Ok(mut client) = Client::connect_to(&endpoint).await
                    && let Ok(Health { ready: true, .. }) = calls::ask(&mut client, &GetHealth {}).await
                {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            bail!("{} is not ready after {READY_WITHIN:?}", self.instance)
        })
    }

    /// Stops it where it is, as a debugger would, once it has begun to read: from then on nothing is dropped that it has
    /// not read.
    pub(super) fn stop_once_it_reads(&self, home: &Home) -> anyhow::Result<()> {
        let folder = home.folders.instance(&self.instance);
        let deadline = Instant::now() + READY_WITHIN;
        while journal::read_cursors(&folder)?.is_empty() {
            if Instant::now() > deadline {
                bail!("{} does not begin to read within {READY_WITHIN:?}", self.instance);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub(super) fn go_on(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("a child has a process id")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.instance))
    }

    /// What it reports when its work is done.
    pub(super) fn report<T: DeserializeOwned>(mut self) -> anyhow::Result<T> {
        self.read_report()
    }

    /// Lets a publisher go, which stays until all have heard it.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        if let Some(mut told) = self.told.take() {
            let _ = told.write_all(b"\n");
        }
        self.child.wait()?;
        Ok(())
    }

    pub(super) fn read_report<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        if line.is_empty() {
            bail!("{} ended without a report: {}", self.instance, self.child.wait()?);
        }
        serde_json::from_str(&line).with_context(|| format!("{} reports nonsense: {line}", self.instance))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
