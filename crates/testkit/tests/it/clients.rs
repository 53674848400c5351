//! Varlink clients that aren't ours, at a real process.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testkit::{DEADLINE, Running, python};

use crate::blocks;
use crate::swarm::Swarm;
use crate::zlink_client::Zlink;

/// What the node plays, slowly enough that there is something to wait for.
const BLOCKS: u32 = 400;
const RECORDS: u64 = 25;

/// A swarm that is in the middle of publishing.
fn publishing() -> (Swarm, [Running; 3]) {
    let swarm = Swarm::new();
    let recording = blocks::write(swarm.home.path(), BLOCKS);
    let node = swarm.node(&recording, &["--block-interval", "25ms"]);
    let running = [node, swarm.broadcaster(), swarm.bot()];
    swarm.until_said("broadcaster", RECORDS + 5);
    swarm.until_said("bot", 1);
    (swarm, running)
}

/// Name, and what it must have said of the records.
#[track_caller]
fn check_records(records: &[Value], tail: &[crate::tape::Record]) {
    assert_eq!(records.len() as u64, RECORDS);
    for (record, said) in records.iter().zip(tail) {
        assert_eq!(record["journal"], "broadcaster");
        assert_eq!(record["offset"], said.offset);
        assert_eq!(record["topic"], said.topic.as_str());
        assert_eq!(record["payload"], said.payload);
    }
}

#[test]
fn pythons_varlink_calls_waits_and_streams() {
    let Some(python) = python(&["varlink"]) else { return };
    let (swarm, _running) = publishing();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/varlink_client.py");
    for (instance, product) in [("broadcaster", "broadcaster"), ("bot", "bot"), ("hive-node", "hive-node")] {
        let mut command = Command::new(&python);
        command.arg("-B").arg(&script).arg(swarm.home.socket(instance)).arg(RECORDS.to_string());
        if instance == "hive-node" {
            // It publishes nothing that could be waited for.
            command.arg("--no-wait");
        }
        let ended = swarm.spawn("varlink_client.py", command).wait(DEADLINE);
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        let said: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(said["info"]["product"], product);
        let interfaces = said["info"]["interfaces"].to_string();
        for interface in ["org.varlink.service", "io.procession.Process", "io.procession.Journal"] {
            assert!(interfaces.contains(interface), "{interfaces}");
        }
        assert_eq!(said["journal"]["journal"], instance);
        assert_eq!(said["status"]["state"], "ready");
        assert_eq!(said["health"]["healthy"], true);
        if instance == "broadcaster" {
            assert!(said["waited"]["committed"].as_u64() > said["journal"]["committed"].as_u64(), "{said}");
            check_records(said["records"].as_array().unwrap(), &swarm.tail("broadcaster").records());
        }
    }
}

#[test]
fn zlink_calls_waits_and_streams() {
    let (swarm, _running) = publishing();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = Zlink::connect(&swarm.home.socket("broadcaster")).await.unwrap();
        let interfaces = client.interfaces().await.unwrap();
        for interface in ["org.varlink.service", "io.procession.Process", "io.procession.Journal"] {
            assert!(interfaces.iter().any(|name| name == interface), "{interfaces:?}");
        }
        let info = client.info().await.unwrap();
        assert_eq!((info.journal.as_str(), info.epoch, info.trimmed), ("broadcaster", 1, 0));
        assert!(info.durable <= info.committed && info.bytes > 0);
        let records: u64 = info.topics.iter().map(|topic| topic.records).sum();
        assert!(records > RECORDS && info.topics.iter().any(|topic| topic.name == "comment"), "{info:?}");

        let marks = client.wait(info.committed).await.unwrap();
        assert!(marks.committed > info.committed && marks.epoch == 1, "{marks:?}");

        let (records, next) = client.read(RECORDS).await.unwrap();
        assert_eq!(next, RECORDS);
        check_records(&records, &swarm.tail("broadcaster").records());
    });
}
