//! The node on real recordings, where they are at hand: `$PROCESSION_TEST_DATA`, or `shared/data`
//! beside the repository.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::block::ZERO_ID;
use crate::chain::Chain;
use crate::faults::Effects;
use crate::forms::{self, Form};
use crate::json::{self, Fields, Raw};
use crate::rpc;
use crate::settings::Settings;
use crate::view::View;

/// The file, or `None` (said plainly) where it isn't there.
fn data(name: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("PROCESSION_TEST_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/data"),
    };
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: there is no {}", path.display());
    None
}

fn lines(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    text.lines().map(str::to_owned).collect()
}

struct Node(Chain);

impl Node {
    fn new(path: &Path, as_recorded: bool) -> Self {
        let block_interval = Duration::ZERO;
        let settings =
            Settings { recording: Some(path.to_owned()), as_recorded, block_interval, ..Settings::default() };
        Self(Chain::open(&settings, None, Timestamp::now()).unwrap().0)
    }

    fn result(&self, method: &str, params: Value) -> Raw {
        let request = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1});
        let effects = Effects::default();
        let view = View::new(&self.0, &[], &effects, Timestamp::now());
        let answer = rpc::answer(&request, &view, &effects);
        Fields::parse(answer.get()).unwrap().remove("result").unwrap()
    }

    fn block(&self, number: u32, form: Form) -> Fields {
        let block = match form {
            Form::Appbase => {
                let result = self.result("block_api.get_block", json!({"block_num": number}));
                Fields::parse(result.get()).unwrap().remove("block").unwrap()
            }
            Form::Condenser => self.result("condenser_api.get_block", json!([number])),
        };
        Fields::parse(block.get()).unwrap()
    }
}

fn transactions(block: &Fields) -> Vec<Fields> {
    let list = json::items(block.get("transactions").unwrap()).unwrap();
    list.iter().map(|text| Fields::parse(text.get()).unwrap()).collect()
}

fn value(raw: &serde_json::value::RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap()
}

fn text<'a>(fields: &'a Fields, key: &str) -> &'a str {
    fields.get(key).unwrap().get()
}

/// Plays a recording in its own form and compares text with text: transactions and their ids are
/// untouched, numbers and links are new and right.
fn plays(name: &str, form: Form) {
    let Some(path) = data(name) else { return };
    let node = Node::new(&path, false);
    let mut previous = format!("\"{ZERO_ID}\"");
    for (index, line) in lines(&path).iter().enumerate() {
        let number = u32::try_from(index + 1).unwrap();
        let (recorded, served) = (Fields::parse(line).unwrap(), node.block(number, form));
        assert_eq!(text(&served, "previous"), previous);
        assert!(text(&served, "block_id").starts_with(&format!("\"{number:08x}")));
        previous = text(&served, "block_id").to_owned();
        assert_eq!(text(&served, "timestamp"), text(&recorded, "timestamp"));
        let ids: Vec<String> = serde_json::from_str(text(&served, "transaction_ids")).unwrap();
        if let Some(recorded) = recorded.get("transaction_ids") {
            assert_eq!(ids, serde_json::from_str::<Vec<String>>(recorded.get()).unwrap());
        }
        let (was, is) = (transactions(&recorded), transactions(&served));
        assert_eq!((was.len(), ids.len()), (is.len(), is.len()));
        for (index, (mut was, is)) in was.into_iter().zip(is).enumerate() {
            if was.get("block_num").is_some() {
                assert_eq!(is.text("transaction_id").unwrap(), ids[index]);
                was.set("block_num", json::raw(&number));
            }
            assert_eq!(json::raw(&was).get(), json::raw(&is).get(), "line {number}");
        }
    }
}

#[test]
fn a_recording_in_block_api_form_is_played() {
    plays("hive-blocks.ndjson.gz", Form::Appbase);
}

#[test]
fn a_recording_in_condenser_form_is_played() {
    plays("hive-blocks-condenser.ndjson", Form::Condenser);
}

#[test]
fn a_recording_of_operations_alone_is_played() {
    plays("hive-blocks-partial.ndjson", Form::Appbase);
}

#[test]
fn as_recorded_blocks_are_what_was_recorded_and_holes_are_absent() {
    let Some(path) = data("hive-blocks.ndjson.gz") else { return };
    let node = Node::new(&path, true);
    let mut last = 0;
    for line in lines(&path) {
        let mut recorded = Fields::parse(&line).unwrap();
        let number = recorded.number("block_num").unwrap();
        recorded.remove("block_num");
        if number > last + 1 {
            let absent = node.result("block_api.get_block", json!({"block_num": number - 1}));
            assert_eq!(absent.get(), "{}");
        }
        assert_eq!(value(&json::raw(&node.block(number, Form::Appbase))), value(&json::raw(&recorded)));
        last = number;
    }
    let properties = node.result("database_api.get_dynamic_global_properties", json!({}));
    assert_eq!(value(&properties)["head_block_number"], last);
    assert_eq!(value(&properties)["time"], node.block(last, Form::Appbase).text("timestamp").unwrap());
    let range =
        node.result("block_api.get_block_range", json!({"starting_block_num": 1_000_840, "count": 1000}));
    assert_eq!(value(&range)["blocks"].as_array().unwrap().len(), 10);
}

/// Hive's nodes of today say HIVE and HBD where Steem's said STEEM and SBD, and write no triples.
fn as_of_today(condenser: &Raw) -> Value {
    let text = condenser.get().replace(" STEEM\"", " HIVE\"").replace(" SBD\"", " HBD\"");
    value(&forms::amounts(&serde_json::from_str::<Raw>(&text).unwrap(), Form::Condenser))
}

#[test]
fn the_two_forms_convert_into_each_other() {
    let (Some(old), Some(new)) = (data("hive-blocks-condenser.ndjson"), data("hive-blocks.ndjson.gz")) else {
        return;
    };
    let (old_node, new_node) = (Node::new(&old, true), Node::new(&new, true));
    let mut operations = 0;
    for line in lines(&old) {
        let number = Fields::parse(&line).unwrap().number("block_num").unwrap();
        let ops = |block: &Fields| -> Vec<Raw> {
            transactions(block)
                .iter()
                .flat_map(|t| json::items(t.get("operations").unwrap()).unwrap())
                .collect()
        };
        let new = [&new_node, &old_node].map(|node| ops(&node.block(number, Form::Appbase)));
        let old = [&old_node, &new_node].map(|node| ops(&node.block(number, Form::Condenser)));
        assert_eq!((new[0].len(), old[0].len()), (new[1].len(), old[1].len()));
        for (was, is) in new[0].iter().zip(&new[1]) {
            // Recorded data is served as it was recorded; converted in full, it is the same.
            let (name, data) = forms::operation_parts(is).unwrap();
            let pair = json::raw(&[json::raw(&name), data]);
            assert_eq!(value(was), value(&forms::operation(&pair, Form::Appbase)), "block {number}");
        }
        for (was, is) in old[0].iter().zip(&old[1]) {
            assert_eq!(as_of_today(was), value(is), "block {number}, to condenser");
        }
        operations += new[0].len();
    }
    assert!(operations > 2000, "{operations}");
}

#[test]
fn every_recorded_type_of_operation_converts_there_and_back() {
    let Some(path) = data("hive-ops.ndjson.gz") else { return };
    let mut types = BTreeMap::<String, u32>::new();
    for line in lines(&path) {
        let op = Fields::parse(&line).unwrap().remove("op").unwrap();
        let there = forms::operation(&op, Form::Condenser);
        assert!(!there.get().contains("\"nai\":\"@@"), "{}", there.get());
        assert_eq!(value(&forms::operation(&there, Form::Appbase)), value(&op));
        *types.entry(forms::operation_parts(&op).unwrap().0).or_default() += 1;
    }
    assert_eq!(types.len(), 69);
}

#[test]
fn conversion_gives_what_nodes_answered_in_the_other_form() {
    let Some(path) = data("hive-ops-in-block.ndjson") else { return };
    let mut answers = BTreeMap::<String, BTreeMap<&str, Vec<Raw>>>::new();
    for line in lines(&path) {
        let fields = Fields::parse(&line).unwrap();
        let request = value(fields.get("request").unwrap());
        let mut result = fields.get("result").unwrap().to_owned();
        let (key, form) = match &request["params"] {
            Value::Object(params) => (json!([params["block_num"], params.get("only_virtual")]), "appbase"),
            params => (params.clone(), "condenser"),
        };
        if form == "appbase" {
            result = Fields::parse(result.get()).unwrap().remove("ops").unwrap();
        }
        let ops = json::items(&result).unwrap();
        let ops = ops.iter().map(|op| Fields::parse(op.get()).unwrap().remove("op").unwrap()).collect();
        answers.entry(key.to_string()).or_default().insert(form, ops);
    }
    let mut compared = 0;
    for forms in answers.values() {
        let (Some(appbase), Some(condenser)) = (forms.get("appbase"), forms.get("condenser")) else {
            continue;
        };
        for (new, old) in appbase.iter().zip(condenser) {
            assert_eq!(value(&super::forms::operation(new, Form::Condenser)), value(old));
            assert_eq!(value(&super::forms::operation(old, Form::Appbase)), value(new));
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared}");
}
