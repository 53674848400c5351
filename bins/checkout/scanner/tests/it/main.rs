//! The scanner as a process, with the basket behind it: what it says, what it refuses, and what it does while the
//! basket is down.
#![expect(clippy::unwrap_used, reason = "a test whose preparations fail, fails")]

use journal::{Item, Level, Reader, Start};
use serde_json::{Value, json};
use testkit::{DEADLINE, Home, Peer, Running};

fn start(home: &Home, name: &str, flags: &[&str]) -> Running {
    let mut process = Running::start(home, name, &[&["run"], flags].concat());
    process.wait_for_log(DEADLINE, "ready");
    process
}

/// One call: the reply's parameters, or the error's name and parameters.
fn call(peer: &mut Peer, method: &str, parameters: &Value) -> Result<Value, (String, Value)> {
    let method = format!("io.procession.checkout.{method}");
    peer.send(&json!({"method": method, "parameters": parameters})).unwrap();
    let mut reply = peer.receive().unwrap().unwrap();
    let parameters = reply["parameters"].take();
    match reply["error"].as_str() {
        None => Ok(parameters),
        Some(name) => Err((name.rsplit('.').next().unwrap().to_owned(), parameters)),
    }
}

fn peer(home: &Home, name: &str) -> Peer {
    Peer::connect(&home.socket(name)).unwrap()
}

fn begin(home: &Home, session: &str, lane: u32) {
    let asked = json!({"session": session, "lane": lane, "request": "start"});
    call(&mut peer(home, "basket"), "Basket.Start", &asked).unwrap();
}

fn total(home: &Home, session: &str) -> i64 {
    let basket = call(&mut peer(home, "basket"), "Basket.Get", &json!({"session": session})).unwrap();
    basket["total_cents"].as_i64().unwrap()
}

fn scan(session: &str, lane: u32, product: &str, request: &str) -> Value {
    json!({"session": session, "lane": lane, "product": product, "request": request})
}

fn scanned(home: &Home) -> Vec<String> {
    let reader = Reader::open(&home.instance("scanner"), Start::Beginning, Level::Committed).unwrap();
    let mut scanned = Vec::new();
    let Some(mut reader) = reader else { return scanned };
    while let Some(item) = reader.next().unwrap() {
        let Item::Record(record) = item else { panic!("{item:?}") };
        if record.topic == "item-scanned" {
            let event: Value = serde_json::from_slice(record.payload).unwrap();
            scanned.push(event["product"].as_str().unwrap().to_owned());
        }
    }
    scanned
}

#[test]
fn what_is_scanned_is_in_the_basket_once_whoever_is_killed() {
    let home = Home::new();
    let mut basket = start(&home, "basket", &[]);
    let mut scanner = start(&home, "scanner", &[]);
    begin(&home, "1-1", 1);
    for round in 0..4_i64 {
        for _again in 0..2 {
            let asked = scan("1-1", 1, "milk", &format!("r{round}"));
            let reply = call(&mut peer(&home, "scanner"), "Scanner.Scan", &asked).unwrap();
            assert_eq!((&reply["line"], &reply["price_cents"]), (&json!(round + 1), &json!(125)));
        }
        if round % 2 == 0 {
            scanner.kill9();
            scanner = start(&home, "scanner", &[]);
        } else {
            basket.kill9();
            basket = start(&home, "basket", &[]);
        }
        let asked = scan("1-1", 1, "milk", &format!("r{round}"));
        call(&mut peer(&home, "scanner"), "Scanner.Scan", &asked).unwrap();
        assert_eq!(total(&home, "1-1"), (round + 1) * 125);
    }
    assert_eq!(scanned(&home), ["milk"; 4]);
    scanner.terminate(DEADLINE).assert_code(0);
    basket.terminate(DEADLINE).assert_code(0);
}

#[test]
fn what_is_wrong_is_refused_with_a_reason() {
    let home = Home::new();
    let _basket = start(&home, "basket", &[]);
    let _scanner = start(&home, "scanner", &["--lanes", "2"]);
    begin(&home, "1-1", 1);
    let mut peer = peer(&home, "scanner");
    for (asked, error, says) in [
        (scan("1-1", 1, "unicorn", "1"), "UnknownProduct", "unicorn"),
        (scan("1-1", 1, "bananas", "2"), "WeightMissing", "sold by weight"),
        (scan("1-2", 1, "milk", "3"), "UnknownSession", "1-2"),
    ] {
        let (name, parameters) = call(&mut peer, "Scanner.Scan", &asked).unwrap_err();
        assert_eq!((name.as_str(), parameters["error"].as_str()), ("Refused", Some(error)), "{parameters}");
        assert!(parameters["reason"].as_str().unwrap().contains(says), "{parameters}");
    }
    let with = |field: &str, value: Value| {
        let mut asked = scan("1-1", 1, "milk", "4");
        asked[field] = value;
        asked
    };
    for (field, value, says) in [
        ("lane", json!(3), "lanes 1 to 2"),
        ("lane", json!(0), "numbered from 1"),
        ("grams", json!(-1), "can't be negative"),
        ("session", json!("a/b"), "contains '/'"),
        ("at", json!("0"), "behind this machine's clock"),
    ] {
        let (name, parameters) = call(&mut peer, "Scanner.Scan", &with(field, value)).unwrap_err();
        assert_eq!((name.as_str(), &parameters["field"]), ("InvalidValue", &json!(field)), "{parameters}");
        assert!(parameters["reason"].as_str().unwrap().contains(says), "{parameters}");
    }
    assert_eq!(total(&home, "1-1"), 0);
}

#[test]
fn a_reader_that_babbles_is_held_back_and_harms_no_other() {
    let home = Home::new();
    let _basket = start(&home, "basket", &[]);
    let _scanner = start(&home, "scanner", &["--events-per-second", "20"]);
    begin(&home, "1-1", 1);
    begin(&home, "2-1", 2);
    let (mut babbler, mut other) = (peer(&home, "scanner"), peer(&home, "scanner"));
    let (mut refused, mut others) = (0, 0);
    for number in 0..10_000 {
        let asked = scan("1-1", 1, "milk", &number.to_string());
        if let Err((error, parameters)) = call(&mut babbler, "Scanner.Scan", &asked) {
            assert_eq!((error.as_str(), &parameters["lane"]), ("RateLimited", &json!(1)), "{parameters}");
            refused += 1;
        }
        if number % 1000 == 0 {
            call(&mut other, "Scanner.Scan", &scan("2-1", 2, "milk", &number.to_string())).unwrap();
            others += 1;
        }
    }
    assert!(refused > 5000, "{refused}");
    assert_eq!(total(&home, "2-1"), others * 125);
    assert_eq!(total(&home, "1-1"), (10_000 - refused) * 125);
}

#[test]
fn without_a_basket_it_says_so_and_asking_again_later_works() {
    let home = Home::new();
    let _scanner = start(&home, "scanner", &[]);
    let asked = scan("1-1", 1, "milk", "1");
    let (error, parameters) = call(&mut peer(&home, "scanner"), "Scanner.Scan", &asked).unwrap_err();
    assert_eq!(
        (error.as_str(), &parameters["uncertain"]),
        ("BasketUnavailable", &json!(false)),
        "{parameters}"
    );
    let _basket = start(&home, "basket", &[]);
    begin(&home, "1-1", 1);
    call(&mut peer(&home, "scanner"), "Scanner.Scan", &asked).unwrap();
    assert_eq!((total(&home, "1-1"), scanned(&home)), (125, vec!["milk".to_owned()]));
}
