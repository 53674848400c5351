//! Deadlines: on the way to the server, through it, and at its door.

use std::time::{Duration, Instant};

use procession::calls::Failure;
use rustix::process::Signal;

use super::kitchen::{DEADLINE, LONG, NOW, Street, block_on, cook, count, order};

const SOON: Duration = Duration::from_millis(300);

#[test]
fn a_slow_server_keeps_nobody_longer_than_the_deadline() {
    let street = Street::new();
    let _kitchen = street.open("kitchen", &[]);
    block_on(async {
        let caller = street.caller("kitchen").within(SOON);
        for _ in 0..2 {
            let began = Instant::now();
            let failure = caller.call(&cook("soup", LONG)).await.unwrap_err();
            assert!(matches!(failure, Failure::Deadline { uncertain: true, .. }), "{failure:?}");
            assert!(began.elapsed() >= SOON && began.elapsed() < DEADLINE);
        }
        // Also one that may be asked again: there is no time left to ask.
        let failure = caller.call(&count("soup", LONG)).await.unwrap_err();
        assert!(matches!(failure, Failure::Deadline { uncertain: true, .. }), "{failure:?}");
        street.until("kitchen", "soup", &["begun", "dropped", "begun", "dropped"]).await;
        assert_eq!(caller.within(DEADLINE).call(&cook("tea", NOW)).await.unwrap().times, 1);
    });
}

#[test]
fn a_deadline_passes_through_two_hops() {
    let street = Street::new();
    let _kitchens = [street.open("kitchen", &[]), street.open("kitchen@2", &[])];
    block_on(async {
        let caller = street.caller("kitchen").within(SOON);
        let failure = caller.call(&order("kitchen@2", "soup", LONG)).await.unwrap_err();
        // The one in the middle may just find the time to say why.
        let late = match &failure {
            Failure::Deadline { uncertain, .. } => *uncertain,
            failure => failure.to_string().contains("no reply from kitchen@2 within"),
        };
        assert!(late, "{failure:?}");
        street.until("kitchen@2", "soup", &["begun", "dropped"]).await;
    });
}

#[test]
fn the_second_hop_is_told_how_long_is_left_to_wait() {
    let street = Street::new();
    // Of its own, it would wait for the other one an hour.
    let kitchens = [street.open("kitchen", &["--calls-timeout", "1h"]), street.open("kitchen@2", &[])];
    block_on(async {
        let caller = street.caller("kitchen").within(SOON * 5);
        let call = tokio::spawn(async move { caller.call(&order("kitchen@2", "soup", LONG)).await });
        street.until("kitchen@2", "soup", &["begun"]).await;
        // The one in the middle can't tell anybody any more; the last one knows by itself.
        kitchens[0].signal(Signal::STOP);
        street.until("kitchen@2", "soup", &["begun", "dropped"]).await;
        assert!(matches!(call.await.unwrap(), Err(Failure::Deadline { .. })));
        kitchens[0].signal(Signal::CONT);
    });
}

#[test]
fn work_whose_caller_is_gone_is_dropped_in_each_hop() {
    let street = Street::new();
    let _kitchens = [street.open("kitchen", &[]), street.open("kitchen@2", &[])];
    block_on(async {
        let caller = street.caller("kitchen");
        let call = tokio::spawn(async move { caller.call(&order("kitchen@2", "soup", LONG)).await });
        street.until("kitchen@2", "soup", &["begun"]).await;
        call.abort();
        street.until("kitchen@2", "soup", &["begun", "dropped"]).await;
        street.until("kitchen", "order soup", &["begun", "dropped"]).await;
    });
}

#[test]
fn what_waited_in_the_socket_of_a_stopped_server_is_not_done_for_a_caller_that_has_left() {
    let street = Street::new();
    let kitchen = street.open("kitchen", &[]);
    block_on(async {
        let caller = street.caller("kitchen");
        assert_eq!(caller.call(&cook("tea", NOW)).await.unwrap().times, 1);
        kitchen.signal(Signal::STOP);
        let calls = (0..20).map(|_| {
            let caller = caller.within(SOON);
            tokio::spawn(async move { caller.call(&cook("soup", NOW)).await })
        });
        let mut sent = 0;
        for call in calls.collect::<Vec<_>>() {
            // On a busy machine the time may be over before the call is on its way.
            match call.await.unwrap().unwrap_err() {
                Failure::Deadline { uncertain, .. } => sent += usize::from(uncertain),
                failure => panic!("{failure:?}"),
            }
        }
        assert!(sent > 0, "nothing waited in the socket");
        kitchen.signal(Signal::CONT);
        assert_eq!(caller.call(&cook("tea", NOW)).await.unwrap().times, 2);
        assert_eq!(street.steps("kitchen", "soup"), [""; 0]);
    });
}
