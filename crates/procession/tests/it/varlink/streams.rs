//! Several replies to one request.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use procession::varlink::{Client, ClientError};
use serde_json::{Value, json};

use super::support::{Stage, block_on, request, wait_until};

const COUNT: &str = "io.procession.test.Provoke.Count";

#[test]
fn a_stream_comes_whole_and_the_connection_goes_on() {
    let stage = Stage::new();
    block_on(async {
        let mut client = Client::connect(stage.path()).await.unwrap();
        for to in [1, 2, 20_000] {
            let mut replies = client.call_more::<Value>(COUNT, &json!({"to": to})).await.unwrap();
            for n in 1..=to {
                assert_eq!(replies.next().await.unwrap().unwrap()["n"], n);
            }
            assert!(replies.next().await.unwrap().is_none());
        }
    });
}

#[test]
fn a_stream_that_is_left_early_spoils_the_connection_visibly() {
    let stage = Stage::new();
    block_on(async {
        let mut client = Client::connect(stage.path()).await.unwrap();
        let mut replies = client.call_more::<Value>(COUNT, &json!({"to": 10})).await.unwrap();
        replies.next().await.unwrap();
        let error = client.call::<Value>(COUNT, &json!({"to": 1})).await.unwrap_err();
        assert!(matches!(error, ClientError::OutOfStep));
    });
}

#[test]
fn an_error_can_end_a_stream() {
    let stage = Stage::new();
    block_on(async {
        let mut client = Client::connect(stage.path()).await.unwrap();
        let mut replies = client.call_more::<Value>(COUNT, &json!({"to": "many"})).await.unwrap();
        let error = replies.next().await.unwrap_err();
        assert!(error.name().is_some());
        assert!(replies.next().await.unwrap().is_none());
    });
}

#[test]
fn a_reader_that_stops_reading_holds_the_stream_and_nothing_else() {
    const BYTES: u64 = 1000;
    let stage = Stage::new();
    let flooded = || stage.provoke.flooded.load(Ordering::Relaxed);
    let mut wire = stage.connect();
    let mut message = request("Flood", json!({"bytes": BYTES}));
    message["more"] = json!(true);
    wire.send(&message);
    // Until nothing moves any more for a while: the socket's buffer is full.
    let (mut last, mut since) = (0, Instant::now());
    wait_until("the stream to stop", || {
        let now = flooded();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        now > 0 && since.elapsed() > Duration::from_millis(200)
    });
    let buffered = flooded() * BYTES;
    println!("{buffered} bytes handed over to a reader that doesn't read");
    assert!(buffered < 4 * 1024 * 1024);
    stage.assert_answers();
    assert_eq!(flooded(), last);
    // It reads again: nothing is missing.
    for n in 0..last + 20_000 {
        let reply = wire.receive().unwrap();
        assert_eq!(reply["continues"], true);
        assert_eq!(reply["parameters"]["n"], n);
    }
    drop(wire);
    stage.expect_event("dropped");
}

#[test]
fn a_reader_that_is_fast_doesn_t_keep_the_thread_for_itself() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    let mut message = request("Count", json!({"to": u64::MAX}));
    message["more"] = json!(true);
    wire.send(&message);
    // Takes whatever comes, faster than it is made.
    let enough = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let enough = Arc::clone(&enough);
        move || {
            let mut bytes = vec![0; 64 * 1024];
            let mut taken = 0;
            while !enough.load(Ordering::Relaxed) {
                taken += wire.stream().read(&mut bytes).unwrap();
            }
            taken
        }
    });
    for _ in 0..100 {
        stage.assert_answers();
    }
    enough.store(true, Ordering::Relaxed);
    println!("{} bytes beside 100 answers", reader.join().unwrap());
}
