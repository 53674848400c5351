//! `procession health`: whether a process does its work. With `--probe`, whether a restart would help it: what
//! process-compose asks.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use procession::Death;
use procession::exit::Exit;
use procession::interfaces::process::Wait;
use procession::names::Instance;
use serde::Serialize;

use crate::home::Home;
use crate::output::{Colour, Output};
use crate::past::{self, Letters};
use crate::pattern::stands_for;
use crate::socket::{self, Verdict, block_on};
use crate::text::escape;

/// Ask a process whether it does its work: exit code 0 if it does, 75 if it runs and can't for now, 1 if it is broken
/// or doesn't run, or if you may not ask it; with the reason.
///
/// Of several instances, the worst counts: all that run, and all that have run here and don't.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The process; its instances, where it has several, must all be well.
    process: Instance,
    /// How long to wait for the answer.
    #[arg(long, default_value = "3s", value_parser = crate::parse_duration)]
    timeout: Duration,
    /// For a supervisor, which restarts what fails: exit code 0 also for a process that can't do its work for now,
    /// because a restart doesn't help it; and of several instances only that of exactly this name, if there is one.
    #[arg(long)]
    probe: bool,
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
    waiting: Vec<Wait>,
    parked: u64,
    open_letters: Option<u64>,
    last_death: Option<Death>,
    #[serde(skip)]
    letters: Letters,
    #[serde(skip)]
    uptime: Option<Duration>,
    #[serde(skip)]
    verdict: Verdict,
}

/// Runs `procession health`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    let home = Home::find()?;
    let mut worst = Exit::Done;
    let asked = if args.probe { probed } else { instances };
    for instance in asked(&home, &args.process)? {
        let answer = block_on(async { Ok(ask(&home, &instance, args.timeout).await) })?;
        worst = worse(worst, exit_of(&answer.verdict, args.probe));
        if args.json {
            out.json(&answer)?;
            continue;
        }
        let verdict = match &answer.verdict {
            Verdict::Well => out.paint(Colour::Good, "healthy"),
            Verdict::Waiting(why) => format!("{}: {}", out.paint(Colour::Uncertain, "waiting"), escape(why)),
            Verdict::Unwell(why) => format!("{}: {}", out.paint(Colour::Bad, "not healthy"), escape(why)),
            Verdict::Unknown(why) => format!("{}: {}", out.paint(Colour::Faint, "unknown"), escape(why)),
        };
        writeln!(out, "{instance}: {verdict}")?;
        for line in past::lines(answer.process, answer.uptime, answer.last_death.as_ref(), answer.letters) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(worst.into())
}

const fn exit_of(verdict: &Verdict, probe: bool) -> Exit {
    match verdict {
        Verdict::Well => Exit::Done,
        Verdict::Waiting(_) if probe => Exit::Done,
        Verdict::Waiting(_) => Exit::Waiting,
        Verdict::Unwell(_) | Verdict::Unknown(_) => Exit::Failed,
    }
}

const fn worse(one: Exit, other: Exit) -> Exit {
    match (one, other) {
        (Exit::Failed, _) | (_, Exit::Failed) => Exit::Failed,
        (Exit::Done, other) => other,
        (one, _) => one,
    }
}

/// Whom a supervisor asks about: the instance of exactly that name, if there is one.
fn probed(home: &Home, name: &Instance) -> Result<Vec<Instance>> {
    let all = instances(home, name)?;
    Ok(if all.contains(name) { vec![name.clone()] } else { all })
}

/// The instances of a process: those with a socket, and those that have lived here, also if they are down. The name itself
/// if there is none.
pub(crate) fn instances(home: &Home, name: &Instance) -> Result<Vec<Instance>> {
    let mut instances = home.instances()?;
    instances.retain(|instance| stands_for(name, instance) && home.has_lived(instance));
    // Without a runtime folder that may be read, the state folder tells enough.
    let sockets = home.sockets().unwrap_or_default();
    instances.extend(sockets.into_iter().filter(|instance| stands_for(name, instance)));
    instances.sort();
    instances.dedup();
    if instances.is_empty() {
        instances.push(name.clone());
    }
    Ok(instances)
}

async fn ask<'a>(home: &Home, instance: &'a Instance, patience: Duration) -> Answer<'a> {
    let process = instance.as_str();
    match socket::health(home, instance, patience).await {
        Ok(health) => {
            let verdict = socket::verdict(&health);
            let reason = health.reason.filter(|_| !health.healthy);
            Answer {
                process,
                ready: health.ready,
                healthy: health.healthy,
                reason,
                waiting: health.waiting,
                parked: health.parked,
                open_letters: health.open_letters,
                letters: Letters::said(health.open_letters),
                last_death: health.last_death,
                uptime: Some(Duration::from_millis(health.uptime_ms)),
                verdict,
            }
        }
        Err(silence) => Answer {
            process,
            ready: false,
            healthy: false,
            reason: Some(silence.reason()),
            waiting: Vec::new(),
            parked: 0,
            open_letters: None,
            letters: Letters::Unasked,
            last_death: past::death_of(home, instance),
            uptime: None,
            verdict: if silence.is_refusal() {
                Verdict::Unknown(silence.reason())
            } else {
                Verdict::Unwell(silence.reason())
            },
        },
    }
}
