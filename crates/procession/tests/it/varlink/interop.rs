//! Clients that aren't ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use procession::interfaces::{journal, process};
use procession::varlink::{Answer, Call, Client, Identity, Options, PROTOCOL, SERVICE, Server, Service};
use serde_json::{Value, json};
use zlink::idl::Interface;

use super::ledger::Ledger;
use super::support::{Stage, block_on, wait_until};
use super::zlink_client::Zlink;

/// The version that the script was written for.
const PYTHON_PACKAGE: &str = "varlink==31.0.0";

#[test]
fn every_description_is_valid_and_named_as_its_interface() {
    for (name, description) in [
        ("org.varlink.service", SERVICE),
        ("io.procession.Protocol", PROTOCOL),
        (process::NAME, process::DESCRIPTION),
        (journal::NAME, journal::DESCRIPTION),
        ("io.procession.test.Provoke", super::support::PROVOKE),
    ] {
        let interface =
            Interface::try_from(description).unwrap_or_else(|error| panic!("{name} doesn't parse: {error}"));
        assert_eq!(interface.name().as_str(), name);
    }
}

/// Only described, so that its description is served too.
struct Described;

impl Service for Described {
    fn interface(&self) -> &'static str {
        "io.procession.Process"
    }

    fn description(&self) -> &'static str {
        process::DESCRIPTION
    }

    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(std::future::ready(Err(call.unknown_method())))
    }
}

fn ledger_server(folder: &Path) -> (Server, Arc<Ledger>) {
    let ledger = Arc::new(Ledger::new());
    let options = Options {
        identity: Identity {
            vendor: "Procession".to_owned(),
            product: "ledger".to_owned(),
            version: "0.1.0".to_owned(),
            url: "https://example.org".to_owned(),
        },
        ..Options::default()
    };
    let services: Vec<Arc<dyn Service>> = vec![Arc::clone(&ledger) as _, Arc::new(Described)];
    let server = Server::start(folder.join("ledger.sock"), services, options).unwrap();
    (server, ledger)
}

#[test]
fn our_own_client_reads_what_a_server_is() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _ledger) = ledger_server(folder.path());
    let info: Value = block_on(async {
        let mut client = Client::connect(server.path()).await.unwrap();
        client.call("org.varlink.service.GetInfo", &json!({})).await.unwrap()
    });
    assert_eq!(
        info,
        json!({
            "vendor": "Procession", "product": "ledger", "version": "0.1.0",
            "url": "https://example.org",
            "interfaces": [
                "io.procession.Journal", "io.procession.Process",
                "io.procession.Protocol", "org.varlink.service",
            ],
        })
    );
}

#[test]
fn zlink_calls_waits_and_streams() {
    let folder = tempfile::tempdir().unwrap();
    let (server, ledger) = ledger_server(folder.path());
    ledger.publish("comment", &json!({"body": "ä"}));
    block_on(async {
        let mut zlink = Zlink::connect(server.path()).await.unwrap();
        let interfaces = zlink.interfaces().await.unwrap();
        assert_eq!(interfaces.len(), 4);
        let error = zlink.missing("org.example.Nothing").await.unwrap();
        assert!(error.contains("org.example.Nothing"), "{error}");
        let info = zlink.info().await.unwrap();
        assert_eq!((info.journal.as_str(), info.committed), ("ledger", 1));
        let marks = zlink.wait(0).await.unwrap();
        assert_eq!((marks.committed, marks.epoch), (1, info.epoch));
        let publisher = std::thread::spawn(move || {
            ledger.publish("vote", &json!({"weight": 1}));
        });
        assert_eq!(zlink.wait(1).await.unwrap().committed, 2);
        publisher.join().unwrap();
        let entries = zlink.read(0).await.unwrap();
        assert_eq!(entries.len(), 4);
        let first = entries[0].record.as_ref().unwrap();
        assert_eq!(first["payload"], json!({"body": "ä"}));
        assert!(entries[2].gap.is_some());
        assert_eq!(entries[3].next, 2);
        assert!(zlink.read(3).await.is_err());
    });
}

#[test]
fn zlink_survives_an_invalid_parameter_with_a_reason() {
    let stage = Stage::new();
    block_on(async {
        let mut zlink = Zlink::connect(&stage.path()).await.unwrap();
        let error = zlink.invalid_parameter().await.unwrap();
        assert!(error.contains("text"), "{error}");
    });
}

#[test]
fn python_s_varlink_calls_waits_and_streams() {
    let Some(python) = python_with_varlink() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (server, ledger) = ledger_server(folder.path());
    ledger.publish("comment", &json!({"body": "ä"}));
    ledger.publish("vote", &json!({"weight": 1}));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/python/varlink_client.py");
    let child = Command::new(python)
        .arg(script)
        .arg(server.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The script waits for one record more.
    let mut child = Some(child);
    wait_until("the script to end", || {
        ledger.publish("vote", &json!({"weight": 2}));
        std::thread::park_timeout(Duration::from_millis(20));
        !matches!(child.as_mut().unwrap().try_wait(), Ok(None))
    });
    let output = child.take().unwrap().wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("{said:#}");
    assert_eq!(said["info"]["product"], "ledger");
    assert_eq!(said["info"]["interfaces"].as_array().unwrap().len(), 4);
    assert_eq!(said["journal"]["journal"], "ledger");
    let before = said["journal"]["committed"].as_u64().unwrap();
    assert!(said["waited"]["committed"].as_u64().unwrap() > before);
    assert_eq!(said["records"][0]["payload"], json!({"body": "ä"}));
    assert_eq!(said["records"][0]["key"], "even");
    assert_eq!(said["gaps"][0]["reason"], "trimmed");
    assert_eq!(said["error"], json!({"name": "org.varlink.service.InvalidParameter", "parameter": "after"}));
}

/// A Python that has the package `varlink`: the one of the environment, or one
/// that is made once under the target folder. None, with a word why, when
/// there is no Python or no way to the package.
fn python_with_varlink() -> Option<PathBuf> {
    let has_package = |python: &Path| {
        Command::new(python)
            .args(["-c", "import varlink"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let system = PathBuf::from("python3");
    if has_package(&system) {
        return Some(system);
    }
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-varlink");
    let python = venv.join("bin/python3");
    if has_package(&python) {
        return Some(python);
    }
    let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).output();
    let installed = Command::new(&python).args(["-m", "pip", "install", "--quiet", PYTHON_PACKAGE]).output();
    if has_package(&python) {
        return Some(python);
    }
    println!("not run: no Python with {PYTHON_PACKAGE}: {made:?} {installed:?}");
    None
}
