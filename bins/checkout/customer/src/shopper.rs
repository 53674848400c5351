//! One customer at a lane: does what the script says, and notes what came of it.

use std::time::Duration;

use contracts::checkout::{
    Advance, AdvanceBasket, At, Bag, CheckOut, Method, Pay, PaymentError, PlaceProduce, Product, Receipt,
    RemoveItem, Reopen, Scan, Start, Weigh,
};
use procession::Process;
use procession::calls::{Caller, Request};
use tokio::time::sleep;

use crate::ask::{Passing, Stop, ask};
use crate::script::{Action, Script};
use crate::settings::Settings;
use crate::summary::{Outcome, SessionDone};

/// A lane that has no more customers promises so much time ahead that the others are not held up.
const EMPTY: Duration = Duration::from_secs(366 * 24 * 3600);

/// Whom the customers ask.
#[derive(Debug, Clone)]
pub(crate) struct Shop {
    process: Process<Settings>,
    scanner: Caller,
    scale: Caller,
    basket: Caller,
    payment: Caller,
}

impl Shop {
    pub(crate) fn of(process: &Process<Settings>) -> procession::Result<Self> {
        Ok(Shop {
            process: process.clone(),
            scanner: process.caller("scanner")?,
            scale: process.caller("scale")?,
            basket: process.caller("basket")?,
            payment: process.caller("payment")?,
        })
    }
}

/// Why a customer leaves before the end of the script: the name of the error, and its words.
#[derive(Debug)]
struct Left {
    error: String,
    reason: String,
    gave_up: bool,
}

/// One customer.
pub(crate) struct Shopper<'a> {
    shop: &'a Shop,
    settings: &'a Settings,
    session: String,
    lane: u32,
    /// When the next action happens, in the script's time; none: when it is done.
    at: Option<At>,
    /// Requests are numbered, so that a customer who starts again makes the same ones.
    requests: u32,
    repeated: u64,
}

impl<'a> Shopper<'a> {
    /// Does all that the script says. Also gives the script's time at the end.
    pub(crate) async fn shop(
        shop: &'a Shop,
        settings: &'a Settings,
        lane: u32,
        number: u64,
        at: Option<At>,
    ) -> (SessionDone, Option<At>) {
        let session = format!("{lane}-{number:06}");
        let script = Script::of(settings.seed, number);
        let mut shopper = Shopper { shop, settings, session, lane, at, requests: 0, repeated: 0 };
        let done = shopper.play(&script).await;
        let outcome = match done {
            Ok(Some(receipt)) => Outcome::Paid { receipt },
            Ok(None) => {
                Outcome::Left { error: "NoPayment".to_owned(), reason: "the script has none".to_owned() }
            }
            Err(Left { error, reason, gave_up: false }) => Outcome::Left { error, reason },
            Err(Left { error, reason, gave_up: true }) => Outcome::GaveUp { error, reason },
        };
        let Shopper { session, at, repeated, .. } = shopper;
        (SessionDone::new(session, lane, number, &script, repeated, outcome), at)
    }

    /// The last customer of a lane has gone: the lane promises that nothing comes any more, for as long as matters.
    pub(crate) async fn leave(shop: &'a Shop, settings: &'a Settings, lane: u32, at: Option<At>) {
        let (session, requests, repeated) = (String::new(), 0, 0);
        let mut shopper = Shopper { shop, settings, session, lane, at, requests, repeated };
        shopper.later(EMPTY);
        if let Err(Left { reason, .. }) = shopper.advance().await {
            tracing::warn!(lane, reason, "nobody knows that this lane is empty");
        }
    }

    async fn play(&mut self, script: &Script) -> Result<Option<Receipt>, Left> {
        let mut receipt = None;
        for action in &script.actions {
            match *action {
                Action::Start => self.start().await?,
                Action::Scan { product, grams } => self.scan(product, grams).await?,
                Action::Bag { grams } => self.bag(grams).await?,
                Action::Remove { line } => {
                    let (session, at, request) = self.named();
                    self.basket(&RemoveItem { session, line, at, request }).await?;
                }
                Action::CheckOut => {
                    let (session, at, request) = self.named();
                    self.basket(&CheckOut { session, at, request }).await?;
                }
                Action::Reopen => {
                    let (session, at, request) = self.named();
                    self.basket(&Reopen { session, at, request }).await?;
                }
                Action::Pay { method, tendered_cents } => {
                    // The next customer comes only then: what has happened so far becomes final while this one pays.
                    self.later(self.settings.gap);
                    self.advance().await?;
                    let paid = self.pay(method, tendered_cents).await;
                    if paid.is_err() {
                        // When the next customer comes must not depend on it.
                        self.later(self.settings.step);
                    }
                    receipt = Some(paid?);
                }
            }
            self.later(self.settings.step);
            sleep(self.settings.pace).await;
        }
        Ok(receipt)
    }

    async fn start(&mut self) -> Result<(), Left> {
        self.advance().await?;
        let lane = self.lane;
        let (session, at, request) = self.named();
        self.basket(&Start { session, lane, at, request }).await?;
        Ok(())
    }

    async fn scan(&mut self, product: &Product, grams: Option<i64>) -> Result<(), Left> {
        let (shop, lane) = (self.shop, self.lane);
        let scale = &shop.scale;
        let mut weighed = None;
        if let Some(grams) = grams {
            self.ask(scale, &PlaceProduce { lane, grams }).await?;
            weighed = Some(self.ask(scale, &Weigh { lane }).await?.grams);
        }
        let (session, at, request) = self.named();
        let product = product.id.clone();
        let scan = Scan { session, lane, product, grams: weighed, at, request };
        self.ask(&shop.scanner, &scan).await?;
        if grams.is_some() {
            self.ask(scale, &PlaceProduce { lane, grams: 0 }).await?;
        }
        Ok(())
    }

    async fn bag(&mut self, grams: i64) -> Result<(), Left> {
        let (shop, lane) = (self.shop, self.lane);
        let (session, at, request) = self.named();
        self.ask(&shop.scale, &Bag { session, lane, grams, at, request }).await?;
        Ok(())
    }

    async fn pay(&mut self, method: Method, tendered_cents: Option<i64>) -> Result<Receipt, Left> {
        let (session, _, request) = self.named();
        let pay = Pay { session, method, tendered_cents, request };
        match ask(&self.shop.payment, &pay, &self.shop.process, &mut self.repeated).await {
            Ok(reply) => Ok(reply.receipt),
            // Paid is paid: an earlier life of this customer did it.
            Err(Stop::Refused(PaymentError::AlreadyPaid { receipt })) => Ok(receipt),
            Err(stop) => Err(left(stop)),
        }
    }

    /// In the script's time: nothing earlier comes from this lane.
    async fn advance(&mut self) -> Result<(), Left> {
        let Some(at) = self.at else { return Ok(()) };
        let lane = self.lane;
        let shop = self.shop;
        self.ask(&shop.scale, &Advance { lane, at }).await?;
        self.ask(&shop.basket, &AdvanceBasket { lane, at }).await?;
        Ok(())
    }

    fn later(&mut self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.at = self.at.map(|At(at)| At(at.saturating_add(micros)));
    }

    /// What every request names: the session, the time, and its own id.
    fn named(&mut self) -> (String, Option<At>, String) {
        self.requests += 1;
        (self.session.clone(), self.at, format!("c{}", self.requests))
    }

    async fn basket<R: Request>(&mut self, request: &R) -> Result<R::Reply, Left>
    where
        R::Error: Passing,
    {
        let shop = self.shop;
        self.ask(&shop.basket, request).await
    }

    async fn ask<R: Request>(&mut self, caller: &Caller, request: &R) -> Result<R::Reply, Left>
    where
        R::Error: Passing,
    {
        ask(caller, request, &self.shop.process, &mut self.repeated).await.map_err(left)
    }
}

fn left<E: Passing>(stop: Stop<E>) -> Left {
    match stop {
        Stop::Refused(refusal) => {
            let named = serde_json::to_value(&refusal).unwrap_or_default();
            let error = named["error"].as_str().unwrap_or("Refused").to_owned();
            Left { error, reason: refusal.to_string(), gave_up: false }
        }
        Stop::GaveUp(reason) => Left { error: "NoAnswer".to_owned(), reason, gave_up: true },
    }
}
