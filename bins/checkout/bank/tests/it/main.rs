//! The bank as a process: each charge is booked once, however often it is asked, and whoever dies.
#![expect(clippy::unwrap_used, reason = "a test whose preparations fail, fails")]

use contracts::checkout::{BankError, Booking, Charge, FindCharge, GetTotal, LedgerTotal};
use procession::calls::{Caller, Failure, Request};
use procession::settings::CallSettings;
use procession::varlink::Endpoint;
use testkit::{DEADLINE, Home, Running};
use tokio::runtime::{Builder, Runtime};

struct Customer {
    home: Home,
    runtime: Runtime,
    bank: Caller,
}

impl Customer {
    fn new() -> Self {
        let home = Home::new();
        let settings = CallSettings { timeout: DEADLINE, patience: DEADLINE, ..CallSettings::default() };
        let bank = Caller::new("bank", Endpoint::new(home.socket("bank"), home.instance("bank")), &settings);
        Self { home, runtime: Builder::new_current_thread().enable_all().build().unwrap(), bank }
    }

    fn open(&self) -> Running {
        Running::start(&self.home, "bank", &["run", "--limit-cents", "1000"])
    }

    fn call<R: Request>(&self, request: &R) -> Result<R::Reply, Failure<R::Error>> {
        self.runtime.block_on(self.bank.call(request))
    }

    fn charge(&self, charge: &str, cents: i64) -> Result<Booking, Failure<BankError>> {
        self.call(&Charge { charge: charge.to_owned(), cents }).map(|reply| reply.booking)
    }
}

#[test]
fn a_charge_is_booked_once_also_across_a_kill() {
    let customer = Customer::new();
    let bank = customer.open();
    let booking = customer.charge("a.1", 500).unwrap();
    assert!(booking.approved);
    let declined = customer.charge("b.1", 1001).unwrap();
    assert!(!declined.approved && declined.reason.as_ref().unwrap().contains("1000 cents"), "{declined:?}");
    bank.kill9();
    let bank = customer.open();
    assert_eq!(customer.charge("a.1", 500).unwrap(), booking);
    assert_eq!(customer.charge("b.1", 1001).unwrap(), declined);
    let found = customer.call(&FindCharge { charge: "a.1".to_owned() }).unwrap();
    assert_eq!(found.booking, Some(booking));
    assert_eq!(customer.call(&FindCharge { charge: "c.1".to_owned() }).unwrap().booking, None);
    assert_eq!(customer.call(&GetTotal {}).unwrap(), LedgerTotal { charges: 1, cents: 500 });
    bank.terminate(DEADLINE).assert_code(0);
}

#[test]
fn what_cannot_be_charged_is_refused() {
    let customer = Customer::new();
    let _bank = customer.open();
    customer.charge("a.1", 500).unwrap();
    let reused = customer.charge("a.1", 501).unwrap_err();
    assert_eq!(reused.refusal(), Some(&BankError::KeyReused { charge: "a.1".to_owned(), cents: 500 }));
    for (charge, cents, field) in
        [("", 1, "charge"), ("a b", 1, "charge"), ("c", 0, "cents"), ("c", -5, "cents")]
    {
        let refused = customer.charge(charge, cents).unwrap_err();
        let found =
            matches!(refused.refusal(), Some(BankError::InvalidValue { field: found, .. }) if found == field);
        assert!(found, "{refused:?}");
    }
    assert_eq!(customer.call(&GetTotal {}).unwrap().charges, 1);
}
