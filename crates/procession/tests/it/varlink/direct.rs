//! Answers that are sent by the thread that knows them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use procession::varlink::{EncodedReply, error_names};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::support::{DEADLINE, Stage, Wire, wait_until};

#[test]
fn a_direct_reply_comes_from_another_thread() {
    let stage = Stage::new();
    let mut wires: Vec<Wire> = (0..50).map(|_| stage.connect()).collect();
    for round in 0..20 {
        for wire in &mut wires {
            wire.call("Hold", json!({}));
        }
        let held: Vec<_> = wires.iter().map(|_| stage.next_held()).collect();
        let reply = EncodedReply::new(&json!({"round": round})).unwrap();
        std::thread::spawn(move || {
            for direct in held {
                assert!(!direct.is_dead());
                assert!(direct.send_encoded(&reply));
            }
        })
        .join()
        .unwrap();
        for wire in &mut wires {
            assert_eq!(wire.receive().unwrap()["parameters"]["round"], round);
        }
    }
}

#[test]
fn a_direct_reply_doesn_t_wake_the_server() {
    let stage = Stage::new();
    let thread = io_thread_of(&stage);
    let mut wires: Vec<Wire> = (0..200).map(|_| stage.connect()).collect();
    let mut held = Vec::new();
    for wire in &mut wires {
        wire.call("Hold", json!({}));
        held.push(stage.next_held());
    }
    // The last request may still be on its way into its wait.
    let mut before = (0, 0);
    let mut since = Instant::now();
    wait_until("the server to sleep", || {
        let now = switches(&thread);
        if now != before {
            (before, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(100)
    });
    for direct in held {
        assert!(direct.send(&json!({"n": 1})));
    }
    for wire in &mut wires {
        assert_eq!(wire.receive().unwrap()["parameters"]["n"], 1);
    }
    // Nor does it learn that the replies were taken.
    wires[0].assert_silent(Duration::from_millis(100));
    assert_eq!(switches(&thread), before, "the server's thread has run");
    // And yet each next request is answered at once.
    for wire in &mut wires {
        wire.call("Echo", json!({"text": "next"}));
        wire.receive().unwrap();
    }
}

/// Where the system tells about the server's thread.
fn io_thread_of(stage: &Stage) -> PathBuf {
    let mut wire = stage.connect();
    wire.call("Thread", json!({}));
    let reply = wire.receive().unwrap();
    PathBuf::from(reply["parameters"]["path"].as_str().unwrap())
}

/// How often a thread went to sleep by itself, and was made to pause.
fn switches(thread: &Path) -> (u64, u64) {
    let status = std::fs::read_to_string(thread.join("status")).unwrap();
    let count =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap();
    (count("voluntary_ctxt_switches:"), count("nonvoluntary_ctxt_switches:"))
}

#[test]
fn a_request_that_came_too_early_waits_for_the_direct_reply() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    for n in 0..500 {
        wire.call("Hold", json!({}));
        wire.call("Echo", json!({"text": n.to_string()}));
        assert!(stage.next_held().send(&json!({"n": n})));
        assert_eq!(wire.receive().unwrap()["parameters"]["n"], n);
        assert_eq!(wire.receive().unwrap()["parameters"]["text"], n.to_string());
    }
}

#[test]
fn a_caller_that_leaves_is_noticed_while_its_reply_is_outstanding() {
    let stage = Stage::new();
    for pipelined in [false, true] {
        let mut wire = stage.connect();
        wire.call("Hold", json!({}));
        let direct = stage.next_held();
        let (gone, hook) = mpsc::channel();
        direct.on_gone(move || gone.send(()).unwrap());
        if pipelined {
            wire.call("Echo", json!({"text": "x"}));
        }
        assert!(!direct.is_dead());
        drop(wire);
        hook.recv_timeout(DEADLINE).unwrap();
        assert!(direct.is_dead());
        let (late, hook) = mpsc::channel();
        direct.on_gone(move || late.send(()).unwrap());
        hook.recv_timeout(DEADLINE).unwrap();
        assert!(!direct.send(&json!({})));
    }
}

#[test]
fn the_hook_doesn_t_run_after_the_reply() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    wire.call("Hold", json!({}));
    let direct = stage.next_held();
    let (gone, hook) = mpsc::channel();
    direct.on_gone(move || gone.send(()).unwrap());
    assert!(direct.send(&json!({})));
    // Dropped with the reply.
    assert_eq!(hook.recv_timeout(DEADLINE), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn a_direct_reply_that_is_dropped_is_an_error() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    wire.call("Hold", json!({}));
    drop(stage.next_held());
    assert_eq!(wire.receive().unwrap()["error"], error_names::NO_REPLY);
    wire.call("Echo", json!({"text": "on"}));
    assert_eq!(wire.receive().unwrap()["parameters"]["text"], "on");
}

#[test]
fn a_reply_that_doesn_t_fit_the_socket_is_finished_by_the_server() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    let text = "x".repeat(1_000_000);
    for _ in 0..5 {
        wire.call("Hold", json!({}));
        wire.call("Echo", json!({"text": "after"}));
        let start = Instant::now();
        assert!(stage.next_held().send(&json!({"text": text})));
        assert!(start.elapsed() < DEADLINE, "sending waited");
        stage.assert_answers();
        assert_eq!(wire.receive().unwrap()["parameters"]["text"], text);
        assert_eq!(wire.receive().unwrap()["parameters"]["text"], "after");
    }
}

#[test]
fn a_reply_may_outlive_its_server() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    wire.call("Hold", json!({}));
    let direct = stage.next_held();
    let (gone, hook) = mpsc::channel();
    direct.on_gone(move || gone.send(()).unwrap());
    stage.server.stop();
    hook.recv_timeout(DEADLINE).unwrap();
    assert_eq!(wire.receive(), None);
    assert!(direct.is_dead());
    assert!(!direct.send(&json!({})));
}

/// The publisher answers while the caller asks ahead, asks on, or leaves. In
/// every round exactly one thing happens: the reply arrives, or the caller
/// has left and the hook has run (or the reply was sent into the void).
#[test]
fn replies_requests_and_partings_may_race() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let stage = Stage::new();
    let hooks = Arc::new(AtomicU64::new(0));
    let (to_publisher, publisher) = mpsc::channel::<(procession::varlink::DirectReply, u32)>();
    let publisher = std::thread::spawn(move || {
        let mut sent = 0_u64;
        for (direct, spin) in publisher {
            for _ in 0..spin {
                std::hint::spin_loop();
            }
            sent += u64::from(direct.send(&json!({"n": 1})));
        }
        sent
    });
    let (mut left, mut received) = (0_u64, 0_u64);
    let mut wire = stage.connect();
    for _ in 0..6000 {
        wire.call("Hold", json!({}));
        let direct = stage.next_held();
        let counter = Arc::clone(&hooks);
        direct.on_gone(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let (wait, act) = (random.random_range(0..3000), random.random_range(0..3000));
        to_publisher.send((direct, wait)).unwrap();
        for _ in 0..act {
            std::hint::spin_loop();
        }
        let how = random.random_range(0..3);
        if how == 0 {
            left += 1;
            wire = stage.connect();
            continue;
        }
        if how == 1 {
            wire.call("Echo", json!({"text": "ahead"}));
        }
        assert_eq!(wire.receive().unwrap()["parameters"]["n"], 1);
        received += 1;
        if how == 1 {
            assert_eq!(wire.receive().unwrap()["parameters"]["text"], "ahead");
        }
    }
    drop(to_publisher);
    let sent = publisher.join().unwrap();
    let gone = hooks.load(Ordering::Relaxed);
    println!("{received} received, {left} left, {sent} sent, {gone} hooks");
    assert!(sent >= received && sent <= received + left);
    assert!(gone <= left);
    stage.assert_answers();
}

#[test]
fn stopping_closes_what_is_open() {
    let stage = Stage::new();
    let mut wires: Vec<Wire> = (0..20).map(|_| stage.connect()).collect();
    for wire in &mut wires {
        wire.call("Hold", json!({}));
        stage
            .next_held()
            .fail(procession::varlink::CallError::new("io.procession.test.Provoke.Closing", json!({})));
    }
    let path = stage.path();
    stage.server.stop();
    assert!(!path.exists());
    for wire in &mut wires {
        assert_eq!(wire.receive().unwrap()["error"], "io.procession.test.Provoke.Closing");
        let mut rest = Vec::new();
        wire.stream().read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
}
