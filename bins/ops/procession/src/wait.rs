//! `procession wait`: until processes are ready, for scripts.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use procession::exit::Exit;
use procession::names::Instance;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout_at};

use crate::health;
use crate::home::Home;
use crate::output::Output;
use crate::socket::{self, Verdict, block_on};

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Wait until all of the processes are ready; exit code 1 if one isn't in time.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Until each of them is set up; it may still wait for others (`procession health` tells).
    #[arg(long, required = true)]
    ready: bool,
    /// The processes, or instances of them.
    #[arg(required = true, value_name = "PROCESS")]
    processes: Vec<Instance>,
    /// How long to wait for all of them.
    #[arg(long, default_value = "30s", value_parser = crate::parse_duration)]
    timeout: Duration,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Outcome<'a> {
    process: &'a str,
    ready: bool,
    reason: Option<&'a str>,
}

/// Runs `procession wait`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    debug_assert!(args.ready, "it is all that can be waited for");
    let home = Home::find()?;
    let reasons = block_on(async {
        let deadline = Instant::now() + args.timeout;
        let mut reasons = Vec::new();
        for name in &args.processes {
            reasons.push(wait(&home, name, deadline).await?);
        }
        Ok(reasons)
    })?;
    for (name, reason) in args.processes.iter().zip(&reasons) {
        let (process, reason) = (name.as_str(), reason.as_deref());
        if args.json {
            out.json(&Outcome { process, ready: reason.is_none(), reason })?;
        } else if let Some(reason) = reason {
            note!("`{process}` isn't ready after {:?}: {reason}", args.timeout);
        }
    }
    let ready = reasons.iter().all(Option::is_none);
    Ok(if ready { Exit::Done } else { Exit::Failed }.into())
}

/// Waits for one; at the deadline the last reason why it isn't ready. A process that is ready already is asked
/// once, also past the deadline.
async fn wait(home: &Home, name: &Instance, deadline: Instant) -> Result<Option<String>> {
    let mut pause = PAUSE_MIN;
    loop {
        let patience = deadline.saturating_duration_since(Instant::now()).max(PAUSE_MAX);
        let Some(reason) = trouble(home, name, patience).await? else { return Ok(None) };
        if timeout_at(deadline, sleep(pause)).await.is_err() {
            return Ok(Some(reason));
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Why a process isn't ready, if it isn't.
async fn trouble(home: &Home, name: &Instance, patience: Duration) -> Result<Option<String>> {
    for instance in health::instances(home, name)? {
        match socket::health(home, &instance, patience).await {
            Ok(health) => match socket::verdict(&health) {
                Verdict::Unwell(why) | Verdict::Unknown(why) => return Ok(Some(why)),
                Verdict::Well | Verdict::Waiting(_) => {}
            },
            Err(silence) => return Ok(Some(silence.reason())),
        }
    }
    Ok(None)
}
