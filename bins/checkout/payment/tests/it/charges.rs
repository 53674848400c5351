//! Card and cash, and everything that is not a payment.

use std::sync::Arc;
use std::thread;

use contracts::checkout::{BasketError, CheckOut, Judgement, Method, PaymentError, Reopen, Start};
use serde_json::json;
use testkit::{DEADLINE, call, wait_until};

use crate::shop::{FOR_GOOD, Judge, Shop, refusal};

#[test]
fn a_card_is_charged_once_however_often_it_is_asked() {
    let shop = Shop::new();
    let _open = shop.open_all(&[]);
    let (_judge, _court) = Judge::sit(&shop, Judgement::Ok, FOR_GOOD);
    let closed = shop.shop("1-1", 3);
    let receipt = shop.pay_by_card("1-1", "a").unwrap();
    assert_eq!((receipt.total_cents, receipt.tendered_cents), (closed.total_cents, closed.total_cents));
    assert_eq!((receipt.change_cents, receipt.verified, receipt.method), (0, true, Method::Card));
    assert_eq!(shop.pay_by_card("1-1", "a").unwrap(), receipt);
    assert_eq!(shop.receipt("1-1").unwrap(), receipt);
    let again = refusal(shop.pay_by_card("1-1", "b"));
    assert_eq!(again, PaymentError::AlreadyPaid { receipt: receipt.clone() });
    let again = refusal(shop.pay("1-1", Method::Cash, Some(10_000), "c"));
    assert_eq!(again, PaymentError::AlreadyPaid { receipt });
    let total = shop.booked();
    assert_eq!((total.charges, total.cents), (1, closed.total_cents));
    assert_eq!(shop.said("payment", "paid").len(), 1);
    assert_eq!(shop.unverified().total, 0);
}

#[test]
fn cash_gives_change_and_needs_no_bank() {
    let shop = Shop::new();
    let _open = [shop.open("basket", &[]), shop.open("payment", &[])];
    let (_judge, _court) = Judge::sit(&shop, Judgement::Ok, FOR_GOOD);
    let closed = shop.shop("1-1", 2);
    let (total_cents, tendered_cents) = (closed.total_cents, closed.total_cents - 1);
    let little = refusal(shop.pay("1-1", Method::Cash, Some(tendered_cents), "a"));
    assert_eq!(little, PaymentError::TooLittle { total_cents, tendered_cents });
    let receipt = shop.pay("1-1", Method::Cash, Some(total_cents + 42), "b").unwrap();
    assert_eq!((receipt.change_cents, receipt.total_cents), (42, total_cents));
    // Nor can anything be added to what is paid.
    let reopen = Reopen { session: "1-1".to_owned(), at: None, request: "reopen".to_owned() };
    let refused = shop.call("basket", &reopen).unwrap_err();
    assert_eq!(refused.refusal(), Some(&BasketError::BeingPaid { session: "1-1".to_owned() }));
}

#[test]
fn what_was_opened_again_is_not_paid_for_as_it_was() {
    let shop = Shop::new();
    let _open = shop.open_all(&["--verification-patience", "1h"]);
    let (judge, _court) = Judge::sit(&shop, Judgement::None, None);
    shop.shop("1-1", 1);
    let session = || "1-1".to_owned();
    let other = Shop::beside(&shop);
    let looked = Arc::clone(&judge);
    let customer = thread::spawn(move || {
        wait_until(DEADLINE, "payment looks", || looked.asked() >= 2);
        // The customer changes their mind while the weight is being checked.
        let reopen = Reopen { session: "1-1".to_owned(), at: None, request: "r".to_owned() };
        other.call("basket", &reopen).unwrap();
        looked.says(Judgement::Ok, FOR_GOOD);
    });
    let declined = refusal(shop.pay_by_card("1-1", "a"));
    assert!(
        matches!(&declined, PaymentError::Declined { reason } if reason.contains("open")),
        "{declined:?}"
    );
    customer.join().unwrap();
    assert_eq!(shop.booked().charges, 0);
    let out = CheckOut { session: session(), at: None, request: "out-again".to_owned() };
    let closed = shop.call("basket", &out).unwrap();
    assert_eq!(shop.pay_by_card("1-1", "b").unwrap().total_cents, closed.total_cents);
}

#[test]
fn what_cannot_be_paid_is_refused_in_so_many_words() {
    let shop = Shop::new();
    let _open = shop.open_all(&[]);
    let (_judge, _court) = Judge::sit(&shop, Judgement::Ok, FOR_GOOD);
    let session = || "1-1".to_owned();
    assert_eq!(refusal(shop.pay_by_card("1-1", "a")), PaymentError::UnknownSession { session: session() });
    let start = Start { session: session(), lane: 1, at: None, request: "start".to_owned() };
    shop.call("basket", &start).unwrap();
    assert_eq!(refusal(shop.pay_by_card("1-1", "a")), PaymentError::NotClosed { session: session() });
    assert_eq!(refusal(shop.receipt("1-1")), PaymentError::NotPaid { session: session() });
    for (pay, field) in [
        (shop.pay("1-1", Method::Cash, None, "a"), "tendered_cents"),
        (shop.pay("1-1", Method::Cash, Some(-1), "a"), "tendered_cents"),
        (shop.pay_by_card("", "a"), "session"),
        (shop.pay_by_card("1-1", "a b"), "request"),
    ] {
        let refused = refusal(pay);
        assert!(
            matches!(&refused, PaymentError::InvalidValue { field: found, .. } if found == field),
            "{refused:?}"
        );
    }
    assert_eq!(shop.booked().charges, 0);
}

#[test]
fn a_declined_card_can_be_followed_by_cash() {
    let shop = Shop::new();
    let _open =
        [shop.open("basket", &[]), shop.open("payment", &[]), shop.open("bank", &["--limit-cents", "200"])];
    let (_judge, _court) = Judge::sit(&shop, Judgement::Ok, FOR_GOOD);
    let closed = shop.shop("1-1", 3);
    let declined = refusal(shop.pay_by_card("1-1", "a"));
    assert!(
        matches!(&declined, PaymentError::Declined { reason } if reason.contains("limit")),
        "{declined:?}"
    );
    assert_eq!(refusal(shop.pay_by_card("1-1", "a")), declined);
    assert_eq!(refusal(shop.pay_by_card("1-1", "b")), declined);
    // It may be changed again.
    wait_until(DEADLINE, "the basket is released", || shop.said("basket", "basket-released").len() == 2);
    let receipt = shop.pay("1-1", Method::Cash, Some(closed.total_cents), "c").unwrap();
    assert_eq!(receipt.charge, "1-1.3");
    assert_eq!(shop.booked().charges, 0);
    assert_eq!(shop.said("payment", "charge-declined").len(), 2);
}

#[test]
fn a_bank_that_is_down_delays_a_charge_and_loses_none() {
    let shop = Shop::new();
    let _open = [shop.open("basket", &[]), shop.open("payment", &["--bank-patience", "200ms"])];
    let (_judge, _court) = Judge::sit(&shop, Judgement::Ok, FOR_GOOD);
    let closed = shop.shop("1-1", 3);
    for request in ["a", "a", "b"] {
        let refused = refusal(shop.pay_by_card("1-1", request));
        assert!(matches!(refused, PaymentError::BankUnavailable { .. }), "{refused:?}");
    }
    // Nor can it be paid in cash while the card may be charged.
    let refused = refusal(shop.pay("1-1", Method::Cash, Some(10_000), "c"));
    assert!(matches!(refused, PaymentError::BankUnavailable { .. }), "{refused:?}");
    let _bank = shop.open("bank", &[]);
    wait_until(DEADLINE, "the charge goes through", || shop.receipt("1-1").is_ok());
    assert_eq!(shop.pay_by_card("1-1", "a").unwrap().total_cents, closed.total_cents);
    assert_eq!((shop.booked().charges, shop.booked().cents), (1, closed.total_cents));
    assert_eq!(shop.said("payment", "charge-begun").len(), 1);
}

#[test]
fn payment_without_a_bank_says_that_it_cannot_do_its_work() {
    let shop = Shop::new();
    let _open = [shop.open("basket", &[]), shop.open("payment", &["--bank-patience", "100ms"])];
    let (_judge, _court) = Judge::sit(&shop, Judgement::Ok, FOR_GOOD);
    let closed = shop.shop("1-1", 1);
    let refused = refusal(shop.pay_by_card("1-1", "a"));
    assert!(matches!(refused, PaymentError::BankUnavailable { .. }), "{refused:?}");
    let health = || call(&shop.home.socket("payment"), "io.procession.Process.Health", &json!({})).unwrap();
    wait_until(DEADLINE, "payment waits for the bank", || health()["waiting"] != json!([]));
    let reason = health()["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("charge 1-1.1 can't be settled: ") && reason.contains("bank"), "{reason}");
    let _bank = shop.open("bank", &[]);
    wait_until(DEADLINE, "payment goes on", || health()["healthy"] == json!(true));
    assert_eq!(shop.receipt("1-1").unwrap().total_cents, closed.total_cents);
}
