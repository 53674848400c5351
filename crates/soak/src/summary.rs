//! What a soak has shown: for people, and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::Args;
use crate::check::Checker;
use crate::figure::FIGURES;
use crate::run::Kill;
use crate::sampler::Sample;
use crate::statistics::Trend;
use crate::swarm::INSTANCES;

/// This part of the time is left out of comparisons: journals fill up to what they keep.
const WARM_UP: f64 = 0.1;

#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    verdict: &'static str,
    pub(crate) seconds: f64,
    pub(crate) warm_up_seconds: f64,
    items_per_second: u32,
    records: u64,
    kills: BTreeMap<&'static str, u64>,
    faults_count: u64,
    /// The first ones.
    faults: Vec<String>,
    figures: Vec<Row>,
}

/// One figure of one process.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    process: &'static str,
    figure: &'static str,
    unit: &'static str,
    first_quarter: f64,
    last_quarter: f64,
    max: f64,
    slope_per_hour: f64,
    /// It may grow, for it follows the load.
    watched: bool,
    grows: bool,
}

impl Summary {
    pub(crate) fn new(
        args: &Args,
        time: Duration,
        samples: &[Sample],
        kills: &[Kill],
        checker: &Checker,
    ) -> Self {
        let seconds = time.as_secs_f64();
        let warm_up_seconds = seconds * WARM_UP;
        let figures = rows(args, samples, warm_up_seconds);
        let faults_count = checker.faults_count;
        let mut counts = BTreeMap::new();
        for kill in kills {
            *counts.entry(kill.instance).or_insert(0) += 1;
        }
        let grows = figures.iter().any(|row| row.grows);
        let verdict = match (faults_count, grows) {
            (0, false) => "flat, nothing lost",
            (0, true) => "something grows",
            (_, false) => "something was lost or repeated",
            (_, true) => "something grows, and something was lost or repeated",
        };
        Self {
            verdict,
            seconds,
            warm_up_seconds,
            items_per_second: args.rate,
            records: checker.records(),
            kills: counts,
            faults_count,
            faults: checker.faults().to_vec(),
            figures,
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.faults_count == 0 && !self.figures.iter().any(|row| row.grows)
    }

    /// The verdict with its numbers in one line.
    pub(crate) fn headline(&self) -> String {
        let kills: u64 = self.kills.values().sum();
        format!(
            "{}: {:.0} s at {} items/s, {} records, {kills} kills, {} faults",
            self.verdict, self.seconds, self.items_per_second, self.records, self.faults_count
        )
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::write(folder.join("summary.txt"), self.to_string())?;
        fs::write(folder.join("summary.json"), serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

fn rows(args: &Args, samples: &[Sample], warm_up: f64) -> Vec<Row> {
    let segment_mib = args.segment_mib();
    let mut rows = Vec::new();
    for (at, process) in INSTANCES.into_iter().enumerate() {
        for figure in FIGURES {
            let values = samples.iter().filter(|sample| sample.at >= warm_up);
            let values: Vec<_> = values
                .filter_map(|sample| Some((sample.at, sample.processes[at][figure as usize]?)))
                .collect();
            let Some(trend) = Trend::of(&values) else { continue };
            let allowance = figure.allowance(segment_mib, f64::from(args.rate));
            rows.push(Row {
                process,
                figure: figure.column(),
                unit: figure.unit(),
                first_quarter: trend.first,
                last_quarter: trend.last,
                max: trend.max,
                slope_per_hour: trend.slope_per_hour,
                watched: figure.must_be_flat(),
                grows: figure.must_be_flat() && trend.grows(allowance),
            });
        }
    }
    rows
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        for (instance, kills) in &self.kills {
            writeln!(f, "  {instance} was killed {kills} times; the first of its kind lived throughout")?;
        }
        for fault in &self.faults {
            writeln!(f, "  FAULT {fault}")?;
        }
        writeln!(
            f,
            "medians of the first and the last quarter after {:.0} s of warm-up:",
            self.warm_up_seconds
        )?;
        writeln!(
            f,
            "{:<9} {:<18} {:>12} {:>12} {:>12} {:>13}  verdict",
            "process", "figure", "first", "last", "max", "slope/h"
        )?;
        for row in &self.figures {
            let Row { process, figure, first_quarter, last_quarter, max, slope_per_hour, .. } = row;
            let verdict = match (row.watched, row.grows) {
                (_, true) => "GROWS",
                (true, false) => "flat",
                (false, false) => "-",
            };
            writeln!(
                f,
                "{process:<9} {figure:<18} {first_quarter:>12.2} {last_quarter:>12.2} {max:>12.2} {slope_per_hour:>+13.2}  {verdict}"
            )?;
        }
        Ok(())
    }
}
