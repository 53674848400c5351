//! Varlink clients that aren't ours, at the basket.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::{DEADLINE, Running, call, python};

use crate::baskets::Shop;

const INTERFACE: &str = "io.procession.checkout.Basket";

#[test]
fn any_varlink_client_can_shop() {
    let shop = Shop::new();
    let mut basket = shop.open(&[]);
    basket.wait_for_log(DEADLINE, "ready");
    let socket = shop.home.socket("basket");
    let ask = |method: &str, parameters: Value| call(&socket, &format!("{INTERFACE}.{method}"), &parameters);
    let started = ask("Start", json!({"session": "1-1", "lane": 1, "request": "a"})).unwrap();
    assert_eq!(started, json!({}));
    let added = ask("AddItem", json!({"session": "1-1", "product": "milk", "request": "b"})).unwrap();
    assert_eq!(added["line"], 1);
    let error = ask("AddItem", json!({"session": "1-1", "product": "unicorn", "request": "c"})).unwrap_err();
    assert!(error.to_string().contains("Basket.UnknownProduct"), "{error}");
    let error = ask("AddItem", json!({"session": "1-1"})).unwrap_err();
    assert!(error.to_string().contains("InvalidParameter"), "{error}");
}

#[test]
fn pythons_varlink_shops() {
    let Some(python) = python(&["varlink"]) else { return };
    let shop = Shop::new();
    let mut basket = shop.open(&[]);
    basket.wait_for_log(DEADLINE, "ready");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/python/shop.py");
    let mut command = Command::new(python);
    command.arg("-B").arg(script).arg(shop.home.socket("basket"));
    let ended = Running::spawn(&shop.home, "shop.py", command).wait(DEADLINE);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let said: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(said["basket"]["lines"].as_array().unwrap().len(), 1);
    assert_eq!(said["error"], "io.procession.checkout.Basket.UnknownProduct");
}
