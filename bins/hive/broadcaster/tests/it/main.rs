//! The broadcaster as a process, against nodes that are served over real sockets: what its journal says,
//! whatever the nodes do and however often it is killed.
#![expect(clippy::unwrap_used, reason = "a test whose preparations fail, fails")]

#[path = "../../src/chain.rs"]
#[expect(dead_code, reason = "shared with the unit tests, which use the rest")]
mod chain;
mod waiting;

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use chain::{Fault, TestNode};
use journal::{Item, Level, Reader, Start};
use rand::RngExt as _;
use serde_json::Value;
use testkit::{DEADLINE, Home, Running, seeded, wait_until};
use tokio::sync::oneshot;

/// A node that is served by a thread of its own.
struct Served {
    node: TestNode,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn with(head: u32, irreversible: u32) -> Self {
        let (made, node) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                made.send(TestNode::with(head, irreversible).await).unwrap();
                let _ = stopped.await;
            });
        });
        Served { node: node.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// An operation's place in the chain, and what it says.
type Place = (u64, String, u64, u64, Value);

fn place(payload: &Value) -> Place {
    let number = |name: &str| payload[name].as_u64().unwrap();
    let id = payload["trx_id"].as_str().unwrap().to_owned();
    (number("block"), id, number("trx_in_block"), number("op_in_trx"), payload["op"]["value"].clone())
}

/// What a node's chain holds.
fn served(node: &TestNode, up_to: u32) -> Vec<Place> {
    let mut places = Vec::new();
    for (number, block) in node.state().blocks.range(..=up_to) {
        for (trx_in_block, transaction) in (0..).zip(block["transactions"].as_array().unwrap()) {
            let id = block["transaction_ids"][usize::try_from(trx_in_block).unwrap()].as_str().unwrap();
            for (op_in_trx, op) in (0..).zip(transaction["operations"].as_array().unwrap()) {
                let value = op.get("value").or(op.get(1)).unwrap().clone();
                places.push((u64::from(*number), id.to_owned(), trx_in_block, op_in_trx, value));
            }
        }
    }
    places
}

/// What the journal holds in the end, when what was retracted is taken out; and how many retractions there are.
fn said(home: &Home) -> (Vec<Place>, usize) {
    let mut said = BTreeMap::new();
    let mut retractions = 0;
    let reader = Reader::open(&home.instance("broadcaster"), Start::Beginning, Level::Committed).unwrap();
    let Some(mut reader) = reader else { return (Vec::new(), 0) };
    while let Some(item) = reader.next().unwrap() {
        let Item::Record(record) = item else { panic!("{item:?}") };
        let payload: Value = serde_json::from_slice(record.payload).unwrap();
        if record.topic != "retract" {
            said.insert(record.offset.0, place(&payload));
            continue;
        }
        retractions += 1;
        for gone in payload["operations"].as_array().unwrap() {
            let was = said.remove(&gone["offset"].as_u64().unwrap()).unwrap();
            assert_eq!(
                (was.0, was.1.as_str()),
                (payload["block"].as_u64().unwrap(), gone["trx_id"].as_str().unwrap())
            );
        }
    }
    (said.into_values().collect(), retractions)
}

fn start(home: &Home, nodes: &[&Served], mode: &str) -> Running {
    start_from(home, nodes, mode, "first")
}

fn start_from(home: &Home, nodes: &[&Served], mode: &str, first: &str) -> Running {
    let urls: Vec<&str> = nodes.iter().map(|served| served.node.url.as_str()).collect();
    let nodes = urls.join(",");
    Running::start(
        home,
        "broadcaster",
        &[
            "run",
            "--nodes",
            &nodes,
            "--start",
            first,
            "--mode",
            mode,
            "--poll-interval",
            "10ms",
            "--request-timeout",
            "300ms",
            "--backoff-max",
            "300ms",
            "--stall-timeout",
            "300ms",
            "--range-blocks",
            "10",
        ],
    )
}

#[test]
fn nothing_is_lost_or_repeated_when_nodes_fail_and_it_is_killed() {
    let mut random = seeded("nothing_is_lost_or_repeated_when_nodes_fail_and_it_is_killed");
    let home = Home::new();
    let nodes = [Served::with(2000, 1), Served::with(2000, 1)];
    let faults =
        [Fault::Silent, Fault::Closed, Fault::Status(502), Fault::CutOff, Fault::CutJson, Fault::Hollow];
    for round in 1..=20_u32 {
        for served in &nodes {
            let mut state = served.node.state();
            state.irreversible = round * 100;
            state.fault = Fault::None;
        }
        let broken = random.random_range(0..nodes.len());
        nodes[broken].node.state().fault = faults[random.random_range(0..faults.len())].clone();
        let broadcaster = start(&home, &[&nodes[0], &nodes[1]], "irreversible");
        let enough = served(&nodes[0].node, (round - 1) * 100 + random.random_range(1..100)).len();
        wait_until(DEADLINE, "it says some more", || said(&home).0.len() >= enough);
        broadcaster.kill9();
    }
    let expected = served(&nodes[0].node, 2000);
    let broadcaster = start(&home, &[&nodes[0], &nodes[1]], "irreversible");
    wait_until(DEADLINE, "it says the rest", || said(&home).0.len() >= expected.len());
    broadcaster.terminate(DEADLINE).assert_code(0);
    assert_eq!(said(&home), (expected, 0));
}

#[test]
fn what_a_fork_replaces_is_retracted_also_when_it_is_killed() {
    let mut random = seeded("what_a_fork_replaces_is_retracted_also_when_it_is_killed");
    let home = Home::new();
    let served_node = Served::with(20, 10);
    let node = &served_node.node;
    let mut broadcaster = start(&home, &[&served_node], "head");
    for fork in 1..=30_u32 {
        let head = node.state().head;
        let depth = random.random_range(1..=head - node.state().irreversible);
        let parent_fork = fork_of(node, head - depth);
        let growth = random.random_range(0..3);
        node.state().grow(head - depth + 1..=head + growth, fork, parent_fork);
        if random.random_bool(0.5) {
            broadcaster.kill9();
            broadcaster = start(&home, &[&served_node], "head");
        }
        let expected = served(node, u32::MAX);
        wait_until(DEADLINE, "it says the new fork", || said(&home).0 == expected);
        node.state().irreversible += growth;
    }
    broadcaster.terminate(Duration::from_secs(5));
    let (places, retractions) = said(&home);
    assert_eq!(places, served(node, u32::MAX));
    assert!(retractions >= 30, "{retractions}");
}

/// Which fork a block is on: the second eight digits of its id.
fn fork_of(node: &TestNode, number: u32) -> u32 {
    let id = node.state().blocks[&number]["block_id"].as_str().unwrap().to_owned();
    u32::from_str_radix(&id[8..16], 16).unwrap()
}

#[test]
fn settings_that_cannot_be_meant_are_refused_with_file_and_key() {
    let home = Home::new();
    for (text, says) in [
        ("nodes = []\n", "at least one URL"),
        ("nodes = [\"localhost:8091\"]\n", "must begin with http://"),
        ("poll_interval = \"0s\"\n", "more than 0"),
        ("range_blocks = 5000\n", "from 1 to 1000"),
        ("start = \"last\"\n", "head"),
        ("mood = \"good\"\n", "mood"),
    ] {
        home.configure("broadcaster.toml", text);
        let key = text.split_once(' ').unwrap().0;
        home.run("broadcaster", &["run"]).assert_code(78).assert_says(&["broadcaster.toml", key, says]);
    }
}
