//! Side-by-side benchmarks: the same work by Procession and by what people would pick instead.
//!
//! `bench run` measures Procession and the floors, `bench run --peers` the other systems, too. Each run of each
//! contender is made of real processes: a publisher, subscribers, and a server where it needs one. They are this
//! executable under its hidden command `member`, except for Procession itself (`procession bench`) and node-ipc.

mod clock;
mod contender;
mod contenders;
mod crew;
mod machine;
mod member;
mod payload;
mod plan;
mod plot;
mod results;
mod runner;
#[cfg_attr(not(feature = "peers"), expect(dead_code, reason = "the servers belong to the peers"))]
mod server;
mod stats;
mod table;
mod work;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};

use crate::contender::{Contender, Place};
use crate::machine::Machine;
use crate::member::Part;
use crate::plan::Amount;
use crate::results::Results;
use crate::runner::Field;

/// Measures Procession beside what people would pick instead.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure, and write results.json, table.md and plots
    Run(Run),
    /// Write table.md and the plots again from results.json
    Report {
        /// The folder with results.json
        folder: PathBuf,
    },
    /// One process of a run; started by `run`
    #[command(hide = true)]
    Member { part: String },
}

#[derive(Debug, Args)]
struct Run {
    /// Measure the other systems, too; some need feature `peers` and programs that `deploy/setup bench-peers` installs
    #[arg(long)]
    peers: bool,
    /// How often everything is measured, contenders alternating
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// About how long one run takes
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// MiB that lie behind when a reader comes to catch up; at most a quarter of what is free
    #[arg(long, default_value_t = 4096)]
    catch_up: u64,
    /// Catch up with 10 GB (brokers: 4 GB)
    #[arg(long)]
    full: bool,
    /// Just so many messages in each run, whatever the contender's pace
    #[arg(long)]
    messages: Option<u64>,
    /// Only contenders with such a name
    #[arg(long, value_name = "NAME")]
    contender: Vec<String>,
    /// Only work whose description holds such a text, for example "64 B" or "latency"
    #[arg(long, value_name = "TEXT")]
    work: Vec<String>,
    /// Folder for journals, logs and stores, removed after each run [default: /var/tmp, for it is on a disk]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where results go
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(run) => run.run(),
        Command::Report { folder } => report_again(&folder),
        Command::Member { part } => return member(&part),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn member(part: &str) -> ExitCode {
    let Ok(part) = serde_json::from_str::<Part>(part) else { return ExitCode::from(2) };
    let Some(wire) = contenders::wire(&part.contender) else { return ExitCode::from(2) };
    member::run(wire.as_ref(), &part)
}

impl Run {
    fn run(&self) -> anyhow::Result<()> {
        let parent = self.dir.clone().unwrap_or_else(machine::default_place);
        let this = std::env::current_exe()?;
        let programs = this.parent().context("a file lies in a folder")?;
        let place = Place { parent: &parent, programs };
        let amount = self.amount().bounded_by(&parent);
        let plan = self.plan()?;
        let mut results = Results {
            taken: now(),
            command: self.command(),
            machine: Machine::look(&parent),
            amount: amount.clone(),
            contenders: Vec::new(),
            cells: Vec::new(),
        };
        let (field, entrants) = Field::gather(self.contenders()?, place, &amount);
        results.contenders = entrants;
        for (number, &work) in (1..).zip(&plan) {
            results.cells.extend(field.run(work, &format!("[{number}/{}]", plan.len())));
            // What is there survives an interruption.
            write(&results, &self.out)?;
        }
        println!("{}", table::markdown(&results));
        eprintln!("results.json, table.md and plots are in {}", self.out.display());
        Ok(())
    }

    fn amount(&self) -> Amount {
        let mib = if self.full { 10_000_000_000 >> 20 } else { self.catch_up };
        let peers_mib = if self.full { 4096 } else { mib.min(1024) };
        Amount {
            rounds: self.rounds,
            seconds: self.seconds,
            catch_up_bytes: mib << 20,
            catch_up_bytes_of_peers: peers_mib << 20,
            messages: self.messages,
        }
    }

    fn plan(&self) -> anyhow::Result<Vec<work::Work>> {
        let mut plan = plan::all_work();
        plan.retain(|work| {
            let text = work.to_string();
            self.work.is_empty() || self.work.iter().any(|part| text.contains(part))
        });
        if plan.is_empty() {
            let all = plan::all_work().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ");
            bail!("no such work; there is\n  {all}");
        }
        Ok(plan)
    }

    fn contenders(&self) -> anyhow::Result<Vec<Box<dyn Contender>>> {
        let mut all = contenders::own_and_floors();
        if self.peers || !self.contender.is_empty() {
            all.extend(contenders::peers());
        }
        if self.contender.is_empty() {
            return Ok(all);
        }
        all.push(contenders::stub());
        let names = all.iter().map(|one| one.name()).collect::<Vec<_>>();
        if let Some(unknown) = self.contender.iter().find(|name| !names.contains(&name.as_str())) {
            bail!("no contender `{unknown}`; there is: {}", names.join("; "));
        }
        all.retain(|one| self.contender.iter().any(|name| name == one.name()));
        Ok(all)
    }

    /// As one would type it.
    fn command(&self) -> String {
        let arguments = std::env::args()
            .skip(1)
            .map(|argument| if argument.contains(' ') { format!("'{argument}'") } else { argument });
        std::iter::once("bench".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
    }
}

fn now() -> String {
    let now = std::process::Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
    now.map_or_else(|_| "?".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn write(results: &Results, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    std::fs::write(folder.join("results.json"), serde_json::to_string_pretty(results)?)?;
    std::fs::write(folder.join("table.md"), table::markdown(results))?;
    plot::draw(results, folder)
}

fn report_again(folder: &Path) -> anyhow::Result<()> {
    let path = folder.join("results.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    write(&serde_json::from_str(&text).context("results.json is not what `bench run` writes")?, folder)
}
