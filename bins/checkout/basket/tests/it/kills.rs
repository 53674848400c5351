//! The basket is killed, and its journal is all it has.

use std::thread::JoinHandle;

use contracts::checkout::{Basket, BasketError, BasketState};
use testkit::{DEADLINE, wait_until};

use crate::baskets::{Shop, add, refusal, remove, start};

#[test]
fn baskets_are_what_the_journal_says() {
    let shop = Shop::new();
    let basket = shop.open(&[]);
    shop.start("1-1", 1).unwrap();
    let added = shop.add("1-1", "milk", "a").unwrap();
    shop.add("1-1", "butter", "b").unwrap();
    let removed = shop.remove("1-1", 1, "c").unwrap();
    shop.start("2-1", 2).unwrap();
    shop.add("2-1", "milk", "a").unwrap();
    let closed = shop.check_out("2-1", "b").unwrap();
    let before: [Basket; 2] = ["1-1", "2-1"].map(|session| shop.get(session).unwrap());
    let said = shop.said();
    basket.kill9();

    let _basket = shop.open(&[]);
    assert_eq!(["1-1", "2-1"].map(|session| shop.get(session).unwrap()), before);
    // What was asked before the kill is answered as it was.
    assert_eq!(shop.add("1-1", "milk", "a").unwrap(), added);
    assert_eq!(shop.remove("1-1", 1, "c").unwrap(), removed);
    assert_eq!(shop.check_out("2-1", "b").unwrap(), closed);
    shop.start("1-1", 1).unwrap();
    assert_eq!(shop.said(), said);
    // Line numbers go on.
    assert_eq!(shop.add("1-1", "milk", "d").unwrap().line, 3);
}

/// Customers at four lanes, who ask until they are answered, and a basket that is killed all the while.
#[test]
fn no_item_is_lost_or_doubled_however_often_it_is_killed() {
    const ITEMS: u32 = 100;
    let shop = Shop::new();
    let mut basket = shop.open(&[]);
    let lanes: Vec<_> = (1..=4)
        .map(|lane| {
            shop.customer(async move |caller| {
                let session = format!("{lane}-1");
                caller.call(&start(&session, lane)).await.unwrap();
                for number in 1..=ITEMS {
                    let added = caller.call(&add(&session, "milk", &format!("add-{number}"))).await.unwrap();
                    assert_eq!(added.line, number);
                    if number % 4 == 0 {
                        caller.call(&remove(&session, number, &format!("remove-{number}"))).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let mut kills = 0;
    let mut heard = 0;
    while !lanes.iter().all(JoinHandle::is_finished) {
        wait_until(DEADLINE, "some more is said", || {
            shop.said().len() > heard + 10 || lanes.iter().all(JoinHandle::is_finished)
        });
        heard = shop.said().len();
        basket.kill9();
        basket = shop.open(&[]);
        kills += 1;
    }
    for lane in lanes {
        lane.join().unwrap();
    }
    println!("{kills} kills");
    assert!(kills >= 3);
    for lane in 1..=4 {
        let view = shop.get(&format!("{lane}-1")).unwrap();
        assert_eq!(view.lines.len(), 75);
    }
    assert_eq!(shop.said().len(), 4 * (1 + 100 + 25));
}

#[test]
fn closed_baskets_are_forgotten_and_a_restart_does_not_read_them_again() {
    let shop = Shop::new();
    let settings = ["--keep-closed", "0s"];
    let basket = shop.open(&settings);
    for number in 1..=50 {
        let session = format!("1-{number}");
        shop.start(&session, 1).unwrap();
        shop.add(&session, "milk", "a").unwrap();
        shop.check_out(&session, "b").unwrap();
    }
    shop.start("1-51", 1).unwrap();
    shop.add("1-51", "milk", "a").unwrap();
    // A stop writes down where to begin.
    let ended = basket.terminate(DEADLINE);
    ended.assert_code(0);
    let mut basket = shop.open(&settings);
    basket.wait_for_log(DEADLINE, "recalled");
    basket.wait_for_log(DEADLINE, "ready");
    let log = basket.stderr();
    let recalled = log.lines().find(|line| line.contains("recalled")).unwrap();
    assert!(recalled.contains("\"sessions\":1") || recalled.contains("sessions=1"), "{recalled}");
    assert!(!recalled.contains("\"from\":0,"), "{recalled}");
    assert_eq!(refusal(shop.get("1-1")), BasketError::UnknownSession { session: "1-1".to_owned() });
    assert_eq!(shop.get("1-51").unwrap().state, BasketState::Open);
    basket.kill9();
}

#[test]
fn what_is_forgotten_is_said_to_have_ended_once_and_stays_forgotten() {
    let shop = Shop::new();
    let basket = shop.open(&[]);
    shop.start("1-1", 1).unwrap();
    shop.add("1-1", "milk", "a").unwrap();
    basket.kill9();
    let ended = || shop.said().into_iter().filter(|(topic, _)| topic == "session-ended").collect::<Vec<_>>();
    for _ in 0..2 {
        let basket = shop.open(&["--keep-open", "1us"]);
        wait_until(DEADLINE, "the session has ended", || ended().len() == 1);
        assert!(matches!(refusal(shop.get("1-1")), BasketError::UnknownSession { .. }));
        basket.terminate(DEADLINE).assert_code(0);
    }
    assert_eq!(ended()[0].1["session"], "1-1");
    assert_eq!(ended().len(), 1);
}
