//! Bounded concurrency and a bounded queue.

use std::time::{Duration, Instant};

use procession::calls::Failure;
use tokio::task::JoinHandle;

use super::kitchen::{Answer, DEADLINE, LONG, NOW, Street, block_on, cook};

/// The answer of the first of these calls that has one.
async fn next_finished(calls: &mut Vec<JoinHandle<Answer>>) -> Answer {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(index) = calls.iter().position(JoinHandle::is_finished) {
            return calls.remove(index).await.unwrap();
        }
        assert!(Instant::now() < deadline, "none of {} calls is answered", calls.len());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn beyond_workers_and_queue_the_reply_is_busy() {
    let street = Street::new();
    let _kitchen = street.open("kitchen", &["--calls-concurrency", "2", "--calls-queue", "3"]);
    block_on(async {
        let caller = street.caller("kitchen");
        let cook_it = |dish: String| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.call(&cook(&dish, LONG)).await })
        };
        // Two work; only then the others come, so that it is known which of them wait.
        let first = cook_it("first".to_owned());
        let second = cook_it("second".to_owned());
        street.until("kitchen", "first", &["begun"]).await;
        street.until("kitchen", "second", &["begun"]).await;
        let mut more: Vec<_> = (0..10).map(|number| cook_it(format!("more {number}"))).collect();
        // Seven are turned away at once; the three that wait hear nothing.
        for _ in 0..7 {
            let answer = next_finished(&mut more).await;
            let failure = answer.unwrap_err();
            assert!(matches!(failure, Failure::Busy { limit: 5, .. }), "{failure:?}");
            assert!(!failure.is_uncertain());
        }
        let begun = || {
            (0..10).filter(|number| !street.steps("kitchen", &format!("more {number}")).is_empty()).count()
        };
        assert_eq!(begun(), 0);
        // One that waits leaves, and its place is free; two that work leave, and two begin.
        more.pop().expect("three wait").abort();
        first.abort();
        second.abort();
        let deadline = Instant::now() + DEADLINE;
        while begun() < 2 {
            assert!(Instant::now() < deadline, "{} of those that waited have begun", begun());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(begun(), 2);
    });
}

#[test]
fn a_hung_application_is_busy_sooner_or_later_and_never_silent() {
    let street = Street::new();
    let _kitchen = street.open("kitchen", &["--calls-concurrency", "1", "--calls-queue", "0"]);
    block_on(async {
        let caller = street.caller("kitchen");
        let call = {
            let caller = caller.clone();
            tokio::spawn(async move { caller.call(&cook("soup", LONG)).await })
        };
        street.until("kitchen", "soup", &["begun"]).await;
        for _ in 0..20 {
            let failure = caller.call(&cook("tea", NOW)).await.unwrap_err();
            assert!(matches!(failure, Failure::Busy { limit: 1, .. }), "{failure:?}");
        }
        call.abort();
        street.until("kitchen", "soup", &["begun", "dropped"]).await;
        // The place is free a moment after the work is dropped.
        let answered = loop {
            match caller.call(&cook("tea", NOW)).await {
                Err(Failure::Busy { .. }) => tokio::task::yield_now().await,
                answered => break answered,
            }
        };
        assert_eq!(answered.unwrap().times, 1);
    });
}
