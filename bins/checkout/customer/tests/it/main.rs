//! Customers in a whole checkout without weight-check: what they do is the same in every run, whoever is killed.
#![expect(clippy::unwrap_used, reason = "a test whose preparations fail, fails")]

use std::collections::BTreeSet;
use std::fs;

use journal::{Item, Level, Reader, Start};
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use testkit::{DEADLINE, Home, Running, call, seeded, wait_until};

const SHOP: [&str; 5] = ["basket", "scanner", "scale", "bank", "payment"];

/// Event time is the script's; nobody is held back, and nobody waits long for a verdict that never comes.
const SETTINGS: &str = r#"
[basket]
event_clock = "lanes"
lanes = 3
[scanner]
event_clock = "lanes"
lanes = 3
events_per_second = 1000000
[scale]
event_clock = "lanes"
lanes = 3
events_per_second = 1000000
[payment]
verification_patience = "50ms"
"#;

struct Run {
    home: Home,
    running: Vec<Running>,
}

impl Run {
    fn start() -> Self {
        let home = Home::new();
        home.configure("procession.toml", SETTINGS);
        let mut run = Run { home, running: Vec::new() };
        SHOP.iter().for_each(|name| run.begin(name));
        run
    }

    fn begin(&mut self, name: &str) {
        self.running.push(Running::start(&self.home, name, &["run"]));
    }

    fn customers(&self) -> Running {
        let path = self.home.path().join("summary.json");
        let summary = path.to_str().unwrap();
        let flags = ["run", "--sessions", "45", "--lanes", "3", "--seed", "11", "--pace", "0s"];
        let more = ["--begin", "4000000000000000", "--summary", summary];
        Running::start(&self.home, "customer", &[&flags[..], &more].concat())
    }

    /// What the customers say that they have done; without what may differ from run to run.
    fn summary(&self) -> Value {
        let text = fs::read(self.home.path().join("summary.json")).unwrap();
        let mut summary: Value = serde_json::from_slice(&text).unwrap();
        summary["repeated"].take();
        for session in summary["each"].as_array_mut().unwrap() {
            session["repeated"].take();
            for field in ["at", "charge"] {
                session["receipt"][field].take();
            }
        }
        summary
    }

    /// What a process has said, as a set.
    fn said(&self, name: &str, topics: &[&str]) -> BTreeSet<String> {
        let folder = self.home.instance(name);
        let mut reader = Reader::open(&folder, Start::Beginning, Level::Committed).unwrap().unwrap();
        let mut said = BTreeSet::new();
        while let Some(item) = reader.next().unwrap() {
            let Item::Record(record) = item else { panic!("{item:?}") };
            if topics.contains(&record.topic) {
                let payload = String::from_utf8(record.payload.to_vec()).unwrap();
                assert!(said.insert(payload.clone()), "{name} has said this twice: {payload}");
            }
        }
        said
    }

    /// The end of the run: nobody has failed by itself.
    fn end(mut self) {
        for process in self.running.drain(..) {
            process.terminate(DEADLINE).assert_code(0);
        }
    }

    fn kill_one(&mut self, random: &mut StdRng) {
        let place = random.random_range(0..self.running.len());
        let process = self.running.remove(place);
        let name = process.name().to_owned();
        process.kill9();
        self.begin(&name);
    }
}

#[test]
fn kills_change_nothing_of_what_customers_do_and_pay() {
    let mut random = seeded("kills_change_nothing_of_what_customers_do_and_pay");
    let calm = Run::start();
    calm.customers().wait(DEADLINE).assert_code(0);

    let mut rough = Run::start();
    let mut customers = rough.customers();
    let done = |run: &Run| {
        let folder = run.home.instance("customer");
        let reader = Reader::open(&folder, Start::Beginning, Level::Committed).unwrap();
        reader.map_or(0, |mut reader| std::iter::from_fn(|| reader.next().unwrap().map(drop)).count())
    };
    for round in 1..=8 {
        wait_until(DEADLINE, "some customers are done", || done(&rough) >= round * 5);
        if round % 4 == 0 {
            customers.kill9();
            customers = rough.customers();
        } else {
            rough.kill_one(&mut random);
        }
    }
    customers.wait(DEADLINE).assert_code(0);

    let (expected, summary) = (calm.summary(), rough.summary());
    assert_eq!(expected["sessions"], 45);
    assert_eq!(expected["paid"], 45, "{expected}");
    assert_eq!(summary, expected);
    for session in expected["each"].as_array().unwrap() {
        assert_eq!(session["receipt"]["total_cents"], session["total_cents"]);
    }
    for (name, topics) in [
        (
            "basket",
            &["session-started", "item-added", "item-removed", "basket-closed", "basket-reopened"][..],
        ),
        ("scale", &["weight-changed"]),
        ("scanner", &["item-scanned"]),
    ] {
        assert_eq!(rough.said(name, topics), calm.said(name, topics), "{name}");
    }
    calm.end();
    rough.end();
}

#[test]
fn a_script_that_begins_too_early_is_refused() {
    let home = Home::new();
    let refused = home.run("customer", &["run", "--begin", "1"]);
    refused.assert_code(1).assert_says(&["begin = 1 is too early", "a day ahead"]);
}

#[test]
fn customers_whom_nobody_answers_say_so() {
    let home = Home::new();
    let mut customer = Running::start(&home, "customer", &["run"]);
    customer.wait_for_log(DEADLINE, "ready");
    let health = || call(&home.socket("customer"), "io.procession.Process.Health", &json!({})).unwrap();
    wait_until(DEADLINE, "they wait", || health()["waiting"] != json!([]));
    let reason = health()["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("customers get no answer from io.procession.checkout."), "{reason}");
    customer.kill9();
}
