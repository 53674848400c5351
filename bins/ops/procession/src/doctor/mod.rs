//! `procession doctor`: what keeps processes from working here, and how to mend it.

mod folders;
mod instances;
mod lives;
mod machine;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use procession::exit::Exit;
use serde::Serialize;

use crate::home::Home;
use crate::output::{Colour, Output};
use crate::text;

/// Look for what keeps processes from working here, and say how to mend it; exit code 1 if something does: a process that
/// has run here and doesn't now is a finding, too.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// It works, and may not for long.
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do about it.
    mend: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), mend: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, found: found.into(), mend: Some(mend.into()) }
    }

    fn fail(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, found: found.into(), mend: Some(mend.into()) }
    }
}

/// Runs `procession doctor`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    let home = Home::find()?;
    let mut findings = vec![machine::versions()];
    findings.extend(folders::state(&home));
    findings.push(folders::runtime(&home));
    findings.push(folders::socket_paths(&home));
    findings.extend(folders::configuration(&home));
    findings.extend(machine::limits());
    findings.extend(instances::sockets(&home));
    findings.extend(instances::journals(&home));
    findings.extend(instances::processes(&home)?);
    findings.extend(instances::letters(&home));
    for finding in &findings {
        if args.json {
            out.json(finding)?;
        } else {
            write(finding, out)?;
        }
    }
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    Ok(if failed { Exit::Failed } else { Exit::Done }.into())
}

fn write(Finding { check, verdict, found, mend }: &Finding, out: &mut Output) -> Result<()> {
    let (word, colour) = match verdict {
        Verdict::Ok => ("ok  ", Colour::Good),
        Verdict::Warn => ("warn", Colour::Uncertain),
        Verdict::Fail => ("fail", Colour::Bad),
    };
    writeln!(out, "{}  {check}: {}", out.paint(colour, word), text::escape(found))?;
    if let Some(mend) = mend {
        writeln!(out, "      try: {}", text::escape(mend))?;
    }
    Ok(())
}
