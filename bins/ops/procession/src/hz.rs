//! `procession hz`: how often things are said.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use procession::names::Instance;
use procession::{Item, Level, Reader, Start};
use serde::Serialize;

use crate::home::Home;
use crate::output::Output;
use crate::pattern::Pattern;
use crate::table::{Align, Table};

/// Show how many records a second each topic has, again and again until Ctrl-C.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// PROCESS/TOPIC, PROCESS/* or */TOPIC.
    #[arg(required = true, value_name = "PROCESS/TOPIC")]
    patterns: Vec<Pattern>,
    /// The time that records are counted over.
    #[arg(long, default_value = "1s", value_parser = crate::parse_duration)]
    window: Duration,
    /// End after so many windows.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after one window.
    #[arg(long, conflicts_with = "count")]
    once: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Rate<'a> {
    journal: &'a str,
    topic: &'a str,
    records: u64,
    seconds: f64,
    records_per_second: f64,
    gaps: u64,
}

/// What is counted of one journal.
struct Counted {
    reader: Reader,
    /// By topic; those that were heard once stay.
    records: BTreeMap<String, u64>,
    gaps: u64,
}

/// Runs `procession hz`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    if args.window.is_zero() {
        bail!("a window of no time has no rate: --window 1s");
    }
    let mut meter = Meter { home: Home::find()?, patterns: &args.patterns, journals: BTreeMap::new() };
    meter.open(Start::End)?;
    let windows = if args.once { 1 } else { args.count.unwrap_or(u64::MAX) };
    let mut lines = 0;
    let mut began = Instant::now();
    for _ in 0..windows {
        thread::sleep((began + args.window).saturating_duration_since(Instant::now()));
        // What has appeared since then is new from its beginning.
        meter.open(Start::Beginning)?;
        meter.count()?;
        let now = Instant::now();
        let seconds = (now - began).as_secs_f64();
        began = now;
        if args.json {
            meter.rates(seconds).try_for_each(|rate| out.json(&rate))?;
        } else {
            lines = show(meter.rates(seconds), lines, out)?;
        }
        out.flush()?;
        if out.is_abandoned() {
            break;
        }
        meter.reset();
    }
    Ok(ExitCode::SUCCESS)
}

struct Meter<'a> {
    home: Home,
    patterns: &'a [Pattern],
    journals: BTreeMap<Instance, Counted>,
}

impl Meter<'_> {
    fn open(&mut self, start: Start) -> Result<()> {
        for instance in self.home.instances()? {
            let mut meant =
                self.patterns.iter().filter(|pattern| pattern.takes_instance(&instance)).peekable();
            if meant.peek().is_none() || self.journals.contains_key(&instance) {
                continue;
            }
            let Some(reader) = Reader::open(&self.home.folder(&instance), start, Level::Committed)? else {
                continue;
            };
            // A topic that is named has a rate, be it 0.
            let named = meant.filter(|pattern| pattern.process().is_some()).filter_map(Pattern::topic);
            let records = named.map(|topic| (topic.to_owned(), 0)).collect();
            self.journals.insert(instance, Counted { reader, records, gaps: 0 });
        }
        Ok(())
    }

    fn count(&mut self) -> Result<()> {
        for (instance, counted) in &mut self.journals {
            let patterns = self.patterns.iter().filter(|pattern| pattern.takes_instance(instance));
            counted.count(&patterns.collect::<Vec<_>>())?;
        }
        Ok(())
    }

    fn reset(&mut self) {
        for counted in self.journals.values_mut() {
            counted.records.values_mut().for_each(|records| *records = 0);
            counted.gaps = 0;
        }
    }

    fn rates(&self, seconds: f64) -> impl Iterator<Item = Rate<'_>> {
        self.journals.iter().flat_map(move |(instance, counted)| {
            counted.records.iter().map(move |(topic, records)| {
                #[expect(clippy::cast_precision_loss, reason = "a rate is shown with few digits")]
                let records_per_second = *records as f64 / seconds;
                let (journal, records, gaps) = (instance.as_str(), *records, counted.gaps);
                Rate { journal, topic, records, seconds, records_per_second, gaps }
            })
        })
    }
}

impl Counted {
    fn count(&mut self, patterns: &[&Pattern]) -> Result<()> {
        // Up to where the journal ends now: a fast publisher must not keep us from saying anything.
        let end = self.reader.marks()?.trusted();
        while self.reader.position().next < end
            && let Some(item) = self.reader.next()?
        {
            match item {
                Item::Gap(_) => self.gaps += 1,
                Item::Record(record) => match self.records.get_mut(record.topic) {
                    Some(records) => *records += 1,
                    None if patterns.iter().any(|pattern| pattern.takes_topic(record.topic)) => {
                        self.records.insert(record.topic.to_owned(), 1);
                    }
                    None => {}
                },
            }
        }
        Ok(())
    }
}

/// Writes the table over the last one, which had so many lines; returns how many it has.
fn show<'a>(rates: impl Iterator<Item = Rate<'a>>, lines: usize, out: &mut Output) -> Result<usize> {
    let columns = [("PROCESS", Align::Left), ("TOPIC", Align::Left), ("RECORDS/S", Align::Right)];
    let mut table = Table::new(columns);
    for rate in rates {
        table.row([rate.journal.into(), rate.topic.into(), format!("{:.1}", rate.records_per_second).into()]);
    }
    if out.is_terminal() && lines > 0 {
        // Up by so many lines, and clear what is below.
        write!(out, "\x1b[{lines}A\x1b[J")?;
    }
    table.write(out)?;
    Ok(table.len() + 1)
}
