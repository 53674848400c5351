//! Who says things when there is room for them waits as long as there is none, and ends when told to.

use std::process::Stdio;

use journal::{Cursors, Options, Position, Writer};
use rustix::process::Signal;

use crate::keyed::{say, source};
use crate::records::{self, read_on, said_by};
use crate::sample::{Home, Running, program};
use crate::swarm::wait_until;

const CRAMPED: [&str; 8] = [
    "--journal-segment-bytes",
    "16KiB",
    "--journal-max-bytes",
    "32KiB",
    "--journal-when-full",
    "wait",
    "--subscription-max-attempts",
    "1",
];

/// A subscriber to `patient` that holds back all that it has not read.
struct Slow {
    cursors: std::sync::Arc<Cursors>,
    _writer: Writer,
}

impl Slow {
    fn new(home: &Home) -> Self {
        let folder = home.instance("slow");
        std::fs::create_dir_all(&folder).unwrap();
        let writer = Writer::open(&folder, &Options::default()).unwrap();
        let cursors = Cursors::open(&folder, &writer).unwrap();
        cursors.claim("l", "patient").unwrap().store(Position::default());
        Self { cursors, _writer: writer }
    }

    /// Reads all numbers until so many are there.
    fn read(&self, home: &Home, count: usize) -> Vec<u64> {
        let cursor = self.cursors.claim("l", "patient").unwrap();
        let mut reader = records::open(home, "patient").unwrap();
        let mut numbers = Vec::new();
        wait_until("all is said", || {
            for said in read_on(&mut reader) {
                assert_eq!(said.topic, "counted");
                numbers.push(said.json()["number"].as_u64().unwrap());
            }
            cursor.store(reader.position());
            numbers.len() >= count
        });
        numbers
    }
}

fn start(home: &Home, arguments: &[&str]) -> Running {
    let arguments = [&["run"], &CRAMPED[..], arguments].concat();
    Running::start(home.command_of(&program("patient"), &arguments).stdout(Stdio::null()))
}

#[test]
fn who_waits_for_room_says_everything_once_and_in_order() {
    for way in [&[][..], &["--impatient"], &["--journal-sync", "always"]] {
        let home = Home::new();
        let slow = Slow::new(&home);
        let mut patient = start(&home, &[&["--count", "300"], way].concat());
        patient.wait_for("no room");
        assert!(!patient.has_ended() && said_by(&home, "patient", "counted").len() < 300);
        assert_eq!(slow.read(&home, 300), (0..300).collect::<Vec<_>>(), "{way:?}");
        wait_until("it has said all", || patient.has_ended());
    }
}

#[test]
fn who_answers_when_there_is_room_acknowledges_with_it() {
    for way in [&[][..], &["--impatient"]] {
        let home = Home::new();
        say(&mut source(&home), 0..200, |number| format!("key-{number}"));
        let slow = Slow::new(&home);
        let mut patient = start(&home, &[&["--answers"], way].concat());
        patient.wait_for("no room");
        let done = said_by(&home, "patient", "counted").len();
        assert!(!patient.has_ended() && done < 200);
        assert_eq!(slow.read(&home, 200), (0..200).collect::<Vec<_>>(), "{way:?}");
        drop(patient);
        assert_eq!(said_by(&home, "patient", "_dead-letter").len(), 0);
    }
}

#[test]
fn a_stop_ends_the_wait_for_room() {
    let home = Home::new();
    let _slow = Slow::new(&home);
    let mut patient = start(&home, &["--count", "300"]);
    patient.wait_for("no room");
    patient.signal(Signal::TERM);
    wait_until("it has ended", || patient.has_ended());
}
