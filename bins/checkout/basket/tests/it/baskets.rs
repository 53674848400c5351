//! A basket process and its customers.

use std::thread::{self, JoinHandle};

use contracts::checkout::{
    AddItem, Basket, BasketError, CheckOut, Closed, GetBasket, ItemReply, RemoveItem, Reopen, Start,
    TotalReply,
};
use journal::{Item, Level, Reader};
use procession::calls::{Caller, Failure, NoReply, Request};
use procession::settings::CallSettings;
use procession::varlink::Endpoint;
use serde_json::Value;
use testkit::{DEADLINE, Home, Running, wait_until};
use tokio::runtime::{Builder, Runtime};

/// A home with a basket in it.
pub(crate) struct Shop {
    pub(crate) home: Home,
    runtime: Runtime,
    caller: Caller,
}

pub(crate) type Answer<T> = Result<T, Failure<BasketError>>;

impl Shop {
    pub(crate) fn new() -> Self {
        let home = Home::new();
        let caller = caller(&home);
        Self { home, runtime: runtime(), caller }
    }

    pub(crate) fn open(&self, arguments: &[&str]) -> Running {
        Running::start(&self.home, "basket", &[&["run"], arguments].concat())
    }

    /// Whatever a customer does, on a thread of their own.
    pub(crate) fn customer<F: Future<Output = ()>>(
        &self,
        shop: impl FnOnce(Caller) -> F + Send + 'static,
    ) -> JoinHandle<()> {
        let caller = caller(&self.home);
        thread::spawn(move || runtime().block_on(shop(caller)))
    }

    pub(crate) fn call<R: Request<Error = BasketError>>(&self, request: &R) -> Answer<R::Reply> {
        self.runtime.block_on(self.caller.call(request))
    }

    pub(crate) fn start(&self, session: &str, lane: u32) -> Answer<NoReply> {
        self.call(&start(session, lane))
    }

    pub(crate) fn add(&self, session: &str, product: &str, request: &str) -> Answer<ItemReply> {
        self.call(&add(session, product, request))
    }

    pub(crate) fn remove(&self, session: &str, line: u32, request: &str) -> Answer<TotalReply> {
        self.call(&remove(session, line, request))
    }

    pub(crate) fn check_out(&self, session: &str, request: &str) -> Answer<Closed> {
        self.call(&CheckOut { session: session.to_owned(), at: None, request: request.to_owned() })
    }

    pub(crate) fn reopen(&self, session: &str, request: &str) -> Answer<TotalReply> {
        self.call(&Reopen { session: session.to_owned(), at: None, request: request.to_owned() })
    }

    pub(crate) fn get(&self, session: &str) -> Answer<Basket> {
        self.call(&GetBasket { session: session.to_owned() })
    }

    /// The visible records of the basket's journal: topic and payload.
    pub(crate) fn said(&self) -> Vec<(String, Value)> {
        let folder = self.home.instance("basket");
        let Some(mut reader) = Reader::open(&folder, journal::Start::Beginning, Level::Committed).unwrap()
        else {
            return Vec::new();
        };
        let mut said = Vec::new();
        while let Some(item) = reader.next().unwrap() {
            let Item::Record(record) = item else { panic!("{item:?}") };
            if !record.topic.starts_with('_') {
                let payload: Value = serde_json::from_slice(record.payload).unwrap();
                assert_eq!(record.key, payload["session"].as_str().map(str::as_bytes));
                said.push((record.topic.to_owned(), payload));
            }
        }
        said
    }

    /// The promises that nothing earlier comes.
    pub(crate) fn heartbeats(&self) -> Vec<i64> {
        let folder = self.home.instance("basket");
        let Some(mut reader) = Reader::open(&folder, journal::Start::Beginning, Level::Committed).unwrap()
        else {
            return Vec::new();
        };
        let mut beats = Vec::new();
        while let Some(item) = reader.next().unwrap() {
            if let Item::Record(record) = item
                && record.topic == "_heartbeat"
            {
                let payload: Value = serde_json::from_slice(record.payload).unwrap();
                beats.push(payload["at"].as_str().unwrap().parse().unwrap());
            }
        }
        beats
    }

    pub(crate) fn wait_for_heartbeats(&self, count: usize) {
        wait_until(DEADLINE, "the basket promises", || self.heartbeats().len() >= count);
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn caller(home: &Home) -> Caller {
    let settings = CallSettings { timeout: DEADLINE, patience: DEADLINE, ..CallSettings::default() };
    Caller::new("basket", Endpoint::new(home.socket("basket"), home.instance("basket")), &settings)
}

pub(crate) fn start(session: &str, lane: u32) -> Start {
    Start { session: session.to_owned(), lane, at: None, request: "start".to_owned() }
}

pub(crate) fn add(session: &str, product: &str, request: &str) -> AddItem {
    AddItem {
        session: session.to_owned(),
        product: product.to_owned(),
        grams: None,
        at: None,
        request: request.to_owned(),
    }
}

pub(crate) fn remove(session: &str, line: u32, request: &str) -> RemoveItem {
    RemoveItem { session: session.to_owned(), line, at: None, request: request.to_owned() }
}

/// The refusal that a call must have ended with.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Answer<T>) -> BasketError {
    match answer {
        Err(Failure::Refused(error)) => error,
        answer => panic!("not refused: {answer:?}"),
    }
}
