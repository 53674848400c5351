//! `ps`, `health`, `wait`, `call`, `lag` and `hz`, on real processes that are well and that aren't.

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use journal::{Cursors, Offset, Options, Position, Writer};
use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::{DEADLINE, wait_until};

use crate::support::{Swarm, json_lines};

fn row(swarm: &Swarm, process: &str) -> Value {
    swarm.json(&["ps", process, "--json"]).remove(0)
}

#[test]
fn a_process_is_shown_through_its_life() {
    let swarm = Swarm::new();
    let ended = swarm.run(&["ps"]);
    ended.assert_code(0).assert_says(&["no process has run"]);

    let sample = swarm.ready_sample("sample", &["--ticks", "3"]);
    let shown = row(&swarm, "sample");
    assert_eq!((&shown["process"], &shown["state"]), (&json!("sample"), &json!("ready")));
    assert_eq!((&shown["pid"], &shown["restarts"]), (&json!(sample.pid()), &json!(0)));
    assert_eq!((&shown["records"], &shown["reason"]), (&json!(3), &json!(null)));
    assert!(shown["memory_bytes"].as_u64().unwrap() > 0 && shown["uptime_ms"].as_u64().is_some(), "{shown}");
    assert!(shown["cpu_percent"].as_f64().is_some(), "{shown}");
    sample.kill9();

    let shown = row(&swarm, "sample");
    assert_eq!((&shown["state"], &shown["pid"]), (&json!("down"), &json!(null)));
    let sample = swarm.ready_sample("sample", &[]);
    assert_eq!(
        (&row(&swarm, "sample")["restarts"], &row(&swarm, "sample")["records"]),
        (&json!(1), &json!(3))
    );
    let ended = swarm.run(&["ps"]);
    let words: Vec<_> = ended.stdout.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words[..3], ["sample", "ready", &sample.pid().to_string()]);
    swarm.run(&["ps", "nobody"]).assert_code(1).assert_says(&["`nobody`"]);
}

#[test]
fn who_hangs_or_is_stopped_holds_up_nobody() {
    let swarm = Swarm::new();
    let mut stopped = swarm.ready_sample("stopped", &[]);
    stopped.signal(Signal::STOP);
    let mut hung = swarm.sample(&["--instance", "hung", "--hang"]);
    hung.wait_for_log(DEADLINE, "ready");
    let well = swarm.ready_sample("well", &["--ticks", "1"]);

    let begun = Instant::now();
    let states = swarm.json(&["ps", "--json"]);
    // Far less than the sum of all patience.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let states: Vec<_> = states.iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["hung", "hung", "ready"]);

    let ended = swarm.run(&["health", "hung"]);
    assert!(ended.assert_code(1).stdout.contains("loop has not moved"), "{ended:?}");
    let ended = swarm.run(&["health", "stopped", "--timeout", "100ms", "--json"]);
    assert_eq!(json_lines(&ended.assert_code(1).stdout)[0]["healthy"], json!(false));
    let ended = swarm.run(&["doctor"]);
    assert!(ended.assert_code(1).stdout.contains("hung: the application's loop"), "{ended:?}");

    stopped.signal(Signal::CONT);
    stopped.terminate(DEADLINE).assert_code(0);
    well.terminate(DEADLINE).assert_code(0);
}

#[test]
fn health_is_an_exit_code_and_a_reason() {
    let swarm = Swarm::new();
    let ended = swarm.run(&["health", "sample"]);
    assert!(ended.assert_code(1).stdout.contains("isn't running"), "{ended:?}");
    let sample = swarm.ready_sample("sample", &[]);
    assert_eq!(swarm.run(&["health", "sample"]).assert_code(0).stdout, "sample: healthy\n");
    let expected = json!({"process": "sample", "ready": true, "healthy": true, "reason": null, "waiting": [],
        "parked": 0, "open_letters": 0, "last_death": null});
    assert_eq!(swarm.json(&["health", "sample", "--json"]), [expected]);
    sample.kill9();
    let ended = swarm.run(&["health", "sample"]);
    assert!(ended.assert_code(1).stdout.contains("left behind"), "{ended:?}");
    swarm.run(&["health"]).assert_code(2);
    swarm.run(&["health", "sample", "--timeout", "soon"]).assert_code(2);
}

#[test]
fn a_process_is_well_when_all_of_its_instances_are() {
    let swarm = Swarm::new();
    let (one, two) = (swarm.ready_sample("worker@1", &[]), swarm.ready_sample("worker@2", &[]));
    assert_eq!(swarm.run(&["health", "worker"]).assert_code(0).stdout.lines().count(), 2);
    two.kill9();
    swarm.run(&["health", "worker"]).assert_code(1);
    swarm.run(&["health", "worker@1"]).assert_code(0);
    one.terminate(DEADLINE).assert_code(0);
}

#[test]
fn an_instance_that_is_down_counts_though_it_has_left_no_socket() {
    let swarm = Swarm::new();
    let one = swarm.ready_sample("worker", &[]);
    swarm.ready_sample("worker@2", &[]).terminate(DEADLINE).assert_code(0);
    assert!(!swarm.socket("worker@2").exists());
    let ended = swarm.run(&["health", "worker"]);
    assert!(
        ended.assert_code(1).stdout.contains("worker: healthy\nworker@2: not healthy: it isn't running"),
        "{ended:?}"
    );
    let ended = swarm.run(&["wait", "--ready", "worker", "--timeout", "200ms"]);
    ended.assert_code(1).assert_says(&["isn't running"]);
    // A supervisor asks about the one that it supervises; and who only spoke is no instance.
    swarm.run(&["health", "worker", "--probe"]).assert_code(0);
    swarm.run(&["health", "worker@2", "--probe"]).assert_code(1);
    swarm.speaker("worker@3").say("x", "1");
    assert!(!swarm.run(&["health", "worker"]).assert_code(1).stdout.contains("worker@3"));
    one.terminate(DEADLINE).assert_code(0);
}

#[test]
fn waiting_ends_when_all_are_ready_or_in_time() {
    let swarm = Swarm::new();
    let wait = swarm.start(&["wait", "--ready", "one", "two"]);
    let one = swarm.sample(&["--instance", "one"]);
    let two = swarm.sample(&["--instance", "two"]);
    wait.wait(DEADLINE).assert_code(0);
    one.terminate(DEADLINE).assert_code(0);
    let ended = swarm.run(&["wait", "--ready", "two", "one", "--timeout", "200ms"]);
    ended.assert_code(1).assert_says(&["`one` isn't ready", "isn't running"]);
    assert!(!ended.stderr.contains("`two`"), "{ended:?}");
    two.terminate(DEADLINE).assert_code(0);
    swarm.run(&["wait", "two"]).assert_code(2);
}

#[test]
fn methods_are_called_by_short_names() {
    let swarm = Swarm::new();
    let sample = swarm.ready_sample("sample", &["--ticks", "4"]);
    for method in ["Status", "Process.Status", "io.procession.Process.Status"] {
        let status = swarm.json(&["call", "sample", method, "--json"]).remove(0);
        assert_eq!((&status["pid"], &status["version"]), (&json!(sample.pid()), &json!("1.2.3")));
    }
    let shown = swarm.run(&["call", "sample", "Wait", r#"{"after": 3}"#]);
    assert_eq!(shown.assert_code(0).stdout, "{\n  \"committed\": 4,\n  \"epoch\": 1\n}\n");
    let read = swarm.json(&["call", "sample", "Read", r#"{"from":2}"#, "--more", "--json"]);
    assert_eq!(read.len(), 3);
    assert_eq!(read[0]["record"]["offset"], json!(2));

    let asked = |arguments: &[&str]| swarm.run(&[&["call", "sample"], arguments].concat());
    asked(&["Nonsense"]).assert_code(1).assert_says(&["no method `Nonsense`", "io.procession.Journal.Read"]);
    asked(&["tatus"]).assert_code(1).assert_says(&["no method"]);
    asked(&["Read"]).assert_code(1).assert_says(&["ExpectedMore", "--more"]);
    asked(&["Wait"]).assert_code(1).assert_says(&["after", "GetInterfaceDescription"]);
    asked(&["Wait", r#"{"after":99}"#, "--timeout", "100ms"]).assert_code(1).assert_says(&["--timeout"]);
    asked(&["Status", "[]"]).assert_code(2);
    asked(&["Stop"]).assert_code(0);
    sample.wait(DEADLINE).assert_code(0);
    asked(&["Status"]).assert_code(1).assert_says(&["`sample` can't be asked", "isn't running", "try: "]);
}

#[test]
fn who_is_behind_is_named() {
    let swarm = Swarm::new();
    let source = swarm.ready_sample("source", &["--ticks", "5"]);
    let reader = swarm.sample(&["--instance", "reader", "--hears", "source"]);
    let lag = || swarm.json(&["lag", "--json"]);
    wait_until(DEADLINE, "all is heard", || lag().first().is_some_and(|lag| lag["acknowledged"] == json!(5)));
    let heard = lag().remove(0);
    assert_eq!((&heard["subscriber"], &heard["subscription"]), (&json!("reader"), &json!("source.tick")));
    assert_eq!((&heard["journal"], &heard["behind"]), (&json!("source"), &json!(0)));
    assert_eq!(row(&swarm, "source")["slowest"]["behind"], json!(0));
    reader.kill9();
    source.terminate(DEADLINE).assert_code(0);

    let mut speaker = swarm.speaker("source");
    for _ in 0..12 {
        speaker.say("tick", r#"{"number":1}"#);
    }
    let heard = lag().remove(0);
    assert_eq!(
        (&heard["committed"], &heard["behind"], &heard["running"]),
        (&json!(17), &json!(12), &json!(false))
    );
    let slowest = json!({"subscriber": "reader", "subscription": "source.tick", "behind": 12});
    assert_eq!(row(&swarm, "source")["slowest"], slowest);
    assert!(swarm.run(&["ps"]).stdout.contains("reader source.tick"));
    assert!(swarm.run(&["lag"]).stdout.contains("source.tick"));
}

#[test]
fn what_a_model_keeps_for_a_restart_is_no_delay() {
    let swarm = Swarm::new();
    let mut speaker = swarm.speaker("source");
    for _ in 0..12 {
        speaker.say("tick", r#"{"number":1}"#);
    }
    let instance = swarm.state().join("totals");
    let writer = Writer::open(&instance, &Options::default()).unwrap();
    let cursors = Cursors::open(&instance, &writer).unwrap();
    for (name, next) in [("totals", 12), ("totals.replay", 5)] {
        cursors.claim(name, "source").unwrap().store(Position::at(Offset(next)));
    }
    let told = swarm.json(&["lag", "--json"]);
    let replays: Vec<_> = told.iter().map(|lag| (&lag["behind"], &lag["replay"])).collect();
    assert_eq!(replays, [(&json!(7), &json!(true)), (&json!(0), &json!(false))]);
    assert!(swarm.run(&["lag"]).stdout.contains("7 kept"));
    assert_eq!(row(&swarm, "source")["slowest"]["subscription"], json!("totals"));
}

#[test]
fn rates_are_counted_over_a_window() {
    let swarm = Swarm::new();
    let sample = swarm.ready_sample("sample", &["--every-ms", "2"]);
    let window = ["--window", "300ms", "--json"];
    let rates = swarm.json(&[&["hz", "sample/tick", "--once"], &window[..]].concat());
    let rate = rates[0]["records_per_second"].as_f64().unwrap();
    assert!(rate > 0.0, "{rates:?}");
    assert_eq!((&rates[0]["journal"], &rates[0]["topic"]), (&json!("sample"), &json!("tick")));
    let rates = swarm.json(&[&["hz", "sample/nothing", "--count", "2"], &window[..]].concat());
    assert_eq!(rates.len(), 2);
    assert_eq!(rates[1]["records"], json!(0));
    let shown = swarm.run(&["hz", "*/*", "--once", "--window", "100ms"]);
    assert!(shown.assert_code(0).stdout.starts_with("PROCESS  TOPIC  RECORDS/S\nsample   tick"), "{shown:?}");
    sample.terminate(DEADLINE).assert_code(0);
}

#[test]
fn output_that_nobody_takes_is_no_failure() {
    let swarm = Swarm::new();
    swarm.speaker("sample").say("x", "1");
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let closed = || std::io::pipe().unwrap().1;
    for (arguments, code) in [(&["ps"][..], 0), (&["health", "nobody"], 1), (&["ps", "nobody"], 1)] {
        let status = swarm.command(arguments).stdout(Stdio::null()).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}, standard error on a full disk");
        let status = swarm.command(arguments).stdout(Stdio::null()).stderr(closed()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}, standard error closed");
    }
    for arguments in [&["ps"][..], &["topics"], &["tail", "sample/x", "--until-end"], &["doctor"], &["man"]] {
        let status = swarm.command(arguments).stdout(closed()).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(0), "{arguments:?}, standard output closed");
        // What is lost is no success.
        let status = swarm.command(arguments).stdout(full()).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(1), "{arguments:?}, standard output on a full disk");
    }
}
