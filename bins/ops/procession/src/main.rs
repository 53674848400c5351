//! The command line: see, follow, publish, check and measure processes.

#![warn(clippy::print_stdout, clippy::print_stderr)]

// Above all modules, because they use it.
/// Says something to whoever reads standard error, as `eprintln!` does, which would panic where nothing can be said.
macro_rules! note {
    ($($words:tt)*) => { $crate::report::note(format_args!($($words)*)) };
}

mod asking;
mod bench;
mod call;
mod chaos;
mod completions;
mod dead_letters;
mod deploy;
mod doctor;
mod explain;
mod health;
mod home;
mod hz;
mod lag;
mod man;
mod new;
mod output;
mod past;
mod pattern;
mod ps;
mod publish;
mod report;
mod said;
mod socket;
mod subscriptions;
mod table;
mod tail;
mod text;
mod topics;
mod verify;
mod wait;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{CommandFactory as _, Parser};

use crate::output::Output;

/// See, follow, publish, check and measure processes.
///
/// Processes are found by PROCESSION_STATE and PROCESSION_RUNTIME, otherwise in .procession/ beside the nearest
/// process-compose.yaml. Data goes to standard output, messages to standard error; --json gives one object a
/// line. Exit codes: 0 done, 1 failed, 2 wrong usage, 75 it runs and can't do its work for now (health), 78 wrong
/// configuration.
#[derive(Debug, Parser)]
#[command(name = "procession", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Ps(ps::Args),
    Topics(topics::Args),
    Tail(tail::Args),
    Explain(explain::Args),
    DeadLetters(dead_letters::Args),
    Subscriptions(subscriptions::Args),
    Publish(publish::Args),
    Hz(hz::Args),
    Lag(lag::Args),
    Call(call::Args),
    Health(health::Args),
    Wait(wait::Args),
    Verify(verify::Args),
    Doctor(doctor::Args),
    Chaos(chaos::Args),
    Bench(bench::BenchArgs),
    New(new::Args),
    Deploy(deploy::Args),
    Completions(completions::Args),
    Man(man::Args),
}

fn main() -> ExitCode {
    // A benchmark's processes are this program under other names.
    if let Some(code) = std::env::args_os().next().and_then(|name| bench::run_as_member(name.to_str()?)) {
        return code;
    }
    run(Cli::parse().command).unwrap_or_else(|error| report::end(&error))
}

fn run(command: Command) -> Result<ExitCode> {
    let mut out = Output::open()?;
    let done = match command {
        Command::Ps(args) => ps::run(&args, &mut out),
        Command::Topics(args) => topics::run(&args, &mut out),
        Command::Tail(args) => tail::run(args, &mut out),
        Command::DeadLetters(args) => dead_letters::run(&args, &mut out),
        Command::Subscriptions(args) => subscriptions::run(&args, &mut out),
        Command::Explain(args) => explain::run(&args, &mut out),
        Command::Publish(args) => publish::run(&args, &mut out),
        Command::Hz(args) => hz::run(&args, &mut out),
        Command::Lag(args) => lag::run(&args, &mut out),
        Command::Call(args) => call::run(&args, &mut out),
        Command::Health(args) => health::run(&args, &mut out),
        Command::Wait(args) => wait::run(&args, &mut out),
        Command::Verify(args) => verify::run(&args, &mut out),
        Command::Doctor(args) => doctor::run(&args, &mut out),
        Command::Chaos(args) => chaos::run(&args, &mut out),
        Command::Bench(args) => bench::run(args),
        Command::New(args) => new::run(&args, &mut out),
        Command::Deploy(args) => deploy::run(&args, &mut out),
        Command::Completions(args) => completions::run(&args, Cli::command(), &mut out),
        Command::Man(args) => man::run(&args, Cli::command(), &mut out),
    };
    // What was found before a failure is told all the same.
    let flushed = out.flush();
    let code = done?;
    flushed?;
    Ok(code)
}

/// A duration on the command line: `300ms`, `1s`, `5min`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; for example 300ms, 5s or 2min"))
}
