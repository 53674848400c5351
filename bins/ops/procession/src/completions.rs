//! `procession completions`: scripts with which a shell completes command lines.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap_complete::Shell;

use crate::output::Output;

/// Print the completion script for a shell.
///
/// For example: procession completions bash > ~/.local/share/bash-completion/completions/procession
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

/// Runs `procession completions`.
pub(crate) fn run(args: &Args, mut command: clap::Command, out: &mut Output) -> Result<ExitCode> {
    // Not into the output itself: the generator panics when a write fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "procession", &mut script);
    out.write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
