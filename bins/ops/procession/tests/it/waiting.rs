//! A process that runs and can't do its work says so, everywhere where anybody looks; and isn't restarted for it.

use std::fs;
use std::os::unix::net::UnixDatagram;

use serde_json::{Value, json};
use testkit::{DEADLINE, wait_until};

use crate::support::{Swarm, json_lines};

fn row(swarm: &Swarm) -> Value {
    swarm.json(&["ps", "sample", "--json"]).remove(0)
}

#[test]
fn who_waits_is_shown_as_waiting_and_is_healthy_afterwards() {
    let swarm = Swarm::new();
    let sample = swarm.ready_sample("sample", &["--waits-for", "key"]);

    let shown = row(&swarm);
    assert_eq!(shown["state"], json!("waiting"));
    assert!(shown["reason"].as_str().unwrap().starts_with("there is no key (since 20"), "{shown}");
    let ended = swarm.run(&["ps"]);
    assert!(ended.assert_code(0).stderr.contains("sample is waiting: there is no key"), "{ended:?}");

    let ended = swarm.run(&["health", "sample"]);
    assert!(ended.assert_code(75).stdout.starts_with("sample: waiting: there is no key (since"), "{ended:?}");
    let said = json_lines(&swarm.run(&["health", "sample", "--json"]).assert_code(75).stdout).remove(0);
    assert_eq!((&said["ready"], &said["healthy"]), (&json!(true), &json!(false)));
    assert_eq!(
        (&said["reason"], &said["waiting"][0]["reason"]),
        (&json!("there is no key"), &json!("there is no key"))
    );
    // A supervisor restarts what fails: this doesn't.
    swarm.run(&["health", "sample", "--probe"]).assert_code(0);
    let ended = swarm.run(&["doctor"]);
    assert!(
        ended.assert_code(1).stdout.contains("fail  processes: sample waits: there is no key"),
        "{ended:?}"
    );
    let status = swarm.json(&["call", "sample", "Status", "--json"]).remove(0);
    assert_eq!((&status["state"], status["waiting"].as_array().unwrap().len()), (&json!("ready"), 1));

    fs::write(swarm.path().join("key"), "").unwrap();
    wait_until(DEADLINE, "it goes on", || row(&swarm)["state"] == json!("ready"));
    swarm.run(&["health", "sample"]).assert_code(0);
    swarm.run(&["doctor"]).assert_code(0);
    assert_eq!(swarm.json(&["call", "sample", "Status", "--json"])[0]["waiting"], json!([]));
    sample.terminate(DEADLINE).assert_code(0);
}

#[test]
fn of_several_instances_the_worst_counts() {
    let swarm = Swarm::new();
    let well = swarm.ready_sample("worker@1", &[]);
    let waits = swarm.ready_sample("worker@2", &["--waits-for", "key"]);
    swarm.run(&["health", "worker"]).assert_code(75);
    swarm.run(&["health", "worker", "--probe"]).assert_code(0);
    let hung = swarm.sample(&["--instance", "worker@3", "--hang", "--waits-for", "Cargo.toml"]);
    wait_until(DEADLINE, "the third is there", || swarm.socket("worker@3").exists());
    hung.kill9();
    swarm.run(&["health", "worker", "--probe"]).assert_code(1);
    well.terminate(DEADLINE).assert_code(0);
    waits.terminate(DEADLINE).assert_code(0);
}

#[test]
fn the_service_manager_is_told_why_and_when_it_is_over() {
    let swarm = Swarm::new();
    let path = swarm.path().join("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let hear = || {
        let mut buffer = [0; 2048];
        let length = manager.recv(&mut buffer).expect("a message before the deadline");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let sample = swarm.sample_under(&path, &["--waits-for", "key"]);
    let said = hear();
    assert!(
        said.starts_with("READY=1\nSTATUS=waiting since 20") && said.contains("there is no key"),
        "{said}"
    );
    fs::write(swarm.path().join("key"), "").unwrap();
    // The condition began as it became ready: that may have been said twice.
    while hear().trim() != "STATUS=ready" {}
    sample.terminate(DEADLINE).assert_code(0);
    assert!(hear().starts_with("STOPPING=1\n"));
}

#[test]
fn what_a_process_died_of_is_told_when_it_is_down_and_in_its_next_life_only() {
    let swarm = Swarm::new();
    let failed = swarm.sample(&["--fails"]).wait(DEADLINE);
    assert!(failed.assert_code(1).stderr.contains("it is bent"), "{failed:?}");
    assert!(row(&swarm)["last_death"]["reason"].as_str().unwrap().contains("it is bent"), "{}", row(&swarm));
    assert!(swarm.run(&["health", "sample"]).assert_code(1).stdout.contains("it is bent"));

    let sample = swarm.ready_sample("sample", &[]);
    let died = "sample died at 20";
    let ended = swarm.run(&["ps"]);
    assert!(
        ended.stderr.contains(died) && ended.stderr.contains("the key cannot be decoded: it is bent"),
        "{ended:?}"
    );
    assert!(swarm.run(&["health", "sample"]).assert_code(0).stdout.contains(died));
    assert!(swarm.run(&["doctor"]).assert_code(0).stdout.contains(&format!("warn  processes: {died}")));
    sample.kill9();

    // Killed: nobody knows why, and the older note is not about this.
    assert_eq!(row(&swarm)["last_death"], json!(null));
    let sample = swarm.ready_sample("sample", &[]);
    assert_eq!(row(&swarm)["last_death"], json!(null));
    sample.terminate(DEADLINE).assert_code(0);
}

#[test]
fn what_keeps_a_process_from_its_journal_is_told_too() {
    let swarm = Swarm::new();
    swarm.configure("sample.toml", "[process.journal]\nsegment_bytes = \"5000 B\"\n");
    let refused = swarm.sample(&[]).wait(DEADLINE);
    assert!(refused.stderr.contains("segment size 5000"), "{refused:?}");
    let reason = |row: &Value| row["last_death"]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason(&row(&swarm)).contains("segment size 5000"), "{}", row(&swarm));
    swarm.configure("sample.toml", "");
    let sample = swarm.ready_sample("sample", &[]);
    assert!(reason(&row(&swarm)).contains("segment size 5000"), "{}", row(&swarm));
    // Whoever finds it alive leaves nothing there.
    swarm.sample(&[]).wait(DEADLINE).assert_code(1);
    sample.kill9();
    assert_eq!(row(&swarm)["last_death"], json!(null));
}

#[test]
fn a_publisher_at_its_limit_waits_until_its_reader_goes_on() {
    let swarm = Swarm::new();
    swarm.configure(
        "procession.toml",
        "[process.journal]\nsegment_bytes = \"64 KiB\"\nkeep_bytes = \"128 KiB\"\nmax_bytes = \"256 KiB\"\nwhen_full = \"wait\"\n",
    );
    let source = swarm.ready_sample("source", &["--every-ms", "1", "--ticks", "1500", "--patient"]);
    let reader = swarm.ready_sample("reader", &["--hears", "source", "--holds"]);
    let state = || swarm.json(&["ps", "source", "--json"]).remove(0);
    wait_until(DEADLINE, "the publisher has no room", || state()["state"] == json!("waiting"));
    assert!(state()["reason"].as_str().unwrap().contains("no room"), "{}", state());
    reader.kill9();
    let reader = swarm.ready_sample("reader", &["--hears", "source"]);
    wait_until(DEADLINE, "it speaks again", || state()["state"] == json!("ready"));
    source.terminate(DEADLINE).assert_code(0);
    reader.kill9();
}

#[test]
fn who_hears_only_processes_that_have_never_run_says_so() {
    let swarm = Swarm::new();
    let reader = swarm.ready_sample("sample", &["--hears", "sorce"]);
    wait_until(DEADLINE, "it waits", || row(&swarm)["state"] == json!("waiting"));
    let reason = row(&swarm)["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains("subscription sorce.tick has nothing to hear: sorce has never run here"),
        "{reason}"
    );
    let source = swarm.ready_sample("sorce", &["--ticks", "1"]);
    wait_until(DEADLINE, "it hears", || row(&swarm)["state"] == json!("ready"));
    // One that has run is heard, also while it is down.
    source.kill9();
    swarm.run(&["health", "sample"]).assert_code(0);
    reader.terminate(DEADLINE).assert_code(0);
}
