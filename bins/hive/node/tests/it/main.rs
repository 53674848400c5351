//! The real program: what it keeps when it is killed, how it is controlled, how it refuses.

#![expect(clippy::unwrap_used, reason = "a test that can't go on says where")]

mod program;

use std::process::Stdio;
use std::time::Duration;

use procession::varlink::Client;
use serde_json::{Value, json};

use crate::program::{Home, Running, command};

/// Blocks come every twenty milliseconds and stay reversible for long.
const FAST: &[&str] = &["--listen", "127.0.0.1:0", "--block-interval", "20ms", "--irreversible-lag", "2000"];

/// Blocks 1 to `through`, at most a thousand, each as text.
fn blocks(node: &Running, through: u64) -> Vec<String> {
    let range = json!({"starting_block_num": 1, "count": through.min(1000)});
    let result = node.result("block_api.get_block_range", range);
    result["blocks"].as_array().unwrap().iter().map(Value::to_string).collect()
}

fn call(home: &Home, method: &str, parameters: Value) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = Client::connect(home.socket()).await.unwrap().with_timeout(Duration::from_secs(20));
        client.call(&format!("io.procession.hive.Node.{method}"), &parameters).await.unwrap()
    })
}

#[test]
fn killed_and_started_again_it_serves_the_same_chain_and_no_lower_head() {
    let home = Home::new();
    let mut node = Running::start(&home, FAST);
    for _ in 0..3 {
        let before = node.until_head(|head| head >= 30);
        let served = blocks(&node, before);
        assert_eq!(served.len() as u64, before.min(1000));
        node.kill();
        node = Running::start(&home, FAST);
        assert!(node.head() >= before);
        assert!(blocks(&node, before) == served);
    }
    assert!(node.terminate().success());
}

#[test]
fn another_seed_is_another_chain_that_begins_anew() {
    let home = Home::new();
    let node = Running::start(&home, FAST);
    node.until_head(|head| head >= 50);
    let first = blocks(&node, 1);
    node.kill();
    let other = Running::start(&home, &[FAST, &["--seed", "7"]].concat());
    assert!(other.log_has("a different chain"));
    assert!(blocks(&other, 1) != first);
}

#[test]
fn a_fork_for_good_survives_a_kill_and_one_for_a_while_does_not() {
    let home = Home::new();
    let node = Running::start(&home, FAST);
    let before = node.until_head(|head| head >= 20);
    let original = blocks(&node, before);
    // All that is reversible, which is everything so far.
    assert_eq!(call(&home, "SetFault", json!({"fault": "fork:9999"})), json!({"id": 1}));
    let head = node.head();
    let forked = blocks(&node, head);
    assert!(original.iter().zip(&forked).all(|(was, is)| was != is));
    node.kill();
    let node = Running::start(&home, FAST);
    assert!(blocks(&node, head) == forked);
    call(&home, "SetFault", json!({"fault": "fork:9999:for=1h"}));
    assert!(forked.iter().zip(&blocks(&node, head)).all(|(was, is)| was != is));
    call(&home, "ClearFaults", json!({}));
    assert!(blocks(&node, head) == forked);
}

#[test]
fn faults_come_and_go_by_call() {
    let home = Home::new();
    let node = Running::start(&home, &[FAST, &["--fault", "http-502:method=get_block,lag:2"]].concat());
    let listed = call(&home, "ListFaults", json!({}));
    assert_eq!(listed["faults"][0]["fault"], "http-502:method=get_block");
    assert_eq!(listed["faults"][1]["fault"], "lag:2");
    assert_eq!(node.post("block_api.get_block", json!({"block_num": 1})).unwrap().0, 502);
    assert_eq!(call(&home, "ClearFaults", json!({})), json!({"cleared": 2}));
    assert_eq!(node.post("block_api.get_block", json!({"block_num": 1})).unwrap().0, 200);
    call(&home, "SetFault", json!({"fault": "down"}));
    node.until_refused();
    let status = call(&home, "Status", json!({}));
    assert_eq!((&status["down"], &status["listen"]), (&json!(true), &json!(node.address.to_string())));
    call(&home, "ClearFaults", json!({}));
    node.until_answering();
    assert!(node.terminate().success());
}

#[test]
fn what_cannot_be_is_refused_clearly() {
    let home = Home::new();
    let node = Running::start(&home, FAST);
    let taken = node.address.to_string();
    for (flags, code, says) in [
        (vec!["--listen", &taken], 1, "cannot listen on 127.0.0.1:"),
        (vec!["--listen", "nowhere"], 2, "listen"),
        (vec!["--fault", "gremlins"], 2, "there is no such kind"),
        (vec!["--block-interval", "0s"], 1, "needs a recording"),
        (vec!["--as-recorded"], 1, "needs a recording"),
        (vec!["--recording", "/no/such/file"], 1, "recording /no/such/file"),
    ] {
        let other = Home::new();
        let output = command(&other, &flags).stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {text}");
        assert!(text.contains(says), "{flags:?}: {text}");
    }
}
