//! Counts all that both transformers say, and says how far it is, in one batch with the acknowledgements.

use procession::{Delivery, Event, Heard, NoSettings, Process, Result};
use serde::{Deserialize, Serialize};

use super::Passed;

/// Deliveries that are acknowledged together.
const BATCH: usize = 64;
const CHECKPOINT: &str = "tally";

/// How many were counted of each transformer and source, and how many of them were not the one expected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) left: [u64; 2],
    pub(crate) right: [u64; 2],
    pub(crate) wrong: u64,
}

impl Event for Tally {
    const TOPIC: &'static str = "tally";
}

impl Tally {
    fn count(&mut self, delivery: &Delivery<Passed>) {
        let expected = if delivery.journal() == "left" { &mut self.left } else { &mut self.right };
        let Some(next) = expected.get_mut(usize::from(delivery.event.source).wrapping_sub(1)) else {
            self.wrong += 1;
            return;
        };
        let number = delivery.event.number;
        if number != *next {
            tracing::error!(journal = delivery.journal(), number, expected = *next, "not the one expected");
            self.wrong += 1;
        }
        *next = number + 1;
    }
}

pub(super) async fn run(process: Process<NoSettings>) -> Result<()> {
    let mut arrivals = process.subscribe::<Passed>(["left", "right"]).named("arrivals").await?;
    let mut tally: Tally = process.checkpoint(CHECKPOINT)?.unwrap_or_default();
    let mut taken = Vec::with_capacity(BATCH);
    while let Some(heard) = arrivals.hear().await? {
        let mut next = Some(heard);
        while let Some(heard) = next {
            match heard {
                Heard::Delivery(delivery) => {
                    tally.count(&delivery);
                    taken.push(delivery);
                }
                Heard::Missing(missing) => {
                    tracing::error!(?missing, "records are missing");
                    tally.wrong += 1;
                }
            }
            next = if taken.len() < BATCH { arrivals.try_hear()? } else { None };
        }
        let mut batch = process.batch();
        batch.add(&tally)?.checkpoint(CHECKPOINT, &tally)?;
        for delivery in taken.drain(..) {
            batch.ack(&delivery);
        }
        batch.commit()?;
    }
    Ok(())
}
