//! What is asserted and taken back, in `procession tail` and `procession explain`; and dead letters.

use journal::{Cause, Codec, Entry, Offset, Options, Writer};
use serde_json::json;

use crate::support::Swarm;

const ID: &str = "5d0a17c3000000000000000000000001";

struct Journal(Writer);

impl Journal {
    fn of(swarm: &Swarm, instance: &str) -> Self {
        let options = Options { segment_bytes: 64 << 10, ..Options::default() };
        Self(Writer::open(&swarm.instance(instance), &options).unwrap())
    }

    fn say(&mut self, topic: &str, cause: Option<(&str, u64)>, payload: &serde_json::Value) {
        let cause = cause.map(|(journal, offset)| Cause { journal, offset: Offset(offset) });
        let (payload, key, codec) = (payload.to_string(), Some(&b"3-000017"[..]), Codec::Json);
        self.0.append(&Entry { topic, key, cause, codec, payload: payload.as_bytes() }).unwrap();
    }
}

/// A scale says a weight, a basket an item too late for it; weight-check has said what it has to take back.
fn corrected() -> Swarm {
    let swarm = Swarm::new();
    let second = |number: u64| (1_767_225_600_000_000 + number * 1_000_000).to_string();
    Journal::of(&swarm, "scanner").say("item-scanned", None, &json!({"code": "4001"}));
    Journal::of(&swarm, "scale").say("weight-changed", None, &json!({"grams": 740, "at": second(2)}));
    Journal::of(&swarm, "basket").say(
        "item-added",
        Some(("scanner", 0)),
        &json!({"name": "melon", "at": second(1)}),
    );
    let mut check = Journal::of(&swarm, "weight-check");
    let said = |revision: u64| json!({"id": ID, "revision": revision, "at": second(2), "turn": 0});
    check.say("weight-ok", None, &json!({"grams": 500}));
    check.say("mismatch", Some(("scale", 0)), &json!({"measured": 740, "_said": said(1)}));
    let retract = json!({"id": ID, "revision": 1, "at": second(2), "topic": "mismatch"});
    check.say("_retract", Some(("basket", 0)), &retract);
    let made_good = json!({"_said": {"compensates": ID, "revision": 1, "at": second(2)}});
    check.say("mismatch-withdrawn", Some(("basket", 0)), &made_good);
    check.say("_final", None, &json!({"at": second(2)}));
    check.say("_final", None, &json!({"at": second(5)}));
    swarm
}

/// Lines without record times, which are of the moment.
fn without_times(text: &str) -> Vec<String> {
    let strip = |line: &str| match line.rsplit_once(", 2") {
        Some((before, time)) if time.ends_with('Z') => before.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(strip).collect()
}

#[test]
fn tail_says_plainly_what_is_said_and_taken_back() {
    let swarm = corrected();
    let patterns = ["weight-check/*", "weight-check/_retract", "weight-check/_final"];
    let ended = swarm.run(&[&["tail", "--until-end"], &patterns[..]].concat());
    let lines: Vec<_> =
        ended.assert_code(0).stdout.lines().map(|line| line.split_once("Z  ").unwrap().1).collect();
    let expected = [
        r#"weight-check/weight-ok  0  3-000017  {"grams":500}"#,
        r#"weight-check/mismatch  1  3-000017  {"measured":740}  assert 5d0a17…000001 r1 at 2026-01-01T00:00:02.000000Z"#,
        "weight-check/_retract  2  3-000017  retract 5d0a17…000001 r1: mismatch at 2026-01-01T00:00:02.000000Z does not hold",
        "weight-check/mismatch-withdrawn  3  3-000017  {}  compensates 5d0a17…000001 r1 at 2026-01-01T00:00:02.000000Z",
        "weight-check/_final  4  3-000017  final: nothing before 2026-01-01T00:00:02.000000Z changes any more",
        "weight-check/_final  5  3-000017  final: nothing before 2026-01-01T00:00:05.000000Z changes any more",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn explain_tells_why_it_was_said_and_why_it_was_taken_back() {
    let swarm = corrected();
    let ended = swarm.run(&["explain", "weight-check", "1"]);
    let expected = [
        r#"> said: weight-check/mismatch 1 [3-000017] {"measured":740}, assert 5d0a17…000001 r1 at 2026-01-01T00:00:02.000000Z"#,
        r#"    because of scale/weight-changed 0 [3-000017] {"at":"1767225602000000","grams":740}"#,
        "  taken back: weight-check/_retract 2 [3-000017] retract 5d0a17…000001 r1: mismatch at 2026-01-01T00:00:02.000000Z does not hold",
        r#"    because of basket/item-added 0 [3-000017] {"at":"1767225601000000","name":"melon"}"#,
        r#"      because of scanner/item-scanned 0 [3-000017] {"code":"4001"}"#,
        "  made good: weight-check/mismatch-withdrawn 3 [3-000017] {}, compensates 5d0a17…000001 r1 at 2026-01-01T00:00:02.000000Z",
        "    because of basket 0 (shown above)",
        "  it does not hold, and that is final since offset 5",
    ];
    assert_eq!(without_times(&ended.assert_code(0).stdout), expected);
    // From any record of the conclusion; and its causes for one that is none.
    assert!(swarm.run(&["explain", "weight-check", "2"]).stdout.contains("> taken back:"));
    let ended = swarm.run(&["explain", "basket", "0"]);
    assert_eq!(
        without_times(&ended.assert_code(0).stdout)[1],
        r#"because of scanner/item-scanned 0 [3-000017] {"code":"4001"}"#
    );
    let explained = &swarm.json(&["explain", "weight-check", "3", "--json"])[0];
    assert_eq!(explained["conclusion"]["holds"], json!(null));
    assert_eq!(explained["conclusion"]["final_since"], 5);
    assert_eq!(explained["conclusion"]["sayings"][1]["kind"], "retract");
    assert_eq!(explained["record"]["cause"]["record"]["cause"]["record"]["topic"], "item-scanned");
}

#[test]
fn explain_says_what_it_cannot_find() {
    let swarm = corrected();
    std::fs::remove_dir_all(swarm.instance("scanner")).unwrap();
    let ended = swarm.run(&["explain", "basket", "0"]);
    assert_eq!(
        ended.assert_code(0).stdout.lines().last(),
        Some("because of scanner 0 (there is no such journal here)")
    );
    swarm.run(&["explain", "basket", "7"]).assert_code(1).assert_says(&["`basket` has no record 7", "try: "]);
    swarm.run(&["explain", "nobody", "7"]).assert_code(1).assert_says(&["`nobody`", "never run"]);
    swarm.run(&["explain", "basket"]).assert_code(2);
    swarm.run(&["explain", "basket", "-1"]).assert_code(2);
}

#[test]
fn dead_letters_are_listed_until_somebody_has_decided() {
    let swarm = Swarm::new();
    let letter = |offset: u64, reason: &str| {
        json!({"subscription": "sorted", "journal": "source", "offset": offset, "topic": "count", "key": "a",
            "attempts": 5, "reason": reason, "payload": {"number": offset}})
    };
    let mut sorter = Journal::of(&swarm, "sorter");
    sorter.say("_dead-letter", Some(("source", 7)), &letter(7, "told so"));
    sorter.say("_dead-letter", Some(("source", 9)), &letter(9, "told so, too"));
    sorter.say("_dead-letter-settled", None, &json!({"letter": 0, "outcome": "dropped"}));
    let listed = swarm.run(&["dead-letters", "list"]);
    let lines: Vec<_> = listed.assert_code(0).stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].contains("source/count 9") && lines[1].contains("told so, too"), "{lines:?}");
    assert_eq!(swarm.json(&["dead-letters", "list", "--json"])[0]["letter"], 1);
    let shown = swarm.run(&["dead-letters", "show", "sorter", "1"]);
    assert!(shown.assert_code(0).stdout.contains(r#"{"number":9}"#), "{shown:?}");
    swarm
        .run(&["dead-letters", "show", "sorter", "0"])
        .assert_code(1)
        .assert_says(&["no open dead letter 0"]);
    // Only the process itself can decide, and it is down.
    for verb in [&["retry", "sorter", "1"][..], &["drop", "sorter", "1"], &["release", "sorter", "a"]] {
        let ended = swarm.run(&[&["dead-letters"], verb].concat());
        ended.assert_code(1).assert_says(&[
            "only `sorter` itself can decide",
            "it isn't running",
            "try: start it",
        ]);
    }
}
