//! A chain of three models in processes of their own, killed at random while they hear events out of order and twice:
//! what they hold to be true in the end is what one run in order gives.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use journal::{Item, Level, Reader, Start};
use procession::Event as _;
use procession::ordering::{Derivation, EventTime, Final, Late, Retract, Said};
use rand::RngExt as _;
use rand::rngs::StdRng;
use testkit::{DEADLINE, Home, Running, seeded};

#[path = "../../examples/models/rules.rs"]
mod rules;

use rules::{Note, end, in_order, note};

const SOURCES: [&str; 2] = ["models@even", "models@odd"];
const MODELS: [&str; 3] = ["models@first", "models@second", "models@third"];

/// Set to a number of seconds for a long run.
const LONG: &str = "PROCESSION_TEST_MODELS_SECONDS";

fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples/models");
    assert!(path.is_file(), "{} is missing: cargo build -p testkit --examples", path.display());
    path
}

/// The chain, and how its processes are started.
struct Chain {
    home: Home,
    seed: u32,
    count: u64,
    faults: Vec<String>,
    running: BTreeMap<&'static str, Running>,
}

impl Chain {
    fn start(&mut self, name: &'static str) {
        let (seed, count) = (self.seed.to_string(), self.count.to_string());
        let mut arguments = vec!["run", "--instance", name, "--seed", &seed, "--count", &count];
        arguments.extend(["--subscription-max-attempts", "1000000"]);
        arguments.extend(self.faults.iter().map(String::as_str));
        let command = self.home.command_at(&program(), &arguments);
        self.running.insert(name, Running::spawn(&self.home, name, command));
    }

    fn kill(&mut self, name: &'static str) {
        let mut running = self.running.remove(name).unwrap();
        assert!(running.is_alive(), "{name} ended by itself: {}", running.stderr());
        running.kill9();
        self.start(name);
    }

    /// What a model holds to be true, how far it is final, and how often it has changed its mind.
    fn truth(&self, name: &str) -> Truth {
        let mut truth = Truth::default();
        let reader = Reader::open(&self.home.instance(name), Start::Beginning, Level::Committed).unwrap();
        let Some(mut reader) = reader else { return truth };
        let mut asserted = BTreeMap::<Derivation, (u32, Note)>::new();
        while let Some(item) = reader.next().unwrap() {
            let Item::Record(record) = item else { panic!("{item:?}") };
            match record.topic {
                Note::TOPIC => {
                    let said = Said::of(record.payload).unwrap().unwrap();
                    let note: Note = serde_json::from_slice(record.payload).unwrap();
                    assert!(said.at >= truth.settled, "asserted after it was final: {said:?}");
                    let before = asserted.insert(said.id, (said.revision, note));
                    assert!(before.is_none(), "asserted twice: {said:?}");
                }
                Retract::TOPIC => {
                    let retract: Retract = serde_json::from_slice(record.payload).unwrap();
                    assert!(retract.at >= truth.settled, "retracted after it was final: {retract:?}");
                    let (revision, _) = asserted.remove(&retract.id).unwrap();
                    assert_eq!(revision, retract.revision);
                    truth.retracts += 1;
                }
                Final::TOPIC => {
                    let Final { at } = serde_json::from_slice(record.payload).unwrap();
                    truth.settled = at;
                }
                Late::TOPIC => truth.late += 1,
                _ => {}
            }
        }
        truth.holds = asserted.into_values().map(|(_, note)| note).collect();
        truth.holds.sort();
        truth
    }

    /// Kills somebody now and then until so many kills are over, then waits for the end.
    fn torture(&mut self, random: &mut StdRng, kills: u32, pause: Duration) {
        for _ in 0..kills {
            let names: Vec<&'static str> = self.running.keys().copied().collect();
            let name = names[random.random_range(0..names.len())];
            std::thread::park_timeout(pause.mul_f64(random.random_range(0.0..2.0)));
            self.kill(name);
        }
        let last = end(self.count).minus(rules::LATENESS * 3);
        for name in MODELS {
            self.wait_for_final(name, last);
        }
    }

    /// Waits until a model is final that far; it must not stand still for long.
    fn wait_for_final(&mut self, name: &str, last: EventTime) {
        let reader = Reader::open(&self.home.instance(name), Start::Beginning, Level::Committed).unwrap();
        let mut reader = reader.expect("it has spoken");
        let (mut settled, mut moved) = (EventTime::MIN, Instant::now());
        while settled < last {
            match reader.next().unwrap() {
                Some(Item::Record(record)) if record.topic == Final::TOPIC => {
                    settled = serde_json::from_slice::<Final>(record.payload).unwrap().at;
                    moved = Instant::now();
                }
                Some(_) => {}
                None => {
                    for (name, running) in &mut self.running {
                        assert!(running.is_alive(), "{name} ended by itself: {}", running.stderr());
                    }
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            }
            assert!(moved.elapsed() < DEADLINE, "{name} is final up to {settled} only: {:?}", self.logs());
        }
    }

    fn logs(&self) -> Vec<String> {
        self.running.values().map(Running::stderr).collect()
    }

    fn check(&self) {
        let said = |source| (0..self.count).map(move |number| note(self.seed.into(), source, number));
        let mut notes: Vec<Note> = said(0).chain(said(1)).collect();
        let truths = MODELS.map(|name| self.truth(name));
        for (name, truth) in MODELS.iter().zip(&truths) {
            println!("{name}: {truth}");
        }
        notes = in_order::<1>(notes);
        assert!(truths[0].holds == notes, "the first model");
        notes = in_order::<2>(notes);
        assert!(truths[1].holds == notes, "the second model");
        notes.extend(said(1));
        assert!(truths[2].holds == in_order::<3>(notes), "the third model");
        assert!(truths[0].retracts > 0, "nothing came out of order: this shows nothing");
        assert_eq!(truths.map(|truth| truth.late), [0; 3], "everything came in time");
    }
}

#[derive(Debug)]
struct Truth {
    holds: Vec<Note>,
    settled: EventTime,
    retracts: u64,
    late: u64,
}

impl std::fmt::Display for Truth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { holds, settled, retracts, late } = self;
        write!(f, "holds {} conclusions, took back {retracts}, {late} late, final {settled}", holds.len())
    }
}

impl Default for Truth {
    fn default() -> Self {
        Self { holds: Vec::new(), settled: EventTime::MIN, retracts: 0, late: 0 }
    }
}

fn run(name: &str, faults: &[&str], kills: u32) {
    let mut random = seeded(name);
    let mut chain = Chain {
        home: Home::in_memory(),
        seed: random.random(),
        count: 300 + u64::from(kills) * 30,
        faults: faults.iter().map(|flag| (*flag).to_owned()).collect(),
        running: BTreeMap::new(),
    };
    for name in SOURCES.into_iter().chain(MODELS) {
        chain.start(name);
    }
    chain.torture(&mut random, kills, Duration::from_millis(40));
    chain.check();
}

/// The short form, or as many kills as fit in the time that was asked for.
fn kills() -> u32 {
    let seconds = std::env::var(LONG).ok().map(|text| text.parse::<u32>().expect("a number of seconds"));
    seconds.map_or(25, |seconds| seconds * 20)
}

#[test]
fn a_chain_of_models_killed_at_random_holds_what_one_run_in_order_gives() {
    run("models", &[], kills());
}

#[test]
fn and_so_it_does_if_deliveries_come_out_of_order_and_twice() {
    let faults = [
        "--subscription-faults-reorder-one-in",
        "10",
        "--subscription-faults-duplicate-one-in",
        "10",
        "--subscription-faults-delay-one-in",
        "10",
        "--subscription-faults-delay-max",
        "20ms",
        "--subscription-faults-redeliver-one-in",
        "20",
    ];
    run("models with faults", &faults, kills());
}
