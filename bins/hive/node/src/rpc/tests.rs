use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::chain::Chain;
use crate::faults::{FaultSet, Stall};
use crate::settings::Settings;

/// A generated chain of ten blocks, two of them reversible.
struct Node {
    chain: Chain,
    now: Timestamp,
}

impl Node {
    fn new() -> Self {
        let genesis: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let (chain, _) = Chain::open(&Settings::default(), None, genesis).unwrap();
        Self { chain, now: genesis + Duration::from_secs(29) }
    }

    fn with(&self, effects: &Effects, request: &Value) -> Value {
        let view = View::new(&self.chain, &[], effects, self.now);
        serde_json::from_str(answer(request, &view, effects).get()).unwrap()
    }

    fn ask(&self, request: &Value) -> Value {
        self.with(&Effects::default(), request)
    }

    fn result(&self, method: &str, params: Value) -> Value {
        self.result_with(&Effects::default(), method, params)
    }

    fn result_with(&self, effects: &Effects, method: &str, params: Value) -> Value {
        let answer = self.with(effects, &request(method, params));
        assert_eq!(answer.get("error"), None, "{method}");
        answer["result"].clone()
    }

    fn error(&self, method: &str, params: Value) -> (i64, String) {
        let answer = self.ask(&request(method, params));
        assert_eq!(answer.get("result"), None);
        (answer["error"]["code"].as_i64().unwrap(), answer["error"]["message"].as_str().unwrap().to_owned())
    }
}

fn request(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1})
}

#[test]
fn properties_tell_head_time_and_irreversibility_in_both_forms() {
    let node = Node::new();
    let appbase = node.result("database_api.get_dynamic_global_properties", json!({}));
    let condenser = node.result("condenser_api.get_dynamic_global_properties", json!([]));
    for properties in [&appbase, &condenser] {
        assert_eq!(properties["head_block_number"], 10);
        assert_eq!(properties["last_irreversible_block_num"], 8);
        assert_eq!(properties["time"], "2026-01-01T00:00:27");
        assert!(properties["head_block_id"].as_str().unwrap().starts_with("0000000a"));
    }
    assert_eq!(
        appbase["current_supply"],
        json!({"amount": "466000000000", "precision": 3, "nai": "@@000000021"})
    );
    assert_eq!(condenser["current_supply"], "466000000.000 HIVE");
    assert_eq!((&appbase["id"], condenser.get("id")), (&json!(0), None));
    let head = node.result("block_api.get_block", json!({"block_num": 10}));
    assert_eq!(head["block"]["block_id"], appbase["head_block_id"]);
    assert_eq!(head["block"]["witness"], appbase["current_witness"]);
    assert_eq!(head["block"]["timestamp"], appbase["time"]);
}

#[test]
fn a_block_is_the_same_in_both_forms() {
    let node = Node::new();
    for number in 1..=10 {
        let appbase = &node.result("block_api.get_block", json!({"block_num": number}))["block"];
        let condenser = node.result("condenser_api.get_block", json!([number]));
        assert_eq!(condenser["block_id"], appbase["block_id"]);
        assert_eq!(appbase.get("block_num"), None);
        let ids = appbase["transaction_ids"].as_array().unwrap();
        assert_eq!(ids.len(), appbase["transactions"].as_array().unwrap().len());
        for (index, id) in ids.iter().enumerate() {
            let (old, new) = (&condenser["transactions"][index], &appbase["transactions"][index]);
            assert_eq!(&old["transaction_id"], id);
            assert_eq!((&old["block_num"], &old["transaction_num"]), (&json!(number), &json!(index)));
            assert_eq!(new.get("transaction_id"), None);
            let (pair, object) = (&old["operations"][0], &new["operations"][0]);
            assert_eq!(object["type"], format!("{}_operation", pair[0].as_str().unwrap()));
            assert_eq!(object["value"].as_object().unwrap().len(), pair[1].as_object().unwrap().len());
        }
    }
}

#[test]
fn absent_blocks_are_no_error() {
    let node = Node::new();
    for number in
        [json!(0), json!(-1), json!(11), json!(4_294_967_296_u64), json!("11"), json!(1e300), Value::Null]
    {
        assert_eq!(node.result("block_api.get_block", json!({"block_num": number})), json!({}));
        assert_eq!(node.result("condenser_api.get_block", json!([number])), Value::Null);
        let ops = json!({"block_num": number, "include_reversible": true});
        assert_eq!(node.result("account_history_api.get_ops_in_block", ops), json!({"ops": []}));
    }
    assert_eq!(node.result("block_api.get_block", json!({})), json!({}));
    let text = node.result("block_api.get_block", json!({"block_num": "3"}));
    assert_eq!(text, node.result("block_api.get_block", json!({"block_num": 3})));
}

#[test]
fn ranges_end_at_the_head_and_have_limits() {
    let node = Node::new();
    let range = |start: Value, count: Value| json!({"starting_block_num": start, "count": count});
    let lengths = |start: i64, count: i64| {
        let result = node.result("block_api.get_block_range", range(json!(start), json!(count)));
        result["blocks"].as_array().unwrap().len()
    };
    assert_eq!(
        [lengths(1, 1000), lengths(8, 2), lengths(9, 100), lengths(11, 5), lengths(5, 0), lengths(-1, 7)],
        [10, 2, 2, 0, 0, 0]
    );
    let blocks = node.result("block_api.get_block_range", range(json!(3), json!(1)));
    assert_eq!(blocks["blocks"][0], node.result("block_api.get_block", json!({"block_num": 3}))["block"]);
    let method = "block_api.get_block_range";
    for count in [json!(1001), json!(-1)] {
        let (code, message) = node.error(method, range(json!(1), count));
        assert_eq!(code, -32003);
        assert_eq!(
            message,
            "Assert Exception:count <= 1000 && \"fetch_block_range\": You can only ask for 1000 blocks at a timerethrow"
        );
    }
    let (code, message) = node.error(method, range(json!(0), json!(1000)));
    assert_eq!(code, -32003);
    assert_eq!(
        message,
        "Assert Exception:starting_block_num > 0 && \"fetch_block_range\": Invalid starting block numberrethrow"
    );
    for wrong in [range(json!("start"), json!(1000)), range(json!(10), json!("count"))] {
        assert_eq!(node.error(method, wrong), (-32000, "Parse Error:Couldn't parse uint64_t".to_owned()));
    }
}

#[test]
fn operations_of_a_block_come_with_the_virtual_ones() {
    let node = Node::new();
    let method = "account_history_api.get_ops_in_block";
    let all = node.result(method, json!({"block_num": 5, "only_virtual": false}));
    let ops = all["ops"].as_array().unwrap();
    let block = &node.result("block_api.get_block", json!({"block_num": 5}))["block"];
    let real: Vec<&Value> = ops.iter().filter(|op| op["virtual_op"] == false).map(|op| &op["op"]).collect();
    let in_block = block["transactions"].as_array().unwrap().iter();
    assert_eq!(real, in_block.flat_map(|t| t["operations"].as_array().unwrap()).collect::<Vec<_>>());
    let last = ops.last().unwrap();
    assert_eq!(last["op"]["type"], "producer_reward_operation");
    assert_eq!(last["trx_id"], "0000000000000000000000000000000000000000");
    assert_eq!((&last["trx_in_block"], &last["op_in_trx"]), (&json!(4_294_967_295_u32), &json!(1)));
    for op in ops.iter().filter(|op| op["trx_in_block"] != 4_294_967_295_u32) {
        let index = usize::try_from(op["trx_in_block"].as_u64().unwrap()).unwrap();
        assert_eq!(op["trx_id"], block["transaction_ids"][index]);
    }
    let only_virtual = node.result(method, json!({"block_num": 5, "only_virtual": "true"}));
    assert_eq!(only_virtual["ops"].as_array().unwrap().len(), ops.len() - real.len());
    let condenser = node.result("condenser_api.get_ops_in_block", json!([5, false]));
    assert_eq!(condenser.as_array().unwrap().len(), ops.len());
    assert_eq!(condenser.as_array().unwrap().last().unwrap()["op"][0], "producer_reward");
    // Block 9 is reversible: not unless asked for.
    assert_eq!(node.result(method, json!({"block_num": 9})), json!({"ops": []}));
    assert_ne!(node.result(method, json!({"block_num": 9, "include_reversible": true})), json!({"ops": []}));
}

#[test]
fn the_old_call_form_is_the_condenser() {
    let node = Node::new();
    let condenser = node.result("condenser_api.get_block", json!([7]));
    for api in [json!("database_api"), json!("condenser_api"), json!(0)] {
        assert_eq!(node.result("call", json!([api, "get_block", [7]])), condenser);
    }
    let appbase = node.result("block_api.get_block", json!({"block_num": 7}));
    assert_eq!(node.result("call", json!(["block_api", "get_block", {"block_num": 7}])), appbase);
    let properties = node.result("call", json!(["database_api", "get_dynamic_global_properties", []]));
    assert_eq!(properties["current_supply"], "466000000.000 HIVE");
    let ops = node.result("call", json!(["database_api", "get_ops_in_block", [5, false]]));
    assert_eq!(ops, node.result("condenser_api.get_ops_in_block", json!([5, false])));
    assert_eq!(node.error("call", json!(["database_api"])).0, -32002);
    assert_eq!(node.error("call", json!({})).0, -32002);
}

#[test]
fn bad_requests_are_refused_as_hived_does() {
    let node = Node::new();
    let error = |request: Value| {
        let answer = node.ask(&request);
        (answer["error"]["code"].as_i64().unwrap(), answer["error"]["message"].as_str().unwrap().to_owned())
    };
    let is = |code: i64, message: &str| (code, message.to_owned());
    assert_eq!(
        error(json!({"method": "block_api.get_block", "params": {}, "id": 1})),
        is(-32600, "jsonrpc value is not \"2.0\"")
    );
    assert_eq!(
        error(json!({"jsonrpc": "2.0", "params": {}, "id": 1})),
        is(-32600, "A member \"method\" does not exist")
    );
    assert_eq!(
        error(json!({"jsonrpc": "2.0", "method": "block_api.get_block", "id": 1})),
        is(-32001, "A member \"params\" does not exist")
    );
    assert_eq!(error(json!({"jsonrpc": "2.0", "method": "call", "id": 1})).0, -32001);
    assert_eq!(error(json!({"jsonrpc": "2.0", "method": "a.b", "params": {}, "id": [1]})).0, -32600);
    assert_eq!(error(json!(7)).0, -32700);
    assert_eq!(node.error("get_block", json!([])), is(-32601, "Method not found"));
    assert_eq!(
        node.error("follow_api.get_following", json!({})),
        is(-32002, "Assert Exception:api_itr != _registered_apis.end(): Could not find API follow_api")
    );
    assert_eq!(
        node.error("condenser_api.get_account_bandwidth", json!([])),
        is(
            -32002,
            "Assert Exception:method_itr != api_itr->second.end(): Could not find method get_account_bandwidth"
        )
    );
    assert_eq!(
        node.error("block_api.get_block", json!({"block_num": "zzzz"})),
        is(-32000, "Parse Error:Couldn't parse uint64_t")
    );
    assert_eq!(
        node.error("condenser_api.get_block", json!([[null]])),
        is(-32000, "Bad Cast:Invalid cast from array_type to uint64")
    );
    assert_eq!(
        node.error("block_api.get_block", Value::Null),
        is(-32000, "Bad Cast:Invalid cast from type 'null_type' to Object")
    );
    assert_eq!(
        node.error("condenser_api.get_block", json!({})),
        is(-32000, "Bad Cast:Invalid cast from object_type to Array")
    );
    assert_eq!(node.error("condenser_api.get_block", json!([])).0, -32003);
    let params = json!({"block_num": 1, "only_virtual": "5x"});
    assert_eq!(
        node.error("account_history_api.get_ops_in_block", params),
        is(-32000, "Bad Cast:Cannot convert string to bool (only \"true\" or \"false\" can be converted)")
    );
}

#[test]
fn ids_come_back_as_they_were() {
    let node = Node::new();
    for id in [json!(0), json!(-5), json!("x"), json!(18_446_744_073_709_551_615_u64)] {
        let answer = node.ask(&json!({"jsonrpc": "2.0", "method": "a.b", "params": [], "id": id}));
        assert_eq!((&answer["id"], &answer["jsonrpc"]), (&id, &json!("2.0")));
    }
    assert_eq!(node.ask(&json!({"jsonrpc": "2.0", "method": "a.b", "params": []}))["id"], Value::Null);
}

#[test]
fn bodies_are_requests_or_batches() {
    assert_eq!(Body::parse(b"").unwrap_err().code, -32000);
    assert_eq!(Body::parse(b"{").unwrap_err().code, -32700);
    assert_eq!(Body::parse(b"[]").unwrap_err().message, "Array is invalid");
    assert_eq!(Body::parse(format!("[{}7]", "7,".repeat(1000)).as_bytes()).unwrap_err().code, 1600);
    let batch = Body::parse(br#"[{"id":1},{"id":2}]"#).unwrap();
    assert_eq!(batch.requests().len(), 2);
    assert_eq!(batch.joined(vec![json::raw(&1), json::raw(&2)]).get(), "[1,2]");
}

/// What a request of a method meets when these faults are set.
fn effects(node: &Node, faults: &[&str], method: &str) -> Effects {
    let mut set = FaultSet::new(1);
    for fault in faults {
        set.add(fault.parse().unwrap(), node.now).unwrap();
    }
    set.advance(node.now, &node.chain, &[]);
    set.effects(method)
}

#[test]
fn faults_of_the_head() {
    let node = Node::new();
    let method = "database_api.get_dynamic_global_properties";
    let properties = |faults: &[&str]| {
        let properties = node.result_with(&effects(&node, faults, method), method, json!({}));
        [&properties["head_block_number"], &properties["last_irreversible_block_num"], &properties["time"]]
            .map(Clone::clone)
    };
    assert_eq!(properties(&["stall:4"]), [json!(4), json!(2), json!("2026-01-01T00:00:09")]);
    assert_eq!(properties(&["stall:99"]), [json!(10), json!(8), json!("2026-01-01T00:00:27")]);
    assert_eq!(properties(&["behind:3"]), [json!(7), json!(5), json!("2026-01-01T00:00:18")]);
    assert_eq!(properties(&["behind:99"])[0], json!(1));
    assert_eq!(properties(&["fork:2:for=1s"]), [json!(10), json!(8), json!("2026-01-01T00:00:27")]);
    // A stall that began earlier.
    let since = "2026-01-01T00:00:13Z".parse().unwrap();
    let stalled = Effects { stall: Some(Stall { since, block: None }), ..Effects::default() };
    let stalled = node.result_with(&stalled, method, json!({}));
    assert_eq!((&stalled["head_block_number"], &stalled["time"]), (&json!(5), &json!("2026-01-01T00:00:12")));
}

#[test]
fn faults_of_blocks() {
    let node = Node::new();
    let method = "block_api.get_block";
    let block = |faults: &[&str], number: u32| {
        node.result_with(&effects(&node, faults, method), method, json!({"block_num": number}))["block"]
            .clone()
    };
    assert_eq!(block(&["lag:2"], 9), Value::Null);
    assert_eq!(block(&["lag:2"], 8), block(&[], 8));
    let (right, wrong) = (block(&[], 5), block(&["wrong-chain"], 5));
    assert_ne!(right["block_id"], wrong["block_id"]);
    assert_ne!(right["transactions"], wrong["transactions"]);
    assert_eq!(wrong["previous"], block(&["wrong-chain"], 4)["block_id"]);
    let truncated = block(&["truncated-block"], 5);
    assert_eq!((&truncated["transactions"], &truncated["transaction_ids"]), (&json!([]), &json!([])));
    assert_eq!(truncated["transaction_merkle_root"], right["transaction_merkle_root"]);
    assert_ne!(truncated["transaction_merkle_root"], "0000000000000000000000000000000000000000");
    let forked = block(&["fork:2:for=1s"], 9);
    assert_ne!(forked["block_id"], block(&[], 9)["block_id"]);
    assert_eq!(block(&["fork:2:for=1s"], 8), block(&[], 8));
}

#[test]
fn faults_of_methods() {
    let node = Node::new();
    let ask = |fault: &str, method: &str, params: Value| {
        node.with(&effects(&node, &[fault], method), &request(method, params))["error"].clone()
    };
    let lock = ask("rpc-lock", "block_api.get_block", json!({"block_num": 1}));
    assert_eq!(lock, json!({"code": -32003, "message": "Unable to acquire database lock"}));
    assert_eq!(ask("rpc-1000", "block_api.get_block", json!({}))["message"], "Request Timeout");
    assert_eq!(ask("rpc-32603:method=get_block", "block_api.get_block", json!({}))["code"], -32603);
    assert_eq!(ask("rpc-32603:method=get_block", "condenser_api.get_version", json!([])), Value::Null);
    let range = json!({"starting_block_num": 1, "count": 1});
    assert_eq!(ask("no-range", "block_api.get_block_range", range)["code"], -32002);
    let chain_id = |faults: &[&str]| {
        let method = "database_api.get_version";
        node.result_with(&effects(&node, faults, method), method, json!({}))["chain_id"].clone()
    };
    assert_ne!(chain_id(&["wrong-chain"]), chain_id(&[]));
}
