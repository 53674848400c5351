//! Servers that are killed, that aren't there, and that stop.

use std::time::{Duration, Instant};

use procession::calls::Failure;
use rustix::process::Signal;

use super::kitchen::{DEADLINE, LONG, NOW, Street, block_on, cook, count};

#[test]
fn a_call_that_may_have_been_done_is_not_repeated() {
    let street = Street::new();
    let kitchen = street.open("kitchen", &[]);
    block_on(async {
        let caller = street.caller("kitchen");
        let call = tokio::spawn(async move { caller.call(&cook("soup", LONG)).await });
        street.until("kitchen", "soup", &["begun"]).await;
        kitchen.signal(Signal::KILL);
        kitchen.wait();
        // It is back before the caller has noticed anything, and still nobody asks again.
        let _kitchen = street.open("kitchen", &[]);
        let failure = tokio::time::timeout(DEADLINE, call).await.unwrap().unwrap().unwrap_err();
        assert!(matches!(failure, Failure::Lost { .. }) && failure.is_uncertain(), "{failure:?}");
        assert!(failure.to_string().contains("it may have been done"), "{failure}");
        let caller = street.caller("kitchen");
        assert_eq!(caller.call(&cook("tea", NOW)).await.unwrap().times, 1);
        assert_eq!(street.steps("kitchen", "soup"), ["begun"]);
    });
}

#[test]
fn an_idempotent_call_is_repeated_when_the_server_is_back() {
    let street = Street::new();
    let mut kitchen = street.open("kitchen", &[]);
    block_on(async {
        let caller = street.caller("kitchen");
        let call = {
            let caller = caller.clone();
            tokio::spawn(async move { caller.call(&count("soup", Duration::from_millis(400))).await })
        };
        let mut begun = vec!["begun"];
        for _ in 0..3 {
            street.until("kitchen", "count soup", &begun).await;
            kitchen.signal(Signal::KILL);
            kitchen.wait();
            kitchen = street.open("kitchen", &[]);
            begun.push("begun");
        }
        assert_eq!(call.await.unwrap().unwrap().times, 0);
        begun.push("dropped");
        assert_eq!(street.steps("kitchen", "count soup"), begun);
        // The connections that were open before are known to be dead.
        assert_eq!(caller.call(&cook("soup", NOW)).await.unwrap().times, 1);
    });
}

#[test]
fn an_idle_connection_to_a_dead_server_harms_no_call() {
    let street = Street::new();
    let mut kitchen = street.open("kitchen", &[]);
    block_on(async {
        let caller = street.caller("kitchen");
        for round in 0..10 {
            assert_eq!(caller.call(&cook("soup", NOW)).await.unwrap().times, 1, "round {round}");
            kitchen.signal(Signal::KILL);
            kitchen.wait();
            kitchen = street.open("kitchen", &[]);
        }
    });
}

#[test]
fn a_server_that_is_not_there_is_waited_for_as_long_as_the_patience_lasts() {
    let street = Street::new();
    block_on(async {
        let caller = street.caller("kitchen");
        let began = Instant::now();
        let failure = caller.patient(NOW).call(&cook("soup", NOW)).await.unwrap_err();
        assert!(matches!(failure, Failure::Unreachable { .. }) && !failure.is_uncertain(), "{failure:?}");
        assert!(failure.to_string().contains("kitchen can't be reached"), "{failure}");
        assert!(began.elapsed() < DEADLINE / 4);

        let patience = Duration::from_millis(100);
        let failure = caller.patient(patience).call(&cook("soup", NOW)).await.unwrap_err();
        assert!(matches!(failure, Failure::Unreachable { .. }), "{failure:?}");
        assert!(began.elapsed() >= patience);

        let call = tokio::spawn(async move { caller.call(&cook("soup", NOW)).await });
        let _kitchen = street.start("kitchen", &[]);
        assert_eq!(call.await.unwrap().unwrap().times, 1);
    });
}

#[test]
fn a_server_that_stops_finishes_what_it_has_and_sends_the_rest_to_its_successor() {
    let street = Street::new();
    let kitchen = street.open("kitchen", &[]);
    block_on(async {
        let caller = street.caller("kitchen");
        let cook_it = |dish: &'static str, takes: Duration| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.call(&cook(dish, takes)).await })
        };
        let in_hand = cook_it("soup", Duration::from_millis(300));
        street.until("kitchen", "soup", &["begun"]).await;
        kitchen.signal(Signal::TERM);
        // Not idempotent, and yet it is asked for until somebody does it: the one that stops hasn't looked at it.
        let next = cook_it("tea", NOW);
        assert_eq!(in_hand.await.unwrap().unwrap().times, 1);
        assert_eq!(kitchen.wait().code, Some(0));
        let _kitchen = street.open("kitchen", &[]);
        assert_eq!(next.await.unwrap().unwrap().times, 1);
        assert_eq!(street.steps("kitchen", "tea"), ["begun", "done"]);
    });
}
