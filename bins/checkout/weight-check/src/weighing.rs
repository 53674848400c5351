//! The model: what basket and scale come to, and when a difference between them means something.
//!
//! A customer holds an item before the scanner and *then* puts it in the bag. So what the basket says can only make a
//! difference go away; there is one when the scale has come to rest with something else on it than was scanned until
//! then, or when the customer wants to pay. That needs no clock: it follows from the times of the events.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use contracts::checkout::{At, Judgement, Mismatch, Verdict, WeightOk};
use procession::ordering::{EventTime, Model, Outputs};
use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::observation::{Observation, What};

/// A model begins as its default, and gets its inputs and nothing else; so this is the same for all of them.
static TOLERANCE_GRAMS: OnceLock<u32> = OnceLock::new();

/// By so much scale and basket may differ. Can be set once, before anything is judged.
pub(crate) fn set_tolerance(grams: u32) {
    // Twice would be a mistake; the first one stays.
    let _ = TOLERANCE_GRAMS.set(grams);
}

/// The weights of one session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Weighing {
    /// The basket's lines, and what they weigh.
    lines: BTreeMap<u32, i64>,
    expected_grams: i64,
    measured_grams: i64,
    /// What was concluded last, and when.
    found: Option<Found>,
    ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    at: At,
    judgement: Judgement,
    expected_grams: i64,
    measured_grams: i64,
}

impl Weighing {
    /// As things stand; not yet with the time up to which it is final.
    pub(crate) fn verdict(&self) -> Verdict {
        Verdict {
            judgement: self.found.map(|found| found.judgement).unwrap_or_default(),
            at: self.found.map(|found| found.at),
            expected_grams: self.expected_grams,
            measured_grams: self.measured_grams,
            settled: None,
        }
    }

    /// Takes in what happened; whether a difference means something now.
    fn take(&mut self, what: What) -> bool {
        match what {
            What::Added { line, grams } => {
                if self.lines.insert(line, grams).is_none() {
                    self.expected_grams += grams;
                }
                false
            }
            What::Removed { line } => {
                self.expected_grams -= self.lines.remove(&line).unwrap_or(0);
                false
            }
            What::Weighed { grams } => {
                self.measured_grams = grams;
                true
            }
            What::Closed { grams } => {
                // The basket knows best, should one of its events have been too late for us.
                self.expected_grams = grams;
                true
            }
            What::Reopened => false,
            What::Ended => {
                self.ended = true;
                false
            }
        }
    }

    fn judge(&self) -> Judgement {
        let tolerance = TOLERANCE_GRAMS.get().copied().unwrap_or(0);
        let differs = self.expected_grams.abs_diff(self.measured_grams) > u64::from(tolerance);
        if differs { Judgement::Mismatch } else { Judgement::Ok }
    }
}

impl Model for Weighing {
    type Input = Observation;
    type Output = Finding;

    fn apply(&mut self, at: EventTime, input: &Observation, out: &mut Outputs<Finding>) {
        let at_rest = self.take(input.what);
        let (expected_grams, measured_grams) = (self.expected_grams, self.measured_grams);
        let found = Found { at, judgement: self.judge(), expected_grams, measured_grams };
        let is_said = self.found.is_some_and(|said| match found.judgement {
            Judgement::Mismatch => Found { at, ..said } == found,
            judgement => said.judgement == judgement,
        });
        let waits = found.judgement == Judgement::Mismatch && !at_rest;
        if self.ended || is_said || waits {
            return;
        }
        self.found = Some(found);
        let session = input.session.clone();
        out.say(match found.judgement {
            Judgement::Mismatch => {
                Finding::Mismatch(Mismatch { session, at, expected_grams, measured_grams })
            }
            _ => Finding::Ok(WeightOk { session, at, expected_grams, measured_grams }),
        });
    }

    fn is_over(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests;
