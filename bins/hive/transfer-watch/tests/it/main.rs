//! The transfer watch as a process: which transfers it says are large.
#![expect(clippy::unwrap_used, reason = "a test whose preparations fail, fails")]

use journal::{Codec, Entry, Item, Level, Options, Reader, Start, Writer};
use serde_json::{Value, json};
use testkit::{DEADLINE, Home, Running, wait_until};

fn transfer(writer: &mut Writer, from: &str, amount: &Value) {
    let payload = json!({"block": 7, "trx_id": "t", "trx_in_block": 0, "op_in_trx": 3,
        "timestamp": "2016-03-24T16:05:00", "op": {"type": "transfer_operation", "value": {
            "from": from, "to": "bob", "amount": amount, "memo": "secret"}}});
    let payload = payload.to_string();
    let entry =
        Entry { topic: "transfer", key: None, cause: None, codec: Codec::Json, payload: payload.as_bytes() };
    writer.append(&entry).unwrap();
}

/// What was said to be large: sender, amount and asset; and the offset of its cause.
fn said(home: &Home) -> Vec<(Value, u64)> {
    let reader = Reader::open(&home.instance("transfer-watch"), Start::Beginning, Level::Committed).unwrap();
    let mut said = Vec::new();
    let Some(mut reader) = reader else { return said };
    while let Some(item) = reader.next().unwrap() {
        let Item::Record(record) = item else { panic!("{item:?}") };
        // A transfer that can't be read is put aside.
        if record.topic == "_dead-letter" {
            continue;
        }
        assert_eq!(record.topic, "large-transfer");
        said.push((serde_json::from_slice(record.payload).unwrap(), record.cause.unwrap().offset.0));
    }
    said
}

#[test]
fn transfers_above_the_threshold_of_their_asset_are_said_in_every_form() {
    let home = Home::new();
    let options = Options { segment_bytes: 1 << 20, ..Options::default() };
    let mut writer = Writer::open(&home.instance("broadcaster"), &options).unwrap();
    for (from, amount) in [
        ("at", json!("100.000 HIVE")),
        ("above", json!("100.001 STEEM")),
        ("below", json!({"amount": "99999", "precision": 3, "nai": "@@000000021"})),
        ("object", json!({"amount": "100001", "precision": 3, "nai": "@@000000021"})),
        ("list", json!(["500001", 3, "@@000000013"])),
        ("unwatched", json!("999999999.000000 VESTS")),
        ("odd", json!(5)),
        ("last", json!("500.001 HBD")),
    ] {
        transfer(&mut writer, from, &amount);
    }
    let watch = Running::start(&home, "transfer-watch", &["run", "--thresholds", "STEEM=100,HBD=500.000"]);
    wait_until(DEADLINE, "the last transfer is said", || said(&home).last().is_some_and(|said| said.1 == 7));
    watch.terminate(DEADLINE).assert_code(0);

    let said = said(&home);
    let senders: Vec<_> = said.iter().map(|(large, _)| large["from"].as_str().unwrap()).collect();
    assert_eq!(senders, ["above", "object", "list", "last"]);
    let expected = json!({"from": "list", "to": "bob", "amount": "500.001", "asset": "HBD", "block": 7, "trx_id": "t",
        "op_in_trx": 3, "timestamp": "2016-03-24T16:05:00"});
    assert_eq!(said[2], (expected, 4));
}

#[test]
fn thresholds_that_cannot_be_meant_are_refused() {
    let home = Home::new();
    home.configure("transfer-watch.toml", "[thresholds]\nHIVE = \"1\"\nSTEEM = \"2\"\n");
    home.run("transfer-watch", &["run"])
        .assert_code(78)
        .assert_says(&["thresholds.STEEM", "under another name"]);
}
