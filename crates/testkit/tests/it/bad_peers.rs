//! Peers that mean no good, at the socket of a broadcaster that publishes all the while.

use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use serde_json::{Value, json};
use testkit::{
    DEADLINE, Peer, Running, call, left_out, python, raise_open_files, ready_within, seeded, wait_until,
};

use crate::blocks;
use crate::swarm::Swarm;

const BLOCKS: u32 = 500;
const CONNECTIONS: usize = 10_000;

/// Runs the swarm, lets `attack` loose on the broadcaster's socket while it publishes, and checks that nothing came
/// of it.
fn check_unharmed(attack: impl FnOnce(&Swarm)) {
    let swarm = Swarm::new();
    let recording = blocks::write(swarm.home.path(), BLOCKS);
    let _node = swarm.node(&recording, &["--block-interval", "5ms"]);
    let mut command = swarm.broadcaster_command();
    command.args(["--socket-message-timeout", "500ms"]);
    let mut broadcaster = swarm.spawn("broadcaster", command);
    let (_bot, _watch) = (swarm.bot(), swarm.watch());
    swarm.until_said("broadcaster", 10);
    let before = Vitals::of(&broadcaster);

    attack(&swarm);

    assert!(broadcaster.is_alive());
    // As many as it bears may still be on their way out.
    let status = ready_within(DEADLINE, "the broadcaster answers", || swarm.status("broadcaster"));
    assert_eq!(status["pid"], broadcaster.pid());
    swarm.until_said("broadcaster", blocks::operations(BLOCKS));
    swarm.until_heard("bot");
    swarm.until_heard("transfer-watch");
    wait_until(DEADLINE, "its descriptors are closed", || {
        Vitals::of(&broadcaster).descriptors <= before.descriptors + 10
    });
    let after = Vitals::of(&broadcaster);
    assert!(after.private_kib < before.private_kib + 16 * 1024, "memory: {before:?}, then {after:?}");
    swarm.verify(&[]).assert_code(0);
    if let Some(python) = python(&[]) {
        swarm.compare_all(&python, &recording);
    }
}

/// What a process holds.
#[derive(Debug)]
struct Vitals {
    descriptors: usize,
    private_kib: u64,
}

impl Vitals {
    fn of(process: &Running) -> Self {
        let folder = format!("/proc/{}", process.pid());
        let descriptors = std::fs::read_dir(format!("{folder}/fd")).unwrap().count();
        let rollup = std::fs::read_to_string(format!("{folder}/smaps_rollup")).unwrap();
        let dirty = rollup.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
        let private_kib = dirty.split_whitespace().nth(1).unwrap().parse().unwrap();
        Self { descriptors, private_kib }
    }
}

fn connect(swarm: &Swarm) -> Peer {
    Peer::connect(&swarm.home.socket("broadcaster")).unwrap()
}

/// Sends as much as the other side takes, which may hang up meanwhile; its last message, before it has hung up.
#[track_caller]
fn refusal(mut peer: Peer, bytes: &[u8]) -> Value {
    // Reset by the other side: what it said before is still to be read.
    let _ = peer.send_bytes(bytes);
    let message = peer.receive().unwrap().expect("an error before the end");
    assert_eq!(peer.receive().unwrap(), None, "more than one message");
    message
}

#[test]
fn garbage_is_refused() {
    let mut random = seeded("garbage");
    check_unharmed(|swarm| {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n\0"[..],
            b"\0",
            b"{\"method\":\0",
            b"\xff\xfe\0",
            b"[]\0",
            b"{}\0",
            b"7\0",
        ] {
            let message = refusal(connect(swarm), bytes);
            assert_eq!(message["error"], "io.procession.Protocol.Malformed", "{message} for {bytes:?}");
        }
        let deep = format!("{}{}\0", "[".repeat(100_000), "]".repeat(100_000));
        let message = refusal(connect(swarm), deep.as_bytes());
        assert_eq!(message["error"], "io.procession.Protocol.NestedTooDeeply", "{message}");
        for _ in 0..200 {
            let mut bytes = vec![0; random.random_range(1..2000)];
            random.fill(bytes.as_mut_slice());
            bytes.push(0);
            let message = refusal(connect(swarm), &bytes);
            assert_eq!(message["error"], "io.procession.Protocol.Malformed", "{message}");
        }
        // A call that there isn't costs nobody the connection.
        let mut peer = connect(swarm);
        for method in ["no.such.Interface.Method", "io.procession.Journal.Erase", "nonsense"] {
            let error = peer.call(method, &json!({})).unwrap_err().to_string();
            assert!(error.contains("org.varlink.service."), "{error}");
        }
        assert!(peer.call("io.procession.Journal.Read", &json!({})).is_err());
        assert!(peer.call("io.procession.Journal.Info", &json!({})).is_ok());
    });
}

#[test]
fn a_message_of_ten_mebibytes_is_refused() {
    check_unharmed(|swarm| {
        let text = "x".repeat(10 << 20);
        for message in [
            json!({"method": "io.procession.Journal.Info", "parameters": {"text": text}}).to_string() + "\0",
            text.clone(),
        ] {
            let message = refusal(connect(swarm), message.as_bytes());
            assert_eq!(message["error"], "io.procession.Protocol.MessageTooLarge", "{message}");
            assert_eq!(message["parameters"]["limit"], 1 << 20);
        }
    });
}

#[test]
fn a_message_that_never_ends_is_cut_off() {
    check_unharmed(|swarm| {
        let begun = Instant::now();
        let mut slow: Vec<Peer> = (0..100).map(|_| connect(swarm)).collect();
        let bytes = b"{\"method\":\"io.procession.Journal.Info\",\"parameters\":{}";
        // A byte every now and then, which is how they hold a server that waits for silence.
        let mut cut = 0;
        for byte in bytes.iter().cycle() {
            slow.retain_mut(|peer| peer.send_bytes(&[*byte]).is_ok());
            cut = 100 - slow.len();
            if cut == 100 || begun.elapsed() > Duration::from_secs(20) {
                break;
            }
            thread::park_timeout(Duration::from_millis(20));
        }
        assert_eq!(cut, 100, "still connected after {:?}", begun.elapsed());
        assert!(begun.elapsed() > Duration::from_millis(400), "they were cut off early");
        let mut peer = connect(swarm);
        peer.send_bytes(b"{").unwrap();
        let message = peer.receive().unwrap().expect("an error before the end");
        assert_eq!(message["error"], "io.procession.Protocol.TimedOut", "{message}");
    });
}

#[test]
fn ten_thousand_connections_are_borne() {
    let files = raise_open_files();
    let wanted = CONNECTIONS.min(usize::try_from(files).unwrap_or(CONNECTIONS).saturating_sub(500));
    if wanted < CONNECTIONS {
        left_out(format_args!("more than {wanted} connections, since the system allows {files} open files"));
    }
    check_unharmed(|swarm| {
        let path = swarm.home.socket("broadcaster");
        let mut held: Vec<UnixStream> = Vec::new();
        for _ in 0..wanted {
            held.push(UnixStream::connect(&path).unwrap());
        }
        // Those beyond the limit are told so, and closed.
        let mut refused = Peer::connect(&path).unwrap();
        let message = refused.receive().unwrap().expect("an error before the end");
        assert_eq!(message["error"], "io.procession.Protocol.TooManyConnections", "{message}");
        let said = swarm.said("broadcaster");
        swarm.until_said("broadcaster", (said + 50).min(blocks::operations(BLOCKS)));
        drop(held);
        wait_until(DEADLINE, "it answers again", || {
            call(&path, "io.procession.Process.Health", &json!({})).is_ok()
        });
    });
}

/// Calls from callers that leave before the answer.
#[test]
fn callers_that_leave_cost_nothing() {
    check_unharmed(|swarm| {
        for round in 0..2000 {
            let mut peer = connect(swarm);
            let call = match round % 3 {
                0 => json!({"method": "io.procession.Journal.Wait", "parameters": {"after": 1_u64 << 40}}),
                1 => {
                    json!({"method": "io.procession.Journal.Read", "parameters": {"follow": true}, "more": true})
                }
                _ => json!({"method": "io.procession.Journal.Info", "parameters": {}}),
            };
            if let Err(error) = peer.send(&call) {
                // As many as it bears are still being closed.
                assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
            }
        }
    });
}
