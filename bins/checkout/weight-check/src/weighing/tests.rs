use std::collections::BTreeMap;
use std::sync::Arc;

use procession::ordering::{Fold, FoldOptions, Order, Speech};
use serde_json::Value;

use super::*;

const SESSION: &str = "1-000001";

/// Something happens at a second, told by a journal.
type Told = (i64, &'static str, What);

/// A customer scans milk and bread, bags something too heavy for bread, takes it out, and puts bread in.
const STORY: [Told; 7] = [
    (1, "basket", What::Added { line: 1, grams: 1050 }),
    (2, "scale", What::Weighed { grams: 1050 }),
    (3, "basket", What::Added { line: 2, grams: 500 }),
    (4, "scale", What::Weighed { grams: 1990 }),
    (5, "scale", What::Weighed { grams: 1050 }),
    (6, "scale", What::Weighed { grams: 1550 }),
    (7, "basket", What::Closed { grams: 1550 }),
];

/// What holds at the end of what was said: topic, second, expected and measured grams.
fn conclude(told: &[Told]) -> Vec<(String, i64, i64, i64)> {
    let mut fold = Fold::<Weighing>::new("weight-check", FoldOptions::default());
    let mut holds = BTreeMap::new();
    for (at, journal, what) in told {
        let order = Order::of_event(At(*at), Arc::from(*journal), u64::try_from(*at).unwrap());
        let observation = Observation { session: SESSION.to_owned(), at: At(*at), what: *what };
        fold.event(SESSION.as_bytes(), order, observation);
        fold.flush(|saying| match saying.speech {
            Speech::Assert => {
                let payload: Value = serde_json::from_slice(saying.payload).unwrap();
                holds.insert(saying.said.id, (saying.topic.to_owned(), saying.said.at, payload));
            }
            Speech::Retract => drop(holds.remove(&saying.said.id).unwrap()),
            Speech::Compensation => assert_eq!(saying.topic, "mismatch-withdrawn"),
        })
        .unwrap();
    }
    let grams = |payload: &Value, name: &str| payload[name].as_i64().unwrap();
    let mut holds: Vec<_> = holds
        .into_values()
        .map(|(topic, at, said)| {
            (topic, at.0, grams(&said, "expected_grams"), grams(&said, "measured_grams"))
        })
        .collect();
    holds.sort_by_key(|found| found.1);
    holds
}

fn said(found: &[(&str, i64, i64, i64)]) -> Vec<(String, i64, i64, i64)> {
    found
        .iter()
        .map(|(topic, at, expected, measured)| ((*topic).to_owned(), *at, *expected, *measured))
        .collect()
}

#[test]
fn a_difference_is_one_when_the_scale_has_come_to_rest() {
    let expected = said(&[
        ("weight-ok", 2, 1050, 1050),
        ("mismatch", 4, 1550, 1990),
        ("mismatch", 5, 1550, 1050),
        ("weight-ok", 6, 1550, 1550),
    ]);
    assert_eq!(conclude(&STORY), expected);
}

/// The heart of it: the scale may be heard before the scanner, and everything twice.
#[test]
fn in_whatever_order_things_are_heard_the_conclusions_are_the_same() {
    let expected = conclude(&STORY);
    let mut order: Vec<usize> = (0..STORY.len()).collect();
    let mut orders = 0;
    permute(&mut order, 0, &mut |order| {
        let told: Vec<Told> = order.iter().map(|at| STORY[*at]).collect();
        assert_eq!(conclude(&told), expected, "{order:?}");
        orders += 1;
        if orders % 7 == 0 {
            let twice = [&told[..], &told[2..5]].concat();
            assert_eq!(conclude(&twice), expected, "{order:?} with some of it twice");
        }
    });
    assert_eq!(orders, 5040);
}

/// All orders of what comes from this place on.
fn permute(order: &mut Vec<usize>, from: usize, see: &mut impl FnMut(&[usize])) {
    if from == order.len() {
        return see(order);
    }
    for at in from..order.len() {
        order.swap(from, at);
        permute(order, from + 1, see);
        order.swap(from, at);
    }
}

#[test]
fn what_is_never_bagged_shows_when_the_customer_wants_to_pay() {
    let told =
        [(1, "basket", What::Added { line: 1, grams: 700 }), (9, "basket", What::Closed { grams: 700 })];
    assert_eq!(conclude(&told), said(&[("mismatch", 9, 700, 0)]));
}

#[test]
fn an_item_may_be_taken_out_of_the_bag_before_or_after_it_is_removed() {
    let begin =
        [(1, "basket", What::Added { line: 1, grams: 700 }), (2, "scale", What::Weighed { grams: 700 })];
    let after = [(3, "basket", What::Removed { line: 1 }), (4, "scale", What::Weighed { grams: 0 })];
    assert_eq!(conclude(&[begin, after].concat()), said(&[("weight-ok", 2, 700, 700)]));
    let before = [(3, "scale", What::Weighed { grams: 0 }), (4, "basket", What::Removed { line: 1 })];
    let expected = said(&[("weight-ok", 2, 700, 700), ("mismatch", 3, 700, 0), ("weight-ok", 4, 0, 0)]);
    assert_eq!(conclude(&[begin, before].concat()), expected);
}

#[test]
fn a_session_that_has_ended_is_over() {
    let mut weighing = Weighing::default();
    assert!(!weighing.is_over());
    weighing.take(What::Ended);
    assert!(weighing.is_over());
}
