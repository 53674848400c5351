//! Looking for the next delivery: in one journal or several, among those that come again, and through the faults that are
//! asked for.

use std::sync::Arc;

use journal::{Codec, Gap, GapReason, Offset};
use tokio::time::Instant;

use super::delivery::{Delivery, Missing};
use super::faults::Passing;
use super::record::{Held, OwnedRecord};
use super::selector::Selector;
use super::source::{Attempt, Fetched, Found, Source};
use super::{Again, GivenUp, Look, Subscription};
use crate::acks::{Acks, Refused};
use crate::beyond::Beyond;
use crate::error::Result;
use crate::event::Payload;

impl<P: Payload> Subscription<P> {
    #[inline]
    pub(super) fn look(&mut self) -> Result<Look> {
        if self.is_careful() {
            return self.look_carefully();
        }
        self.look_skipping(|_| false)
    }

    /// Whether something has failed since the last success.
    #[inline]
    pub(super) const fn is_careful(&self) -> bool {
        self.breaker.is_armed() || self.unparked.is_some()
    }

    /// Looks for the next delivery. Those that `skip` takes are not even decoded, as far as that can be helped.
    #[inline]
    pub(super) fn look_skipping(&mut self, skip: impl Fn(&Found<'_>) -> bool) -> Result<Look> {
        let retries = self.core.hearing.retries;
        for source in &mut self.sources {
            if let Some(acks) = source.open(&self.name)? {
                self.reading.add(acks);
                self.unheard = None;
                if self.any_order {
                    source.allow_any_order(&self.core, !self.keyed)?;
                }
            } else if self.any_order && source.is_in_trouble() {
                source.allow_any_order(&self.core, !self.keyed)?;
            }
            source.repeat(|attempt| retries.pause(attempt))?;
        }
        if !self.keyed
            && let Some(order) = self.reading.desk().take()
            && self.follow(order)? == Look::Delivery
        {
            return Ok(Look::Delivery);
        }
        if self.any_order && !self.keyed {
            let again = self.look_again()?;
            if again != Look::Nothing {
                return Ok(again);
            }
        }
        if self.faults.is_some() {
            return self.look_through_faults();
        }
        match self.sources.len() {
            0 => Ok(Look::Nothing),
            1 if !(self.any_order && self.sources[0].is_holding()) => self.look_at_one(skip),
            _ => self.merge(),
        }
    }

    /// One journal: the event is decoded where it lies.
    #[inline]
    fn look_at_one(&mut self, skip: impl Fn(&Found<'_>) -> bool) -> Result<Look> {
        let Self { core, selectors, sources, ear, ready, trouble, skipped, any_order, keyed, .. } = self;
        let has_reach = *any_order && !*keyed;
        let found = sources[0].find(
            |topic| takes_topic(selectors, topic),
            |found| {
                let mut found = match found {
                    Ok(found) => found,
                    Err(gap) => {
                        *trouble = Some(Trouble::Gap(gap));
                        return false;
                    }
                };
                if has_reach && !reaches(&found) {
                    *trouble = Some(Trouble::TooFar(found.to_owned_record()));
                    return false;
                }
                let attempt = found.count();
                let record = &found.record;
                ear.hear(record.time);
                if skip(&found) {
                    *skipped = Some((Arc::clone(found.origin), record.offset));
                    return false;
                }
                match take_event(&attempt, core.hearing.retries.attempts_max, record.codec, record.payload) {
                    Ok(event) => *ready = Some(deliver(event, &found, attempt.number)),
                    Err(reason) => {
                        *trouble = Some(Trouble::GivenUp(found.to_owned_record(), attempt.number, reason));
                    }
                }
                trouble.is_none()
            },
        )?;
        match found {
            None => Ok(Look::Nothing),
            Some(true) => Ok(Look::Delivery),
            Some(false) => self.not_delivered(),
        }
    }

    #[cold]
    fn not_delivered(&mut self) -> Result<Look> {
        match self.trouble.take() {
            None => Ok(Look::Skipped),
            Some(Trouble::Gap(gap)) => self.miss_at(0, gap),
            Some(Trouble::TooFar(record)) => {
                self.note_stuck(&record.origin.acks, record.offset);
                self.sources[0].hold(record);
                Ok(Look::Nothing)
            }
            Some(Trouble::GivenUp(record, attempts, reason)) => {
                self.give_up(GivenUp { record: Box::new(record), attempts, reason })
            }
        }
    }

    /// Several journals: of what is there, the earliest by time, then by the journals' names.
    fn merge(&mut self) -> Result<Look> {
        match self.take_first()? {
            None => Ok(Look::Nothing),
            Some((index, Held::Gap(gap), _)) => self.miss_at(index, gap),
            Some((_, Held::Record(record), attempt)) => self.deliver(record, &attempt),
        }
    }

    /// Takes the earliest record or gap of all that are there, and its source.
    fn take_first(&mut self) -> Result<Option<(usize, Held, Attempt)>> {
        let has_reach = self.any_order && !self.keyed;
        let Self { selectors, sources, .. } = self;
        let mut too_far = None;
        let mut first: Option<(journal::Time, usize)> = None;
        for (index, source) in sources.iter_mut().enumerate() {
            if let Some(time) = source.peek(|topic| takes_topic(selectors, topic))?
                && first.is_none_or(|first| (time, index) < first)
            {
                match source.too_far().filter(|_| has_reach) {
                    None => first = Some((time, index)),
                    Some((acks, offset)) => too_far = Some((Arc::clone(acks), offset)),
                }
            }
        }
        match too_far {
            Some((acks, offset)) => self.note_stuck(&acks, offset),
            None => self.stuck = None,
        }
        let Some((_, index)) = first else { return Ok(None) };
        Ok(self.sources[index].take_held().map(|(held, attempt)| (index, held, attempt)))
    }

    /// Delivers a record that was copied out, or gives it up.
    fn deliver(&mut self, record: Box<OwnedRecord>, attempt: &Attempt) -> Result<Look> {
        self.ear.hear(record.time);
        match take_event(attempt, self.core.hearing.retries.attempts_max, record.codec, &record.payload) {
            Err(reason) => self.give_up(GivenUp { record, attempts: attempt.number, reason }),
            Ok(event) => {
                self.ready = Some(record.into_delivery(event, attempt.number));
                Ok(Look::Delivery)
            }
        }
    }

    /// The next delivery after the faults that are asked for.
    #[cold]
    fn look_through_faults(&mut self) -> Result<Look> {
        loop {
            let Some(faults) = &mut self.faults else { return Ok(Look::Nothing) };
            let passing = match faults.take_due() {
                Some(passing) => passing,
                // What is held back must not be left behind further than can be remembered.
                None if faults.due().is_some() && self.sources.iter().any(Source::is_far_ahead) => {
                    return Ok(Look::Nothing);
                }
                None => match self.take_first()? {
                    None => return Ok(Look::Nothing),
                    Some((index, Held::Gap(gap), _)) => return self.miss_at(index, gap),
                    Some((_, Held::Record(record), attempt)) => {
                        let Some(faults) = &mut self.faults else { return Ok(Look::Nothing) };
                        match faults.pass(Passing { record, attempt }) {
                            Some(passing) => passing,
                            None => continue,
                        }
                    }
                },
            };
            return self.deliver(passing.record, &passing.attempt);
        }
    }

    /// What faults hold back and is due, and nothing else.
    pub(super) fn look_overdue(&mut self) -> Result<Look> {
        match self.faults.as_mut().and_then(|faults| faults.take_due()) {
            Some(passing) => self.deliver(passing.record, &passing.attempt),
            None => Ok(Look::Nothing),
        }
    }

    /// A refused delivery whose pause is over, where deliveries may be acknowledged in any order.
    fn look_again(&mut self) -> Result<Look> {
        for source in &self.sources {
            let Some(acks) = source.acks() else { continue };
            while let Some(refused) = acks.beyond().and_then(Beyond::take_refused) {
                let due = Instant::now() + self.core.hearing.retries.pause(refused.attempt);
                self.again.push(Again { acks: Arc::clone(acks), refused, due });
            }
        }
        if self.again.is_empty() {
            return Ok(Look::Nothing);
        }
        let now = Instant::now();
        while let Some(index) = self.again.iter().position(|again| again.due <= now) {
            let Again { acks, refused, .. } = self.again.swap_remove(index);
            let offset = refused.offset;
            if !acks.beyond().is_some_and(|beyond| beyond.is_open(offset)) {
                self.source_of(&acks).into_iter().for_each(|source| source.await_no_more(offset));
                continue;
            }
            match self.fetch(&acks, offset)? {
                Fetched::Record(record) => {
                    let Refused { attempt, reason, .. } = refused;
                    let attempt = Attempt { number: attempt.saturating_add(1), refusal: Some(reason) };
                    return self.deliver(Box::new(record), &attempt);
                }
                Fetched::Lost(_) => {}
                Fetched::Unknown(due) => self.again.push(Again { acks, refused, due }),
            }
        }
        Ok(Look::Nothing)
    }

    /// Reads a record again that was delivered and is not done. One that is lost since is logged and acknowledged.
    pub(super) fn fetch(&mut self, acks: &Arc<Acks>, offset: Offset) -> Result<Fetched> {
        let Some(source) = self.source_of(acks) else {
            // If it is still there, it comes again by itself.
            return Ok(Fetched::Lost("its journal has another history since".to_owned()));
        };
        let fetched = source.fetch(offset)?;
        if let Fetched::Lost(reason) = &fetched {
            let (subscription, journal) = (&*self.name, &*acks.journal);
            tracing::error!(
                subscription,
                journal,
                offset = offset.0,
                reason,
                "a record is lost that was to be delivered again"
            );
            acks.acknowledge(offset);
        }
        Ok(fetched)
    }

    fn source_of(&mut self, acks: &Arc<Acks>) -> Option<&mut Source> {
        self.sources.iter_mut().find(|source| source.acks().is_some_and(|own| Arc::ptr_eq(own, acks)))
    }

    /// Gives an event up: alone, or with its key.
    fn give_up(&mut self, given_up: GivenUp) -> Result<Look> {
        if self.keyed {
            self.given_up = Some(given_up);
            return Ok(Look::GivenUp);
        }
        self.park(given_up)
    }

    fn miss_at(&mut self, index: usize, gap: Gap) -> Result<Look> {
        let source = &mut self.sources[index];
        let journal = Arc::clone(&source.journal);
        if gap.reason != GapReason::Diverged {
            source.pass_gap();
        } else if gap.from == gap.to {
            // Another journal, before anything was read: nothing is missing.
            self.diverge(index)?;
            return Ok(Look::Parked);
        } else if !self.keeps_diverged {
            self.diverge(index)?;
        }
        self.missing = Some(Missing { journal, gap });
        Ok(Look::Missing)
    }

    /// What is delivered of a source from here on is of another history than what was delivered before.
    pub(super) fn diverge(&mut self, index: usize) -> Result<()> {
        let source = &mut self.sources[index];
        let Some(acks) = source.diverge() else { return Ok(()) };
        self.reading.add(acks);
        if self.any_order { source.allow_any_order(&self.core, !self.keyed) } else { Ok(()) }
    }
}

/// Why a record is not delivered.
pub(super) enum Trouble {
    Gap(Gap),
    /// That it is dealt with could not be remembered.
    TooFar(OwnedRecord),
    GivenUp(OwnedRecord, u32, String),
}

#[inline]
fn reaches(found: &Found<'_>) -> bool {
    found.origin.acks.beyond().is_none_or(|beyond| beyond.reaches(found.record.offset))
}

#[inline]
fn takes_topic(selectors: &[Selector], topic: &str) -> bool {
    selectors.iter().any(|selector| selector.takes_topic(topic))
}

/// The event of a record, or why it is given up.
#[inline]
pub(super) fn take_event<P: Payload>(
    attempt: &Attempt,
    attempts_max: u32,
    codec: Codec,
    bytes: &[u8],
) -> Result<P, String> {
    if attempt.number > attempts_max {
        let died = || format!("the process ended {attempts_max} times before it was acknowledged");
        return Err(attempt.refusal.clone().unwrap_or_else(died));
    }
    P::take(codec, bytes).map_err(|reason| format!("it cannot be decoded: {reason}"))
}

#[inline]
fn deliver<P>(event: P, found: &Found<'_>, attempt: u32) -> Delivery<P> {
    let record = &found.record;
    Delivery {
        event,
        offset: record.offset,
        epoch: record.epoch,
        time: record.time,
        key: record.key.map(Into::into),
        cause: found.cause(),
        attempt,
        origin: Arc::clone(found.origin),
    }
}
