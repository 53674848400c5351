//! The terminal over HTTP: what it does, what it refuses, and what it keeps.

use rustix::process::Signal;
use serde_json::json;
use testkit::{DEADLINE, call, wait_until};

use crate::shop::Shop;

#[test]
fn a_purchase_from_start_to_receipt_and_asking_again_changes_nothing() {
    let shop = Shop::open();
    let state = shop.done(1, "start", json!({"request": "s"}));
    assert_eq!((&state["phase"], &state["basket"]["total_cents"]), (&json!("shopping"), &json!(0)));
    for _ in 0..3 {
        let state = shop.done(1, "scan", json!({"product": "milk", "request": "a"}));
        assert_eq!(state["basket"]["lines"].as_array().unwrap().len(), 1, "{state}");
    }
    let state = shop.done(1, "scan", json!({"product": "bananas", "grams": 500, "request": "b"}));
    assert_eq!(state["basket"]["total_cents"], 125 + 95);
    assert_eq!(state["weight"]["verdict"], "none", "{state}");
    let state = shop.done(1, "bag", json!({"put": 700, "request": "x"}));
    assert_eq!(state["bag_grams"], 700);
    shop.until_state(1, "a mismatch", |state| state["weight"]["verdict"] == "mismatch");
    shop.done(1, "bag", json!({"set": 1552, "request": "c"}));
    shop.until_state(1, "no mismatch", |state| state["weight"]["verdict"] == "ok");
    let state = shop.done(1, "remove", json!({"line": 1, "request": "d"}));
    assert_eq!(state["basket"]["total_cents"], 95);
    shop.done(1, "bag", json!({"take": 1052, "request": "e"}));
    let state = shop.done(1, "check-out", json!({"request": "f"}));
    assert_eq!(state["phase"], "closed");
    let pay = json!({"method": "cash", "tendered_cents": 500, "request": "g"});
    let state = shop.done(1, "pay", pay.clone());
    assert_eq!(state["phase"], "paid");
    assert_eq!(state["receipt"]["change_cents"], 405);
    assert_eq!(state["receipt"]["verified"], true);
    let again = shop.done(1, "pay", pay);
    assert_eq!(again["receipt"], state["receipt"]);
    let (status, refused) = shop.act(1, "scan", &json!({"product": "milk", "request": "h"}));
    assert_eq!((status, &refused["error"]), (409, &json!("Paid")));
    assert_eq!(shop.done(1, "done", json!({"request": "i"}))["phase"], "idle");
    assert_eq!(shop.state(2)["phase"], "idle");
}

#[test]
fn what_is_wrong_is_said_and_harms_nothing() {
    let shop = Shop::open();
    shop.shop_at(1);
    let long = "x".repeat(20_000);
    for (lane, action, body, status, error) in [
        (1, "scan", json!({"product": "unicorn", "request": "1"}), 409, "Refused"),
        (1, "scan", json!({"product": "milk"}), 400, "BadRequest"),
        (1, "scan", json!({"product": "milk", "request": "1", "price": 1}), 400, "BadRequest"),
        (1, "scan", json!({"product": "bananas", "grams": -5, "request": "1"}), 409, "InvalidValue"),
        (1, "scan", json!({"product": "bananas", "request": "1"}), 409, "Refused"),
        (1, "scan", json!({"product": "milk", "request": "a b"}), 409, "InvalidValue"),
        (1, "scan", json!({"product": long, "request": "1"}), 413, "BadRequest"),
        (1, "bag", json!({"put": 1, "take": 1, "request": "1"}), 400, "BadRequest"),
        (1, "bag", json!({"put": -1, "request": "1"}), 400, "BadRequest"),
        (1, "bag", json!({"take": 1053, "request": "1"}), 409, "InvalidValue"),
        (1, "bag", json!({"put": 999_999, "request": "1"}), 409, "InvalidValue"),
        (1, "remove", json!({"line": 9, "request": "1"}), 409, "UnknownLine"),
        (1, "pay", json!({"method": "card", "request": "1"}), 409, "NotClosed"),
        (1, "pay", json!({"method": "shells", "request": "1"}), 400, "BadRequest"),
        (1, "dance", json!({"request": "1"}), 404, "UnknownAction"),
        (2, "scan", json!({"product": "milk", "request": "1"}), 409, "NotStarted"),
        (0, "start", json!({"request": "1"}), 404, "UnknownLane"),
        (9, "start", json!({"request": "1"}), 404, "UnknownLane"),
    ] {
        let (was, answer) = shop.act(lane, action, &body);
        assert_eq!((was, answer["error"].as_str()), (status, Some(error)), "{action} {body}: {answer}");
        assert!(answer["message"].as_str().unwrap().ends_with('.'), "{answer}");
    }
    let state = shop.state(1);
    assert_eq!((&state["basket"]["total_cents"], &state["bag_grams"]), (&json!(125), &json!(1052)));
}

#[test]
fn only_its_own_pages_may_use_it_and_nothing_comes_from_elsewhere() {
    let shop = Shop::open();
    let own = format!("Host: {}\r\n", shop.address);
    let (status, head, body) = shop.request("GET", "/lane/1", &own, "");
    assert_eq!(status, 200);
    assert!(head.contains("default-src 'none'") && head.contains("frame-ancestors 'none'"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff") && body.contains("data-lane=\"1\""));
    let json = format!("{own}Content-Type: application/json\r\n");
    for (method, path, head, status) in [
        ("GET", "/lane/1", "Host: evil.example\r\n".to_owned(), 403),
        ("GET", "/lane/1", String::new(), 400),
        ("GET", "/lane/x", own.clone(), 400),
        ("GET", "/lane/77", own.clone(), 404),
        ("GET", "/assets/../main.rs", own.clone(), 404),
        ("GET", "/nothing", own.clone(), 404),
        ("POST", "/api/lanes/1/start", own.clone(), 415),
        ("POST", "/api/lanes/1/start", format!("{json}Origin: http://evil.example\r\n"), 403),
        ("POST", "/api/lanes/1/start", format!("{json}Sec-Fetch-Site: same-site\r\n"), 403),
        ("POST", "/api/lanes/1/start", format!("{own}Content-Type: application/jsonp\r\n"), 415),
        (
            "GET",
            "/api/lanes/1",
            format!("{own}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n"),
            403,
        ),
        ("GET", "/lane/1", format!("{own}Host: evil.example\r\n"), 400),
        ("GET", "http://evil.example/lane/1", own.clone(), 400),
        ("DELETE", "/api/lanes/1/start", json.clone(), 405),
        ("GET", "/", own.clone(), 303),
    ] {
        let (was, _, body) = shop.request(method, path, &head, r#"{"request":"1"}"#);
        assert_eq!(was, status, "{method} {path} {head}: {body}");
    }
}

#[test]
fn killed_it_still_knows_who_shops_where_and_others_that_are_down_are_named() {
    let mut shop = Shop::open();
    shop.shop_at(1);
    shop.kill("terminal");
    shop.start("terminal");
    let state = shop.state(1);
    assert_eq!((&state["phase"], &state["basket"]["total_cents"]), (&json!("shopping"), &json!(125)));

    for name in ["scanner", "scale", "payment", "basket"] {
        shop.kill(name);
        shop.until_state(1, "it is named", |state| state["services"][name] == "down");
        // What was seen last is still shown.
        assert_eq!(shop.state(1)["basket"]["total_cents"], 125, "{name}");
        let (status, answer) = shop.act(1, "check-out", &json!({"request": format!("{name}-out")}));
        if name == "basket" {
            assert_eq!((status, &answer["message"]), (503, &json!("The basket is not available.")));
        } else {
            assert_eq!(status, 200, "{answer}");
            shop.done(1, "reopen", json!({"request": format!("{name}-again")}));
        }
        shop.start(name);
        shop.until_state(1, "it is back", |state| state["services"][name] == "up");
    }
    shop.kill("weight-check");
    shop.until_state(1, "weight-check is named", |state| state["services"]["weight_check"] == "down");
    shop.done(1, "check-out", json!({"request": "now"}));
    let state = shop.done(1, "pay", json!({"method": "card", "tendered_cents": null, "request": "p"}));
    assert_eq!((&state["phase"], &state["receipt"]["verified"]), (&json!("paid"), &json!(false)));
}

#[test]
fn whoever_hangs_is_named_too_and_holds_nobody_up() {
    let mut shop = Shop::open();
    shop.shop_at(1);
    for name in ["scanner", "weight-check", "basket"] {
        let shown = name.replace('-', "_");
        shop.signal(name, Signal::STOP);
        shop.until_state(1, "it is named", |state| state["services"][&shown] == "down");
        let (status, answer) = shop.act(1, "scan", &json!({"product": "butter", "request": name}));
        if name == "weight-check" {
            assert_eq!(status, 200, "{answer}");
        } else {
            assert_eq!((status, &answer["error"]), (503, &json!("Unavailable")), "{name}");
        }
        shop.signal(name, Signal::CONT);
        shop.until_state(1, "it is back", |state| state["services"][&shown] == "up");
        // What could not be answered in time is done once, now.
        shop.done(1, "scan", json!({"product": "butter", "request": name}));
    }
    assert_eq!(shop.state(1)["basket"]["total_cents"], 125 + 3 * 279);
}

#[test]
fn whoever_does_not_answer_is_what_the_terminal_waits_for_also_where_nobody_shops() {
    let mut shop = Shop::terminal("");
    let waiting = |shop: &Shop| {
        let health = call(&shop.home.socket("terminal"), "io.procession.Process.Health", &json!({}));
        health.unwrap()["waiting"].as_array().unwrap().clone()
    };
    wait_until(DEADLINE, "it says so", || !waiting(&shop).is_empty());
    assert_eq!(waiting(&shop)[0]["reason"], "no answer from basket, scanner, scale, weight-check, payment");
    for name in ["basket", "scanner", "scale", "bank", "payment", "weight-check"] {
        shop.start(name);
    }
    wait_until(DEADLINE, "it is well", || waiting(&shop).is_empty());
}
