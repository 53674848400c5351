//! The soak: constant load with restarts, for minutes or days, and whether anything grows or is lost.
//!
//! ```text
//! source@1 ─┬─ left  ─┬─ sink@1
//! source@2 ─┴─ right ─┴─ sink@2
//! ```
//!
//! Two sources say items at a fixed rate, two transformers say each again and acknowledge it with what they say, and
//! each of two sinks counts all of both. Of each kind one process is killed again and again with SIGKILL and started
//! anew; the other lives from beginning to end, so that what grows slowly shows. Retention drops old segments all
//! the while. A checker reads along in every journal and misses no record that is missing.
//!
//! Once a second the memory, descriptors, threads, processor time, disk, throughput and lag of each process are
//! written to `samples.csv`. At the end the last quarter of each figure is compared with the first after the warm-up:
//! `summary.txt`, `summary.json` and `soak.svg`. Exit code 0 only if all of it is flat and nothing was lost.

mod check;
mod figure;
mod member;
mod plot;
mod proc_fs;
mod run;
mod sampler;
mod statistics;
mod summary;
mod swarm;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Keep a small swarm under constant load and kill parts of it; exit code 0 if nothing grows and nothing is lost.
#[derive(Debug, Parser)]
#[command(name = "soak", version)]
struct Args {
    /// How long, start and end not counted.
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    time: Duration,
    /// Items a second, both sources together; each is said three times and heard six times.
    #[arg(long, default_value_t = 20_000)]
    rate: u32,
    /// Time between two kills; 0s for none.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_duration)]
    kill_every: Duration,
    /// Time between two samples.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    sample_every: Duration,
    /// Size of each segment in KiB.
    #[arg(long, default_value_t = 2048)]
    segment_kib: u32,
    /// KiB that each journal keeps once everybody has read them.
    #[arg(long, default_value_t = 64 << 10)]
    keep_kib: u32,
    /// Folder for the report.
    #[arg(long, default_value = "target/soak")]
    out: PathBuf,
    /// Folder for the journals, which are removed afterwards [default: a new one in /tmp].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The seed of whom to kill; otherwise a new one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Do wrong on purpose, to see that it is noticed.
    #[arg(long, value_enum, default_value_t)]
    sabotage: Sabotage,
}

/// What is done wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Sabotage {
    #[default]
    None,
    /// A transformer keeps memory with each item.
    Leak,
    /// A transformer leaves an item out now and then.
    Skip,
}

impl Args {
    fn segment_mib(&self) -> f64 {
        f64::from(self.segment_kib) / 1024.0
    }
}

fn main() -> ExitCode {
    // The members are this program under other names.
    if let Some(code) = std::env::args_os().next().and_then(|name| member::run(name.to_str()?)) {
        return code;
    }
    match run::soak(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; for example 30s, 10m or 1h"))
}
