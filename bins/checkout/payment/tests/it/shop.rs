//! A shop: basket, bank and payment as processes, and verdicts as the test says them.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use contracts::checkout::{
    AddItem, At, CheckOut, Closed, GetReceipt, GetTotal, GetVerdict, Judgement, LedgerTotal, ListUnverified,
    Method, Pay, PaymentError, Receipt, Start, Unverified, Verdict, WEIGHT_CHECK,
};
use journal::{Item, Level, Reader};
use procession::calls::{Caller, Failure, Request};
use procession::settings::CallSettings;
use procession::varlink::{Answer, Call, Endpoint, Options, Server, Service};
use serde_json::Value;
use testkit::{DEADLINE, Home, Running};
use tokio::runtime::{Builder, Runtime};

pub(crate) struct Shop {
    pub(crate) home: Home,
    runtime: Runtime,
    callers: HashMap<&'static str, Caller>,
}

pub(crate) type Paid = Result<Receipt, Failure<PaymentError>>;

impl Shop {
    pub(crate) fn new() -> Self {
        let home = Home::new();
        let callers = callers(&home);
        Self { home, runtime: runtime(), callers }
    }

    /// Somebody else in the same shop, for another thread.
    pub(crate) fn beside(shop: &Shop) -> Customer {
        Customer { runtime: runtime(), callers: callers(&shop.home) }
    }

    pub(crate) fn open(&self, name: &str, arguments: &[&str]) -> Running {
        Running::start(&self.home, name, &[&["run"], arguments].concat())
    }

    /// Basket, bank and payment with these settings.
    pub(crate) fn open_all(&self, payment: &[&str]) -> [Running; 3] {
        [self.open("basket", &[]), self.open("bank", &[]), self.open("payment", payment)]
    }

    /// A basket with milk in it, closed.
    pub(crate) fn shop(&self, session: &str, items: u32) -> Closed {
        self.runtime.block_on(shop(&self.callers["basket"], session, items))
    }

    pub(crate) fn call<R: Request>(&self, name: &str, request: &R) -> Result<R::Reply, Failure<R::Error>> {
        self.runtime.block_on(self.callers[name].call(request))
    }

    pub(crate) fn pay(&self, session: &str, method: Method, tendered: Option<i64>, request: &str) -> Paid {
        let pay = Pay {
            session: session.to_owned(),
            method,
            tendered_cents: tendered,
            request: request.to_owned(),
        };
        self.call("payment", &pay).map(|reply| reply.receipt)
    }

    pub(crate) fn pay_by_card(&self, session: &str, request: &str) -> Paid {
        self.pay(session, Method::Card, None, request)
    }

    pub(crate) fn receipt(&self, session: &str) -> Paid {
        self.call("payment", &GetReceipt { session: session.to_owned() }).map(|reply| reply.receipt)
    }

    pub(crate) fn unverified(&self) -> Unverified {
        self.call("payment", &ListUnverified { limit: None }).unwrap()
    }

    pub(crate) fn booked(&self) -> LedgerTotal {
        self.call("bank", &GetTotal {}).unwrap()
    }

    /// What a process has said under a topic.
    pub(crate) fn said(&self, process: &str, topic: &str) -> Vec<Value> {
        let folder = self.home.instance(process);
        let Some(mut reader) = Reader::open(&folder, journal::Start::Beginning, Level::Committed).unwrap()
        else {
            return Vec::new();
        };
        let mut said = Vec::new();
        while let Some(item) = reader.next().unwrap() {
            let Item::Record(record) = item else { panic!("{item:?}") };
            if record.topic == topic {
                said.push(serde_json::from_slice(record.payload).unwrap());
            }
        }
        said
    }
}

/// Whoever else calls the shop's processes.
pub(crate) struct Customer {
    runtime: Runtime,
    callers: HashMap<&'static str, Caller>,
}

impl Customer {
    pub(crate) fn call<R: Request>(&self, name: &str, request: &R) -> Result<R::Reply, Failure<R::Error>> {
        self.runtime.block_on(self.callers[name].call(request))
    }
}

fn callers(home: &Home) -> HashMap<&'static str, Caller> {
    ["basket", "bank", "payment"].map(|name| (name, caller(home, name))).into()
}

/// A customer's way to the till.
pub(crate) async fn shop(basket: &Caller, session: &str, items: u32) -> Closed {
    let id = || session.to_owned();
    let start = Start { session: id(), lane: 1, at: None, request: "start".to_owned() };
    basket.call(&start).await.unwrap();
    for item in 0..items {
        let product = "milk".to_owned();
        let add = AddItem { session: id(), product, grams: None, at: None, request: format!("add-{item}") };
        basket.call(&add).await.unwrap();
    }
    basket.call(&CheckOut { session: id(), at: None, request: "out".to_owned() }).await.unwrap()
}

pub(crate) fn caller(home: &Home, name: &str) -> Caller {
    let settings = CallSettings { timeout: DEADLINE, patience: DEADLINE, ..CallSettings::default() };
    Caller::new(name, Endpoint::new(home.socket(name), home.instance(name)), &settings)
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The refusal that a call must have ended with.
#[track_caller]
pub(crate) fn refusal<T: Debug>(answer: Result<T, Failure<PaymentError>>) -> PaymentError {
    match answer {
        Err(Failure::Refused(error)) => error,
        answer => panic!("not refused: {answer:?}"),
    }
}

/// Who sits where weight-check would, and says what the test wants to hear.
pub(crate) struct Judge {
    verdict: Mutex<Verdict>,
    asked: Mutex<u32>,
}

impl Judge {
    /// Until the server is dropped.
    pub(crate) fn sit(shop: &Shop, judgement: Judgement, settled: Option<At>) -> (Arc<Self>, Server) {
        let judge = Arc::new(Judge { verdict: Mutex::default(), asked: Mutex::default() });
        judge.says(judgement, settled);
        let services: Vec<Arc<dyn Service>> = vec![Arc::clone(&judge) as _];
        let socket = shop.home.socket("weight-check");
        // What a process owns: its callers ask whose they are.
        for folder in [socket.parent().unwrap(), &shop.home.instance("weight-check")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        (judge, Server::start(socket, services, Options::default()).unwrap())
    }

    pub(crate) fn says(&self, judgement: Judgement, settled: Option<At>) {
        let (expected_grams, measured_grams) = (1000, if judgement == Judgement::Ok { 1000 } else { 900 });
        *self.verdict.lock().unwrap() =
            Verdict { judgement, at: None, expected_grams, measured_grams, settled };
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }
}

impl Service for Judge {
    fn interface(&self) -> &'static str {
        "io.procession.checkout.WeightCheck"
    }

    fn description(&self) -> &'static str {
        WEIGHT_CHECK
    }

    fn call(&self, call: Call) -> Answer<'_> {
        *self.asked.lock().unwrap() += 1;
        let answer = call.parameters::<GetVerdict>().map(|_| self.verdict.lock().unwrap().clone());
        Box::pin(async move { answer.and_then(|verdict| call.reply(&verdict)) })
    }
}

/// Later than anything.
pub(crate) const FOR_GOOD: Option<At> = Some(At(i64::MAX));
