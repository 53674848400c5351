//! weight-check as a process: what it says and answers, in whatever order things come and however often it is killed.
#![expect(clippy::unwrap_used, reason = "a test whose preparations fail, fails")]

mod guide;

use journal::{Codec, Entry, Item, Level, Options, Reader, Start, Writer};
use serde_json::{Value, json};
use testkit::{DEADLINE, Home, Running, call, wait_until};

/// Seconds of event time, in an hour long ago.
fn at(second: i64) -> String {
    (1_500_000_000_000_000 + second * 1_000_000).to_string()
}

/// A journal like the basket's or the scale's.
struct Source {
    writer: Writer,
    session: &'static str,
}

impl Source {
    fn new(home: &Home, name: &str, session: &'static str) -> Self {
        let options = Options { segment_bytes: 1 << 20, ..Options::default() };
        Source { writer: Writer::open(&home.instance(name), &options).unwrap(), session }
    }

    fn says(&mut self, topic: &str, payload: &Value) {
        let key = payload["session"].as_str().map(str::as_bytes);
        let payload = payload.to_string();
        let entry = Entry { topic, key, cause: None, codec: Codec::Json, payload: payload.as_bytes() };
        self.writer.append(&entry).unwrap();
    }

    fn added(&mut self, second: i64, line: u32, grams: i64) {
        let session = self.session;
        self.says(
            "item-added",
            &json!({"session": session, "at": at(second), "line": line, "product": "milk", "name": "Milk",
                "price_cents": 129, "grams": grams, "request": line.to_string()}),
        );
    }

    fn closed(&mut self, second: i64, grams: i64) {
        let session = self.session;
        self.says(
            "basket-closed",
            &json!({"session": session, "at": at(second), "total_cents": 129, "items": 1, "grams": grams,
                "request": "close"}),
        );
    }

    fn weighed(&mut self, second: i64, grams: i64) {
        let session = self.session;
        self.says(
            "weight-changed",
            &json!({"session": session, "lane": 1, "at": at(second), "grams": grams, "request": second.to_string()}),
        );
    }

    fn promises(&mut self, second: i64) {
        self.says("_heartbeat", &json!({"at": at(second)}));
    }
}

fn shop(home: &Home) -> (Source, Source) {
    (Source::new(home, "basket", "1-1"), Source::new(home, "scale", "1-1"))
}

fn start(home: &Home) -> Running {
    Running::start(home, "weight-check", &["run"])
}

/// What it answers; null while it doesn't.
fn verdict(home: &Home, session: &str) -> Value {
    let asked = json!({"session": session});
    call(&home.socket("weight-check"), "io.procession.checkout.WeightCheck.Verdict", &asked)
        .unwrap_or_default()
}

/// What it has said: topic and payload.
fn said(home: &Home) -> Vec<(String, Value)> {
    let reader = Reader::open(&home.instance("weight-check"), Start::Beginning, Level::Committed).unwrap();
    let mut said = Vec::new();
    let Some(mut reader) = reader else { return said };
    while let Some(item) = reader.next().unwrap() {
        let Item::Record(record) = item else { panic!("{item:?}") };
        if record.topic != "_final" {
            said.push((record.topic.to_owned(), serde_json::from_slice(record.payload).unwrap()));
        }
    }
    said
}

fn topics(home: &Home) -> Vec<String> {
    said(home).into_iter().map(|(topic, _)| topic).collect()
}

#[test]
fn a_mismatch_for_want_of_an_event_is_withdrawn_when_that_comes() {
    let home = Home::new();
    let (mut basket, mut scale) = shop(&home);
    basket.added(1, 1, 1050);
    scale.weighed(2, 1050);
    // The basket's event about what lies on the scale now comes later.
    scale.weighed(4, 1550);
    let running = start(&home);
    wait_until(DEADLINE, "a mismatch is said", || topics(&home) == ["weight-ok", "mismatch"]);
    assert_eq!(verdict(&home, "1-1")["judgement"], "mismatch");
    basket.added(3, 2, 500);
    // That the two agree since second 2 was said.
    wait_until(DEADLINE, "it is withdrawn", || said(&home).len() == 4);
    assert_eq!(topics(&home)[2..], ["_retract", "mismatch-withdrawn"]);
    let (_, mismatch) = &said(&home)[1];
    assert_eq!((&mismatch["expected_grams"], &mismatch["measured_grams"]), (&json!(1050), &json!(1550)));
    let (_, withdrawn) = &said(&home)[3];
    assert_eq!(withdrawn["_said"]["compensates"], mismatch["_said"]["id"]);
    wait_until(DEADLINE, "the answer is another one", || verdict(&home, "1-1")["judgement"] == "ok");
    running.terminate(DEADLINE).assert_code(0);
}

#[test]
fn a_verdict_is_final_once_both_have_promised_and_stays_so_after_a_kill() {
    let home = Home::new();
    let (mut basket, mut scale) = shop(&home);
    basket.added(1, 1, 1050);
    scale.weighed(2, 900);
    basket.closed(5, 1050);
    let running = start(&home);
    wait_until(DEADLINE, "a mismatch is said", || topics(&home) == ["mismatch"]);
    basket.promises(60);
    scale.promises(50);
    let final_at = |second| move |verdict: Value| verdict["final"] == json!(at(second));
    wait_until(DEADLINE, "final follows the slower one", || final_at(49)(verdict(&home, "1-1")));
    let before = verdict(&home, "1-1");
    assert_eq!(before["judgement"], "mismatch");
    running.kill9();

    let running = start(&home);
    wait_until(DEADLINE, "it is where it was", || verdict(&home, "1-1") == before);
    // The customer puts the missing piece in.
    scale.weighed(51, 1050);
    wait_until(DEADLINE, "the two agree", || verdict(&home, "1-1")["judgement"] == "ok");
    assert_eq!(topics(&home), ["mismatch", "weight-ok"], "nothing is said twice");
    running.terminate(DEADLINE).assert_code(0);
}

#[test]
fn what_comes_too_late_is_named_and_changes_nothing() {
    let home = Home::new();
    let (mut basket, mut scale) = shop(&home);
    basket.added(1, 1, 1050);
    scale.weighed(2, 1050);
    basket.promises(60);
    scale.promises(60);
    let running = start(&home);
    wait_until(DEADLINE, "it is final", || verdict(&home, "1-1")["final"] == json!(at(59)));
    // A device that breaks its promise.
    scale.weighed(3, 4711);
    wait_until(DEADLINE, "it is named", || topics(&home) == ["weight-ok", "_late"]);
    assert_eq!(said(&home)[1].1["journal"], "scale");
    assert_eq!(verdict(&home, "1-1")["judgement"], "ok");
    running.terminate(DEADLINE).assert_code(0);
}

#[test]
fn a_session_that_has_ended_is_forgotten() {
    let home = Home::new();
    let (mut basket, mut scale) = shop(&home);
    basket.added(1, 1, 1050);
    scale.weighed(2, 1050);
    basket.says("session-ended", &json!({"session": "1-1", "at": at(100)}));
    let running = start(&home);
    wait_until(DEADLINE, "it is judged", || verdict(&home, "1-1")["judgement"] == "ok");
    basket.promises(200);
    scale.promises(200);
    wait_until(DEADLINE, "it is forgotten", || verdict(&home, "1-1")["judgement"] == "none");
    running.terminate(DEADLINE).assert_code(0);
}

#[test]
fn what_cannot_be_read_is_parked_and_stops_nobody() {
    let home = Home::new();
    let (mut basket, mut scale) = shop(&home);
    scale.says("weight-changed", &json!({"session": "1-1", "grams": "much"}));
    scale.says("weight-changed", &json!([1, 2]));
    basket.added(1, 1, 1050);
    scale.weighed(2, 1050);
    let running = start(&home);
    wait_until(DEADLINE, "all is dealt with", || topics(&home).len() == 3);
    let said = said(&home);
    let letters: Vec<&Value> =
        said.iter().filter(|(topic, _)| topic == "_dead-letter").map(|(_, letter)| letter).collect();
    assert_eq!(letters.len(), 2, "{said:?}");
    assert!(letters.iter().all(|letter| letter["journal"] == "scale"), "{letters:?}");
    assert!(said.iter().any(|(topic, _)| topic == "weight-ok"), "{said:?}");
    running.terminate(DEADLINE).assert_code(0);
}

#[test]
fn nobody_and_nonsense_get_a_clear_answer() {
    let home = Home::new();
    let mut running = start(&home);
    running.wait_for_log(DEADLINE, "ready");
    let nobody = verdict(&home, "9-999999");
    assert_eq!(
        nobody,
        json!({"judgement": "none", "at": null, "expected_grams": 0, "measured_grams": 0, "final": null})
    );
    for bad in [json!({"session": "a b"}), json!({"session": ""}), json!({"session": "x".repeat(65)})] {
        let refused = call(&home.socket("weight-check"), "io.procession.checkout.WeightCheck.Verdict", &bad);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("WeightCheck.InvalidValue") && refused.contains("session"), "{refused}");
    }
    running.terminate(DEADLINE).assert_code(0);
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let home = Home::new();
    home.configure("weight-check.toml", "tolerance_grams = -1\n");
    home.run("weight-check", &["run"]).assert_code(78).assert_says(&["weight-check.toml", "tolerance_grams"]);
    home.configure("weight-check.toml", "snapshot_after = 0\n");
    home.run("weight-check", &["run"]).assert_code(78).assert_says(&["weight-check.toml", "snapshot_after"]);
}
