//! Describing a subscription, and beginning it.

use std::collections::BTreeSet;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use journal::{Level, Start};
use tokio::time::Instant;

use super::breaker::Breaker;
use super::discovery::Discovery;
use super::faults::Faults;
use super::journals::Overdue;
use super::parking::Room;
use super::{Selector, Sources, Subscription, Turn};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::event::Payload;
use crate::names;

/// A subscription being described; `.await` it to begin.
#[must_use = "await it to begin"]
pub struct Subscribe<P> {
    core: Arc<Core>,
    patterns: Vec<String>,
    name: Option<String>,
    start: Start,
    level: Level,
    strict: bool,
    spin: bool,
    any_order: bool,
    keeps_diverged: bool,
    payload: PhantomData<fn() -> P>,
}

impl<P: Payload> Subscribe<P> {
    pub(crate) fn new(core: Arc<Core>, sources: impl Sources) -> Self {
        Self {
            core,
            patterns: sources.patterns(),
            name: None,
            start: Start::Beginning,
            level: Level::Committed,
            strict: false,
            spin: false,
            any_order: false,
            keeps_diverged: false,
            payload: PhantomData,
        }
    }

    /// Names the subscription: its cursors are kept under this name. Without it, one source gives the name:
    /// `broadcaster.comment`.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Where a new subscription begins; one that exists goes on where it was. The beginning by default.
    pub fn from(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// Delivers only what is safe from power loss at the publisher.
    pub fn durable(self) -> Self {
        Self { level: Level::Durable, ..self }
    }

    /// Ends with an error at a gap, instead of logging it and going on.
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Spins instead of sleeping when it has caught up: lowest latency, for a whole core.
    pub fn spinning(self) -> Self {
        Self { spin: true, ..self }
    }

    /// Deliveries may be acknowledged in any order, also with outputs ([`Process::publish_acking`]): a restart repeats
    /// only those that were not, whatever lies between them.
    ///
    /// [`Process::publish_acking`]: crate::Process::publish_acking
    pub fn in_any_order(self) -> Self {
        Self { any_order: true, ..self }
    }

    /// That a journal has lost what was heard of it is not acknowledged by taking note of it, but by
    /// [`Subscription::pass_diverged`]: before, nothing else must be taken.
    pub(crate) fn keeping_diverged(self) -> Self {
        Self { keeps_diverged: true, ..self }
    }

    fn begin(self) -> Result<Subscription<P>> {
        let refuse = |name: &str, reason: String| Error::Subscription { name: name.to_owned(), reason };
        let mut selectors = Vec::new();
        for pattern in &self.patterns {
            let selector = Selector::parse(pattern, P::TOPIC);
            selectors
                .push(selector.map_err(|reason| refuse(self.name.as_deref().unwrap_or(pattern), reason))?);
        }
        let name = match (self.name, selectors.as_slice()) {
            (Some(name), _) => name,
            (None, [only]) => only.default_name(),
            (None, _) => {
                return Err(refuse("", "give it a name with `.named(…)`: it has not one source".into()));
            }
        };
        names::check_subscription(&name)?;
        let reading = self.core.begin_reading(&name)?;
        let known = self.core.known_journals(&name)?;
        let faults = &self.core.hearing.faults;
        let faults = faults.are_on(&name).then(|| Box::new(Faults::new(faults, &name)));
        let mut subscription = Subscription {
            discovery: Discovery::watch(&self.core.folders.state, &self.core.folders.runtime)?,
            overdue: Overdue::new(if known { Start::Beginning } else { self.start }),
            name: name.into(),
            ear: self.core.outlet.listen(),
            core: self.core,
            selectors,
            sources: Vec::new(),
            journals: BTreeSet::new(),
            level: self.level,
            strict: self.strict,
            spin: self.spin,
            any_order: self.any_order || faults.is_some(),
            keeps_diverged: self.keeps_diverged,
            faults,
            keyed: false,
            turn: Turn::default(),
            compared: Instant::now(),
            reading,
            again: Vec::new(),
            recalled: Vec::new(),
            ready: None,
            missing: None,
            given_up: None,
            breaker: Breaker::default(),
            unparked: None,
            room: Room::default(),
            stuck: None,
            skipped: None,
            trouble: None,
            unheard: None,
        };
        if subscription.any_order {
            subscription.forget_other_sources()?;
        }
        subscription.discover()?;
        Ok(subscription)
    }
}

impl<P: Payload + Send + 'static> IntoFuture for Subscribe<P> {
    type Output = Result<Subscription<P>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let begun = self.begin();
        Box::pin(async { begun })
    }
}
