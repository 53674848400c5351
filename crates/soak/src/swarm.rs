//! The processes: started, killed, started again, stopped.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Args, Sabotage};

/// One to end of the chain, so that what is drawn and printed is in this order.
pub(crate) const INSTANCES: [&str; 6] = ["source@1", "source@2", "left", "right", "sink@1", "sink@2"];
/// Those that are killed; the others live throughout.
pub(crate) const VICTIMS: [&str; 3] = ["source@2", "right", "sink@2"];
/// How long a process may take to end when it is told to.
const END_WITHIN: Duration = Duration::from_secs(30);

/// All of them, with the folders that they live in.
pub(crate) struct Swarm {
    /// First, so that they are gone before their folders are.
    members: Vec<Member>,
    home: TempDir,
    logs: PathBuf,
}

/// One process; killed by its own id when dropped.
struct Member {
    instance: &'static str,
    child: Child,
    settings: Vec<String>,
    starts: u32,
}

impl Swarm {
    /// Makes the folders and starts everybody.
    pub(crate) fn start(args: &Args) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("soak-");
        // Below /tmp unless somebody wants another disk: a socket's path may have 107 bytes only.
        let home = builder.tempdir_in(args.dir.as_deref().unwrap_or(Path::new("/tmp")))?;
        for folder in ["state", "run", "config"] {
            fs::create_dir(home.path().join(folder))?;
        }
        let logs = args.out.join("logs");
        // The logs of an earlier run tell nothing of this one.
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir_all(&logs).with_context(|| format!("can't create {}", logs.display()))?;
        let mut swarm = Self { members: Vec::new(), home, logs };
        for instance in INSTANCES {
            let mut settings = vec![
                format!("--journal-segment-bytes={} KiB", args.segment_kib),
                format!("--journal-keep-bytes={} KiB", args.keep_kib),
            ];
            match (instance, args.sabotage) {
                ("source@1" | "source@2", _) => settings.push(format!("--rate={}", args.rate / 2)),
                ("left", Sabotage::Leak) => settings.push("--leak".to_owned()),
                ("left", Sabotage::Skip) => settings.push("--skip".to_owned()),
                _ => {}
            }
            let child = swarm.spawn(instance, &settings, 0)?;
            swarm.members.push(Member { instance, child, settings, starts: 1 });
        }
        Ok(swarm)
    }

    /// The folder of an instance.
    pub(crate) fn folder(&self, instance: &str) -> PathBuf {
        self.home.path().join("state").join(instance)
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.members.iter().map(|member| member.child.id()).collect()
    }

    /// Kills an instance with SIGKILL and starts it again.
    pub(crate) fn restart(&mut self, instance: &str) -> Result<()> {
        let at = self.index(instance)?;
        let member = &mut self.members[at];
        // It is our own child and not reaped, so the id is its own.
        member.child.kill()?;
        member.child.wait()?;
        let (instance, settings, starts) = (member.instance, member.settings.clone(), member.starts);
        let child = self.spawn(instance, &settings, starts)?;
        self.members[at].child = child;
        self.members[at].starts += 1;
        Ok(())
    }

    /// Fails if a process has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        let logs = self.logs.display().to_string();
        for member in &mut self.members {
            if let Some(status) = member.child.try_wait()? {
                bail!("{} ended by itself ({status}); its log is in {logs}", member.instance);
            }
        }
        Ok(())
    }

    /// Tells an instance to stop, and waits until it has.
    pub(crate) fn stop(&mut self, instance: &str) -> Result<()> {
        let at = self.index(instance)?;
        let child = &mut self.members[at].child;
        if child.try_wait()?.is_none() {
            kill_process(Pid::from_child(child), Signal::TERM)?;
        }
        let begun = Instant::now();
        loop {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{instance} ended with {status}"),
                None if begun.elapsed() > END_WITHIN => bail!("{instance} doesn't end in {END_WITHIN:?}"),
                None => thread::park_timeout(Duration::from_millis(5)),
            }
        }
    }

    fn index(&self, instance: &str) -> Result<usize> {
        let found = self.members.iter().position(|member| member.instance == instance);
        found.with_context(|| format!("there is no {instance}"))
    }

    fn spawn(&self, instance: &str, settings: &[String], starts: u32) -> Result<Child> {
        let program = instance.split('@').next().unwrap_or(instance);
        let log = self.logs.join(format!("{instance}.{starts:04}.log"));
        let home = self.home.path();
        Command::new(std::env::current_exe().context("can't find this executable")?)
            .arg0(program)
            .args(["run", "--instance", instance, "--log-level", "warn"])
            .args(settings)
            .env("PROCESSION_STATE", home.join("state"))
            .env("PROCESSION_RUNTIME", home.join("run"))
            .env("PROCESSION_CONFIG", home.join("config"))
            // Ctrl-C is for the soak, which then ends them in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).with_context(|| format!("can't create {}", log.display()))?)
            .spawn()
            .with_context(|| format!("can't start {instance}"))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
