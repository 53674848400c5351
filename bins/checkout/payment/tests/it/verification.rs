//! The weight verdict, and the policy where there is none.

use std::time::{Duration, Instant};

use contracts::checkout::{At, Judgement, PaymentError};
use serde_json::json;
use testkit::{DEADLINE, Running, call, wait_until};

use crate::shop::{FOR_GOOD, Judge, Shop, refusal};

#[test]
fn a_mismatch_is_paid_once_it_is_corrected() {
    let shop = Shop::new();
    let _open = shop.open_all(&["--verification-patience", "100ms"]);
    shop.shop("1-1", 1);
    {
        let (judge, _court) = Judge::sit(&shop, Judgement::Mismatch, FOR_GOOD);
        let open = PaymentError::MismatchOpen {
            session: "1-1".to_owned(),
            expected_grams: 1000,
            measured_grams: 900,
        };
        assert_eq!(refusal(shop.pay_by_card("1-1", "a")), open);
        assert!(judge.asked() > 0);
    }
    // One that is not settled is neither trusted nor held against the customer: weight-check may be catching up.
    {
        let (_judge, _court) = Judge::sit(&shop, Judgement::Mismatch, None);
        let doubtful = refusal(shop.pay_by_card("1-1", "a"));
        assert!(
            matches!(&doubtful, PaymentError::NotVerified { reason, .. } if reason.contains("not settled"))
        );
    }
    assert_eq!(shop.booked().charges, 0);
    let (_judge, _court) = Judge::sit(&shop, Judgement::Ok, FOR_GOOD);
    assert!(shop.pay_by_card("1-1", "a").unwrap().verified);
}

#[test]
fn an_open_verdict_is_waited_for() {
    let shop = Shop::new();
    let _open = shop.open_all(&["--verification-patience", "1h"]);
    let closed = shop.shop("1-1", 1);
    // Settled up to the closing is not enough: something else may have happened at the same time.
    let (judge, _court) = Judge::sit(&shop, Judgement::Mismatch, Some(closed.at));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            wait_until(DEADLINE, "payment looks twice", || judge.asked() >= 2);
            assert!(shop.said("payment", "charge-begun").is_empty());
            judge.says(Judgement::Ok, Some(At(closed.at.0 + 1)));
        });
        let runtime = crate::shop::runtime();
        let payment = crate::shop::caller(&shop.home, "payment");
        let pay = contracts::checkout::Pay {
            session: "1-1".to_owned(),
            method: contracts::checkout::Method::Card,
            tendered_cents: None,
            request: "a".to_owned(),
        };
        assert!(runtime.block_on(payment.call(&pay)).unwrap().receipt.verified);
    });
}

#[test]
fn without_weight_check_customers_are_trusted_up_to_a_limit_and_listed() {
    let shop = Shop::new();
    let _open = shop.open_all(&["--verification-patience", "300ms", "--trust-up-to-cents", "500"]);
    shop.shop("1-1", 1);
    shop.shop("2-1", 1);
    shop.shop("3-1", 100);
    let began = Instant::now();
    let receipt = shop.pay_by_card("1-1", "a").unwrap();
    assert!(!receipt.verified);
    assert!(began.elapsed() >= Duration::from_millis(200), "weight-check may only have been restarting");
    // It is known to be down: the next customers wait no more.
    wait_until(DEADLINE, "it is long silent", || began.elapsed() > Duration::from_millis(400));
    assert!(!shop.pay_by_card("2-1", "a").unwrap().verified);
    let refused = refusal(shop.pay_by_card("3-1", "a"));
    assert!(matches!(&refused, PaymentError::NotVerified { .. }), "{refused:?}");
    let listed = shop.unverified();
    let sessions: Vec<_> = listed.payments.iter().map(|payment| payment.session.as_str()).collect();
    assert_eq!((sessions, listed.total), (vec!["2-1", "1-1"], 2));
    assert!(listed.payments[0].reason.contains("weight-check can't be reached"), "{listed:?}");
    assert_eq!(shop.said("payment", "unverified-payment").len(), 2);

    // Back again, it is asked again.
    let (_judge, _court) = Judge::sit(&shop, Judgement::Ok, FOR_GOOD);
    assert!(shop.pay_by_card("3-1", "a").unwrap().verified);
}

#[test]
fn a_verdict_that_never_settles_is_no_verdict() {
    let shop = Shop::new();
    let _open = shop.open_all(&["--verification-patience", "100ms"]);
    for (session, judgement, reason) in
        [("1-1", Judgement::Ok, "not settled"), ("2-1", Judgement::None, "not settled")]
    {
        shop.shop(session, 1);
        let (_judge, _court) = Judge::sit(&shop, judgement, None);
        assert!(!shop.pay_by_card(session, "a").unwrap().verified);
        assert!(shop.unverified().payments[0].reason.contains(reason));
    }
    shop.shop("3-1", 1);
    let (_judge, _court) = Judge::sit(&shop, Judgement::None, FOR_GOOD);
    assert!(!shop.pay_by_card("3-1", "a").unwrap().verified);
    assert!(shop.unverified().payments[0].reason.contains("knows nothing"));
}

#[test]
fn the_policy_can_be_to_refuse() {
    let shop = Shop::new();
    let _open = shop.open_all(&["--policy", "refuse", "--verification-patience", "10ms"]);
    shop.shop("1-1", 1);
    let refused = refusal(shop.pay_by_card("1-1", "a"));
    assert!(matches!(&refused, PaymentError::NotVerified { .. }), "{refused:?}");
    assert_eq!((shop.booked().charges, shop.unverified().total), (0, 0));
    let (_judge, _court) = Judge::sit(&shop, Judgement::Ok, FOR_GOOD);
    assert!(shop.pay_by_card("1-1", "a").unwrap().verified);
}

#[test]
fn a_policy_that_is_none_is_refused() {
    let shop = Shop::new();
    shop.home.configure("payment.toml", "policy = \"hope\"\n");
    let ended = Running::start(&shop.home, "payment", &["run"]).wait(DEADLINE);
    ended.assert_code(78).assert_says(&["payment.toml", "policy", "trust"]);
}

#[test]
fn payment_that_refuses_what_nobody_verifies_says_so_until_somebody_does() {
    let shop = Shop::new();
    let _open = shop.open_all(&["--policy", "refuse", "--verification-patience", "50ms"]);
    shop.shop("1-1", 1);
    let health = || call(&shop.home.socket("payment"), "io.procession.Process.Health", &json!({})).unwrap();
    wait_until(DEADLINE, "payment answers", || shop.home.socket("payment").exists());
    assert_eq!(health()["waiting"], json!([]), "nobody has been refused");
    for request in ["a", "b"] {
        let refused = refusal(shop.pay_by_card("1-1", request));
        assert!(matches!(refused, PaymentError::NotVerified { .. }), "{refused:?}");
    }
    let waiting = health()["waiting"].clone();
    assert_eq!(waiting.as_array().unwrap().len(), 1, "{waiting}");
    assert!(waiting[0]["reason"].as_str().unwrap().contains("weight-check doesn't answer"), "{waiting}");
    let (_judge, _court) = Judge::sit(&shop, Judgement::Ok, FOR_GOOD);
    wait_until(DEADLINE, "payment goes on by itself", || health()["healthy"] == json!(true));
    assert!(shop.pay_by_card("1-1", "c").unwrap().verified);
}
