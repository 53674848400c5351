//! The answers to payment's calls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use contracts::checkout::names::check_session;
use contracts::checkout::{
    At, BankError, Basket, BasketError, BasketState, Booking, Charge, ChargeBegun, ChargeDeclined, GetBasket,
    GetReceipt, Hold, ListUnverified, Method, PAYMENT, Paid, Pay, PayReply, PaymentError, Release,
    Unverified, UnverifiedPayment,
};
use procession::Process;
use procession::calls::{Caller, Failure, Interface};
use tokio::sync::{Mutex as Turn, watch};
use tokio::time::{sleep, timeout};

use crate::book::{Book, Standing};
use crate::settings::{Policy, Settings};
use crate::verify::{Finding, Verifier};

/// Pauses before a bank that can't be asked is asked again.
const BANK_PAUSE_MIN: Duration = Duration::from_millis(50);
const BANK_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Whoever has to pause for so long can't do its work, and says so.
const SAID_FROM: Duration = Duration::from_millis(800);
/// Unverified payments that are listed unless the caller says how many.
const LISTED: u32 = 100;

type Answer<T> = Result<T, PaymentError>;
/// What came of a charge, once it is known.
type Settled = watch::Receiver<Option<Answer<PayReply>>>;

/// Where baskets are paid.
pub(crate) struct Till {
    process: Process<Settings>,
    basket: Caller,
    bank: Caller,
    verifier: Verifier,
    /// Somebody says that payments are refused.
    is_refusing: AtomicBool,
    /// A lock, because calls are tasks of their own; held for one step, never while waiting.
    book: Mutex<Book>,
    /// Charges that the bank is being asked about. Locked to look one up.
    settling: Mutex<HashMap<String, Settled>>,
    /// One payment of a session at a time: whoever comes second finds out what came of the first.
    turns: Mutex<HashMap<String, Weak<Turn<()>>>>,
}

impl Till {
    /// With what the process's own journal says.
    pub(crate) fn open(process: Process<Settings>) -> procession::Result<Arc<Self>> {
        let book = Mutex::new(Book::recall(&process)?);
        let patience = process.settings().verification_patience;
        let verifier = Verifier::new(&process.caller("weight-check")?, patience);
        let (basket, bank) = (process.caller("basket")?, process.caller("bank")?);
        Ok(Arc::new(Self {
            process,
            basket,
            bank,
            verifier,
            is_refusing: AtomicBool::new(false),
            book,
            settling: Mutex::default(),
            turns: Mutex::default(),
        }))
    }

    pub(crate) fn interface(self: &Arc<Self>) -> Interface<Self> {
        Interface::new(PAYMENT, Arc::clone(self)).on(Self::pay).on(Self::receipt).on(Self::list)
    }

    /// Finds out what came of the charges that were begun before a restart.
    pub(crate) fn resume(self: &Arc<Self>) {
        for charge in self.book().open_charges() {
            tracing::info!(session = charge.session, charge = charge.charge, "a charge is resumed");
            self.settle(charge);
        }
    }

    async fn pay(self: Arc<Self>, request: Pay) -> Answer<PayReply> {
        request.check()?;
        let turn = self.turn(&request.session);
        let _turn = turn.lock().await;
        if let Some(answer) = self.known(&request).await {
            return answer;
        }
        let basket = self.closed_basket(&request.session).await?;
        let total_cents = basket.total_cents;
        let tendered_cents = match request.method {
            Method::Card => total_cents,
            Method::Cash => request.tendered_cents.unwrap_or_default(),
        };
        if tendered_cents < total_cents {
            return Err(PaymentError::TooLittle { total_cents, tendered_cents });
        }
        let finding = self.verifier.look(&request.session, basket.changed).await;
        let reason = self.judge(&basket, finding).inspect_err(|_| self.say_refusing())?;
        let attempt = self.book().next_attempt(&request.session);
        let charge = ChargeBegun {
            charge: format!("{}.{attempt}", request.session),
            session: request.session,
            at: At::now().max(basket.changed),
            closed: basket.changed,
            total_cents,
            method: request.method,
            verified: reason.is_none(),
            reason,
            tendered_cents,
            request: request.request,
        };
        self.take(charge).await
    }

    /// What there is to say of a session that has been charged before, or is being charged.
    async fn known(self: &Arc<Self>, request: &Pay) -> Option<Answer<PayReply>> {
        let standing = self.book().standing(&request.session).cloned()?;
        match standing {
            Standing::Paid(paid) => Some(paid_before(&paid, &request.request)),
            Standing::Begun(charge) => {
                let same = charge.request == request.request;
                let settled = self.wait_for(charge).await;
                match settled {
                    // The first attempt came to nothing: this is another one.
                    Err(PaymentError::Declined { .. }) if !same => None,
                    Ok(reply) if !same => Some(Err(PaymentError::AlreadyPaid { receipt: reply.receipt })),
                    settled => Some(settled),
                }
            }
            Standing::Declined { request: declined, reason } => {
                (declined == request.request).then_some(Err(PaymentError::Declined { reason }))
            }
        }
    }

    async fn closed_basket(&self, session: &str) -> Answer<Basket> {
        match self.basket.call(&GetBasket { session: session.to_owned() }).await {
            Ok(basket) if basket.state == BasketState::Closed => Ok(basket),
            Ok(_) => Err(PaymentError::NotClosed { session: session.to_owned() }),
            Err(Failure::Refused(BasketError::UnknownSession { session })) => {
                Err(PaymentError::UnknownSession { session })
            }
            Err(failure) => Err(PaymentError::BasketUnavailable { reason: failure.to_string() }),
        }
    }

    /// Whether the basket may be paid; with the reason why its weight is not verified, where it is not.
    fn judge(&self, basket: &Basket, finding: Finding) -> Answer<Option<String>> {
        let session = basket.session.clone();
        let settings = self.process.settings();
        match finding {
            Finding::Right => Ok(None),
            Finding::Wrong { expected_grams, measured_grams } => {
                Err(PaymentError::MismatchOpen { session, expected_grams, measured_grams })
            }
            // Neither trusted nor refused for good.
            Finding::Doubtful(reason) => Err(PaymentError::NotVerified { session, reason }),
            Finding::Unknown(reason)
                if settings.policy == Policy::Trust && basket.total_cents <= settings.trust_up_to_cents =>
            {
                Ok(Some(reason))
            }
            Finding::Unknown(reason) => Err(PaymentError::NotVerified { session, reason }),
        }
    }

    /// Payments are refused as long as nobody can verify them: that is said until weight-check answers again.
    fn say_refusing(self: &Arc<Self>) {
        if !self.verifier.is_silent() || self.is_refusing.swap(true, Ordering::AcqRel) {
            return;
        }
        let till = Arc::clone(self);
        tokio::spawn(async move {
            let waiting = till.process.waiting("payments are refused: weight-check doesn't answer");
            till.verifier.until_it_answers().await;
            drop(waiting);
            till.is_refusing.store(false, Ordering::Release);
        });
    }

    /// Takes the money.
    async fn take(self: Arc<Self>, charge: ChargeBegun) -> Answer<PayReply> {
        {
            let mut book = self.book();
            let offset = self.process.publish(&charge).map_err(|error| not_recorded(&error))?;
            book.begun(charge.clone(), offset);
        }
        self.wait_for(charge).await
    }

    /// Waits for what comes of a charge, for as long as a customer should. It goes on without the customer.
    async fn wait_for(self: &Arc<Self>, charge: ChargeBegun) -> Answer<PayReply> {
        let mut settled = self.settle(charge);
        let unavailable = |reason: &str| Err(PaymentError::BankUnavailable { reason: reason.to_owned() });
        match timeout(self.process.settings().bank_patience, settled.wait_for(Option::is_some)).await {
            Ok(Ok(settled)) => settled.clone().expect("it was waited for"),
            Ok(Err(_)) => unavailable("the charge was given up"),
            Err(_) => unavailable("it has not answered yet; the charge goes on by itself"),
        }
    }

    /// Sees to it that somebody finds out what comes of a charge: one task for each.
    fn settle(self: &Arc<Self>, charge: ChargeBegun) -> Settled {
        let mut settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(settled) = settling.get(&charge.charge) {
            return settled.clone();
        }
        let (settle, settled) = watch::channel(None);
        settling.insert(charge.charge.clone(), settled.clone());
        let till = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = till.ask_until_settled(&charge).await;
            till.settling.lock().unwrap_or_else(PoisonError::into_inner).remove(&charge.charge);
            settle.send_replace(Some(outcome));
        });
        settled
    }

    /// Holds the basket, asks the bank until it answers, and writes down what it says. The key makes it safe to do
    /// all of it again.
    async fn ask_until_settled(&self, charge: &ChargeBegun) -> Answer<PayReply> {
        let mut pause = BANK_PAUSE_MIN;
        let mut waiting = None;
        loop {
            // What can't be done now, or not be written down, is tried again.
            match self.settle_once(charge).await {
                Err(
                    error @ (PaymentError::NotRecorded { .. }
                    | PaymentError::BankUnavailable { .. }
                    | PaymentError::BasketUnavailable { .. }),
                ) => {
                    // Others need not hear of a bank that is only being restarted.
                    if pause >= SAID_FROM {
                        let why = format!("charge {} can't be settled: {error}", charge.charge);
                        waiting.get_or_insert_with(|| self.process.waiting(why.as_str())).say(why.as_str());
                    }
                    sleep(pause).await;
                }
                outcome => return outcome,
            }
            pause = (pause * 2).min(BANK_PAUSE_MAX);
        }
    }

    async fn settle_once(&self, charge: &ChargeBegun) -> Answer<PayReply> {
        if let Err(refused) = self.hold(charge).await? {
            return self.write_declined(charge, refused);
        }
        if charge.method == Method::Cash || charge.total_cents == 0 {
            return self.write_paid(charge);
        }
        let refused = match self.charge(charge).await? {
            Ok(Booking { approved: true, .. }) => return self.write_paid(charge),
            Ok(Booking { reason, .. }) => reason.unwrap_or_else(|| "it gives no reason".to_owned()),
            Err(refused) => refused,
        };
        let declined = self.write_declined(charge, refused);
        self.release(charge).await;
        declined
    }

    /// From here on the basket can't be opened again. The inner error is for good.
    async fn hold(&self, charge: &ChargeBegun) -> Answer<Result<(), String>> {
        let ChargeBegun { session, closed, charge, .. } = charge.clone();
        match self.basket.call(&Hold { session, changed: closed, charge }).await {
            Ok(_) => Ok(Ok(())),
            Err(Failure::Refused(error @ BasketError::NotRecorded { .. })) => {
                Err(PaymentError::BasketUnavailable { reason: error.to_string() })
            }
            Err(Failure::Refused(error)) => Ok(Err(error.to_string())),
            Err(failure) => Err(PaymentError::BasketUnavailable { reason: failure.to_string() }),
        }
    }

    /// Asks the bank. The inner error is for good.
    async fn charge(&self, charge: &ChargeBegun) -> Answer<Result<Booking, String>> {
        let request = Charge { charge: charge.charge.clone(), cents: charge.total_cents };
        match self.bank.call(&request).await {
            Ok(reply) => Ok(Ok(reply.booking)),
            Err(Failure::Refused(error @ BankError::NotRecorded { .. })) => {
                Err(PaymentError::BankUnavailable { reason: error.to_string() })
            }
            Err(Failure::Refused(error)) => Ok(Err(error.to_string())),
            Err(failure) => {
                tracing::warn!(charge = charge.charge, %failure, "the bank can't be asked");
                Err(PaymentError::BankUnavailable { reason: failure.to_string() })
            }
        }
    }

    /// The customer may change the basket again. If nobody hears it, the next charge takes the hold over.
    async fn release(&self, charge: &ChargeBegun) {
        let (session, charge) = (charge.session.clone(), charge.charge.clone());
        if let Err(failure) = self.basket.call(&Release { session, charge }).await {
            tracing::warn!(%failure, "a basket that was not paid stays held");
        }
    }

    fn write_paid(&self, charge: &ChargeBegun) -> Answer<PayReply> {
        let paid = Paid {
            session: charge.session.clone(),
            at: At::now().max(charge.at),
            total_cents: charge.total_cents,
            method: charge.method,
            tendered_cents: charge.tendered_cents,
            change_cents: charge.tendered_cents - charge.total_cents,
            verified: charge.verified,
            charge: charge.charge.clone(),
            request: charge.request.clone(),
        };
        let mut book = self.book();
        // Another task may have found out first.
        if let Some(Standing::Paid(paid)) = book.standing(&charge.session) {
            return Ok(PayReply { receipt: paid.into() });
        }
        let unverified = charge.reason.clone().map(|reason| UnverifiedPayment {
            session: charge.session.clone(),
            at: paid.at,
            total_cents: charge.total_cents,
            reason,
        });
        let reply = PayReply { receipt: (&paid).into() };
        self.write(&mut book, paid, unverified).map_err(|error| not_recorded(&error))?;
        Ok(reply)
    }

    /// A payment, and that it is unverified: both or neither.
    fn write(
        &self,
        book: &mut Book,
        paid: Paid,
        unverified: Option<UnverifiedPayment>,
    ) -> procession::Result<()> {
        let mut batch = self.process.batch();
        batch.add(&paid)?;
        if let Some(unverified) = &unverified {
            batch.add(unverified)?;
        }
        if let Some(oldest) = book.checkpoint_due() {
            batch.checkpoint(Book::OLDEST, &oldest)?;
        }
        let offsets = batch.commit()?;
        book.paid(paid, offsets.start);
        if let Some(unverified) = unverified {
            book.unverified(unverified);
        }
        Ok(())
    }

    fn write_declined(&self, charge: &ChargeBegun, reason: String) -> Answer<PayReply> {
        let declined = ChargeDeclined {
            session: charge.session.clone(),
            at: At::now().max(charge.at),
            charge: charge.charge.clone(),
            reason: reason.clone(),
        };
        let mut book = self.book();
        if matches!(book.standing(&charge.session), Some(Standing::Begun(open)) if open.charge == charge.charge)
        {
            self.process.publish(&declined).map_err(|error| not_recorded(&error))?;
            book.declined(declined);
        }
        Err(PaymentError::Declined { reason })
    }

    async fn receipt(self: Arc<Self>, request: GetReceipt) -> Answer<PayReply> {
        check_session(&request.session)?;
        match self.book().standing(&request.session) {
            Some(Standing::Paid(paid)) => Ok(PayReply { receipt: paid.into() }),
            _ => Err(PaymentError::NotPaid { session: request.session }),
        }
    }

    async fn list(self: Arc<Self>, request: ListUnverified) -> Answer<Unverified> {
        let limit = usize::try_from(request.limit.unwrap_or(LISTED)).unwrap_or(usize::MAX);
        let (payments, total) = self.book().list_unverified(limit);
        Ok(Unverified { payments, total })
    }

    /// The session's turn; kept only while somebody has it or waits for it.
    fn turn(&self, session: &str) -> Arc<Turn<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(session).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Turn::new(()));
        turns.insert(session.to_owned(), Arc::downgrade(&turn));
        turn
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // An entry is made after it is written down, in one step: a panic leaves no half of it.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a request for a session that has been paid.
fn paid_before(paid: &Paid, request: &str) -> Answer<PayReply> {
    let receipt = paid.into();
    if paid.request == request {
        Ok(PayReply { receipt })
    } else {
        Err(PaymentError::AlreadyPaid { receipt })
    }
}

fn not_recorded(error: &procession::Error) -> PaymentError {
    tracing::error!(%error, "a payment can't be written down");
    PaymentError::NotRecorded { reason: error.to_string() }
}
