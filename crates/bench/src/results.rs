//! All that was measured, as it is written to `results.json`.

use serde::{Deserialize, Serialize};

use crate::contender::Promises;
use crate::machine::Machine;
use crate::plan::Amount;
use crate::stats::Spread;
use crate::work::{Measured, Work, as_float};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Results {
    /// When it began.
    pub(crate) taken: String,
    pub(crate) command: String,
    pub(crate) machine: Machine,
    pub(crate) amount: Amount,
    pub(crate) contenders: Vec<Entrant>,
    pub(crate) cells: Vec<Cell>,
}

/// One contender, and whether it took part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entrant {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    /// Why it could not be measured.
    pub(crate) skipped: Option<String>,
    pub(crate) promises: Promises,
}

/// One contender at one piece of work, in all rounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) contender: String,
    pub(crate) work: Work,
    /// Messages published in each round.
    pub(crate) messages: u64,
    pub(crate) runs: Vec<Measured>,
    /// What went wrong in runs that did not come to their end.
    pub(crate) failed: Vec<String>,
    pub(crate) summary: Option<Summary>,
}

/// The rounds together.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) messages_per_second: Spread,
    pub(crate) gigabytes_per_second: Spread,
    pub(crate) cpu_seconds_per_million: Spread,
    pub(crate) latency_us: Option<LatencySpread>,
    /// Every message of every round came once, in order, whole.
    pub(crate) whole: bool,
    /// Of all messages of all rounds and subscribers.
    pub(crate) lost_share: f64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct LatencySpread {
    pub(crate) p50: Spread,
    pub(crate) p99: Spread,
    pub(crate) p999: Spread,
}

impl Cell {
    pub(crate) const fn new(contender: String, work: Work, messages: u64) -> Self {
        Self { contender, work, messages, runs: Vec::new(), failed: Vec::new(), summary: None }
    }

    /// Works out the summary of the rounds so far.
    pub(crate) fn sum_up(&mut self) {
        self.summary = self.summed_up();
    }

    fn summed_up(&self) -> Option<Summary> {
        let spread = |of: &dyn Fn(&Measured) -> f64| Spread::of(self.runs.iter().map(of));
        let messages_per_second = spread(&|run| run.messages_per_second)?;
        let cpu_ns = spread(&|run| run.cpu_ns_per_message)?;
        let latency = |of: fn(&crate::work::Percentiles) -> f64| {
            Spread::of(self.runs.iter().filter_map(|run| run.latency_us.as_ref().map(of)))
        };
        let latency_us = match (latency(|at| at.p50), latency(|at| at.p99), latency(|at| at.p999)) {
            (Some(p50), Some(p99), Some(p999)) => Some(LatencySpread { p50, p99, p999 }),
            _ => None,
        };
        let lost = self.runs.iter().map(|run| run.lost).sum::<u64>();
        let expected =
            self.runs.iter().map(|run| run.messages).sum::<u64>() * u64::from(self.work.subscribers().max(1));
        let bytes = f64::from(self.work.payload());
        Some(Summary {
            messages_per_second,
            gigabytes_per_second: messages_per_second.map(|rate| rate * bytes / 1e9),
            cpu_seconds_per_million: cpu_ns.map(|nanoseconds| nanoseconds / 1e3),
            latency_us,
            whole: self.runs.iter().all(Measured::is_whole),
            lost_share: as_float(lost) / as_float(expected.max(1)),
        })
    }
}

impl Results {
    pub(crate) fn cell(&self, contender: &str, work: Work) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.contender == contender && cell.work == work)
    }

    /// Those that took part, in the order of the report.
    pub(crate) fn present(&self) -> impl Iterator<Item = &Entrant> {
        self.contenders.iter().filter(|entrant| entrant.skipped.is_none())
    }
}
