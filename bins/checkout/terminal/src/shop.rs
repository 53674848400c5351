//! The other processes: asked to do something, and looked at.

use std::time::Duration;

use contracts::checkout::{
    Basket, GetBag, GetBasket, GetReceipt, GetVerdict, PayReply, PaymentError, Verdict, Weight,
};
use procession::calls::{Caller, Failure, NoError, Refusal, Request};
use procession::{Process, Settings};
use serde::{Deserialize, Serialize};

use crate::state::{Service, Services};

/// An action may take so long before the customer hears that it hasn't worked. The page asks again.
const ACTION_TIMEOUT: Duration = Duration::from_secs(4);
/// Paying may wait for the weight verdict, and then for the bank.
const PAY_TIMEOUT: Duration = Duration::from_secs(15);

/// Callers for actions, which have time, and for looks, which have not.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) basket: Caller,
    pub(crate) scanner: Caller,
    pub(crate) scale: Caller,
    pub(crate) payment: Caller,
    weight_check: Caller,
    look_timeout: Duration,
}

/// What a look at all of them has shown; what is none wasn't to be had.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) basket: Option<Basket>,
    pub(crate) bag: Option<Weight>,
    pub(crate) verdict: Option<Verdict>,
    /// The session has been paid, perhaps without this process having heard of it.
    pub(crate) paid: Option<PayReply>,
    pub(crate) services: Services,
}

/// Every server answers this: used to see whether it does.
#[derive(Debug, Serialize, Deserialize)]
struct GetInfo {}

#[derive(Debug, Serialize, Deserialize)]
struct Info {}

impl Request for GetInfo {
    const METHOD: &'static str = "org.varlink.service.GetInfo";
    const IDEMPOTENT: bool = true;
    type Reply = Info;
    type Error = NoError;
}

impl Shop {
    pub(crate) fn of<S: Settings>(process: &Process<S>, look_timeout: Duration) -> procession::Result<Self> {
        let caller = |name: &str| process.caller(name).map(|caller| caller.within(ACTION_TIMEOUT));
        Ok(Shop {
            basket: caller("basket")?,
            scanner: caller("scanner")?,
            scale: caller("scale")?,
            payment: caller("payment")?.within(PAY_TIMEOUT),
            weight_check: caller("weight-check")?,
            look_timeout,
        })
    }

    /// How things stand with a session, and who answers.
    pub(crate) async fn look(&self, session: Option<&str>) -> Seen {
        let session = session.unwrap_or("none");
        let named = || session.to_owned();
        let (get_basket, get_bag) = (GetBasket { session: named() }, GetBag { session: named() });
        let (get_verdict, get_receipt) = (GetVerdict { session: named() }, GetReceipt { session: named() });
        let (basket, bag, verdict, paid, scanner) = tokio::join!(
            self.glance(&self.basket, &get_basket),
            self.glance(&self.scale, &get_bag),
            self.glance(&self.weight_check, &get_verdict),
            self.glance(&self.payment, &get_receipt),
            self.glance(&self.scanner, &GetInfo {}),
        );
        let services = Services {
            basket: basket.service,
            scanner: scanner.service,
            scale: bag.service,
            weight_check: verdict.service,
            payment: paid.service,
        };
        Seen { basket: basket.reply, bag: bag.reply, verdict: verdict.reply, paid: paid.reply, services }
    }

    async fn glance<R: Request>(&self, caller: &Caller, request: &R) -> Glance<R::Reply> {
        let quick = caller.within(self.look_timeout).patient(Duration::ZERO);
        Glance::from(quick.call(request).await)
    }
}

/// What one process answered, and whether it did.
struct Glance<T> {
    reply: Option<T>,
    service: Service,
}

impl<T, E: Refusal> From<Result<T, Failure<E>>> for Glance<T> {
    fn from(answer: Result<T, Failure<E>>) -> Self {
        match answer {
            Ok(reply) => Glance { reply: Some(reply), service: Service::Up },
            // It has no answer to this, but it has one.
            Err(Failure::Refused(_) | Failure::Busy { .. }) => Glance { reply: None, service: Service::Up },
            Err(_) => Glance { reply: None, service: Service::Down },
        }
    }
}

/// The receipt in an answer to an attempt to pay: that of this attempt, or of an earlier one.
pub(crate) fn receipt(
    answer: Result<PayReply, Failure<PaymentError>>,
) -> Result<contracts::checkout::Receipt, Failure<PaymentError>> {
    match answer {
        Ok(PayReply { receipt }) | Err(Failure::Refused(PaymentError::AlreadyPaid { receipt })) => {
            Ok(receipt)
        }
        Err(failure) => Err(failure),
    }
}
