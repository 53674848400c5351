//! The oracle: whatever happens on the way, asserts less retracts are what one run in order gives.
//!
//! A chain of three models with random rules hears random events, and the asserts and retracts of a foreign model, in
//! any order, as often as it likes; conclusions become final on the way; every model may lose its state between any
//! two batches and is rebuilt from the journals, with or without a snapshot; and every journal, those of the models too,
//! may lose its end, and say other records at the same offsets.

mod machine;
mod node;
mod truth;
mod world;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use journal::{Cause, Codec, Epoch, Offset, Record, Time};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::hash::Hash;
use super::intake::{Selection, Word, read};
use super::recall::Recalled;
use super::*;
use crate::event::Event;

use machine::*;
use node::*;
use truth::*;
use world::*;

/// A case, to be shrunk.
#[derive(Debug, Clone)]
struct Case {
    rules: [Rules; 3],
    raw: Vec<(bool, i64, i64)>,
    foreign: Vec<(u8, i64, i64, bool)>,
    foreign_final: u8,
    steps: Vec<Step>,
    backwards: bool,
}

/// The journal of a model that asserts and retracts at random.
fn foreign_journal(case: &Case) -> Vec<Post> {
    let mut live = BTreeMap::<u8, EventTime>::new();
    let mut revisions = BTreeMap::<u8, u32>::new();
    let mut journal = Vec::new();
    for (which, at, value, gone) in &case.foreign {
        let (id, revision) = (Derivation(u128::from(*which + 1) << 16), revisions.entry(*which).or_default());
        if let Some(at) = live.remove(which) {
            journal.push(post(
                Retract::TOPIC,
                at,
                &Retract { id, revision: *revision, at, topic: "note".into() },
                None,
            ));
        }
        if !gone {
            let at = EventTime(*at);
            *revision += 1;
            live.insert(*which, at);
            let said = Said {
                id,
                revision: *revision,
                at,
                turn: u64::from(*which % 2),
                since: None,
                compensates: false,
            };
            journal.push(post("note", at, &Note::<1> { at, value: *value }, Some(said)));
        }
    }
    let place = usize::from(case.foreign_final) % (journal.len() + 1);
    let at = journal[place..].iter().map(|said| said.at).min().unwrap_or(EventTime(1000));
    journal.insert(place, post(Final::TOPIC, at, &Final { at }, None));
    journal
}

fn check(case: &Case) {
    RULES.set(case.rules);
    let mut world = World { journals: Journals::default(), a: Node::new(), b: Node::new(), c: Node::new() };
    for (noise, at, value) in &case.raw {
        let note = Note::<0> { at: EventTime(*at), value: *value };
        world.journals[usize::from(*noise)].push(post("note", note.at, &note, None));
    }
    world.journals[2] = foreign_journal(case);
    for what in &case.steps {
        let World { journals, a, b, c } = &mut world;
        match (*what, what.model()) {
            (Step::Lose { source, keep, heard, anew }, _) => {
                world.lose(source.into(), keep, heard, &anew);
            }
            (Step::LoseOwn { keep, heard, .. }, 0) => world.lose_own(|world| &mut world.a, keep, heard),
            (Step::LoseOwn { keep, heard, .. }, 1) => world.lose_own(|world| &mut world.b, keep, heard),
            (Step::LoseOwn { keep, heard, .. }, _) => world.lose_own(|world| &mut world.c, keep, heard),
            (_, 0) => step(journals, a, *what),
            (_, 1) => step(journals, b, *what),
            _ => step(journals, c, *what),
        }
    }
    let World { mut journals, mut a, mut b, mut c } = world;
    finish(&mut journals, &mut a, case.backwards);
    finish(&mut journals, &mut b, case.backwards);
    finish(&mut journals, &mut c, case.backwards);
    let irrevocable = |level: usize| move |value: i64| rules(level).irrevocable && value % 3 == 0;
    let mut inputs = events(0, &journals[0]);
    inputs.extend(events(1, &journals[1]));
    let truth = in_order::<0>(&inputs);
    assert_eq!(holds(&journals[3], irrevocable(0)), truth, "the first model");
    let mut inputs = as_inputs(3, &truth);
    inputs.extend(as_inputs(2, &holds(&journals[2], |_| false)));
    let truth = in_order::<1>(&inputs);
    assert_eq!(holds(&journals[4], irrevocable(1)), truth, "the second model");
    let mut inputs = as_inputs(4, &truth);
    inputs.extend(events(0, &journals[0]));
    assert_eq!(holds(&journals[5], irrevocable(2)), in_order::<2>(&inputs), "the third model");
    for (inputs, keys) in [
        (a.fold.inputs_count(), a.fold.keys_count()),
        (b.fold.inputs_count(), b.fold.keys_count()),
        (c.fold.inputs_count(), c.fold.keys_count()),
    ] {
        assert!(inputs == 0 && keys <= 3, "what is final is forgotten: {inputs} inputs, {keys} keys");
    }
}

impl Step {
    fn model(self) -> u8 {
        match self {
            Self::Hear { model, .. }
            | Self::HearAgain { model, .. }
            | Self::Commit { model }
            | Self::Settle { model, .. }
            | Self::Keep { model }
            | Self::Crash { model, .. }
            | Self::LoseOwn { model, .. } => model,
            Self::Lose { source, .. } => source,
        }
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let model = 0_u8..3;
    let said = (0_u8..4, 0_i64..30, 0_i64..10, prop::bool::weighted(0.25));
    prop_oneof![
        14 => (model.clone(), any::<u16>()).prop_map(|(model, which)| Step::Hear { model, which }),
        2 => (model.clone(), any::<u16>()).prop_map(|(model, which)| Step::HearAgain { model, which }),
        5 => model.clone().prop_map(|model| Step::Commit { model }),
        3 => (model.clone(), 0_u8..20).prop_map(|(model, back)| Step::Settle { model, back }),
        1 => model.clone().prop_map(|model| Step::Keep { model }),
        1 => (model.clone(), any::<bool>()).prop_map(|(model, forget)| Step::Crash { model, forget }),
        1 => (0_u8..3, any::<u16>(), any::<bool>(), proptest::array::uniform2(said))
            .prop_map(|(source, keep, heard, anew)| Step::Lose { source, keep, heard, anew }),
        1 => (model, any::<u16>(), any::<bool>())
            .prop_map(|(model, keep, heard)| Step::LoseOwn { model, keep, heard }),
    ]
}

prop_compose! {
    fn any_rules()(
        factor in 0_i64..4,
        summand in 0_i64..5,
        modulus in 1_i64..12,
        outputs in proptest::array::uniform4(0_u8..3),
        delayed in any::<bool>(),
        irrevocable in any::<bool>(),
        compensated in any::<bool>(),
        keys in 1_i64..4,
    ) -> Rules {
        Rules { factor, summand, modulus, outputs, delayed, irrevocable, compensated, keys }
    }
}

prop_compose! {
    fn any_case()(
        rules in proptest::array::uniform3(any_rules()),
        // Few event times, so that many are equal.
        raw in vec((any::<bool>(), 0_i64..30, 0_i64..10), 0..20),
        foreign in vec((0_u8..4, 0_i64..30, 0_i64..10, prop::bool::weighted(0.25)), 0..10),
        foreign_final in any::<u8>(),
        steps in vec(any_step(), 0..80),
        backwards in any::<bool>(),
    ) -> Case {
        Case { rules, raw, foreign, foreign_final, steps, backwards }
    }
}

/// As many cases as `PROPTEST_CASES` says; 2,000 otherwise.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    // The seed of a failure is printed with it, and kept in a file to be tried first the next time.
    ProptestConfig { cases, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn asserts_less_retracts_are_what_one_run_in_order_gives(case in any_case()) {
        check(&case);
    }
}
