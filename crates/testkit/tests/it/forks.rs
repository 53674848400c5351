//! Following the head of a chain that forks: what was replaced is taken back, and what is left is what the chain
//! holds in the end.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rand::RngExt as _;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use testkit::{DEADLINE, Home, call, python, script, seeded, wait_until};

use crate::blocks;
use crate::swarm::Swarm;

const BLOCKS: u32 = 500;
const FORKS: u32 = 16;
const KILLS_EVERY: u32 = 3;

/// The node's head, as it says itself.
fn head(swarm: &Swarm) -> u64 {
    let status = call(&swarm.home.socket("hive-node"), "io.procession.hive.Node.Status", &json!({}));
    status.unwrap()["head"].as_u64().unwrap()
}

fn set_fault(home: &Home, fault: &str) {
    call(&home.socket("hive-node"), "io.procession.hive.Node.SetFault", &json!({"fault": fault})).unwrap();
}

/// All blocks as the node serves them now, as a recording.
fn fetch(swarm: &Swarm) -> PathBuf {
    #[derive(Deserialize)]
    struct Answer {
        result: Blocks,
    }
    #[derive(Deserialize)]
    struct Blocks {
        blocks: Vec<Box<RawValue>>,
    }
    let params = json!({"starting_block_num": 1, "count": BLOCKS});
    let body = json!({"jsonrpc": "2.0", "method": "block_api.get_block_range", "params": params, "id": 1})
        .to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", swarm.port())).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let Answer { result } = serde_json::from_str(body).unwrap();
    assert_eq!(result.blocks.len(), BLOCKS as usize);
    let path = swarm.home.path().join("served.ndjson");
    fs::write(&path, result.blocks.iter().map(|block| format!("{block}\n")).collect::<String>()).unwrap();
    path
}

#[test]
fn what_forks_replace_is_retracted() {
    let Some(python) = python(&[]) else { return };
    let mut random = seeded("forks");
    let swarm = Swarm::new();
    let recording = blocks::write(swarm.home.path(), BLOCKS);
    let _node = swarm.node(&recording, &["--block-interval", "25ms", "--irreversible-lag", "12"]);
    let start = || {
        let mut command = swarm.broadcaster_command();
        command.args(["--mode", "head"]);
        swarm.spawn("broadcaster", command)
    };
    let mut broadcaster = start();
    swarm.until_said("broadcaster", 20);
    for number in 1..=FORKS {
        let depth = random.random_range(1..=8);
        // Every other one doesn't last: the node changes its mind again.
        let lasting = if number.is_multiple_of(2) { String::new() } else { ":for=150ms".to_owned() };
        set_fault(&swarm.home, &format!("fork:{depth}{lasting}"));
        if number.is_multiple_of(KILLS_EVERY) {
            broadcaster.kill9();
            broadcaster = start();
        }
        let next = head(&swarm) + random.random_range(8..24);
        wait_until(DEADLINE, &format!("the chain goes on to block {next}"), || {
            head(&swarm) >= next.min(BLOCKS.into())
        });
    }
    wait_until(DEADLINE, "the chain comes to its end", || head(&swarm) >= BLOCKS.into());
    let served = fetch(&swarm);
    wait_until(DEADLINE, "the broadcaster has said the last block", || {
        let last =
            swarm.tail("broadcaster").records().into_iter().rev().find(|record| record.topic != "retract");
        last.is_some_and(|last| last.payload["block"] == BLOCKS - 1)
    });
    broadcaster.terminate(DEADLINE).assert_code(0);

    let tape = swarm.tail("broadcaster");
    let retractions = tape.records().iter().filter(|record| record.topic == "retract").count();
    println!("{retractions} blocks retracted");
    assert!(retractions >= FORKS as usize, "{retractions}");
    swarm.compare(&python, "net", &served, &[&tape], &[]);
    swarm.verify(&[]).assert_code(0);
    // The node has really changed its blocks: those that forks left aren't those of the recording.
    let mut command = Command::new(&python);
    command.arg("-B").arg(script("compare.py")).arg("net").arg(&recording).arg(&tape.path);
    let ended = swarm.spawn("compare.py", command).wait(Duration::from_secs(60));
    assert_eq!(ended.code(), Some(1), "{ended:?}");
}
