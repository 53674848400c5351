//! `procession health`: whether a process does its work. The readiness probe of process-compose.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use procession::exit::Exit;
use procession::names::Instance;
use serde::Serialize;

use crate::home::Home;
use crate::output::{Colour, Output};
use crate::pattern::stands_for;
use crate::socket::{self, block_on};

/// Ask a process whether it is well: exit code 0 if it is, 1 if not, with the reason.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The process; its instances, where it has several, must all be well.
    process: Instance,
    /// How long to wait for the answer.
    #[arg(long, default_value = "3s", value_parser = crate::parse_duration)]
    timeout: Duration,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    process: &'a str,
    ready: bool,
    healthy: bool,
    reason: Option<String>,
}

/// Runs `procession health`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    let home = Home::find()?;
    let mut well = true;
    for instance in instances(&home, &args.process)? {
        let answer = block_on(async { Ok(ask(&home, &instance, args.timeout).await) })?;
        well &= answer.healthy;
        if args.json {
            out.json(&answer)?;
            continue;
        }
        let verdict = match &answer.reason {
            None => out.paint(Colour::Good, "healthy"),
            Some(reason) => format!("{}: {reason}", out.paint(Colour::Bad, "not healthy")),
        };
        writeln!(out, "{instance}: {verdict}")?;
    }
    Ok(if well { Exit::Done } else { Exit::Failed }.into())
}

/// The instance of that name, or those that the process runs as.
pub(crate) fn instances(home: &Home, name: &Instance) -> Result<Vec<Instance>> {
    if home.folders.socket(name).is_ok_and(|socket| socket.exists()) {
        return Ok(vec![name.clone()]);
    }
    let mut instances = home.sockets()?;
    instances.retain(|instance| stands_for(name, instance));
    if instances.is_empty() {
        instances.push(name.clone());
    }
    Ok(instances)
}

async fn ask<'a>(home: &Home, instance: &'a Instance, patience: Duration) -> Answer<'a> {
    let process = instance.as_str();
    match socket::health(home, instance, patience).await {
        Ok(health) => {
            let reason = health.reason.filter(|_| !health.healthy);
            Answer { process, ready: health.ready, healthy: health.healthy, reason }
        }
        Err(silence) => Answer { process, ready: false, healthy: false, reason: Some(silence.reason()) },
    }
}
