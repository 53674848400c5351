//! `procession man`: the manual, one page for each verb.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap_mangen::Man;

use crate::output::Output;

/// Print the manual page, or write all of them into a folder.
///
/// To read it: procession man | man -l -
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write procession.1, procession-ps.1 and so on there.
    dir: Option<PathBuf>,
}

/// Runs `procession man`.
pub(crate) fn run(args: &Args, mut command: clap::Command, out: &mut Output) -> Result<ExitCode> {
    command = command.disable_help_subcommand(true);
    command.build();
    let Some(folder) = &args.dir else {
        out.write_all(&page(command)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    fs::create_dir_all(folder).with_context(|| format!("can't create {}", folder.display()))?;
    let mut pages = vec![command];
    while let Some(command) = pages.pop() {
        // The name that it is called by: `procession deploy generate`.
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        pages.extend(command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned());
        let path = folder.join(format!("{name}.1"));
        fs::write(&path, page(command)?).with_context(|| format!("can't write {}", path.display()))?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn page(command: clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).manual("Procession").render(&mut page)?;
    Ok(page)
}
