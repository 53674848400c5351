//! The contracts against recorded blocks and operations.
#![expect(clippy::unwrap_used, reason = "a test that can't read its data fails")]

mod checkout;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

use contracts::hive::{Applied, Comment, CustomJson, Operation, Transfer, Vote};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The lines of a recording; none where the recordings aren't there, which `testkit` says plainly.
fn lines(name: &str) -> Option<impl Iterator<Item = String>> {
    let file = File::open(testkit::data(name)?).unwrap();
    Some(BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines().map(|line| line.unwrap()))
}

#[derive(Deserialize)]
struct Line {
    block: u32,
    trx_id: String,
    #[serde(default)]
    trx_in_block: u32,
    op_in_trx: u32,
    virtual_op: bool,
    timestamp: String,
    op: Box<RawValue>,
}

impl Line {
    fn applied(self) -> Applied<Box<RawValue>> {
        Applied {
            block: self.block,
            trx_id: self.trx_id,
            trx_in_block: self.trx_in_block,
            op_in_trx: self.op_in_trx,
            virtual_op: self.virtual_op,
            timestamp: self.timestamp,
            op: Operation::read(self.op),
        }
    }
}

/// Reads a payload as the view of its topic, if there is one, and checks it against the plain JSON.
fn check_view(payload: &str, topic: &str) {
    let plain: serde_json::Value = serde_json::from_str(payload).unwrap();
    let value = &plain["op"]["value"];
    let field = |name: &str| value[name].as_str().unwrap().to_owned();
    match topic {
        "comment" => {
            let view: Comment = serde_json::from_str(payload).unwrap();
            assert_eq!(view.value().body, field("body"));
            assert_eq!(view.is_top_level_post(), field("parent_author").is_empty());
        }
        "vote" => {
            let view: Vote = serde_json::from_str(payload).unwrap();
            assert_eq!(Some(view.value().weight), value["weight"].as_i64());
        }
        "transfer" => {
            let view: Transfer = serde_json::from_str(payload).unwrap();
            assert_eq!(view.value().amount.units.to_string(), value["amount"]["amount"].as_str().unwrap());
            assert_eq!(view.value().memo, field("memo"));
        }
        "custom_json" => {
            let view: CustomJson = serde_json::from_str(payload).unwrap();
            assert_eq!(view.value().json, field("json"));
        }
        _ => {}
    }
}

#[test]
fn every_recorded_operation_keeps_its_text_and_is_readable_by_its_view() {
    for (name, expected) in [("hive-ops.ndjson.gz", 13_653), ("hive-ops-transfers.ndjson.gz", 62_348)] {
        let Some(lines) = lines(name) else { return };
        let mut count = 0;
        for line in lines {
            let read: Line = serde_json::from_str(&line).unwrap();
            let applied = read.applied();
            let topic = applied.op.topic().into_owned();
            assert_eq!(format!("{topic}_operation"), applied.op.kind);
            let payload = serde_json::to_string(&applied).unwrap();
            assert!(line.contains(applied.op.value.get()), "{line}");
            assert!(payload.contains(applied.op.value.get()), "{payload}");
            check_view(&payload, &topic);
            count += 1;
        }
        assert_eq!(count, expected, "{name}");
    }
}

#[test]
fn every_recorded_type_but_the_actorless_has_an_actor() {
    let Some(lines) = lines("hive-ops.ndjson.gz") else {
        return;
    };
    let mut without = BTreeMap::<String, u32>::new();
    for line in lines {
        let applied = serde_json::from_str::<Line>(&line).unwrap().applied();
        if applied.op.actor().is_none() {
            *without.entry(applied.op.topic().into_owned()).or_default() += 1;
        }
    }
    let types: Vec<&str> = without.keys().map(String::as_str).collect();
    assert_eq!(
        types,
        ["clear_null_account_balance", "consolidate_treasury_balance", "hardfork", "system_warning"]
    );
}
