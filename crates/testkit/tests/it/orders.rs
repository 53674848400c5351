//! Start order never matters.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use testkit::{Running, data, python};

use crate::blocks;
use crate::swarm::Swarm;

const PROCESSES: [&str; 4] = ["hive-node", "broadcaster", "bot", "transfer-watch"];
/// So many swarms at a time.
const SWARMS: usize = 3;
const BLOCKS: u32 = 40;

fn orders(rest: &[&'static str]) -> Vec<Vec<&'static str>> {
    if rest.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in rest {
        let others: Vec<&str> = rest.iter().copied().filter(|name| name != first).collect();
        all.extend(orders(&others).into_iter().map(|order| [vec![*first], order].concat()));
    }
    all
}

/// Starts the four in this order, each when the one before is ready, and compares what came of it.
fn check(order: &[&str], python: &std::path::Path) {
    let swarm = Swarm::new();
    let recording = match data("hive-blocks.ndjson.gz") {
        // Where the blocks of 2016 give way to those of 2017: most have operations.
        Some(recorded) => blocks::slice(&recorded, 1841..=1890, swarm.home.path()),
        None => blocks::write(swarm.home.path(), BLOCKS),
    };
    let operations = crate::swarm::operations_in(python, &recording);
    let mut running: Vec<Running> = Vec::new();
    for name in order {
        running.push(match *name {
            "hive-node" => swarm.node(&recording, &[]),
            "broadcaster" => swarm.broadcaster(),
            "bot" => swarm.bot(),
            _ => swarm.watch(),
        });
        swarm.until_ready(name);
    }
    swarm.until_said("broadcaster", operations);
    swarm.until_heard("bot");
    swarm.until_heard("transfer-watch");
    swarm.compare_all(python, &recording);
}

#[test]
fn every_start_order_gives_the_same() {
    let Some(python) = python(&[]) else { return };
    let orders = orders(&PROCESSES);
    assert_eq!(orders.len(), 24);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..SWARMS {
            scope.spawn(|| {
                while let Some(order) = orders.get(next.fetch_add(1, Ordering::Relaxed)) {
                    println!("order: {}", order.join(", "));
                    check(order, &python);
                }
            });
        }
    });
}
