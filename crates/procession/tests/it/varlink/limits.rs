//! Whoever breaks a limit is told so and disconnected; the others don't notice.

use std::time::{Duration, Instant};

use procession::varlink::{Limits, error_names};
use serde_json::json;

use super::support::{DEADLINE, Stage, Wire, is_child, raise_open_files, run_in_child, wait_until};

#[test]
fn bytes_that_are_no_request_are_malformed() {
    let stage = Stage::new();
    let cases: [(&str, &[u8]); 7] = [
        ("garbage", b"\x01\x02 GET / HTTP/1.1\r\n\r\n\0"),
        ("invalid UTF-8", b"{\"method\":\"a.B\xff\"}\0"),
        ("an empty message", b"\0"),
        ("no object", b"[\"io.procession.test.Provoke.Silent\"]\0"),
        ("no method", b"{\"parameters\":{}}\0"),
        ("a method that is no text", b"{\"method\":7}\0"),
        ("two objects", b"{\"method\":\"a.B\"}{\"method\":\"a.B\"}\0"),
    ];
    for (what, bytes) in cases {
        let mut wire = stage.connect();
        wire.send_bytes(bytes);
        let parameters = wire.assert_refused(error_names::MALFORMED);
        println!("{what}: {}", parameters["reason"]);
    }
    stage.assert_answers();
}

#[test]
fn random_bytes_never_disturb_the_others() {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let stage = Stage::new();
    let mut other = stage.connect();
    for round in 0..300 {
        let mut wire = stage.connect();
        let count = random.random_range(1..5000);
        let bytes: Vec<u8> = (0..count).map(|_| random.random()).collect();
        wire.send_bytes(&bytes);
        drop(wire);
        other.call("Echo", json!({"text": round.to_string()}));
        assert_eq!(other.receive().unwrap()["parameters"]["text"], round.to_string());
    }
}

#[test]
fn a_message_of_ten_mebibytes_is_refused() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    wire.send_bytes(&vec![b' '; 10 * 1024 * 1024]);
    let parameters = wire.assert_refused(error_names::MESSAGE_TOO_LARGE);
    assert_eq!(parameters["limit"], 1024 * 1024);
    stage.assert_answers();
}

#[test]
fn a_message_at_the_limit_is_taken() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    let text = "x".repeat(1024 * 1024 - 100);
    wire.call("Echo", json!({"text": text}));
    assert_eq!(wire.receive().unwrap()["parameters"]["text"], text);
}

#[test]
fn deep_nesting_is_refused_before_it_is_parsed() {
    let stage = Stage::new();
    for depth in [65, 500_000] {
        let mut wire = stage.connect();
        let message = format!("{{\"method\":\"a.B\",\"parameters\":{{\"a\":{}", "[".repeat(depth));
        wire.send_bytes(message.as_bytes());
        wire.send_bytes(b"\0");
        let parameters = wire.assert_refused(error_names::NESTED_TOO_DEEPLY);
        assert_eq!(parameters["limit"], 64);
    }
    stage.assert_answers();
}

#[test]
fn a_slow_loris_is_cut_off() {
    let stage = Stage::with(Limits { read_timeout: Duration::from_millis(300), ..Limits::default() });
    let mut wire = stage.connect();
    let start = Instant::now();
    wire.send_bytes(b"{");
    // A byte now and then doesn't help: the message as a whole has its time.
    wire.stream().set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let mut peeked = [0];
    while rustix::net::recv(wire.stream(), &mut peeked, rustix::net::RecvFlags::PEEK).is_err() {
        assert!(start.elapsed() < DEADLINE);
        wire.send_bytes(b" ");
    }
    assert!(start.elapsed() >= Duration::from_millis(300));
    let parameters = wire.assert_refused(error_names::TIMED_OUT);
    assert_eq!(parameters["milliseconds"], 300);
    stage.assert_answers();
}

#[test]
fn a_connection_without_a_call_is_closed_after_a_time() {
    let stage = Stage::with(Limits { idle_timeout: Duration::from_millis(100), ..Limits::default() });
    let mut wire = stage.connect();
    wire.call("Echo", json!({"text": "hello"}));
    wire.receive().unwrap();
    let parameters = wire.assert_refused(error_names::TIMED_OUT);
    assert_eq!(parameters["milliseconds"], 100);
}

#[test]
fn a_waiting_call_is_not_idle_but_silence_after_its_reply_is() {
    let stage = Stage::with(Limits { idle_timeout: Duration::from_millis(50), ..Limits::default() });
    let mut wire = stage.connect();
    wire.call("Hold", json!({}));
    let reply = stage.next_held();
    wire.assert_silent(Duration::from_millis(300));
    assert!(reply.send(&json!({"n": 1})));
    assert_eq!(wire.receive().unwrap()["parameters"]["n"], 1);
    wire.assert_refused(error_names::TIMED_OUT);
}

#[test]
fn of_ten_thousand_connections_the_permitted_ones_are_served() {
    const PERMITTED: usize = 300;
    // The client's ends are ours too. Where the system is narrow, fewer must do.
    let files = raise_open_files(16_000);
    let tried = 10_000.min(files.saturating_sub(1500));
    println!("{tried} connections, with {files} open files allowed");
    assert!(tried > 2 * PERMITTED, "this test needs more than {files} open files");
    let stage = Stage::with(Limits { connections_max: PERMITTED, ..Limits::default() });
    let mut first = stage.connect();
    first.call("Echo", json!({"text": "first"}));
    first.receive().unwrap();
    let wires: Vec<Wire> = (0..tried).map(|_| stage.connect()).collect();
    let mut served = Vec::new();
    let mut refused = 0;
    for mut wire in wires {
        wire.send_bytes(
            b"{\"method\":\"io.procession.test.Provoke.Echo\",\"parameters\":{\"text\":\"x\"}}\0",
        );
        let reply = wire.receive().expect("an answer of either kind");
        if reply["error"].is_null() {
            served.push(wire);
        } else {
            assert_eq!(reply["error"], error_names::TOO_MANY_CONNECTIONS);
            assert_eq!(reply["parameters"]["limit"], PERMITTED);
            assert_eq!(wire.receive(), None);
            refused += 1;
        }
    }
    println!("{} served, {refused} refused", served.len() + 1);
    assert_eq!(served.len() + 1, PERMITTED);
    first.call("Echo", json!({"text": "first again"}));
    first.receive().unwrap();
    drop(served);
    wait_until("room for a new connection", || {
        let mut wire = stage.connect();
        wire.send_bytes(b"{\"method\":\"org.varlink.service.GetInfo\"}\0");
        wire.receive().is_some_and(|reply| reply["error"].is_null())
    });
}

/// The body of `running_out_of_file_descriptors_…`, in a process of its own
/// because the limit is the process's.
#[test]
fn child_without_file_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    if !is_child() {
        return;
    }
    let stage = Stage::new();
    let limit = getrlimit(Resource::Nofile);
    let low = Rlimit { current: Some(100), ..limit };
    setrlimit(Resource::Nofile, low).unwrap();
    let mut early = stage.connect();
    let mut waiting = stage.connect();
    early.call("Echo", json!({"text": "early"}));
    early.receive().unwrap();
    waiting.call("Echo", json!({"text": "waiting"}));
    waiting.receive().unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    hoard.pop();
    // One descriptor for us, none for the server's side.
    let mut late = stage.connect();
    late.call("Echo", json!({"text": "late"}));
    late.assert_silent(Duration::from_millis(300));
    early.call("Echo", json!({"text": "the others are served"}));
    early.receive().unwrap();
    drop(hoard);
    assert_eq!(late.receive().unwrap()["parameters"]["text"], "late");
    println!("served in the end");
}

#[test]
fn running_out_of_file_descriptors_only_delays() {
    let text = run_in_child("child_without_file_descriptors");
    assert!(text.contains("served in the end"), "{text}");
}

#[test]
fn a_peer_that_stops_reading_is_let_go() {
    let stage = Stage::with(Limits { idle_timeout: Duration::from_millis(200), ..Limits::default() });
    let mut wire = stage.connect();
    wire.send(&json!({
        "method": "io.procession.test.Provoke.Flood", "parameters": {"bytes": 10_000}, "more": true
    }));
    stage.expect_event("dropped");
    // What it was sent is still there to be read, and then the end.
    while let Some(reply) = wire.receive() {
        assert!(reply["error"].is_null(), "{reply}");
    }
    stage.assert_answers();
}
