//! What is heard of a session.

use std::borrow::Cow;

use contracts::checkout::{
    At, BasketClosed, BasketReopened, ItemAdded, ItemRemoved, SessionEnded, WeightChanged,
};
use procession::Event;
use procession::ordering::{EventTime, Heard, Input};

/// Something that happened in a session. It is kept until it is final, so it has only what is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) session: String,
    pub(crate) at: At,
    pub(crate) what: What,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// This line is in the basket, and weighs so much.
    Added { line: u32, grams: i64 },
    /// It is not any more.
    Removed { line: u32 },
    /// The customer wants to pay a basket that weighs so much.
    Closed { grams: i64 },
    /// The customer goes on after all.
    Reopened,
    /// So much lies on the scale.
    Weighed { grams: i64 },
    /// The basket has forgotten the session.
    Ended,
}

impl Input for Observation {
    fn take(heard: &Heard<'_>) -> Result<Self, String> {
        let (session, at, what) = match heard.topic {
            ItemAdded::TOPIC => {
                let ItemAdded { session, at, line, grams, .. } = heard.decode()?;
                (session, at, What::Added { line, grams })
            }
            ItemRemoved::TOPIC => {
                let ItemRemoved { session, at, line, .. } = heard.decode()?;
                (session, at, What::Removed { line })
            }
            BasketClosed::TOPIC => {
                let BasketClosed { session, at, grams, .. } = heard.decode()?;
                (session, at, What::Closed { grams })
            }
            BasketReopened::TOPIC => {
                let BasketReopened { session, at, .. } = heard.decode()?;
                (session, at, What::Reopened)
            }
            WeightChanged::TOPIC => {
                let WeightChanged { session, at, grams, .. } = heard.decode()?;
                (session, at, What::Weighed { grams })
            }
            SessionEnded::TOPIC => {
                let SessionEnded { session, at } = heard.decode()?;
                (session, at, What::Ended)
            }
            topic => return Err(format!("nothing is known of a topic {topic:?}")),
        };
        Ok(Observation { session, at, what })
    }

    fn key(&self) -> Cow<'_, [u8]> {
        self.session.as_bytes().into()
    }

    fn at(&self) -> Option<EventTime> {
        Some(self.at)
    }
}
