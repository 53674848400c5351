//! One customer's basket, as its events have made it.

use std::collections::{BTreeMap, HashMap};

use contracts::checkout::{
    At, Basket, BasketClosed, BasketError, BasketHeld, BasketReleased, BasketReopened, BasketState, Closed,
    ItemAdded, ItemRemoved, ItemReply, Line, SessionStarted, TotalReply,
};
use procession::Offset;

/// What came of a request, to be said again if it is asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// At this lane.
    Started(u32),
    /// Of this product.
    Added(String, ItemReply),
    /// Of this line.
    Removed(u32, TotalReply),
    Closed(Closed),
    Reopened(TotalReply),
}

#[derive(Debug)]
pub(crate) struct Session {
    id: String,
    lane: u32,
    /// Where its first event is.
    pub(crate) first: Offset,
    pub(crate) state: BasketState,
    /// When it was changed last.
    pub(crate) changed: At,
    lines: BTreeMap<u32, Line>,
    /// Line numbers are never used again.
    line_last: u32,
    total_cents: i64,
    grams: i64,
    outcomes: HashMap<String, Outcome>,
    /// The charge that it is held for.
    held: Option<String>,
}

impl Session {
    pub(crate) fn start(event: &SessionStarted, first: Offset) -> Self {
        Self {
            id: event.session.clone(),
            lane: event.lane,
            first,
            state: BasketState::Open,
            changed: event.at,
            lines: BTreeMap::new(),
            line_last: 0,
            total_cents: 0,
            grams: 0,
            outcomes: HashMap::from([(event.request.clone(), Outcome::Started(event.lane))]),
            held: None,
        }
    }

    /// What came of the request, if it has been made.
    pub(crate) fn outcome(&self, request: &str) -> Option<&Outcome> {
        self.outcomes.get(request)
    }

    pub(crate) fn line_next(&self) -> u32 {
        self.line_last + 1
    }

    pub(crate) fn line(&self, line: u32) -> Option<&Line> {
        self.lines.get(&line)
    }

    pub(crate) fn items(&self) -> u32 {
        u32::try_from(self.lines.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn total_cents(&self) -> i64 {
        self.total_cents
    }

    pub(crate) fn grams(&self) -> i64 {
        self.grams
    }

    /// # Errors
    /// It is closed.
    pub(crate) fn check_open(&self) -> Result<(), BasketError> {
        match self.state {
            BasketState::Open => Ok(()),
            BasketState::Closed => Err(BasketError::SessionClosed { session: self.id.clone() }),
        }
    }

    /// So that a device that babbles fills no more than one basket: items, and requests of any kind.
    ///
    /// # Errors
    /// It has had as many as it may.
    pub(crate) fn check_room(&self, lines_max: u32, adds: bool) -> Result<(), BasketError> {
        let requests_max = usize::try_from(lines_max).unwrap_or(usize::MAX).saturating_mul(4);
        if (adds && self.line_last >= lines_max) || self.outcomes.len() >= requests_max {
            return Err(BasketError::BasketFull { session: self.id.clone(), limit: lines_max });
        }
        Ok(())
    }

    pub(crate) fn view(&self) -> Basket {
        Basket {
            session: self.id.clone(),
            lane: self.lane,
            state: self.state,
            changed: self.changed,
            lines: self.lines.values().cloned().collect(),
            total_cents: self.total_cents,
            grams: self.grams,
        }
    }

    pub(crate) fn add(&mut self, event: &ItemAdded) -> ItemReply {
        let line = Line {
            line: event.line,
            product: event.product.clone(),
            name: event.name.clone(),
            price_cents: event.price_cents,
            grams: event.grams,
        };
        self.total_cents += event.price_cents;
        self.grams += event.grams;
        self.line_last = self.line_last.max(event.line);
        self.lines.insert(event.line, line);
        let reply = ItemReply {
            line: event.line,
            name: event.name.clone(),
            price_cents: event.price_cents,
            grams: event.grams,
            total_cents: self.total_cents,
        };
        self.done(event.at, &event.request, Outcome::Added(event.product.clone(), reply.clone()));
        reply
    }

    pub(crate) fn remove(&mut self, event: &ItemRemoved) -> TotalReply {
        if let Some(line) = self.lines.remove(&event.line) {
            self.total_cents -= line.price_cents;
            self.grams -= line.grams;
        }
        let reply = TotalReply { total_cents: self.total_cents };
        self.done(event.at, &event.request, Outcome::Removed(event.line, reply));
        reply
    }

    pub(crate) fn close(&mut self, event: &BasketClosed) -> Closed {
        self.state = BasketState::Closed;
        let BasketClosed { at, total_cents, items, grams, .. } = *event;
        let reply = Closed { at, total_cents, items, grams };
        self.done(event.at, &event.request, Outcome::Closed(reply));
        reply
    }

    pub(crate) fn reopen(&mut self, event: &BasketReopened) -> TotalReply {
        self.state = BasketState::Open;
        let reply = TotalReply { total_cents: self.total_cents };
        self.done(event.at, &event.request, Outcome::Reopened(reply));
        reply
    }

    pub(crate) fn held(&self) -> Option<&str> {
        self.held.as_deref()
    }

    pub(crate) fn hold(&mut self, event: &BasketHeld) -> TotalReply {
        self.held = Some(event.charge.clone());
        TotalReply { total_cents: self.total_cents }
    }

    pub(crate) fn release(&mut self, event: &BasketReleased) {
        self.held.take_if(|charge| *charge == event.charge);
    }

    fn done(&mut self, at: At, request: &str, outcome: Outcome) {
        self.changed = self.changed.max(at);
        self.outcomes.insert(request.to_owned(), outcome);
    }
}
