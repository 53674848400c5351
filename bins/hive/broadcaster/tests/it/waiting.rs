//! A broadcaster that doesn't move on says so, whatever the nodes say; and goes on when it can.

use journal::{Item, Level, Reader, Start};
use serde_json::{Value, json};
use testkit::{DEADLINE, Home, call, wait_until};

use crate::chain::{Fault, TestNode, id};
use crate::{Served, said, start, start_from};

/// The reasons for which it waits; none if it does its work.
fn waits(home: &Home) -> Vec<String> {
    let health = call(&home.socket("broadcaster"), "io.procession.Process.Health", &json!({}));
    let Ok(health) = health else { return Vec::new() };
    assert_eq!(health["healthy"] == json!(false), health["reason"].is_string(), "{health}");
    let reason = |wait: &Value| wait["reason"].as_str().unwrap().to_owned();
    health["waiting"].as_array().unwrap().iter().map(reason).collect()
}

#[track_caller]
fn expect(home: &Home, part: &str, mut turn: impl FnMut()) {
    wait_until(DEADLINE, &format!("it waits: {part}"), || {
        turn();
        waits(home).iter().any(|reason| reason.contains(part))
    });
}

#[track_caller]
fn expect_work(home: &Home) {
    wait_until(DEADLINE, "it does its work again", || waits(home).is_empty());
}

/// The chain goes on by a block.
fn grow(node: &TestNode, fork: u32) {
    let mut state = node.state();
    let next = state.head + 1;
    state.grow(next..=next, fork, fork);
    state.irreversible = next;
}

#[test]
fn no_node_answers() {
    let home = Home::new();
    let nodes = [Served::with(10, 10), Served::with(10, 10)];
    nodes[0].node.state().fault = Fault::Closed;
    nodes[1].node.state().fault = Fault::Silent;
    let broadcaster = start(&home, &[&nodes[0], &nodes[1]], "irreversible");
    expect(&home, "no node answers: ", || {});
    expect(&home, "no answer in time", || {});
    nodes[1].node.state().fault = Fault::None;
    wait_until(DEADLINE, "it says the chain", || said(&home).0.len() == 20);
    grow(&nodes[1].node, 0);
    wait_until(DEADLINE, "it says more", || said(&home).0.len() > 20);
    broadcaster.terminate(DEADLINE).assert_code(0);
}

#[test]
fn a_block_is_absent_everywhere_though_the_heads_go_on() {
    let home = Home::new();
    let nodes = [Served::with(10, 10), Served::with(10, 10)];
    let absent = nodes.each_ref().map(|served| served.node.state().blocks.remove(&7).unwrap());
    let broadcaster = start(&home, &[&nodes[0], &nodes[1]], "irreversible");
    expect(&home, "block 7 isn't there (yet)", || nodes.iter().for_each(|served| grow(&served.node, 0)));
    for (served, block) in nodes.iter().zip(absent) {
        served.node.state().blocks.insert(7, block);
    }
    expect_work(&home);
    broadcaster.terminate(DEADLINE).assert_code(0);
}

/// Topic and payload of each record.
fn records(home: &Home) -> Vec<(String, Value)> {
    let mut records = Vec::new();
    let reader = Reader::open(&home.instance("broadcaster"), Start::Beginning, Level::Committed).unwrap();
    let Some(mut reader) = reader else { return records };
    while let Some(item) = reader.next().unwrap() {
        let Item::Record(record) = item else { panic!("{item:?}") };
        records.push((record.topic.to_owned(), serde_json::from_slice(record.payload).unwrap()));
    }
    records
}

#[test]
fn virtual_operations_that_no_node_gives_are_said_to_be_missing() {
    let home = Home::new();
    home.configure("broadcaster.toml", "virtual_operations = true\n");
    let nodes = [Served::with(3, 3), Served::with(3, 3)];
    nodes.iter().for_each(|served| served.node.state().virtual_up_to = Some(0));
    let broadcaster = start(&home, &[&nodes[0], &nodes[1]], "irreversible");
    let missing = || records(&home).into_iter().find(|(topic, _)| topic == "no-virtual-operations");
    wait_until(DEADLINE, "it says block 1", || missing().is_some());
    let (_, payload) = missing().unwrap();
    let expected = json!({"block": 1, "block_id": id(1, 0), "timestamp": "2016-03-24T16:05:00", "nodes": 2});
    assert_eq!(payload, expected);
    broadcaster.terminate(DEADLINE).assert_code(0);
}

#[test]
fn virtual_operations_may_be_known_to_a_node_that_cannot_be_asked() {
    let home = Home::new();
    home.configure("broadcaster.toml", "virtual_operations = true\n");
    let nodes = [Served::with(9, 9), Served::with(9, 9)];
    nodes[0].node.state().fault = Fault::Closed;
    nodes[1].node.state().virtual_from = 5;
    nodes.iter().for_each(|served| served.node.state().without_virtual = [7].into());
    let broadcaster = start(&home, &[&nodes[0], &nodes[1]], "irreversible");
    expect(&home, "it gives no virtual operation of block 1 (yet); of 2 nodes 1 answer so", || {});
    nodes[0].node.state().fault = Fault::None;
    let blocks = |topic: &str| {
        let said = records(&home).into_iter().filter(|(of, _)| of == topic);
        said.map(|(_, payload)| payload["block"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    wait_until(DEADLINE, "it says block 9", || blocks("producer_reward").contains(&9));
    assert_eq!(blocks("producer_reward"), [1, 2, 3, 4, 5, 6, 8, 9]);
    assert_eq!(blocks("no-virtual-operations"), [7]);
    broadcaster.terminate(DEADLINE).assert_code(0);
}

#[test]
fn the_start_lies_beyond_the_head() {
    let home = Home::new();
    let served = Served::with(10, 10);
    let broadcaster = start_from(&home, &[&served], "irreversible", "1000");
    expect(&home, "and 1000 is the first one wanted", || grow(&served.node, 0));
    served.node.state().grow(1..=1001, 0, 0);
    served.node.state().irreversible = 1001;
    wait_until(DEADLINE, "it says blocks 1000 and 1001", || said(&home).0.len() == 6);
    broadcaster.terminate(DEADLINE).assert_code(0);
}

#[test]
fn the_chain_is_begun_anew() {
    let home = Home::new();
    let served = Served::with(60, 60);
    let broadcaster = start(&home, &[&served], "irreversible");
    wait_until(DEADLINE, "it says the chain", || said(&home).0.len() == 120);
    {
        let mut state = served.node.state();
        state.blocks.clear();
        state.grow(1..=3, 9, 9);
        state.irreversible = 3;
    }
    expect(&home, "behind 60, which has been said", || grow(&served.node, 9));
    served.node.state().grow(1..=70, 9, 9);
    served.node.state().irreversible = 70;
    expect(&home, "its block 61 doesn't continue the chain that we have followed", || grow(&served.node, 9));
    assert_eq!(said(&home).0.len(), 120, "nothing of another chain is said, {}", id(61, 9));
    broadcaster.terminate(DEADLINE).assert_code(0);
}

#[test]
fn a_node_that_moves_on_behind_us_is_left_for_one_that_is_ahead() {
    let home = Home::new();
    let nodes = [Served::with(30, 30), Served::with(30, 30)];
    let broadcaster = start(&home, &[&nodes[0], &nodes[1]], "irreversible");
    wait_until(DEADLINE, "it says the chain", || said(&home).0.len() == 60);
    {
        let mut state = nodes[0].node.state();
        state.grow(26..=26, 0, 0);
        state.irreversible = 25;
    }
    nodes[1].node.state().grow(31..=40, 0, 0);
    nodes[1].node.state().irreversible = 40;
    let mut fork = 0;
    wait_until(DEADLINE, "it says the other node's blocks", || {
        // Its head is another one each time, and never where we are.
        fork += 1;
        nodes[0].node.state().grow(26..=26, fork, 0);
        said(&home).0.len() == 80
    });
    broadcaster.terminate(DEADLINE).assert_code(0);
}
