//! The answers to the basket's calls: each change is decided, written down, and only then made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contracts::checkout::names::Invalid;
use contracts::checkout::{
    AddItem, AdvanceBasket, At, BASKET, Basket, BasketClosed, BasketError, BasketHeld, BasketReleased,
    BasketReopened, BasketState, CheckOut, Closed, EventClock, GetBasket, Hold, ItemAdded, ItemRemoved,
    ItemReply, Product, Release, RemoveItem, Reopen, SessionStarted, Start, TotalReply, check_clock, product,
};
use procession::calls::{Interface, NoReply};
use procession::ordering::Heartbeat;
use procession::{Event, Offset, Process};

use crate::session::{Outcome, Session};
use crate::sessions::{LANES, Sessions};
use crate::settings::Settings;

type Answer<T> = Result<T, BasketError>;

/// Where baskets are filled.
pub(crate) struct Counter {
    process: Process<Settings>,
    /// A lock, because the calls of several lanes are tasks of their own; held for one change, never while waiting.
    sessions: Mutex<Sessions>,
}

impl Counter {
    pub(crate) fn open(process: Process<Settings>) -> procession::Result<Arc<Self>> {
        let sessions = Mutex::new(Sessions::recall(&process)?);
        Ok(Arc::new(Self { process, sessions }))
    }

    pub(crate) fn interface(self: &Arc<Self>) -> Interface<Self> {
        Interface::new(BASKET, Arc::clone(self))
            .on(Self::start)
            .on(Self::add_item)
            .on(Self::remove_item)
            .on(Self::get)
            .on(Self::check_out)
            .on(Self::reopen)
            .on(Self::hold)
            .on(Self::release)
            .on(Self::advance)
    }

    /// The machine's clock goes on: promises that nothing earlier comes.
    pub(crate) fn tick(&self) -> procession::Result<()> {
        let mut sessions = self.lock();
        let mut clock = sessions.clock.clone();
        if let Some(at) = clock.tick(At::now(), self.process.settings().heartbeat_lag) {
            let offset = self.process.heartbeat(at)?;
            sessions.clock = clock;
            sessions.said(offset);
        }
        Ok(())
    }

    /// Forgets old sessions, and writes down where a restart has to begin.
    pub(crate) fn tidy(&self) -> procession::Result<()> {
        let mut sessions = self.lock();
        for ended in sessions.old(self.process.settings()) {
            let offset = self.process.publish(&ended)?;
            sessions.said(offset);
            sessions.forget(&ended.session);
        }
        sessions.checkpoint(&self.process)
    }

    async fn start(self: Arc<Self>, request: Start) -> Answer<NoReply> {
        request.check()?;
        self.check_lane(request.lane)?;
        let mut sessions = self.lock();
        if sessions.contains(&request.session) {
            return match sessions.find(&request.session)?.outcome(&request.request) {
                Some(Outcome::Started(lane)) if *lane == request.lane => Ok(NoReply {}),
                _ => Err(BasketError::SessionReused { session: request.session }),
            };
        }
        sessions.check_room(self.process.settings().sessions_max.get())?;
        let at = self.time_of(&sessions, request.at, At(i64::MIN))?;
        let Start { session, lane, request, .. } = request;
        let event = SessionStarted { session, lane, at, request };
        let offset = self.say(&mut sessions, &event)?;
        sessions.insert(Session::start(&event, offset), event.session);
        Ok(NoReply {})
    }

    async fn add_item(self: Arc<Self>, request: AddItem) -> Answer<ItemReply> {
        request.check()?;
        let mut sessions = self.lock();
        let session = sessions.find(&request.session)?;
        match session.outcome(&request.request) {
            Some(Outcome::Added(product, reply)) if *product == request.product => return Ok(reply.clone()),
            Some(_) => return Err(reused(request.session, request.request)),
            None => {}
        }
        session.check_open()?;
        session.check_room(self.process.settings().lines_max.get(), true)?;
        let product = product(&request.product)
            .ok_or_else(|| BasketError::UnknownProduct { product: request.product.clone() })?;
        let (price_cents, grams) = price(product, request.grams)?;
        let at = self.time_of(&sessions, request.at, session.changed)?;
        let event = ItemAdded {
            line: session.line_next(),
            session: request.session,
            at,
            product: request.product,
            name: product.name.clone(),
            price_cents,
            grams,
            request: request.request,
        };
        self.say(&mut sessions, &event)?;
        Ok(sessions.find_mut(&event.session)?.add(&event))
    }

    async fn remove_item(self: Arc<Self>, request: RemoveItem) -> Answer<TotalReply> {
        request.check()?;
        let mut sessions = self.lock();
        let session = sessions.find(&request.session)?;
        match session.outcome(&request.request) {
            Some(Outcome::Removed(line, reply)) if *line == request.line => return Ok(*reply),
            Some(_) => return Err(reused(request.session, request.request)),
            None => {}
        }
        session.check_open()?;
        session.check_room(self.process.settings().lines_max.get(), false)?;
        let Some(line) = session.line(request.line).cloned() else {
            return Err(BasketError::UnknownLine { session: request.session, line: request.line });
        };
        let at = self.time_of(&sessions, request.at, session.changed)?;
        let event = ItemRemoved {
            session: request.session,
            at,
            line: line.line,
            product: line.product,
            name: line.name,
            price_cents: line.price_cents,
            grams: line.grams,
            request: request.request,
        };
        self.say(&mut sessions, &event)?;
        Ok(sessions.find_mut(&event.session)?.remove(&event))
    }

    async fn get(self: Arc<Self>, request: GetBasket) -> Answer<Basket> {
        Ok(self.lock().find(&request.session)?.view())
    }

    async fn check_out(self: Arc<Self>, request: CheckOut) -> Answer<Closed> {
        request.check()?;
        let mut sessions = self.lock();
        let session = sessions.find(&request.session)?;
        match session.outcome(&request.request) {
            Some(Outcome::Closed(reply)) => return Ok(*reply),
            Some(_) => return Err(reused(request.session, request.request)),
            None => {}
        }
        session.check_open()?;
        session.check_room(self.process.settings().lines_max.get(), false)?;
        if session.items() == 0 {
            return Err(BasketError::EmptyBasket { session: request.session });
        }
        let event = BasketClosed {
            at: self.time_of(&sessions, request.at, session.changed)?,
            total_cents: session.total_cents(),
            items: session.items(),
            grams: session.grams(),
            session: request.session,
            request: request.request,
        };
        self.say(&mut sessions, &event)?;
        Ok(sessions.find_mut(&event.session)?.close(&event))
    }

    async fn reopen(self: Arc<Self>, request: Reopen) -> Answer<TotalReply> {
        request.check()?;
        let mut sessions = self.lock();
        let session = sessions.find(&request.session)?;
        match session.outcome(&request.request) {
            Some(Outcome::Reopened(reply)) => return Ok(*reply),
            Some(_) => return Err(reused(request.session, request.request)),
            None => {}
        }
        if session.state == BasketState::Open {
            return Err(BasketError::SessionOpen { session: request.session });
        }
        if session.held().is_some() {
            return Err(BasketError::BeingPaid { session: request.session });
        }
        session.check_room(self.process.settings().lines_max.get(), false)?;
        let at = self.time_of(&sessions, request.at, session.changed)?;
        let event = BasketReopened { session: request.session, at, request: request.request };
        self.say(&mut sessions, &event)?;
        Ok(sessions.find_mut(&event.session)?.reopen(&event))
    }

    async fn hold(self: Arc<Self>, request: Hold) -> Answer<TotalReply> {
        request.check()?;
        let Hold { session: id, changed, charge } = request;
        let mut sessions = self.lock();
        let session = sessions.find(&id)?;
        if session.state == BasketState::Open {
            return Err(BasketError::SessionOpen { session: id });
        }
        if session.changed != changed {
            return Err(BasketError::SessionChanged { session: id });
        }
        if session.held() == Some(charge.as_str()) {
            return Ok(TotalReply { total_cents: session.total_cents() });
        }
        // Another charge may have come to nothing without a word.
        let event = BasketHeld { at: self.now(&sessions, changed), session: id, charge };
        self.say(&mut sessions, &event)?;
        Ok(sessions.find_mut(&event.session)?.hold(&event))
    }

    async fn release(self: Arc<Self>, request: Release) -> Answer<NoReply> {
        request.check()?;
        let mut sessions = self.lock();
        let session = sessions.find(&request.session)?;
        if session.held() != Some(request.charge.as_str()) {
            return Ok(NoReply {});
        }
        let at = self.now(&sessions, session.changed);
        let event = BasketReleased { session: request.session, at, charge: request.charge };
        self.say(&mut sessions, &event)?;
        sessions.find_mut(&event.session)?.release(&event);
        Ok(NoReply {})
    }

    async fn advance(self: Arc<Self>, request: AdvanceBasket) -> Answer<NoReply> {
        let settings = self.process.settings();
        self.check_lane(request.lane)?;
        if settings.event_clock != EventClock::Lanes {
            let reason = "is the machine's here: event_clock = \"lanes\" makes it the lanes'".to_owned();
            return Err(Invalid { field: "at", reason }.into());
        }
        let mut sessions = self.lock();
        let mut clock = sessions.clock.clone();
        let promise = clock.advance(request.lane, request.at, settings.lanes.get());
        let mut batch = self.process.batch();
        if let Some(at) = promise {
            batch.add(&Heartbeat { at }).map_err(|error| not_recorded(&error))?;
        }
        batch.checkpoint(LANES, &clock).map_err(|error| not_recorded(&error))?;
        let offsets = batch.commit().map_err(|error| not_recorded(&error))?;
        sessions.clock = clock;
        if let Some(last) = offsets.end.0.checked_sub(1).filter(|_| promise.is_some()) {
            sessions.said(Offset(last));
        }
        Ok(NoReply {})
    }

    fn check_lane(&self, lane: u32) -> Answer<()> {
        let lanes = self.process.settings().lanes.get();
        if (1..=lanes).contains(&lane) {
            return Ok(());
        }
        Err(Invalid { field: "lane", reason: format!("is {lane}: there are lanes 1 to {lanes}") }.into())
    }

    /// For what nobody states the time of: in the lanes' time, when the basket was changed last.
    fn now(&self, sessions: &Sessions, changed: At) -> At {
        let at = match self.process.settings().event_clock {
            EventClock::Machine => At::now(),
            EventClock::Lanes => changed,
        };
        sessions.clock.admit(at.max(changed))
    }

    /// When something happened, if that can be: not before `after`, and not before what was promised.
    fn time_of(&self, sessions: &Sessions, stated: Option<At>, after: At) -> Answer<At> {
        let settings = self.process.settings();
        let refused = |reason| BasketError::from(Invalid { field: "at", reason });
        let at = match (settings.event_clock, stated) {
            (EventClock::Lanes, Some(at)) => at,
            (EventClock::Lanes, None) => {
                return Err(refused("is missing: event time is that of the lanes".to_owned()));
            }
            (EventClock::Machine, None) => At::now(),
            (EventClock::Machine, Some(at)) => {
                check_clock(at, At::now(), settings.clock_tolerance).map_err(refused)?;
                at
            }
        };
        Ok(sessions.clock.admit(at.max(after)))
    }

    /// Writes an event down. What can't be written didn't happen.
    fn say<E: Event>(&self, sessions: &mut Sessions, event: &E) -> Answer<Offset> {
        match self.process.publish(event) {
            Ok(offset) => {
                sessions.said(offset);
                Ok(offset)
            }
            Err(error) => Err(not_recorded(&error)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        // A change is made after it is written down, in one step: a panic leaves no half of it.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_recorded(error: &procession::Error) -> BasketError {
    tracing::error!(%error, "a change can't be written down");
    BasketError::NotRecorded { reason: error.to_string() }
}

fn reused(session: String, request: String) -> BasketError {
    BasketError::RequestReused { session, request }
}

/// What an item costs and weighs.
fn price(product: &Product, weighed: Option<i64>) -> Answer<(i64, i64)> {
    if product.is_by_weight() && weighed == Some(0) {
        return Err(Invalid { field: "grams", reason: "is 0: weigh it again".to_owned() }.into());
    }
    match (product.cents(weighed), product.grams(weighed)) {
        (Some(cents), Some(grams)) => Ok((cents, grams)),
        _ => Err(BasketError::WeightMissing { product: product.id.clone() }),
    }
}
