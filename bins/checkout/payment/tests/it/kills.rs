//! Everybody is killed, and every basket is paid once.

use std::collections::BTreeMap;
use std::thread::{self, JoinHandle};

use contracts::checkout::{Judgement, Method, Pay, PaymentError};
use procession::calls::{Caller, Failure};
use testkit::{DEADLINE, Home, seeded, wait_until};

use crate::shop::{FOR_GOOD, Judge, Shop, caller, refusal, runtime, shop};

#[test]
fn a_charge_that_was_begun_is_finished_after_a_restart_without_anybody_asking() {
    let shop = Shop::new();
    let _basket = shop.open("basket", &[]);
    let bank = shop.open("bank", &["--delay", "1h"]);
    let payment = shop.open("payment", &["--bank-patience", "50ms"]);
    let (_judge, _court) = Judge::sit(&shop, Judgement::Ok, FOR_GOOD);
    let closed = shop.shop("1-1", 2);
    let refused = refusal(shop.pay_by_card("1-1", "a"));
    assert!(matches!(refused, PaymentError::BankUnavailable { .. }), "{refused:?}");
    // It is booked, and nobody but the bank knows.
    wait_until(DEADLINE, "the bank books it", || shop.said("bank", "booked").len() == 1);
    payment.kill9();
    bank.kill9();
    let _bank = shop.open("bank", &[]);
    let _payment = shop.open("payment", &[]);
    wait_until(DEADLINE, "payment finds out by itself", || shop.said("payment", "paid").len() == 1);
    let receipt = shop.pay_by_card("1-1", "a").unwrap();
    assert_eq!(receipt.total_cents, closed.total_cents);
    assert_eq!((shop.booked().charges, shop.booked().cents), (1, closed.total_cents));
    assert_eq!(shop.said("payment", "charge-begun").len(), 1);
}

/// Pays, and asks until it knows: with the same request, as a terminal does.
async fn pay_for_sure(payment: &Caller, session: &str, method: Method) -> i64 {
    let pay =
        Pay { session: session.to_owned(), method, tendered_cents: Some(100_000), request: "pay".to_owned() };
    loop {
        match payment.call(&pay).await {
            Ok(reply) => return reply.receipt.total_cents,
            Err(
                Failure::Refused(
                    PaymentError::BankUnavailable { .. } | PaymentError::BasketUnavailable { .. },
                )
                | Failure::Lost { .. }
                | Failure::Unreachable { .. },
            ) => {}
            Err(failure) => panic!("{session}: {failure:?}"),
        }
    }
}

fn customer(home: &Home, lane: u32, sessions: u32) -> JoinHandle<BTreeMap<String, i64>> {
    let [basket, payment] = ["basket", "payment"].map(|name| caller(home, name));
    thread::spawn(move || {
        runtime().block_on(async {
            let mut paid = BTreeMap::new();
            for number in 1..=sessions {
                let session = format!("{lane}-{number}");
                let closed = shop(&basket, &session, 1 + number % 5).await;
                let method = if number % 4 == 0 { Method::Cash } else { Method::Card };
                let cents = pay_for_sure(&payment, &session, method).await;
                assert_eq!(cents, closed.total_cents);
                paid.insert(session, cents);
            }
            paid
        })
    })
}

#[test]
fn no_charge_is_doubled_and_no_sale_is_lost_whoever_is_killed() {
    const SESSIONS: u32 = 25;
    let shop = Shop::new();
    let (_judge, _court) = Judge::sit(&shop, Judgement::Ok, FOR_GOOD);
    let mut random = seeded("kills");
    let names = ["basket", "bank", "payment"];
    let mut processes = names.map(|name| Some(shop.open(name, &[])));
    let lanes: Vec<_> = (1..=4).map(|lane| customer(&shop.home, lane, SESSIONS)).collect();
    let mut kills = 0;
    while !lanes.iter().all(JoinHandle::is_finished) {
        let before = shop.said("basket", "item-added").len();
        wait_until(DEADLINE, "the shop goes on", || {
            shop.said("basket", "item-added").len() > before + 5 || lanes.iter().all(JoinHandle::is_finished)
        });
        let victim = rand::RngExt::random_range(&mut random, 0..3);
        if let Some(process) = processes[victim].take() {
            process.kill9();
        }
        processes[victim] = Some(shop.open(names[victim], &[]));
        kills += 1;
    }
    let mut paid = BTreeMap::new();
    for lane in lanes {
        paid.extend(lane.join().unwrap());
    }
    println!("{kills} kills, {} sales", paid.len());
    assert!(kills >= 10);
    assert_eq!(paid.len(), 4 * SESSIONS as usize);
    let said = shop.said("payment", "paid");
    let said: Vec<(String, i64)> = said
        .iter()
        .map(|paid| (paid["session"].as_str().unwrap().to_owned(), paid["total_cents"].as_i64().unwrap()))
        .collect();
    assert_eq!(said.len(), paid.len(), "each session is paid once");
    assert_eq!(said.into_iter().collect::<BTreeMap<_, _>>(), paid);
    let card = |session: &str| !session.split('-').nth(1).unwrap().parse::<u32>().unwrap().is_multiple_of(4);
    let by_card: Vec<i64> =
        paid.iter().filter(|(session, _)| card(session)).map(|(_, cents)| *cents).collect();
    let total = shop.booked();
    assert_eq!((total.charges, total.cents), (by_card.len() as u64, by_card.iter().sum()));
}
