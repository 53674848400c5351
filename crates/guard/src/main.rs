//! The guard: counts the instructions of what processes do most often, and holds them against a record.
//!
//! Times differ by a third from hour to hour; instructions don't. Each work of [`works`] runs under callgrind in
//! a process of its own, once and then twice as often: the difference is what doing it takes. `record.txt` beside this
//! crate holds the counts to compare with, and what they depend on; `just bench-guard --record` writes it anew.

mod callgrind;
mod machine;
mod record;
mod works;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum as _};

use crate::machine::Machine;
use crate::record::{Counts, Record, Verdict};
use crate::works::Work;

/// Counts instructions, and compares them with the record
#[derive(Debug, Parser)]
#[command(name = "guard")]
struct Arguments {
    /// Write the record anew; what of it these works are, if some are given
    #[arg(long)]
    record: bool,
    /// The record
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/record.txt"))]
    file: PathBuf,
    /// Only these works; all by default
    #[arg(value_name = "WORK")]
    works: Vec<Work>,
}

fn main() -> ExitCode {
    // What is counted is this executable, too.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "run") {
        return procession::run(works::NAME, works::work);
    }
    match guard(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("guard: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn guard(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let machine = match Machine::find() {
        Ok(machine) => machine,
        Err(reason) => return Ok(leave_out(&reason)),
    };
    if arguments.record {
        let counted = count(arguments, |_, _| {})?;
        // What is not counted now stays as it is, if it was counted on the same machine.
        let before = Record::read(&arguments.file).ok().filter(|before| before.machine == machine);
        let mut counts = before.map_or_else(Counts::new, |before| before.counts);
        if arguments.works.is_empty() {
            counts.clear();
        }
        counts.extend(counted);
        Record { machine, counts }.write(&arguments.file)?;
        println!("recorded in {}", arguments.file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let record = Record::read(&arguments.file)?;
    if let Some(reason) = record.machine.differs_from(&machine) {
        return Ok(leave_out(&reason));
    }
    let mut worst = Verdict::Same;
    count(arguments, |work, counted| {
        let verdict = record.judge(work, counted);
        println!("{}", record.line(work, counted, verdict));
        worst = worst.max(verdict);
    })?;
    let advice = worst.advice();
    if !advice.is_empty() {
        eprintln!("guard: {advice}");
    }
    Ok(if worst == Verdict::Worse { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Not a failure, but never silent.
fn leave_out(reason: &str) -> ExitCode {
    eprintln!("guard: LEFT OUT, no instruction was counted: {reason}");
    ExitCode::SUCCESS
}

fn count(arguments: &Arguments, mut tell: impl FnMut(&str, f64)) -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    let works = if arguments.works.is_empty() { Work::value_variants() } else { &arguments.works[..] };
    for work in works {
        let counted = callgrind::count(*work)?;
        tell(&work.name(), counted);
        counts.insert(work.name(), counted);
    }
    Ok(counts)
}
