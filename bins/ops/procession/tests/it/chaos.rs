//! `procession chaos` on real processes: what is survived, what is reported, and that nobody stays stopped.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::{DEADLINE, Ended, Running, flip_bit, wait_until};

use crate::support::{Swarm, json_lines};

/// Keeps processes alive, as a process manager does, while `body` runs.
fn kept<T>(swarm: &Swarm, members: &[&[&str]], body: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let keeper = scope.spawn(|| {
            let mut running: Vec<Running> = members.iter().map(|arguments| swarm.sample(arguments)).collect();
            while !done.load(Ordering::Relaxed) {
                for (process, arguments) in running.iter_mut().zip(members) {
                    if !process.is_alive() {
                        *process = swarm.sample(arguments);
                    }
                }
                thread::park_timeout(Duration::from_millis(5));
            }
        });
        // Also if it panics: otherwise the scope would wait for the keeper for ever.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            swarm.run(&["wait", "--ready", "source", "reader"]).assert_code(0);
            body()
        }));
        done.store(true, Ordering::Relaxed);
        keeper.join().unwrap();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

const SOURCE: &[&str] = &["--instance", "source", "--ticks", "200", "--every-ms", "2"];
const READER: &[&str] = &["--instance", "reader", "--hears", "source"];

fn chaos(swarm: &Swarm, arguments: &[&str]) -> Ended {
    swarm.run(&[&["chaos", "--every", "200ms"], arguments].concat())
}

fn report(ended: &Ended) -> Value {
    let mut lines = json_lines(&ended.stdout);
    assert_eq!(lines.len(), 1, "{ended:?}");
    lines.remove(0)
}

/// The state of a process as the kernel names it: `T` is stopped.
fn state(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn every_kind_of_fault_is_survived() {
    let swarm = Swarm::new();
    kept(&swarm, &[SOURCE, READER], || {
        for (kind, count) in
            [("kill", "killed"), ("stop", "stopped"), ("slow", "slowed"), ("restart", "restarted")]
        {
            let ended = chaos(&swarm, &["--for", "1s", "--faults", kind, "--json"]);
            let report = report(ended.assert_code(0));
            assert_eq!((&report["all_came_back"], &report["nothing_lost"]), (&json!(true), &json!(true)));
            let processes = report["processes"].as_array().unwrap();
            assert_eq!(processes.len(), 2, "{report}");
            let faults: u64 = processes.iter().map(|row| row[count].as_u64().unwrap()).sum();
            assert!(faults > 0 && faults == report["faults"].as_array().unwrap().len() as u64, "{report}");
            assert!(report["records"].as_u64().unwrap() > 200 && report["causes"].as_u64().unwrap() > 0);
            for fault in report["faults"].as_array().unwrap() {
                assert!(fault["ready_ms"].is_u64() && fault["caught_up_ms"].is_u64(), "{fault}");
                let of_reader = fault["process"] == "reader";
                assert_eq!(fault["lag_peaks"].as_array().unwrap().len(), usize::from(of_reader), "{fault}");
            }
        }
        let ended = chaos(&swarm, &["--for", "500ms", "--only", "re*", "--seed", "7"]);
        let shown = &ended.assert_code(0).stdout;
        assert!(shown.starts_with("reader for 500ms, --seed 7\n"), "{shown}");
        assert!(
            shown.contains("PROCESS  KILL") && shown.contains("all came back, nothing was lost: "),
            "{shown}"
        );
    });
}

#[test]
fn who_does_not_come_back_is_reported() {
    let swarm = Swarm::new();
    let _source = swarm.ready_sample("source", &["--every-ms", "5"]);
    let ended = chaos(&swarm, &["--for", "1s", "--faults", "kill", "--patience", "300ms", "--json"]);
    let report = report(ended.assert_code(1));
    assert_eq!(
        (&report["all_came_back"], &report["nothing_lost"]),
        (&json!(false), &json!(true)),
        "{report}"
    );
    let fault = &report["faults"][0];
    assert!(fault["trouble"].as_str().unwrap().contains("did not come back"), "{fault}");
    assert_eq!(report["processes"][0]["not_back"], json!(1));
    let source = swarm.ready_sample("source", &[]);
    let ended = chaos(&swarm, &["--for", "1s", "--faults", "restart", "--patience", "300ms"]);
    assert!(ended.assert_code(1).stdout.contains("only started again after failures?"), "{ended:?}");
    drop(source);
}

#[test]
fn what_was_in_hand_at_a_kill_comes_again() {
    let swarm = Swarm::new();
    let holder = &["--instance", "reader", "--hears", "source", "--holds"];
    kept(&swarm, &[SOURCE, holder], || {
        let in_hand = || {
            let cursors = journal::read_cursors(&swarm.instance("reader")).unwrap();
            cursors.iter().any(|cursor| cursor.trying == Some(cursor.position.next))
        };
        wait_until(DEADLINE, "a delivery is in hand", in_hand);
        let arguments =
            ["--only", "reader", "--faults", "kill", "--for", "300ms", "--patience", "1s", "--json"];
        let report = report(chaos(&swarm, &arguments).assert_code(1));
        let fault = &report["faults"][0];
        assert_eq!((&fault["redeliveries"], &fault["caught_up_ms"]), (&json!(1), &json!(null)), "{fault}");
        assert!(fault["ready_ms"].is_u64(), "{fault}");
        assert!(fault["trouble"].as_str().unwrap().contains("did not catch up with source"), "{fault}");
        assert_eq!(report["processes"][0]["redeliveries"], json!(1));
    });
}

#[test]
fn damage_while_it_runs_is_a_loss() {
    let swarm = Swarm::new();
    kept(&swarm, &[SOURCE, READER], || {
        let chaos = swarm.start(&[
            "chaos",
            "--every",
            "100ms",
            "--for",
            "2s",
            "--faults",
            "stop",
            "--without",
            "source",
        ]);
        // Its first line comes after it has looked what is damaged already.
        wait_until(DEADLINE, "chaos begins", || chaos.stdout().contains("--seed"));
        let (segment, at) = swarm.find_bytes("source", br#"{"number":77}"#);
        flip_bit(&segment, at, 0);
        let ended = chaos.wait(DEADLINE);
        let shown = &ended.assert_code(1).stdout;
        assert!(shown.contains("source: damaged from 77 up to 78"), "{shown}");
        assert!(shown.contains("source: 77 up to 78 are corrupt"), "{shown}");
        assert!(shown.contains("cause that isn't there: source 77"), "{shown}");
        assert!(shown.contains("all came back, something was lost"), "{shown}");
    });
}

#[test]
fn a_cause_that_is_not_there_is_a_loss_and_who_started_us_is_left_alone() {
    let swarm = Swarm::new();
    // This test holds the lock of `speaker` itself.
    let mut speaker = swarm.speaker("speaker");
    let source = swarm.ready_sample("source", &["--ticks", "10"]);
    speaker.say_because("t", "source", 9);
    speaker.say_because("t", "outside", 1000);
    let arguments = ["--for", "300ms", "--faults", "stop"];
    let ended = chaos(&swarm, &arguments);
    ended.assert_code(0).assert_says(&["speaker is left alone: this command was started by it"]);
    speaker.say_because("t", "source", 10);
    let ended = chaos(&swarm, &arguments);
    let shown = &ended.assert_code(1).stdout;
    assert!(shown.contains("speaker: record 2 has a cause that isn't there: source 10"), "{shown}");
    source.terminate(DEADLINE).assert_code(0);
}

#[test]
fn a_journal_that_begins_anew_is_a_loss() {
    let swarm = Swarm::new();
    let mut speaker = swarm.speaker("speaker");
    speaker.say("t", "1");
    let source = swarm.ready_sample("source", &[]);
    let chaos = swarm.start(&["chaos", "--every", "100ms", "--for", "4s", "--faults", "stop"]);
    wait_until(DEADLINE, "a fault is over", || chaos.stdout().contains("stop for"));
    drop(speaker);
    fs::remove_dir_all(swarm.instance("speaker")).unwrap();
    let _speaker = swarm.speaker("speaker");
    let ended = chaos.wait(DEADLINE);
    let shown = &ended.assert_code(1).stdout;
    assert!(shown.contains("speaker: its journal was replaced by another"), "{shown}");
    source.terminate(DEADLINE).assert_code(0);
}

#[test]
fn nobody_stays_stopped_after_ctrl_c() {
    let swarm = Swarm::new();
    let source = swarm.ready_sample("source", &["--every-ms", "5"]);
    for signal in [Signal::INT, Signal::TERM] {
        let mut chaos = swarm.start(&["chaos", "--every", "20ms", "--for", "10min", "--faults", "stop,slow"]);
        wait_until(DEADLINE, "somebody is stopped", || state(source.pid()) == "T");
        chaos.signal(signal);
        let ended = chaos.wait(DEADLINE);
        assert!(ended.assert_code(0).stdout.contains("ended early"), "{ended:?}");
        assert_ne!(state(source.pid()), "T");
    }
    source.terminate(DEADLINE).assert_code(0);
}

#[test]
fn what_cannot_be_done_is_said() {
    let swarm = Swarm::new();
    swarm.run(&["chaos"]).assert_code(1).assert_says(&["nothing runs in", "start the swarm"]);
    let source = swarm.ready_sample("source", &[]);
    let run = |arguments: &[&str]| chaos(&swarm, arguments);
    run(&["--only", "a/b"]).assert_code(2).assert_says(&["no name of processes"]);
    run(&["--faults", "nonsense"]).assert_code(2);
    run(&["--only", "nobody"]).assert_code(1).assert_says(&["--only nobody", "one of source"]);
    run(&["--without", "nobody"]).assert_code(1).assert_says(&["--without nobody"]);
    run(&["--without", "source"]).assert_code(1).assert_says(&["no process is left"]);
    run(&["--faults", "kill", "--no-kill"]).assert_code(1).assert_says(&["no fault is left"]);
    source.terminate(DEADLINE).assert_code(0);
}
