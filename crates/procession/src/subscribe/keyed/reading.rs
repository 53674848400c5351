//! Taking events in as they are read, each at its place.

use std::cell::Cell;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use journal::Offset;

use super::lanes::LaneId;
use super::{Keyed, Place};
use crate::acks::Acks;
use crate::error::Result;
use crate::event::Payload;
use crate::subscribe::{Delivery, GivenUp, LOOK_EVERY, Look};

/// An event that was read, and is nowhere yet.
pub(super) enum Newest<P> {
    Delivery(Delivery<P>),
    /// It cannot even be decoded.
    GivenUp(GivenUp),
}

impl<P> Newest<P> {
    fn place(&self) -> (&Acks, Offset) {
        match self {
            Self::Delivery(delivery) => (delivery.acks(), delivery.offset),
            Self::GivenUp(given_up) => (&given_up.record.origin.acks, given_up.record.offset),
        }
    }

    fn reaches(&self) -> bool {
        let (acks, offset) = self.place();
        reaches(acks, offset)
    }
}

impl<P, H, F, E> Keyed<P, H, F>
where
    P: Payload,
    H: Fn(Delivery<P>) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    /// Takes deliveries as long as there is room for them, and others need not have their turn.
    pub(super) fn read(&mut self) -> Result<bool> {
        let mut moved = false;
        let filled = Cell::new(None);
        for _ in 0..LOOK_EVERY {
            if self.alone || self.lanes.is_full() || self.is_held() {
                break;
            }
            let has_place = match self.waiting.pop_front() {
                Some(newest) => self.admit_waiting(newest)?,
                None => match self.look(&filled)? {
                    Look::Nothing => break,
                    Look::Delivery => {
                        let Some(delivery) = self.subscription.ready.take() else { break };
                        self.admit(delivery)?
                    }
                    Look::Missing => {
                        self.subscription.miss()?;
                        continue;
                    }
                    Look::Parked => continue,
                    Look::Skipped => {
                        let skipped = self.subscription.skipped.take();
                        if let (Some((origin, offset)), Some(lane)) = (skipped, filled.take()) {
                            self.lanes.defer_in(lane, Place { origin, offset, failed: None });
                        }
                        moved = true;
                        continue;
                    }
                    Look::GivenUp => {
                        let Some(given_up) = self.subscription.given_up.take() else { break };
                        self.give_up(given_up)?
                    }
                },
            };
            if !has_place {
                break;
            }
            moved = true;
            if self.lanes.has_ready() {
                self.start_ready()?;
            }
        }
        Ok(moved)
    }

    /// Finds a place for an event that had none when it was read; false if it still has to wait for one.
    #[cold]
    fn admit_waiting(&mut self, newest: Newest<P>) -> Result<bool> {
        let newest = if newest.reaches() {
            Some(newest)
        } else {
            self.waiting.push_front(newest);
            // What faults hold back may be what it waits for.
            match self.subscription.look_overdue()? {
                Look::Delivery => self.subscription.ready.take().map(Newest::Delivery),
                Look::GivenUp => self.subscription.given_up.take().map(Newest::GivenUp),
                Look::Missing | Look::Parked | Look::Skipped | Look::Nothing => None,
            }
        };
        match newest {
            Some(Newest::Delivery(delivery)) => self.admit(delivery),
            Some(Newest::GivenUp(given_up)) => self.give_up(given_up),
            None => Ok(false),
        }
    }

    /// Looks for the next delivery; one whose lane is filled is skipped, and the lane noted.
    #[inline]
    fn look(&mut self, filled: &Cell<Option<LaneId>>) -> Result<Look> {
        let Self { subscription, lanes, .. } = self;
        subscription.look_skipping(|found| {
            let Some(beyond) = found.origin.acks.beyond() else { return false };
            filled.set(lanes.filled(found.record.key).filter(|_| beyond.reaches(found.record.offset)));
            filled.get().is_some()
        })
    }

    /// Finds a place for a delivery; false if it has to wait for one.
    #[inline]
    pub(super) fn admit(&mut self, delivery: Delivery<P>) -> Result<bool> {
        if let Some(beyond) = delivery.acks().beyond() {
            let suspect = beyond.is_suspect(delivery.offset);
            let has_reach = self.note_reach(delivery.acks(), delivery.offset);
            if !has_reach || suspect && !self.slots.is_idle() {
                self.waiting.push_front(Newest::Delivery(delivery));
                return Ok(false);
            }
            // One whose key is not idle is behind another of its key, and not the one to blame.
            self.alone = suspect && self.lanes.is_idle(&delivery.key);
        }
        if self.lanes.is_idle(&delivery.key) && self.slots.has_room() {
            self.start(None, delivery)?;
        } else {
            let place = |delivery: &Delivery<P>| Place {
                origin: Arc::clone(&delivery.origin),
                offset: delivery.offset,
                failed: None,
            };
            // The key is the delivery's own.
            let key = delivery.key.clone();
            self.lanes.add(&key, delivery, place);
        }
        Ok(true)
    }

    /// Whether it could be remembered that an event is dealt with. Says so, once, if that has to wait for one far behind it.
    #[inline]
    pub(super) fn note_reach(&mut self, acks: &Acks, offset: Offset) -> bool {
        let has_reach = reaches(acks, offset);
        if has_reach == self.stuck.is_some() {
            self.tell_reach(acks, offset, has_reach);
        }
        has_reach
    }

    #[cold]
    fn tell_reach(&mut self, acks: &Acks, offset: Offset, has_reach: bool) {
        self.stuck = (!has_reach).then(|| self.subscription.say_stuck(acks, offset));
    }
}

/// Whether the acknowledgement of an event could be remembered, so far ahead of what is not done.
#[inline]
fn reaches(acks: &Acks, offset: Offset) -> bool {
    acks.beyond().is_none_or(|beyond| beyond.reaches(offset))
}
