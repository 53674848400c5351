//! The answers to the bank's calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contracts::checkout::names::{Invalid, check_charge};
use contracts::checkout::{
    BANK, BankError, Booking, Charge, ChargeReply, FindCharge, FindReply, GetTotal, LedgerTotal,
};
use procession::calls::Interface;
use procession::{Event as _, Item, Process, Start};

use crate::ledger::Ledger;
use crate::settings::Settings;

type Answer<T> = Result<T, BankError>;

pub(crate) struct Desk {
    process: Process<Settings>,
    /// A lock, because calls are tasks of their own; held for one booking.
    ledger: Mutex<Ledger>,
}

impl Desk {
    /// With what the process's own journal says.
    pub(crate) fn open(process: Process<Settings>) -> procession::Result<Arc<Self>> {
        let mut ledger = Ledger::new(process.settings().charges_kept.get());
        let mut own = process.read_own(Start::Beginning)?;
        while let Some(item) = own.next()? {
            match item {
                Item::Record(record) if record.topic == Booking::TOPIC => {
                    match serde_json::from_slice(record.payload) {
                        Ok(booking) => ledger.book(booking),
                        Err(error) => {
                            tracing::error!(offset = record.offset.0, %error, "a booking can't be read")
                        }
                    }
                }
                Item::Record(_) => {}
                Item::Gap(gap) => {
                    let (from, to, reason) = (gap.from.0, gap.to.0, gap.reason);
                    tracing::error!(from, to, %reason, "bookings there are lost");
                }
            }
        }
        Ok(Arc::new(Self { process, ledger: Mutex::new(ledger) }))
    }

    pub(crate) fn interface(self: &Arc<Self>) -> Interface<Self> {
        Interface::new(BANK, Arc::clone(self)).on(Self::charge).on(Self::find).on(Self::total)
    }

    async fn charge(self: Arc<Self>, request: Charge) -> Answer<ChargeReply> {
        check_charge(&request.charge)?;
        if request.cents <= 0 {
            let reason = format!("is {}: only what is more than nothing can be charged", request.cents);
            return Err(Invalid { field: "cents", reason }.into());
        }
        let booking = self.book(request)?;
        // The customer's bank takes its time.
        tokio::time::sleep(self.process.settings().delay).await;
        Ok(ChargeReply { booking })
    }

    fn book(&self, request: Charge) -> Answer<Booking> {
        let mut ledger = self.lock();
        match ledger.find(&request.charge) {
            Some(known) if known.cents == request.cents => return Ok(known.clone()),
            Some(known) => {
                return Err(BankError::KeyReused { charge: request.charge, cents: known.cents });
            }
            None => {}
        }
        let limit = self.process.settings().limit_cents;
        let approved = request.cents <= limit;
        let reason = (!approved).then(|| format!("it is over the limit of {limit} cents"));
        let booking = Booking { charge: request.charge, cents: request.cents, approved, reason };
        let said = self.process.publish(&booking);
        said.map_err(|error| BankError::NotRecorded { reason: error.to_string() })?;
        ledger.book(booking.clone());
        Ok(booking)
    }

    async fn find(self: Arc<Self>, request: FindCharge) -> Answer<FindReply> {
        check_charge(&request.charge)?;
        Ok(FindReply { booking: self.lock().find(&request.charge).cloned() })
    }

    async fn total(self: Arc<Self>, _: GetTotal) -> Answer<LedgerTotal> {
        Ok(self.lock().total())
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // A booking is made after it is written down, in one step: a panic leaves no half of it.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
