//! What is said of a session.

use contracts::checkout::{Mismatch, MismatchWithdrawn, WeightOk};
use procession::Event;
use procession::ordering::{Compensate, Effect, Heard, Output};
use serde::Serialize;

/// A conclusion about a session's weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Finding {
    Mismatch(Mismatch),
    /// Never concluded: what undoes a mismatch.
    Withdrawn(MismatchWithdrawn),
    Ok(WeightOk),
}

impl Output for Finding {
    const TOPICS: &'static [&'static str] = &[Mismatch::TOPIC, MismatchWithdrawn::TOPIC, WeightOk::TOPIC];

    fn topic(&self) -> &'static str {
        match self {
            Finding::Mismatch(_) => Mismatch::TOPIC,
            Finding::Withdrawn(_) => MismatchWithdrawn::TOPIC,
            Finding::Ok(_) => WeightOk::TOPIC,
        }
    }

    fn read(said: &Heard<'_>) -> Result<Self, String> {
        match said.topic {
            Mismatch::TOPIC => said.decode().map(Finding::Mismatch),
            MismatchWithdrawn::TOPIC => said.decode().map(Finding::Withdrawn),
            _ => said.decode().map(Finding::Ok),
        }
    }
}

impl Compensate for Finding {
    fn compensation(&self) -> Option<Self> {
        let Finding::Mismatch(mismatch) = self else { return None };
        let Mismatch { session, at, expected_grams, measured_grams } = mismatch.clone();
        Some(Finding::Withdrawn(MismatchWithdrawn { session, at, expected_grams, measured_grams }))
    }

    /// Somebody may be called to the lane for a mismatch, and sent away again.
    fn effect(&self) -> Effect {
        match self {
            Finding::Mismatch(_) => Effect::Compensable,
            Finding::Withdrawn(_) | Finding::Ok(_) => Effect::Pure,
        }
    }
}
