//! What a customer can do. Each action has an id, under which it is done once, however often the page asks.

use contracts::checkout::{
    At, Bag, CheckOut, GetBag, Method, Pay, PlaceProduce, RemoveItem, Reopen, Scan, Start, Weigh,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::lane::Lane;
use crate::shop;
use crate::trouble::{Tell, Trouble};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bare {
    request: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scanned {
    product: String,
    grams: Option<i64>,
    request: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removed {
    line: u32,
    request: String,
}

/// One of the three: put so many grams in, take so many out, or make it so many.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bagged {
    put: Option<i64>,
    take: Option<i64>,
    set: Option<i64>,
    request: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Paid {
    method: Method,
    tendered_cents: Option<i64>,
    request: String,
}

impl Lane {
    /// Does what `action` names, with what is in the request's body.
    pub(crate) async fn act(&self, action: &str, body: &[u8]) -> Result<(), Trouble> {
        match action {
            "start" => self.start(&read::<Bare>(body)?.request).await,
            "scan" => self.scan(read(body)?).await,
            "remove" => self.remove(read(body)?).await,
            "bag" => self.bag(read(body)?).await,
            "check-out" => self.check_out(read::<Bare>(body)?.request).await,
            "reopen" => self.reopen(read::<Bare>(body)?.request).await,
            "pay" => self.pay(read(body)?).await,
            "done" => {
                read::<Bare>(body)?;
                self.leave()
            }
            _ => Err(Trouble::new(
                axum::http::StatusCode::NOT_FOUND,
                "UnknownAction",
                format!(
                    "There is no action {action:?}: there are start, scan, remove, bag, check-out, reopen, pay and done."
                ),
            )),
        }
    }

    async fn start(&self, request: &str) -> Result<(), Trouble> {
        let visit = self.arrive()?;
        if visit.started {
            return Ok(());
        }
        let (session, lane, at) = (visit.session.clone(), self.number, Some(At::now()));
        let start = Start { session, lane, at, request: request.to_owned() };
        told(self.shop.basket.call(&start).await)?;
        self.has_started(&visit.session)
    }

    /// Produce is put on the scale first: the weight that counts is what the scale says.
    async fn scan(&self, asked: Scanned) -> Result<(), Trouble> {
        let (session, lane) = (self.session()?, self.number);
        let Scanned { product, grams, request } = asked;
        let scale = &self.shop.scale;
        let mut weighed = None;
        if let Some(grams) = grams {
            told(scale.call(&PlaceProduce { lane, grams }).await)?;
            weighed = Some(told(scale.call(&Weigh { lane }).await)?.grams);
        }
        let scan = Scan { session, lane, product, grams: weighed, at: Some(At::now()), request };
        told(self.shop.scanner.call(&scan).await)?;
        if weighed.is_some()
            && let Err(failure) = scale.call(&PlaceProduce { lane, grams: 0 }).await
        {
            // The next one to weigh something puts it in this one's place.
            tracing::debug!(%failure, "the produce scale is not cleared");
        }
        Ok(())
    }

    async fn remove(&self, asked: Removed) -> Result<(), Trouble> {
        let Removed { line, request } = asked;
        let remove = RemoveItem { session: self.session()?, line, at: Some(At::now()), request };
        told(self.shop.basket.call(&remove).await).map(drop)
    }

    async fn bag(&self, asked: Bagged) -> Result<(), Trouble> {
        let session = self.session()?;
        let scale = &self.shop.scale;
        let grams = match (asked.put, asked.take, asked.set) {
            (Some(grams), None, None) if grams >= 0 => grams,
            (None, Some(grams), None) if grams >= 0 => -grams,
            (None, None, Some(grams)) if grams >= 0 => {
                grams - told(scale.call(&GetBag { session: session.clone() }).await)?.grams
            }
            _ => return Err(Trouble::bad_request("Give one of put, take and set, with the grams from 0.")),
        };
        if grams == 0 {
            return Ok(());
        }
        let bag = Bag { session, lane: self.number, grams, at: Some(At::now()), request: asked.request };
        told(scale.call(&bag).await).map(drop)
    }

    async fn check_out(&self, request: String) -> Result<(), Trouble> {
        let check_out = CheckOut { session: self.session()?, at: Some(At::now()), request };
        told(self.shop.basket.call(&check_out).await).map(drop)
    }

    async fn reopen(&self, request: String) -> Result<(), Trouble> {
        let reopen = Reopen { session: self.session()?, at: Some(At::now()), request };
        told(self.shop.basket.call(&reopen).await).map(drop)
    }

    async fn pay(&self, asked: Paid) -> Result<(), Trouble> {
        if self.visit().is_some_and(|visit| visit.receipt.is_some()) {
            return Ok(());
        }
        let Paid { method, tendered_cents, request } = asked;
        let pay = Pay { session: self.session()?, method, tendered_cents, request };
        let receipt = told(shop::receipt(self.shop.payment.call(&pay).await))?;
        self.has_paid(receipt)
    }
}

fn told<T, E: Tell>(answer: Result<T, procession::calls::Failure<E>>) -> Result<T, Trouble> {
    answer.map_err(Trouble::from)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Trouble> {
    serde_json::from_slice(body)
        .map_err(|error| Trouble::bad_request(format!("The request's body is not right: {error}.")))
}
