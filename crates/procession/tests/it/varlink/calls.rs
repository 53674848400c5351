//! Calls and their answers.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use procession::varlink::{Answer, Call, Client, ClientError, DuplicateInterface, Service, error_names};
use serde_json::{Value, json};

use super::support::{Stage, block_on, request};

const ECHO: &str = "io.procession.test.Provoke.Echo";

#[test]
fn what_goes_wrong_has_the_standard_error_and_the_connection_goes_on() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    let cases = [
        (
            json!({"method": "org.example.Nothing.Do"}),
            error_names::INTERFACE_NOT_FOUND,
            json!({"interface": "org.example.Nothing"}),
        ),
        (
            request("Nothing", json!({})),
            error_names::METHOD_NOT_FOUND,
            json!({"method": "io.procession.test.Provoke.Nothing"}),
        ),
        (json!({"method": "NoDot"}), error_names::METHOD_NOT_FOUND, json!({"method": "NoDot"})),
        (request("Count", json!({"to": 3})), error_names::EXPECTED_MORE, json!({})),
        (
            json!({"method": ECHO, "parameters": {"text": "x"}, "upgrade": true}),
            error_names::UPGRADE_REFUSED,
            json!({}),
        ),
        (request("Silent", json!({})), error_names::NO_REPLY, json!({"reason": "the service gave no reply"})),
        (
            request("Large", json!({"bytes": 2_000_000})),
            error_names::REPLY_TOO_LARGE,
            json!({"limit": 1024 * 1024}),
        ),
        (
            json!({"method": "io.procession.Protocol.Anything"}),
            error_names::METHOD_NOT_FOUND,
            json!({"method": "io.procession.Protocol.Anything"}),
        ),
    ];
    for (message, error, parameters) in cases {
        wire.send(&message);
        let reply = wire.receive().unwrap();
        assert_eq!(reply["error"], error, "{message}");
        assert_eq!(reply["parameters"], parameters, "{message}");
    }
    for (parameters, field) in [(json!({}), "text"), (json!({"text": 7}), "text"), (json!([1]), "parameters")]
    {
        wire.call("Echo", parameters);
        let reply = wire.receive().unwrap();
        assert_eq!(reply["error"], error_names::INVALID_PARAMETER);
        assert_eq!(reply["parameters"]["parameter"], field);
    }
    wire.call("Echo", json!({"text": "fine"}));
    assert_eq!(wire.receive().unwrap(), json!({"parameters": {"text": "fine"}}));
}

#[test]
fn pipelined_requests_are_answered_in_order_and_one_way_ones_not_at_all() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    let mut bytes = Vec::new();
    for n in 0..1000 {
        let mut message = request("Echo", json!({"text": n.to_string()}));
        message["oneway"] = json!(n % 3 == 0);
        bytes.extend_from_slice(message.to_string().as_bytes());
        bytes.push(0);
    }
    wire.send_bytes(&bytes);
    for n in (0..1000).filter(|n| n % 3 != 0) {
        assert_eq!(wire.receive().unwrap()["parameters"]["text"], n.to_string());
    }
}

#[test]
fn one_way_errors_are_not_answered_either() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    for method in ["Nothing", "Silent", "Hold"] {
        let mut message = request(method, json!({}));
        message["oneway"] = json!(true);
        wire.send(&message);
    }
    // A held one-way call can be answered all the same, to no effect.
    assert!(stage.next_held().send(&json!({})));
    wire.call("Echo", json!({"text": "next"}));
    assert_eq!(wire.receive().unwrap()["parameters"]["text"], "next");
}

#[test]
fn a_peer_that_has_said_all_still_gets_its_reply() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    wire.call("Hold", json!({}));
    wire.call("Echo", json!({"text": "and this"}));
    wire.stream().shutdown(Shutdown::Write).unwrap();
    let reply = stage.next_held();
    wire.assert_silent(Duration::from_millis(50));
    assert!(reply.send(&json!({"n": 1})));
    assert_eq!(wire.receive().unwrap()["parameters"]["n"], 1);
    assert_eq!(wire.receive().unwrap()["parameters"]["text"], "and this");
    assert_eq!(wire.receive(), None);
    // Also when nothing waits behind the call.
    let mut wire = stage.connect();
    wire.call("Hold", json!({}));
    wire.stream().shutdown(Shutdown::Write).unwrap();
    let reply = stage.next_held();
    wire.assert_silent(Duration::from_millis(50));
    assert!(reply.send(&json!({"n": 2})));
    assert_eq!(wire.receive().unwrap()["parameters"]["n"], 2);
    assert_eq!(wire.receive(), None);
}

#[test]
fn work_whose_caller_has_left_is_dropped() {
    let stage = Stage::new();
    for pipelined in [0, 1, 100_000] {
        let mut wire = stage.connect();
        wire.call("Sleep", json!({}));
        stage.expect_event("asleep");
        // Also when further requests stand between us and the end.
        wire.stream().set_nonblocking(true).unwrap();
        for _ in 0..pipelined {
            let message = format!("{}\0", request("Echo", json!({"text": "x"})));
            if wire.stream().write_all(message.as_bytes()).is_err() {
                break;
            }
        }
        drop(wire);
        stage.expect_event("dropped");
    }
    stage.assert_answers();
}

#[test]
fn a_half_closed_caller_that_then_dies_is_noticed() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    wire.call("Sleep", json!({}));
    wire.stream().shutdown(Shutdown::Write).unwrap();
    stage.expect_event("asleep");
    drop(wire);
    stage.expect_event("dropped");
}

#[test]
fn a_call_can_be_answered_from_another_thread() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    for n in 0..100 {
        wire.call("Elsewhere", json!({"n": n}));
        let call = stage.calls.recv().unwrap();
        let parameters: Value = call.parameters().unwrap();
        assert_eq!(call.peer().pid, i32::try_from(std::process::id()).ok());
        call.reply(&parameters).unwrap();
        assert_eq!(wire.receive().unwrap()["parameters"]["n"], n);
    }
    wire.call("Elsewhere", json!({}));
    drop(stage.calls.recv().unwrap());
    assert_eq!(wire.receive().unwrap()["error"], error_names::NO_REPLY);
}

#[test]
fn a_service_that_panics_costs_its_connection_only() {
    let stage = Stage::new();
    let mut other = stage.connect();
    let mut wire = stage.connect();
    wire.call("Panic", json!({}));
    assert_eq!(wire.receive(), None);
    other.call("Echo", json!({"text": "unharmed"}));
    other.receive().unwrap();
    stage.assert_answers();
}

struct Later;

impl Service for Later {
    fn interface(&self) -> &'static str {
        "io.procession.test.Later"
    }

    fn description(&self) -> &'static str {
        "interface io.procession.test.Later\n\nmethod Do() -> ()\n"
    }

    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move { call.reply(&json!({"done": true})) })
    }
}

#[test]
fn a_service_can_come_later_but_only_once() {
    let stage = Stage::new();
    let mut wire = stage.connect();
    wire.send(&json!({"method": "io.procession.test.Later.Do"}));
    assert_eq!(wire.receive().unwrap()["error"], error_names::INTERFACE_NOT_FOUND);
    stage.server.add(Arc::new(Later)).unwrap();
    let DuplicateInterface { interface } = stage.server.add(Arc::new(Later)).unwrap_err();
    assert_eq!(interface, "io.procession.test.Later");
    wire.send(&json!({"method": "io.procession.test.Later.Do"}));
    assert_eq!(wire.receive().unwrap()["parameters"]["done"], true);
}

#[test]
fn the_client_tells_errors_apart() {
    let stage = Stage::new();
    block_on(async {
        let mut client =
            Client::connect(stage.path()).await.unwrap().with_timeout(Duration::from_millis(100));
        assert_eq!(client.peer().pid, i32::try_from(std::process::id()).ok());
        let reply: Value = client.call(ECHO, &json!({"text": "a"})).await.unwrap();
        assert_eq!(reply["text"], "a");

        let error = client.call::<Value>(ECHO, &json!({})).await.unwrap_err();
        assert_eq!(error.name(), Some(error_names::INVALID_PARAMETER));
        let error = client.call::<Vec<u8>>(ECHO, &json!({"text": "a"})).await.unwrap_err();
        assert!(matches!(error, ClientError::Unexpected { .. }), "{error}");
        let huge = "x".repeat(2_000_000);
        let error = client.call::<Value>(ECHO, &json!({"text": huge})).await.unwrap_err();
        assert!(matches!(error, ClientError::TooLarge { .. }), "{error}");
        // None of these harmed the connection.
        client.oneway("io.procession.test.Provoke.Note", &json!({"text": "b"})).await.unwrap();
        stage.expect_event("noted");
        let reply: Value = client.call(ECHO, &json!({"text": "c"})).await.unwrap();
        assert_eq!(reply["text"], "c");

        let sleep = "io.procession.test.Provoke.Sleep";
        let error = client.call::<Value>(sleep, &json!({})).await.unwrap_err();
        assert!(matches!(error, ClientError::Timeout(_)), "{error}");
        assert!(!client.is_idle());
        let error = client.call::<Value>(ECHO, &json!({})).await.unwrap_err();
        assert!(matches!(error, ClientError::OutOfStep), "{error}");

        let nowhere = stage.path().with_extension("nowhere");
        let error = Client::connect(&nowhere).await.unwrap_err();
        assert!(matches!(error, ClientError::Connect { .. }), "{error}");
    });
}

#[test]
fn a_client_that_is_cut_off_learns_it() {
    let stage = Stage::new();
    block_on(async {
        let mut client = Client::connect(stage.path()).await.unwrap();
        let panic = "io.procession.test.Provoke.Panic";
        let error = client.call::<Value>(panic, &json!({})).await.unwrap_err();
        assert!(matches!(error, ClientError::Disconnected), "{error}");
    });
}

#[test]
fn replies_that_were_sent_for_ahead_come_in_order() {
    let stage = Stage::new();
    block_on(async {
        let mut client = Client::connect(stage.path()).await.unwrap();
        for n in 0..50 {
            client.send(ECHO, &json!({"text": n.to_string()})).await.unwrap();
        }
        for n in 0..50 {
            let reply = client.receive::<Value>().await.unwrap();
            assert!(!reply.continues);
            assert_eq!(reply.parameters["text"], n.to_string());
        }
        assert!(client.is_idle());
    });
}
