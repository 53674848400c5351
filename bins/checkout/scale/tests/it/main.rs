//! The scale as a process: what it says, what it refuses, and what it knows after a kill.
#![expect(clippy::unwrap_used, reason = "a test whose preparations fail, fails")]

use std::time::Instant;

use journal::{Item, Level, Reader, Start};
use serde_json::{Value, json};
use testkit::{DEADLINE, Home, Peer, Running, wait_until};

const INTERFACE: &str = "io.procession.checkout.Scale";

fn start(home: &Home, flags: &[&str]) -> Running {
    let mut scale = Running::start(home, "scale", &[&["run"], flags].concat());
    scale.wait_for_log(DEADLINE, "ready");
    scale
}

/// One call: the reply's parameters, or the error's name and parameters.
fn call(peer: &mut Peer, method: &str, parameters: &Value) -> Result<Value, (String, Value)> {
    peer.send(&json!({"method": format!("{INTERFACE}.{method}"), "parameters": parameters})).unwrap();
    let mut reply = peer.receive().unwrap().unwrap();
    let parameters = reply["parameters"].take();
    match reply["error"].as_str() {
        None => Ok(parameters),
        Some(name) => Err((name.rsplit('.').next().unwrap().to_owned(), parameters)),
    }
}

fn peer(home: &Home) -> Peer {
    Peer::connect(&home.socket("scale")).unwrap()
}

fn bag(session: &str, lane: u32, grams: i64, request: &str) -> Value {
    json!({"session": session, "lane": lane, "grams": grams, "request": request})
}

/// What the scale has said under a topic.
fn said(home: &Home, topic: &str) -> Vec<Value> {
    let reader = Reader::open(&home.instance("scale"), Start::Beginning, Level::Committed).unwrap();
    let mut said = Vec::new();
    let Some(mut reader) = reader else { return said };
    while let Some(item) = reader.next().unwrap() {
        let Item::Record(record) = item else { panic!("{item:?}") };
        if record.topic == topic {
            said.push(serde_json::from_slice(record.payload).unwrap());
        }
    }
    said
}

fn time(event: &Value) -> i64 {
    event["at"].as_str().unwrap().parse().unwrap()
}

#[test]
fn weights_survive_a_kill_and_asking_again_changes_nothing() {
    let home = Home::new();
    let mut scale = start(&home, &[]);
    for round in 0..5_i64 {
        let mut peer = peer(&home);
        for again in 0..2 {
            // Also what was asked before the kill.
            for number in 0..=round {
                let grams = call(&mut peer, "Bag", &bag("1-1", 1, 100, &format!("r{number}"))).unwrap();
                assert_eq!(grams, json!({"grams": (number + 1) * 100}), "round {round}, again {again}");
            }
        }
        call(&mut peer, "PlaceProduce", &json!({"lane": 2, "grams": 700 + round})).unwrap();
        scale.kill9();
        scale = start(&home, &[]);
    }
    let mut peer = peer(&home);
    assert_eq!(call(&mut peer, "GetBag", &json!({"session": "1-1"})).unwrap(), json!({"grams": 500}));
    assert_eq!(call(&mut peer, "GetBag", &json!({"session": "none"})).unwrap(), json!({"grams": 0}));
    assert_eq!(call(&mut peer, "Weigh", &json!({"lane": 2})).unwrap(), json!({"grams": 704}));
    let (error, _) = call(&mut peer, "Weigh", &json!({"lane": 3})).unwrap_err();
    assert_eq!(error, "NothingToWeigh");
    scale.terminate(DEADLINE).assert_code(0);
    let grams: Vec<i64> =
        said(&home, "weight-changed").iter().map(|said| said["grams"].as_i64().unwrap()).collect();
    assert_eq!(grams, [100, 200, 300, 400, 500]);
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let home = Home::new();
    let scale = start(&home, &["--lanes", "2"]);
    let mut peer = peer(&home);
    call(&mut peer, "Bag", &bag("1-1", 1, 500, "1")).unwrap();
    let day = 86_400_000_000_i64;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap();
    let at = |at: i64| {
        let mut asked = bag("1-1", 1, 1, "2");
        asked["at"] = json!(at.to_string());
        asked
    };
    for (method, asked, field, says) in [
        ("Bag", bag("1-1", 1, -501, "2"), "grams", "a weight can't be negative"),
        ("Bag", bag("1-1", 1, 100_001, "2"), "grams", "100000 g"),
        ("Bag", bag("1-1", 3, 1, "2"), "lane", "lanes 1 to 2"),
        ("Bag", bag("1-1", 0, 1, "2"), "lane", "numbered from 1"),
        ("Bag", bag("1-1", 2, 1, "2"), "lane", "at lane 1"),
        ("Bag", bag("", 1, 1, "2"), "session", "is empty"),
        ("Bag", bag("1-1", 1, 1, "a b"), "request", "contains ' '"),
        ("Bag", at(now + day), "at", "ahead of this machine's clock"),
        ("Bag", at(now - day), "at", "behind this machine's clock"),
        ("PlaceProduce", json!({"lane": 1, "grams": -1}), "grams", "can't be negative"),
        ("Advance", json!({"lane": 1, "at": "5"}), "at", "event_clock"),
    ] {
        let (error, parameters) = call(&mut peer, method, &asked).unwrap_err();
        assert_eq!(
            (error.as_str(), &parameters["field"]),
            ("InvalidValue", &json!(field)),
            "{asked}: {parameters}"
        );
        assert!(parameters["reason"].as_str().unwrap().contains(says), "{asked}: {parameters}");
    }
    let (error, _) =
        call(&mut peer, "Bag", &json!({"session": "1-1", "lane": 1, "grams": "many"})).unwrap_err();
    assert_eq!(error, "InvalidParameter");
    assert_eq!(call(&mut peer, "GetBag", &json!({"session": "1-1"})).unwrap(), json!({"grams": 500}));
    scale.terminate(DEADLINE).assert_code(0);
}

#[test]
fn a_lane_that_babbles_is_held_back_and_harms_no_other() {
    let home = Home::new();
    let scale = start(&home, &["--events-per-second", "20"]);
    let (mut babbler, mut other) = (peer(&home), peer(&home));
    let begun = Instant::now();
    let (mut taken, mut refused, mut others) = (0, 0, 0);
    for number in 0..10_000 {
        match call(&mut babbler, "Bag", &bag("1-1", 1, 1, &number.to_string())) {
            Ok(_) => taken += 1,
            Err((error, parameters)) => {
                assert_eq!((error.as_str(), &parameters["per_second"]), ("RateLimited", &json!(20)));
                assert!((1..=1000).contains(&parameters["retry_ms"].as_u64().unwrap()), "{parameters}");
                refused += 1;
            }
        }
        // The customer at the next lane notices nothing.
        if number % 1000 == 0 {
            call(&mut other, "Bag", &bag("2-1", 2, 10, &number.to_string())).unwrap();
            others += 1;
        }
    }
    let allowed = 20.0 * (begun.elapsed().as_secs_f64() + 1.0) + 1.0;
    assert!(f64::from(taken) <= allowed, "{taken} of {allowed}");
    assert!(taken >= 20 && refused > 0);
    assert_eq!(
        call(&mut other, "GetBag", &json!({"session": "2-1"})).unwrap(),
        json!({"grams": others * 10})
    );
    assert_eq!(said(&home, "weight-changed").len(), usize::try_from(taken + others).unwrap());
    scale.terminate(DEADLINE).assert_code(0);
}

#[test]
fn nothing_is_said_earlier_than_was_promised() {
    let home = Home::new();
    let scale = start(&home, &["--heartbeat-every", "10ms", "--heartbeat-lag", "0s"]);
    wait_until(DEADLINE, "two promises", || said(&home, "_heartbeat").len() >= 2);
    let promised = said(&home, "_heartbeat").iter().map(time).max().unwrap();
    let mut peer = peer(&home);
    let mut late = bag("1-1", 1, 5, "1");
    late["at"] = json!((promised - 1_000_000).to_string());
    call(&mut peer, "Bag", &late).unwrap();
    let moved = &said(&home, "weight-changed")[0];
    assert!(time(moved) >= promised, "{moved}: promised was {promised}");
    scale.kill9();

    // It also keeps its word of an earlier life.
    let promised = said(&home, "_heartbeat").iter().map(time).max().unwrap();
    let scale = start(&home, &["--heartbeat-every", "1h"]);
    late["request"] = json!("2");
    call(&mut Peer::connect(&home.socket("scale")).unwrap(), "Bag", &late).unwrap();
    assert!(time(&said(&home, "weight-changed")[1]) >= promised);
    scale.terminate(DEADLINE).assert_code(0);
}

#[test]
fn with_a_scripts_time_the_slowest_lane_decides_also_after_a_kill() {
    let home = Home::new();
    let flags = ["--event-clock", "lanes", "--lanes", "2"];
    let mut scale = start(&home, &flags);
    let promises = |home: &Home| said(home, "_heartbeat").iter().map(time).collect::<Vec<_>>();
    let advance = |home: &Home, lane: u32, at: i64| {
        call(&mut peer(home), "Advance", &json!({"lane": lane, "at": at.to_string()})).unwrap();
    };
    advance(&home, 1, 100);
    assert_eq!(promises(&home), [0_i64; 0]);
    scale.kill9();
    scale = start(&home, &flags);
    advance(&home, 2, 50);
    assert_eq!(promises(&home), [50]);
    advance(&home, 2, 70);
    advance(&home, 2, 60);
    advance(&home, 2, 500);
    assert_eq!(promises(&home), [50, 70, 100]);
    let mut asked = bag("1-1", 1, 5, "1");
    let (error, parameters) = call(&mut peer(&home), "Bag", &asked).unwrap_err();
    assert_eq!((error.as_str(), &parameters["field"]), ("InvalidValue", &json!("at")));
    asked["at"] = json!("120");
    call(&mut peer(&home), "Bag", &asked).unwrap();
    assert_eq!(time(&said(&home, "weight-changed")[0]), 120);
    scale.terminate(DEADLINE).assert_code(0);
}
