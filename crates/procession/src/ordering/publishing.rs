//! What follows from what a model has heard, made ready and published.

use std::ops::Range;
use std::time::{Duration, Instant};

use journal::PAYLOAD_BYTES_MAX;

use super::model::{Input, Model};
use super::outbox::{self, Frontier, RECORD_BYTES};
use super::records::Final;
use super::run::Change;
use super::running::Running;
use super::speak::Unsayable;
use super::time::EventTime;
use crate::error::{Error, Result};
use crate::event::{Any, Event as _};
use crate::guarded::guarded;
use crate::subscribe::Delivery;

/// How long to wait for room on the disk before trying again.
const FULL_PAUSE: Duration = Duration::from_millis(500);

/// What has come of what was heard.
#[derive(Debug)]
#[must_use]
pub(super) enum Committed {
    /// All that follows is said.
    Whole,
    /// The model breaks over some of it, for this reason: which of it is to be found out.
    Broken(String),
    /// The process was told to stop while there was no room. What follows is not said and the inputs come again, so that
    /// the fold is ahead of the journal, and nothing may be made of it any more.
    Stopped,
}

impl<M: Model> Running<M>
where
    M::Input: Input,
{
    /// Publishes what follows from everything that was heard, with the acknowledgements. Nothing becomes final if some
    /// of it is gone.
    pub(super) async fn commit(&mut self, drained: bool, gone: bool) -> Result<Committed> {
        loop {
            if let Some(committed) = self.try_commit(drained, gone).await? {
                return Ok(committed);
            }
            if let Some(committed) = self.make_room().await? {
                return Ok(committed);
            }
        }
    }

    /// The same; `None` if there is no room, and the model keeps some itself.
    async fn try_commit(&mut self, drained: bool, gone: bool) -> Result<Option<Committed>> {
        let broken = |reason| Ok(Some(Committed::Broken(reason)));
        match guarded(|| self.follow()) {
            Ok(Ok(())) => {}
            Ok(Err(unsayable)) => return broken(unsayable.to_string()),
            Err(reason) => return broken(reason),
        }
        let now = Instant::now();
        self.note_who_spoke(now);
        if drained {
            self.look_at_holders(now);
        }
        let settled = match guarded(|| if gone { Ok(None) } else { self.settle(now) }) {
            Ok(Ok(settled)) => settled,
            Ok(Err(Error::Encode { topic, reason })) => {
                return broken(Unsayable { topic, reason }.to_string());
            }
            Ok(Err(error)) => return Err(error),
            Err(reason) => return broken(reason),
        };
        match self.publish().await {
            Ok(()) => {}
            Err(error @ Error::Journal(journal::Error::TooLarge { .. })) => {
                return broken(format!("what follows from it cannot be said: {error}"));
            }
            // It was told to stop while it waited: what it has heard is not acknowledged, and comes again.
            Err(Error::Journal(journal::Error::Full { .. })) if self.core.is_stopping() => {
                return Ok(Some(Committed::Stopped));
            }
            Err(Error::Journal(journal::Error::Full { .. })) => return Ok(None),
            Err(error) => return Err(error),
        }
        self.own.succeed();
        self.tell(settled);
        if self.wants_snapshot(now) {
            self.take_snapshot().await?;
        }
        Ok(Some(Committed::Whole))
    }

    /// Makes of what was heard what is to be said.
    fn follow(&mut self) -> Result<(), Unsayable> {
        while let Some((order, pending)) = self.window.pop(self.sources.heard.mark(), Instant::now) {
            self.apply(order, pending);
        }
        self.fold.flush(|saying| self.outbox.add(&saying))
    }

    fn note_who_spoke(&mut self, now: Instant) {
        let mut last = None;
        for (source, _) in &self.acking {
            if last.replace(*source) != Some(*source) {
                self.sources.touch(*source, now);
            }
        }
    }

    /// Up to where nothing will change any more.
    pub(super) fn next_final(&self) -> EventTime {
        if self.absent.hold_final() {
            return self.fold.settled();
        }
        let horizon = self.horizon().min(self.sources.watermark.settled());
        self.window.first_at().map_or(horizon, |first| horizon.min(first))
    }

    /// Says `_final`, if it is time to; returns what is final then.
    fn settle(&mut self, now: Instant) -> Result<Option<EventTime>> {
        if now < self.said_final + self.options.final_every || self.next_final() <= self.fold.settled() {
            return Ok(None);
        }
        // A source that has not spoken yet holds it back.
        self.add_silent_sources()?;
        let at = self.next_final();
        if at <= self.fold.settled() {
            return Ok(None);
        }
        self.said_final = now;
        self.release(at)?;
        Ok(Some(at))
    }

    /// Says what has waited for this to be final, and that it is.
    fn release(&mut self, at: EventTime) -> Result<()> {
        // Corrections are said before, so that what is behind them was released.
        self.outbox.released = Some(self.outbox.posts.len());
        self.fold.settle(at, |saying| self.outbox.add(&saying)).map_err(encode_error)?;
        self.outbox.add_json(Final::TOPIC, &Final { at }, None)?;
        if let Some(last) = self.outbox.posts.last_mut() {
            last.at = EventTime::MAX;
        }
        self.outbox.settles = at;
        self.sources.forget(at);
        Ok(())
    }

    /// All or nothing, unless it is too large for one batch; waits for room if there is none.
    pub(super) async fn publish(&mut self) -> Result<()> {
        let count = self.outbox.posts.len();
        if count == 0 {
            self.acking.iter().for_each(|(_, delivery)| delivery.ack());
        } else if let Err(error) = self.put(0..count, &self.acking, Frontier::Stays).await {
            self.publish_otherwise(error).await?;
        }
        for (source, delivery) in self.acking.drain(..) {
            if let Some(position) = delivery.acks().position() {
                self.sources.acknowledged(source, position);
            }
        }
        self.outbox.clear();
        Ok(())
    }

    /// Without what cannot be said and need not be, or in parts.
    #[cold]
    async fn publish_otherwise(&mut self, mut error: Error) -> Result<()> {
        if self.outbox.drop_compensations(&error) {
            let count = self.outbox.posts.len();
            error = match self.put(0..count, &self.acking, Frontier::Stays).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
        }
        let count = self.outbox.posts.len();
        // Not if it would fail over one of them in the end: then none of it is to be said.
        if count == 1 || !self.outbox.can_be_parted(&error) {
            return Err(error);
        }
        tracing::warn!(model = self.model, posts = count, "a correction is too large for one batch");
        self.publish_parts().await
    }

    /// First what has changed, and with the last of it the acknowledgements: should the process die before, it hears the
    /// inputs again, and says the rest. Then what has waited for final, each part with the `_final` that releases it:
    /// without that it might be taken back.
    async fn publish_parts(&mut self) -> Result<()> {
        let count = self.outbox.posts.len();
        let released = self.outbox.released.unwrap_or(count);
        let (mut from, mut most) = (0, released);
        if released == 0 {
            self.acking.iter().for_each(|(_, delivery)| delivery.ack());
        }
        while from < released {
            let to = released.min(from + most);
            let acking = if to == released { &self.acking[..] } else { &[] };
            match self.put(from..to, acking, Frontier::Stays).await {
                Ok(()) => from = to,
                Err(error) if to - from > 1 && self.outbox.can_be_parted(&error) => {
                    most = (to - from).div_ceil(2);
                }
                Err(error) => return Err(error),
            }
        }
        self.outbox.posts[released..].sort_by_key(|post| post.at);
        most = count - released;
        while from < count {
            let (to, settled) = self.outbox.releases(from, most);
            // The last of them is what says so.
            let frontier = if to == count { Frontier::Stays } else { Frontier::Reaches(settled) };
            match self.put(from..to, &[], frontier).await {
                Ok(()) => from = to,
                Err(error) if most > 1 && self.outbox.can_be_parted(&error) => most = most.div_ceil(2),
                // What waited for one instant is too much for a batch, so its final comes with the last of it.
                Err(error) if to - from > 1 && self.outbox.can_be_parted(&error) => {
                    from = self.put_some(from..to, settled).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says as many of the posts as find room in a batch, but not all; returns where the others begin.
    async fn put_some(&self, posts: Range<usize>, settled: EventTime) -> Result<usize> {
        let (from, mut most) = (posts.start, posts.len());
        loop {
            most = most.div_ceil(2);
            match self.put(from..from + most, &[], Frontier::Nears(settled)).await {
                Ok(()) => return Ok(from + most),
                Err(error) if most > 1 && self.outbox.can_be_parted(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for room if there is none, unless the model keeps some itself.
    async fn put(
        &self,
        posts: Range<usize>,
        acking: &[(usize, Delivery<Any>)],
        frontier: Frontier,
    ) -> Result<()> {
        let count = self.outbox.posts.len();
        self.own.check(&self.core, count)?;
        let mut told = false;
        loop {
            match self.outbox.publish(posts.clone(), &self.core, acking, (&self.model, frontier)) {
                Err(error @ Error::Journal(journal::Error::Full { .. }))
                    if !self.core.is_stopping() && !self.own.can_let_go(&self.core, count) =>
                {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(%error, "a model waits for room to say what it has to say");
                    }
                    tokio::time::sleep(FULL_PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// Tells the application what is new.
    fn tell(&mut self, settled: Option<EventTime>) {
        let Some(watch) = &mut self.watch else { return };
        self.fold.changed().for_each(|(key, state)| watch(Change::State { key, state }));
        if let Some(at) = settled {
            self.fold.forgotten().for_each(|key| watch(Change::Over { key }));
            watch(Change::Final(at));
        }
    }

    /// Tells the application everything.
    pub(super) fn tell_all(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        self.fold.states().for_each(|(key, state)| watch(Change::State { key, state }));
        if self.fold.settled() > EventTime::MIN {
            watch(Change::Final(self.fold.settled()));
        }
    }

    /// Says what a rebuilt fold has to say; but nothing, if an input is to be parked first.
    pub(super) async fn resume(&mut self, settled: EventTime) -> Result<()> {
        let Self { fold, outbox, model, .. } = self;
        guarded(|| fold.resume(settled, |saying| outbox.add(&saying)))
            .map_err(|reason| Error::Subscription { name: model.clone(), reason })?
            .map_err(encode_error)?;
        self.sources.forget(settled);
        self.replaying = false;
        // What waits for final must find room in a batch then, whatever else a segment begins with: half of it at most.
        let room = usize::try_from(self.core.hearing.segment_bytes / 2).unwrap_or(usize::MAX);
        let room = room.min(PAYLOAD_BYTES_MAX).saturating_sub(2 * RECORD_BYTES);
        self.fold.let_wait(room);
        if self.park_unsayable(room)? {
            return Ok(());
        }
        self.publish().await?;
        let nears = outbox::nears(&self.core, &self.model).filter(|at| *at > settled);
        // What is said of it by now stays, and the rest waits until all counts again that it follows from.
        if let Some(at) = nears.filter(|_| !self.absent.hold_final()) {
            if self.own.is_used_up(&self.core, Instant::now()) {
                self.take_snapshot().await?;
            }
            self.release(at)?;
            self.publish().await?;
        }
        Ok(())
    }
}

fn encode_error(error: Unsayable) -> Error {
    let Unsayable { topic, reason } = error;
    Error::Encode { topic, reason }
}
