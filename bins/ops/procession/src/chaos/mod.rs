//! `procession chaos`: faults for one's own swarm, what each recovery cost, and whether anything was lost.

mod case;
mod check;
mod fault;
mod grip;
mod names;
mod report;
mod swarm;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use procession::exit::Exit;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::home::Home;
use crate::output::Output;
use crate::socket::block_on;

use check::Before;
use fault::Kind;
use names::Names;
use report::Report;
use swarm::{Swarm, Target};

/// Between two looks at marks and cursors; also how finely a slowed process is stopped and resumed.
const TICK: Duration = Duration::from_millis(10);

/// Kill, stop, slow down and restart processes at random; exit code 0 if all came back and nothing was lost.
///
/// For a swarm that a process manager keeps alive: it must start what is killed. A process is only touched while it
/// holds its instance's lock, and never if this command was started by it. Kills are SIGKILL, restarts SIGTERM;
/// stops and slow-downs are SIGSTOP and SIGCONT, and nobody stays stopped, also after Ctrl-C.
///
/// All the while marks and cursors are watched, and at the end every byte of every journal: damage, gaps,
/// causes that aren't there and subscriptions that don't catch up count as lost.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how long.
    #[arg(long = "for", value_name = "TIME", default_value = "1m", value_parser = crate::parse_duration)]
    time: Duration,
    /// Time between the beginnings of two faults.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = crate::parse_duration)]
    every: Duration,
    /// The seed of whom to do what when; otherwise a new one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these processes or instances; `*` stands for any letters.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    only: Vec<Names>,
    /// All but these processes or instances.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    without: Vec<Names>,
    /// Which faults.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Kind::ALL)]
    faults: Vec<Kind>,
    /// Without kills.
    #[arg(long)]
    no_kill: bool,
    /// How long a process may take to be ready again, and to catch up.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::parse_duration)]
    patience: Duration,
    /// One JSON object at the end.
    #[arg(long)]
    json: bool,
}

/// Runs `procession chaos`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    let kinds: BTreeSet<Kind> =
        args.faults.iter().copied().filter(|kind| !(args.no_kill && *kind == Kind::Kill)).collect();
    let kinds: Vec<Kind> = kinds.into_iter().collect();
    anyhow::ensure!(!kinds.is_empty(), "no fault is left: name others than kill by --faults");
    let home = Home::find()?;
    let report = block_on(async { chaos(&home, args, &kinds, out).await })?;
    report.write(args.json, out)?;
    Ok(if report.is_good() { Exit::Done } else { Exit::Failed }.into())
}

async fn chaos(home: &Home, args: &Args, kinds: &[Kind], out: &mut Output) -> Result<Report> {
    let mut ends = Ends::listen()?;
    let mut swarm = Swarm::find(home, &args.only, &args.without).await?;
    let before = Before::look(home, &swarm);
    let seed = args.seed.unwrap_or_else(rand::random);
    let mut random = StdRng::seed_from_u64(seed);
    let mut report = Report::new(seed, &swarm);
    if !args.json {
        report.write_beginning(args.time, out)?;
    }
    let begun = Instant::now();
    let mut next = begun;
    while begun.elapsed() < args.time && !out.is_abandoned() {
        if Instant::now() >= next {
            next += args.every;
            begin_fault(&mut swarm, kinds, begun, &mut random);
        }
        step(&mut swarm, args, &mut report, out)?;
        if ends.pause().await {
            report.interrupt();
            break;
        }
    }
    report.set_time(begun.elapsed());
    swarm.resume_all();
    // Each of them is given up in time.
    while swarm.has_open_cases() && !ends.pause().await {
        step(&mut swarm, args, &mut report, out)?;
    }
    swarm.set_goals();
    let begun = Instant::now();
    while !swarm.is_caught_up() && begun.elapsed() < args.patience && !ends.pause().await {
        step(&mut swarm, args, &mut report, out)?;
    }
    swarm.take_open().into_iter().for_each(|fault| report.add_fault(fault));
    report.add_losses(swarm.take_losses());
    report.add_checked(check::check(home, &swarm, &before));
    Ok(report)
}

/// One more fault, if there is somebody who has none.
fn begin_fault(swarm: &mut Swarm, kinds: &[Kind], begun: Instant, random: &mut StdRng) {
    let free: Vec<usize> = swarm.free();
    let Some(&at) = free.choose(random) else { return };
    let Some(&kind) = kinds.choose(random) else { return };
    let hold = kind.hold(random);
    let target: &mut Target = &mut swarm.targets[at];
    if let Err(refused) = target.begin(kind, hold, begun.elapsed()) {
        // Mostly it has just ended, or is being replaced by somebody else.
        note!("{} is left alone: {refused}", target.instance);
    }
}

/// Looks at everybody, does what is due, and tells of the faults that are over.
fn step(swarm: &mut Swarm, args: &Args, report: &mut Report, out: &mut Output) -> Result<()> {
    for fault in swarm.step(args.patience) {
        if !args.json {
            fault.write_line(out)?;
        }
        report.add_fault(fault);
    }
    Ok(())
}

/// What ends it early.
struct Ends([Signal; 3]);

impl Ends {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("can't listen for signals");
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    /// Waits a tick; true if it is to end.
    async fn pause(&mut self) -> bool {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            () = sleep(TICK) => false,
            _ = interrupt.recv() => true,
            _ = terminate.recv() => true,
            _ = hangup.recv() => true,
        }
    }
}
