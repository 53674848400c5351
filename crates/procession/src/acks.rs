//! Acknowledgements of one subscription in one journal: what was delivered, what is done.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
#[cfg(not(loom))]
use std::{
    sync::atomic::{AtomicBool, AtomicU64},
    sync::{Mutex, MutexGuard, OnceLock},
    thread::yield_now,
};

#[cfg(not(loom))]
use journal::Cursor;
use journal::{Ack, Epoch, Offset, Position};
// This file is part of crate `acks-loom`, too, which tries every order of what several threads do here.
#[cfg(loom)]
use loom::{
    sync::atomic::{AtomicBool, AtomicU64},
    sync::{Mutex, MutexGuard},
    thread::yield_now,
};

#[cfg(not(loom))]
use crate::beyond::{Beyond, Stored};
#[cfg(loom)]
use crate::cursor::Cursor;
use crate::error::{Error, Result};
#[cfg(not(loom))]
use crate::letters::Settling;

/// Where deliveries come from: one for each topic of a journal that a subscription reads.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) topic: Arc<str>,
    pub(crate) acks: Arc<Acks>,
}

/// Shared by a subscription and its deliveries.
///
/// Most subscribers finish one delivery before they take the next, so a lone open delivery needs no lock: it is a
/// word, `lone`, that the subscription sets and the acknowledgement clears. Once there are several, they are in a
/// list behind a lock, until it is empty again. The cursor is moved by whoever has changed `lone` to `SETTLING`,
/// by the subscription while it is `NONE`, and by whoever holds the lock while it is `LISTED`.
///
/// Where deliveries may be acknowledged in any order, `lone` is `ELSEWHERE` for good, and all of it is somebody else's.
#[derive(Debug)]
pub(crate) struct Acks {
    pub(crate) subscription: Arc<str>,
    pub(crate) journal: Arc<str>,
    cursor: Cursor,
    /// The offset of the only open delivery, or one of the values below, which are no offsets. Only the subscription
    /// changes it from `NONE` or to `LISTED`.
    lone: AtomicU64,
    /// Epoch and checksum of that delivery's record.
    lone_last: AtomicU64,
    /// The journal's identity, as positions carry it.
    identity: u64,
    /// Whether a delivery was refused: spares the lock of whoever looks for one.
    refused: AtomicBool,
    parked: AtomicU64,
    /// Deliveries may be acknowledged on other threads than the one that takes them.
    list: Mutex<List>,
    #[cfg(not(loom))]
    elsewhere: OnceLock<Elsewhere>,
}

/// Who keeps deliveries instead of the list.
#[cfg(not(loom))]
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one for each journal of a subscription, and on every acknowledgement's way"
)]
enum Elsewhere {
    /// They may be acknowledged in any order.
    Beyond(Beyond),
    /// They are dead letters that are delivered once more.
    Settling(Settling),
}

/// No delivery is open.
const NONE: u64 = u64::MAX;
/// The only open delivery is being acknowledged.
const SETTLING: u64 = u64::MAX - 1;
/// The open deliveries are in the list.
const LISTED: u64 = u64::MAX - 2;
/// They are in `elsewhere`.
#[cfg(not(loom))]
const ELSEWHERE: u64 = u64::MAX - 3;
/// They are of a history that is not the journal's any more.
#[cfg(not(loom))]
const CLOSED: u64 = u64::MAX - 4;

#[derive(Debug)]
struct List {
    /// Deliveries that are not all done, oldest first.
    open: VecDeque<Open>,
    /// The place up to which records were passed over since the newest delivery.
    passed: Position,
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Open {
    offset: Offset,
    /// The cursor's position once everything up to this delivery is done.
    after: Position,
    done: bool,
}

/// A delivery that the application could not deal with.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) offset: Offset,
    pub(crate) attempt: u32,
    pub(crate) reason: String,
}

/// An acknowledgement to be stored with what is said because of it.
#[derive(Debug)]
pub(crate) struct Due<'a> {
    pub(crate) acks: &'a Arc<Acks>,
    pub(crate) offsets: Cow<'a, [Offset]>,
    /// Unknown before it is stored, if deliveries may be acknowledged in any order.
    pub(crate) position: Option<Position>,
}

impl Due<'_> {
    pub(crate) fn ack(&self, position: Position) -> Ack<'_> {
        Ack { subscription: &self.acks.subscription, journal: &self.acks.journal, position }
    }

    /// What goes into the journal with the output. Nothing else may be said, or stored, between this and
    /// [`Self::acknowledge`].
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] for a delivery too far ahead of the first open one.
    #[cfg(not(loom))]
    pub(crate) fn store(&self) -> Result<Stored> {
        if let Some(position) = self.position {
            return Ok(Stored { position: Some(position), ..Stored::default() });
        }
        if let Some(settling) = self.acks.settling() {
            let settled = self.offsets.iter().filter_map(|offset| settling.settled(*offset)).collect();
            return Ok(Stored { settled, ..Stored::default() });
        }
        let beyond = self.acks.beyond().and_then(|beyond| beyond.store(&self.offsets));
        beyond.ok_or_else(|| Error::OutOfOrder {
            journal: self.acks.journal.to_string(),
            offset: self.offsets.last().copied().unwrap_or_default(),
            first: self.acks.position().unwrap_or_default().next,
        })
    }

    /// What [`Self::store`] gave is in the journal.
    #[cfg(not(loom))]
    pub(crate) fn acknowledge(&self) {
        for offset in &*self.offsets {
            match self.acks.settling() {
                Some(settling) => settling.forget(*offset),
                None => self.acks.acknowledge(*offset),
            }
        }
    }
}

impl Acks {
    pub(crate) fn new(subscription: Arc<str>, journal: Arc<str>, cursor: Cursor, at: Position) -> Self {
        Self {
            subscription,
            journal,
            cursor,
            lone: AtomicU64::new(NONE),
            lone_last: AtomicU64::new(0),
            identity: at.journal,
            refused: AtomicBool::new(false),
            parked: AtomicU64::new(0),
            list: Mutex::new(List { open: VecDeque::new(), passed: at, refused: None }),
            #[cfg(not(loom))]
            elsewhere: OnceLock::new(),
        }
    }

    /// What follows these acknowledgements, now that the journal has another history from `position` on: whatever is
    /// delivered next is acknowledged there. What was delivered before may still be acknowledged here, and moves nothing.
    ///
    /// What both histories have, and is not done, is to be delivered again: it is from the successor's
    /// [place](Self::position) on. Returns what of that is done, unless deliveries may be acknowledged in any order.
    ///
    /// For the subscription alone.
    #[cfg(not(loom))]
    pub(crate) fn succeed(&self, position: Position) -> (Self, Vec<Offset>) {
        let mut done = Vec::new();
        if let Some(beyond) = self.beyond() {
            beyond.close();
        } else if self.settling().is_none() {
            match self.listed() {
                Some(mut list) => {
                    done.extend(list.open.drain(..).filter(|open| open.done).map(|open| open.offset));
                    done.retain(|offset| *offset < position.next);
                    list.refused = None;
                    self.lone.store(CLOSED, Ordering::Release);
                }
                None => self.lone.store(CLOSED, Ordering::Release),
            }
        }
        let cursor = self.cursor.again();
        // Before it all is done.
        let is_shared = |done: &Position| done.journal == position.journal && done.next < position.next;
        let from = cursor.position().filter(is_shared).unwrap_or(position);
        cursor.store(from);
        let acks = Self::new(Arc::clone(&self.subscription), Arc::clone(&self.journal), cursor, from);
        acks.parked.store(self.parked(), Ordering::Relaxed);
        (acks, done)
    }

    /// From here on deliveries may be acknowledged in any order. False while one is open.
    #[cfg(not(loom))]
    pub(crate) fn allow_any_order(&self, beyond: Beyond) -> bool {
        self.keep_elsewhere(Elsewhere::Beyond(beyond))
    }

    /// From here on deliveries are dead letters. False while one is open.
    #[cfg(not(loom))]
    pub(crate) fn deliver_letters(&self, settling: Settling) -> bool {
        self.keep_elsewhere(Elsewhere::Settling(settling))
    }

    #[cfg(not(loom))]
    fn keep_elsewhere(&self, elsewhere: Elsewhere) -> bool {
        self.lone.compare_exchange(NONE, ELSEWHERE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            && self.elsewhere.set(elsewhere).is_ok()
    }

    /// What is kept if deliveries may be acknowledged in any order.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn beyond(&self) -> Option<&Beyond> {
        match self.elsewhere.get() {
            Some(Elsewhere::Beyond(beyond)) => Some(beyond),
            _ => None,
        }
    }

    /// What is kept of dead letters that are delivered once more.
    #[cfg(not(loom))]
    pub(crate) fn settling(&self) -> Option<&Settling> {
        match self.elsewhere.get() {
            Some(Elsewhere::Settling(settling)) => Some(settling),
            _ => None,
        }
    }

    #[cfg(not(loom))]
    pub(crate) const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Notes a delivery, and returns the how-many-th in a row it is.
    ///
    /// For the subscription alone, like [`Self::pass`] and [`Self::rewind`].
    #[inline]
    pub(crate) fn deliver(&self, offset: Offset, epoch: Epoch, checksum: u32) -> u32 {
        if self.lone.load(Ordering::Acquire) != NONE {
            return self.deliver_another(offset, epoch, checksum);
        }
        let attempt = self.cursor.attempt(offset);
        // Pairs with the load in `lone`: whoever sees it there sees that the one before is done.
        self.lone_last.store(u64::from(epoch.0) << 32 | u64::from(checksum), Ordering::Release);
        // Pairs with the exchange that acknowledges it.
        self.lone.store(offset.0, Ordering::Release);
        attempt.into()
    }

    #[cold]
    fn deliver_another(&self, offset: Offset, epoch: Epoch, checksum: u32) -> u32 {
        let Some(mut list) = self.listed() else { return self.deliver(offset, epoch, checksum) };
        let after = Position { next: offset.plus(1), epoch, checksum, journal: self.identity };
        list.open.push_back(Open { offset, after, done: false });
        list.passed = after;
        // A record behind an open delivery was not what a crash was over.
        1
    }

    /// Everything before `position` is dealt with or of no interest.
    pub(crate) fn pass(&self, position: Position) {
        #[cfg(not(loom))]
        if let Some(beyond) = self.beyond() {
            return beyond.pass(position, &self.cursor);
        }
        match self.listed() {
            Some(mut list) => list.passed = position,
            None => self.cursor.store(position),
        }
    }

    /// The list of open deliveries; `None` if there are none. For the subscription alone.
    fn listed(&self) -> Option<MutexGuard<'_, List>> {
        loop {
            let mut list = self.lock();
            let lone = self.lone.load(Ordering::Acquire);
            match lone {
                NONE => return None,
                LISTED => return Some(list),
                // Another thread is about to have moved the cursor.
                SETTLING => {
                    drop(list);
                    yield_now();
                }
                _ => {
                    let listed =
                        self.lone.compare_exchange(lone, LISTED, Ordering::AcqRel, Ordering::Relaxed);
                    if listed.is_ok() {
                        let (offset, after) = (Offset(lone), self.after_lone(Offset(lone)));
                        list.open.push_back(Open { offset, after, done: false });
                        list.passed = after;
                        return Some(list);
                    }
                }
            }
        }
    }

    /// The cursor's position once the lone delivery at `offset` is done.
    #[inline]
    fn after_lone(&self, offset: Offset) -> Position {
        let last = self.lone_last.load(Ordering::Acquire);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the word")]
        let (epoch, checksum) = (Epoch((last >> 32) as u32), last as u32);
        Position { next: offset.plus(1), epoch, checksum, journal: self.identity }
    }

    /// The delivery is done. Later acknowledgements count once all earlier ones are there.
    #[inline]
    pub(crate) fn acknowledge(&self, offset: Offset) {
        match self.lone.compare_exchange(offset.0, SETTLING, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => {
                self.cursor.store(self.after_lone(offset));
                self.lone.store(NONE, Ordering::Release);
            }
            Err(LISTED) => self.acknowledge_listed(offset),
            #[cfg(not(loom))]
            Err(ELSEWHERE) => match self.elsewhere.get() {
                Some(Elsewhere::Beyond(beyond)) => beyond.acknowledge(offset, &self.cursor),
                Some(Elsewhere::Settling(settling)) => settling.settle(offset),
                None => {}
            },
            // Done already.
            Err(_) => {}
        }
    }

    #[cold]
    fn acknowledge_listed(&self, offset: Offset) {
        let mut list = self.lock();
        let List { open, passed, .. } = &mut *list;
        let Ok(index) = open.binary_search_by_key(&offset, |open| open.offset) else { return };
        open[index].done = true;
        let mut after = None;
        while open.front().is_some_and(|first| first.done) {
            after = open.pop_front().map(|first| first.after);
        }
        if let Some(after) = after {
            self.cursor.store(if open.is_empty() { *passed } else { after });
        }
        self.unlist(&list);
    }

    /// Leaves the list if it is empty.
    fn unlist(&self, list: &List) {
        if list.open.is_empty() {
            self.lone.store(NONE, Ordering::Release);
        }
    }

    /// The position to store with an output that finishes the deliveries at `offsets`.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] if an earlier delivery is open.
    pub(crate) fn due<'a>(self: &'a Arc<Self>, offsets: impl Into<Cow<'a, [Offset]>>) -> Result<Due<'a>> {
        let offsets = offsets.into();
        #[cfg(not(loom))]
        if self.elsewhere.get().is_some() {
            return Ok(Due { acks: self, offsets, position: None });
        }
        let position = self.position_after(&offsets)?;
        Ok(Due { acks: self, offsets, position: Some(position) })
    }

    fn position_after(&self, offsets: &[Offset]) -> Result<Position> {
        let last = offsets.iter().copied().max().unwrap_or_default();
        let mut position = None;
        // Both the open deliveries and the offsets are in order nearly always, and may be thousands.
        let mut in_turn = offsets.iter().peekable();
        let mut finish = |offset: Offset, after: Position, done: bool| {
            let is_named = in_turn.next_if_eq(&&offset).is_some() || offsets.contains(&offset);
            if !done && !is_named {
                let journal = self.journal.to_string();
                return Err(Error::OutOfOrder { journal, offset: last, first: offset });
            }
            position = Some(after);
            Ok(())
        };
        // The lock, so that a lone delivery is not being put into the list just now.
        let list = self.lock();
        match self.lone() {
            None => list
                .open
                .iter()
                .take_while(|open| open.offset <= last)
                .try_for_each(|open| finish(open.offset, open.after, open.done))?,
            Some((lone, after)) if lone <= last => finish(lone, after, false)?,
            Some(_) => {}
        }
        drop(list);
        // Acknowledged before: the cursor is further already, and stays there.
        let position = position.or_else(|| self.position()).unwrap_or_default();
        if position.next <= last {
            // It will come again, for one before it was refused: said now, its output would be said twice.
            let journal = self.journal.to_string();
            return Err(Error::OutOfOrder { journal, offset: last, first: position.next });
        }
        Ok(position)
    }

    /// The only open delivery, and the cursor's position once it is done; an offset beyond all others if there is none.
    /// `None` if the open ones are in the list.
    fn lone(&self) -> Option<(Offset, Position)> {
        loop {
            match self.lone.load(Ordering::Acquire) {
                LISTED => return None,
                NONE => return Some((Offset(NONE), Position::default())),
                #[cfg(not(loom))]
                CLOSED => return Some((Offset(NONE), Position::default())),
                // Another thread is about to have moved the cursor.
                SETTLING => yield_now(),
                lone => {
                    let after = self.after_lone(Offset(lone));
                    // Unless another thread has finished it, and the next one was delivered, since.
                    if self.lone.load(Ordering::Acquire) == lone {
                        return Some((Offset(lone), after));
                    }
                }
            }
        }
    }

    pub(crate) fn refuse(&self, refused: Refused) {
        #[cfg(not(loom))]
        match self.elsewhere.get() {
            Some(Elsewhere::Beyond(beyond)) => return beyond.refuse(refused),
            Some(Elsewhere::Settling(settling)) => return settling.refuse(refused.offset, refused.reason),
            None => {}
        }
        let mut list = self.lock();
        let open = match self.lone.load(Ordering::Acquire) {
            LISTED => list.open.iter().any(|open| open.offset == refused.offset && !open.done),
            lone => lone == refused.offset.0,
        };
        let earlier = list.refused.as_ref().is_none_or(|other| refused.offset < other.offset);
        if open && earlier {
            list.refused = Some(refused);
            self.refused.store(true, Ordering::Release);
        }
    }

    /// The earliest refused delivery. It and all later ones that are not done count as not delivered.
    #[inline]
    pub(crate) fn take_refused(&self) -> Option<Refused> {
        if !self.refused.load(Ordering::Acquire) {
            return None;
        }
        let mut list = self.lock();
        self.refused.store(false, Ordering::Release);
        list.refused.take()
    }

    /// What came of the delivery could not be said, for want of room: that doesn't count against it, however often the
    /// process ends and starts over it.
    pub(crate) fn forgive(&self, offset: Offset) {
        self.cursor.forgive(offset);
    }

    /// Forgets open deliveries from `offset` on: they will be delivered again. Returns those among them
    /// that are done all the same.
    pub(crate) fn rewind(&self, offset: Offset) -> Vec<Offset> {
        let Some(mut list) = self.listed() else { return Vec::new() };
        let from = list.open.partition_point(|open| open.offset < offset);
        let done = list.open.drain(from..).filter(|open| open.done).map(|open| open.offset).collect();
        if let Some(last) = list.open.back() {
            // What was passed over behind them comes again, too.
            list.passed = last.after;
        }
        self.unlist(&list);
        done
    }

    /// The journal's identity, as positions carry it.
    #[cfg(not(loom))]
    pub(crate) const fn identity(&self) -> u64 {
        self.identity
    }

    /// Whether what was delivered is of a history that is not the journal's any more.
    #[cfg(not(loom))]
    pub(crate) fn is_closed(&self) -> bool {
        self.beyond().is_some_and(Beyond::is_closed) || self.lone.load(Ordering::Acquire) == CLOSED
    }

    /// Whether the delivery at `offset` is acknowledged, as far as that is known.
    #[cfg(not(loom))]
    pub(crate) fn is_done(&self, offset: Offset) -> bool {
        match self.elsewhere.get() {
            Some(Elsewhere::Beyond(beyond)) => !beyond.is_open(offset),
            Some(Elsewhere::Settling(settling)) => settling.letter(offset).is_none(),
            None => {
                self.position().is_some_and(|position| position.next > offset) || {
                    let list = self.lock();
                    let index = list.open.binary_search_by_key(&offset, |open| open.offset);
                    index.is_ok_and(|index| list.open[index].done)
                }
            }
        }
    }

    /// The first deliveries that are not done, at most so many.
    #[cfg(not(loom))]
    pub(crate) fn first_open(&self, most: usize) -> Vec<Offset> {
        match self.elsewhere.get() {
            Some(Elsewhere::Beyond(beyond)) => beyond.first_open(most),
            Some(Elsewhere::Settling(_)) => Vec::new(),
            None => match self.lone() {
                Some((Offset(NONE), _)) => Vec::new(),
                Some((lone, _)) => vec![lone],
                None => {
                    let list = self.lock();
                    let open = list.open.iter().filter(|open| !open.done).map(|open| open.offset);
                    open.take(most).collect()
                }
            },
        }
    }

    pub(crate) fn count_parked(&self) {
        self.parked.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.cursor.position()
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // Nothing in here panics between two states.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(loom)))]
#[expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]
#[path = "acks/tests.rs"]
mod tests;
