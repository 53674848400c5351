//! From a recording through node and broadcaster to the bots: everything arrives, in order, and nothing else.

use std::fs;
use std::path::Path;
use std::process::Command;

use testkit::{DEADLINE, Running, data, python, script};

use crate::blocks;
use crate::swarm::{Swarm, operations_in};

/// Runs the swarm on a recording until all is said and heard; the processes stop in the end, but not the node.
fn run(swarm: &Swarm, recording: &Path, operations: u64, node_options: &[&str]) -> Running {
    let node = swarm.node(recording, node_options);
    let running = [swarm.broadcaster(), swarm.bot(), swarm.watch()];
    swarm.until_said("broadcaster", operations);
    swarm.until_heard("bot");
    swarm.until_heard("transfer-watch");
    for process in running {
        process.terminate(DEADLINE).assert_code(0);
    }
    node
}

fn check_whole_recording(name: &str, node_options: &[&str]) {
    let (Some(recording), Some(python)) = (data(name), python(&[])) else { return };
    let swarm = Swarm::new();
    let operations = operations_in(&python, &recording);
    let _node = run(&swarm, &recording, operations, node_options);
    swarm.compare_all(&python, &recording);
    swarm.verify(&[]).assert_code(0);
}

#[test]
fn a_recording_of_the_newer_form_arrives_whole() {
    check_whole_recording("hive-blocks.ndjson.gz", &[]);
}

/// The node answers `block_api` with objects instead of the recorded pairs; what is in them stays as it was.
#[test]
fn a_recording_of_the_older_form_arrives_whole() {
    check_whole_recording("hive-blocks-condenser.ndjson", &[]);
}

/// Without `block_api` the broadcaster asks `condenser_api`, which gives the pairs themselves.
#[test]
fn a_recording_of_the_older_form_arrives_whole_from_an_older_node() {
    let lacks = "rpc--32601:method=block_api.get_block,no-range";
    check_whole_recording("hive-blocks-condenser.ndjson", &["--fault", lacks]);
}

#[test]
fn a_recording_full_of_oddities_arrives_whole() {
    let Some(python) = python(&[]) else { return };
    let swarm = Swarm::new();
    let recording = blocks::write_unreadable(swarm.home.path(), 200);
    assert_eq!(operations_in(&python, &recording), blocks::operations(200));
    let _node = run(&swarm, &recording, blocks::operations(200), &[]);
    swarm.compare_all(&python, &recording);
}

/// What the bot prints is what a person sees.
#[test]
fn the_bot_prints_each_url_once() {
    let Some(python) = python(&[]) else { return };
    let swarm = Swarm::new();
    let recording = blocks::write(swarm.home.path(), 100);
    let (_node, _broadcaster, bot) = (swarm.node(&recording, &[]), swarm.broadcaster(), swarm.bot());
    swarm.until_said("broadcaster", blocks::operations(100));
    swarm.until_heard("bot");
    let printed = bot.terminate(DEADLINE).stdout;
    let expected =
        Command::new(python).arg("-B").arg(script("expected_posts.py")).arg(&recording).output().unwrap();
    assert_eq!(printed, String::from_utf8(expected.stdout).unwrap());
    assert!(printed.lines().count() >= 80, "{printed}");
}

/// What the other tests rely on: every kind of difference is found.
#[test]
fn the_comparison_is_not_blind() {
    let Some(python) = python(&[]) else { return };
    let swarm = Swarm::new();
    let recording = blocks::write(swarm.home.path(), 30);
    let _node = run(&swarm, &recording, blocks::operations(30), &[]);
    let (broadcaster, bot) = (swarm.tail("broadcaster"), swarm.tail("bot"));
    let changes: [(&str, &str, &str); 12] = [
        (
            "posts",
            r#""cause":{"journal":"broadcaster","offset":0}"#,
            r#""cause":{"journal":"broadcaster","offset":1}"#,
        ),
        ("posts", r#""cause":{"journal":"broadcaster","offset":0}"#, r#""cause":null"#),
        ("posts", "/@ann3/post-00003", "/@ann3/post-00004"),
        ("operations", r#""x":1.50"#, r#""x":1.5"#),
        ("operations", r#""z":-0"#, r#""z":0"#),
        ("operations", "98765432109876543210", "98765432109876543211"),
        ("operations", r#""a":1,"b":2,"a":3"#, r#""b":2,"a":3"#),
        ("operations", r#""key":"ann2""#, r#""key":"ann3""#),
        ("operations", r#""op_in_trx":1"#, r#""op_in_trx":0"#),
        ("operations", r#""topic":"vote""#, r#""topic":"comment""#),
        ("operations", r#""offset":7,"#, r#""offset":8,"#),
        ("operations", "2016-03-24T00:00:21", "2016-03-24T00:00:22"),
    ];
    let check = |what: &str, text: String, difference: &str| {
        let tails = match what {
            "posts" => [&broadcaster.path, &swarm.home.path().join("changed")].map(Clone::clone).to_vec(),
            _ => vec![swarm.home.path().join("changed")],
        };
        fs::write(tails.last().unwrap(), text).unwrap();
        let mut command = Command::new(&python);
        command.arg("-B").arg(script("compare.py")).arg(what).arg(&recording).args(&tails);
        let ended = swarm.spawn("compare.py", command).wait(DEADLINE);
        ended.assert_code(1).assert_says(&["DIFFERENT: "]);
        println!("{difference}: found");
    };
    for (what, was, is) in changes {
        let text = fs::read_to_string(if what == "posts" { &bot.path } else { &broadcaster.path }).unwrap();
        assert!(text.contains(was), "{was} isn't there to be changed");
        check(what, text.replacen(was, is, 1), was);
    }
    let text = fs::read_to_string(&broadcaster.path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let without = |index: usize| [&lines[..index], &lines[index + 1..]].concat().join("\n") + "\n";
    check("operations", without(0), "the first record left out");
    check("operations", without(lines.len() - 1), "the last record left out");
    check("operations", text.clone() + lines[0] + "\n", "a record too many");
    let gap = r#"{"gap":{"journal":"broadcaster","from":0,"to":1,"reason":"corrupt"}}"#;
    check("operations", text.replacen(lines[0], gap, 1), "a gap");
}
