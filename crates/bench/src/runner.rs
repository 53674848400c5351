//! Alternates the contenders, round by round.

use std::time::Instant;

use crate::contender::{Contender, Missing, Place};
use crate::contenders::OURS;
use crate::plan::Amount;
use crate::results::{Cell, Entrant};
use crate::table::rate;
use crate::work::{Measured, Task, Work};

/// Runs that look for a contender's pace.
const CALIBRATIONS_MAX: u32 = 4;
/// How much further the next of them goes at most.
const GROWTH_MAX: u64 = 30;

/// Those that take part.
pub(crate) struct Field<'a> {
    place: Place<'a>,
    amount: &'a Amount,
    contenders: Vec<Box<dyn Contender>>,
}

impl<'a> Field<'a> {
    /// Asks each whether it can run here.
    pub(crate) fn gather(
        all: Vec<Box<dyn Contender>>,
        place: Place<'a>,
        amount: &'a Amount,
    ) -> (Self, Vec<Entrant>) {
        let (mut contenders, mut entrants) = (Vec::new(), Vec::new());
        for contender in all {
            let (version, skipped) = match contender.version(&place) {
                Ok(version) => (Some(version), None),
                Err(Missing(reason)) => (None, Some(reason)),
            };
            if let Some(reason) = &skipped {
                eprintln!("{} is skipped: {reason}", contender.name());
            }
            let (name, promises) = (contender.name().to_owned(), contender.promises());
            entrants.push(Entrant { name, version, promises, skipped: skipped.clone() });
            if skipped.is_none() {
                contenders.push(contender);
            }
        }
        (Self { place, amount, contenders }, entrants)
    }

    /// All rounds of one piece of work.
    pub(crate) fn run(&self, work: Work, progress: &str) -> Vec<Cell> {
        let able = self.contenders.iter().filter(|one| one.offers(work)).collect::<Vec<_>>();
        let mut cells = Vec::new();
        let before = Instant::now();
        for contender in &able {
            cells.push(self.calibrate(contender.as_ref(), work));
        }
        let warm_up = before.elapsed();
        eprintln!("{progress} {work}: warmed up in {:.1} s", warm_up.as_secs_f64());
        for round in 0..self.amount.rounds {
            let mut line = Vec::new();
            for index in order(able.len(), round) {
                let (contender, cell) = (&able[index], &mut cells[index]);
                if cell.messages == 0 {
                    continue;
                }
                let task = Task { work, messages: cell.messages };
                let outcome = contender.run(&task, &self.place);
                line.push(in_words(contender.name(), work, &outcome));
                match outcome {
                    Ok(measured) => cell.runs.push(measured),
                    Err(error) => cell.failed.push(format!("{error:#}")),
                }
            }
            eprintln!("{progress} {work}: round {}/{}: {}", round + 1, self.amount.rounds, line.join(", "));
        }
        for cell in &mut cells {
            cell.sum_up();
        }
        cells
    }

    /// Finds how many messages take about the time that a run should take. What it runs also warms up.
    fn calibrate(&self, contender: &dyn Contender, work: Work) -> Cell {
        let mut messages = self.amount.first_guess(work, contender.name() == OURS);
        let mut cell = Cell::new(contender.name().to_owned(), work, messages);
        if !self.amount.is_paced(work) {
            return cell;
        }
        for _ in 0..CALIBRATIONS_MAX {
            match contender.run(&Task { work, messages }, &self.place) {
                Ok(measured) => {
                    let aim = self.amount.at_pace(work, measured.messages_per_second);
                    let is_near = measured.seconds() >= self.amount.seconds / 4.0;
                    let next = aim.min(messages.saturating_mul(GROWTH_MAX));
                    if is_near || next <= messages {
                        messages = next;
                        break;
                    }
                    messages = next;
                }
                Err(error) => {
                    eprintln!("{} fails at {work}: {error:#}", contender.name());
                    cell.failed.push(format!("{error:#}"));
                    messages = 0;
                    break;
                }
            }
        }
        cell.messages = rounded(messages, work);
        cell
    }
}

/// Waiting publishers share the messages evenly.
fn rounded(messages: u64, work: Work) -> u64 {
    match work {
        Work::Durable { waiting, .. } if messages > 0 => messages.next_multiple_of(u64::from(waiting.max(1))),
        _ => messages,
    }
}

/// Each round begins with another one, so that nobody always comes after the same neighbour's mess.
fn order(count: usize, round: u32) -> impl Iterator<Item = usize> {
    let first = usize::try_from(round).unwrap_or_default();
    (0..count).map(move |index| (index + first) % count)
}

fn in_words(name: &str, work: Work, outcome: &anyhow::Result<Measured>) -> String {
    match outcome {
        Err(error) => format!("{name} failed ({error:#})"),
        Ok(measured) => {
            let figure = match &measured.latency_us {
                Some(latency) if work.is_latency() => format!("{:.1} us", latency.p50),
                _ => format!("{}/s", rate(measured.messages_per_second)),
            };
            let loss = if measured.is_whole() { String::new() } else { format!(" (lost {})", measured.lost) };
            format!("{name} {figure}{loss}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_everybody_and_begins_with_the_next() {
        assert_eq!(order(3, 0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(order(3, 1).collect::<Vec<_>>(), [1, 2, 0]);
        assert_eq!(order(3, 5).collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!(order(0, 1).count(), 0);
    }
}
