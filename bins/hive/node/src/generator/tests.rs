use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::forms;

fn at() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn operations(block: &Generated) -> Vec<(String, Value)> {
    let lists = block.transactions.iter().map(|t| json::items(t.fields.get("operations").unwrap()).unwrap());
    let parts = lists.flatten().map(|op| forms::operation_parts(&op).unwrap());
    parts.map(|(name, value)| (name, serde_json::from_str(value.get()).unwrap())).collect()
}

#[test]
fn a_block_is_a_function_of_seed_number_and_time() {
    let text = |generator: &Generator, number| format!("{:?}", generator.block(number, at()).transactions);
    let (one, same, other) = (Generator::new(5), Generator::new(5), Generator::new(6));
    // In any order.
    for number in [900, 1, 2, 899, 900] {
        assert_eq!(text(&one, number), text(&same, number));
        assert_ne!(text(&one, number), text(&other, number));
    }
    assert_ne!(one.tail(7), other.tail(7));
}

/// Every scalar with its path.
fn flatten(path: &str, value: &Value, leaves: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, leaves))
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| flatten(&format!("{path}.{index}"), item, leaves));
        }
        scalar => leaves.push(format!("{path}={scalar}")),
    }
}

#[test]
fn the_chain_of_the_default_seed_does_not_change_between_versions() {
    let generator = Generator::new(crate::settings::Settings::default().seed);
    let mut leaves = Vec::new();
    for transaction in (1..=50).flat_map(|number| generator.block(number, at()).transactions) {
        let fields = serde_json::from_str(json::raw(&transaction.fields).get()).unwrap();
        flatten(&transaction.id, &fields, &mut leaves);
    }
    // The order of keys is no part of it.
    leaves.sort();
    // A node with a kept chain must serve the same blocks after an upgrade: if you mean to change
    // what is generated, change `chain::GENERATION` and this number together.
    assert_eq!(
        draw::digest(leaves.join("\n").as_bytes()),
        13_467_448_038_738_192_964,
        "the generated chain has changed"
    );
}

#[test]
fn operations_are_various_and_refer_to_what_was_there() {
    let generator = Generator::new(1);
    let mut counts = BTreeMap::<String, u32>::new();
    let mut posts = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for number in 1..=1500 {
        let block = generator.block(number, at());
        assert!(block.transactions.len() < 16);
        let ops = operations(&block);
        for (name, value) in &ops {
            *counts.entry(name.clone()).or_default() += 1;
            let link = (value["author"].to_string(), value["permlink"].to_string());
            match name.as_str() {
                "vote" | "delete_comment" => assert!(posts.contains(&link), "block {number}: {value}"),
                "comment" if value["parent_author"] != "" => {
                    let parent = (value["parent_author"].to_string(), value["parent_permlink"].to_string());
                    assert!(posts.contains(&parent), "block {number}: {value}");
                }
                _ => {}
            }
        }
        for (name, value) in ops {
            if name == "comment" && value["parent_author"] == "" {
                posts.insert((value["author"].to_string(), value["permlink"].to_string()));
            }
        }
        assert!(block.transactions.into_iter().all(|t| ids.insert(t.id)));
    }
    assert!(counts.len() == 19, "{counts:?}");
    assert!(
        posts.len() > 700 && counts["vote"] > 2000 && counts["transfer"] > 400,
        "{} {counts:?}",
        posts.len()
    );
}

#[test]
fn virtual_operations_follow_their_causes() {
    let generator = Generator::new(1);
    let mut names = BTreeSet::new();
    for number in 200..400 {
        let block = generator.block(number, at());
        let virtuals = &block.virtuals;
        assert!(virtuals.iter().all(|v| v.transaction.is_none_or(|index| index < block.transactions.len())));
        assert!(virtuals.is_sorted_by_key(|v| v.transaction.unwrap_or(usize::MAX)));
        let (last, _) = forms::operation_parts(&virtuals.last().unwrap().operation).unwrap();
        assert_eq!(last, "producer_reward");
        names.extend(virtuals.iter().map(|v| forms::operation_parts(&v.operation).unwrap().0));
    }
    assert!(names.len() >= 7, "{names:?}");
}
