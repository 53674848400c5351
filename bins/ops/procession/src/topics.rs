//! `procession topics`: what is being talked about.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use procession::names::Instance;
use serde::Serialize;

use crate::home::Home;
use crate::output::Output;
use crate::report::for_each;
use crate::table::{Align, Table};

/// List the topics of each process, with the number of records that are kept.
///
/// Reads the journals from end to end, which takes seconds for gigabytes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these processes or instances.
    #[arg(value_name = "PROCESS")]
    processes: Vec<Instance>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Topic<'a> {
    journal: &'a str,
    topic: &'a str,
    records: u64,
}

/// Runs `procession topics`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    let home = Home::find()?;
    let mut table = Table::new([("PROCESS", Align::Left), ("RECORDS", Align::Right), ("TOPIC", Align::Left)]);
    let done = for_each(&home.named(&args.processes)?, |instance| {
        let topics = journal::count_topics(&home.folder(instance))
            .with_context(|| format!("the journal of `{instance}` can't be read"))?;
        for (topic, records) in topics {
            if args.json {
                out.json(&Topic { journal: instance.as_str(), topic: &topic, records })?;
            } else {
                table.row([instance.into(), records.into(), topic.into()]);
            }
        }
        Ok(())
    })?;
    if !args.json {
        table.write(out)?;
    }
    Ok(done)
}
