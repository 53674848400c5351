//! Virtual operations: what the chain itself does because of a transaction, and with each block.

use serde_json::{Value, json};

use super::operations::{hbd, hive, vests};
use super::{Operation, Place, Post, Purpose, names};
use crate::block::Virtual;
use crate::draw::Draw;
use crate::json;

/// Posts are paid out this many blocks later. (On the real chain it is seven days.)
const PAYOUT_AFTER: u32 = 200;

/// In the order of a real answer: those of the transactions, then those of the block.
pub(super) fn of_block(place: &Place<'_>, transactions: &[Vec<Operation>]) -> Vec<Virtual> {
    let draw = &mut place.generator.draw(place.number, Purpose::Virtual, 0);
    let mut virtuals = Vec::new();
    for (index, operations) in transactions.iter().enumerate() {
        let effects = operations.iter().filter_map(|operation| effect(operation, draw));
        virtuals.extend(effects.map(|effect| (Some(index), effect)).collect::<Vec<_>>());
    }
    if let Some(paid) = place.number.checked_sub(PAYOUT_AFTER).filter(|number| *number > 0) {
        let posts = place.generator.posts(paid);
        virtuals.extend(posts.iter().flat_map(|post| payout(post, draw)).map(|paid| (None, paid)));
    }
    virtuals.push((None, producer_reward(place)));
    (virtuals.into_iter())
        .map(|(transaction, operation)| Virtual { transaction, operation: json::raw(&operation.appbase()) })
        .collect()
}

fn effect(operation: &Operation, draw: &mut Draw) -> Option<Operation> {
    match operation.name {
        "vote" => Some(effective_comment_vote(operation, draw)),
        "transfer_to_vesting" => Some(Operation::new(
            "transfer_to_vesting_completed",
            json!({
                "from_account": operation.text("from"), "to_account": operation.text("to"),
                "hive_vested": operation.value["amount"], "vesting_shares_received": vests(draw.below(90_000_000)),
            }),
        )),
        "create_claimed_account" => Some(Operation::new(
            "account_created",
            json!({
                "creator": operation.text("creator"), "new_account_name": operation.text("new_account_name"),
                "initial_delegation": vests(0), "initial_vesting_shares": vests(0),
            }),
        )),
        "limit_order_create" if draw.percent(30) => Some(fill_order(operation, draw)),
        _ => None,
    }
}

fn effective_comment_vote(vote: &Operation, draw: &mut Draw) -> Operation {
    // Now and then beyond what a double holds: nodes answer such numbers as strings.
    let weight = draw.next() >> (1 + draw.below(40));
    Operation::new(
        "effective_comment_vote",
        json!({
            "voter": vote.text("voter"), "author": vote.text("author"), "permlink": vote.text("permlink"),
            "weight": integer(weight), "rshares": integer(weight >> 3), "total_vote_weight": integer(weight),
            "pending_payout": hbd(draw.below(20_000)),
        }),
    )
}

/// A 64-bit integer as hived writes it: beyond 2^53 as a string.
fn integer(value: u64) -> Value {
    if value > 1 << 53 { json!(value.to_string()) } else { json!(value) }
}

fn fill_order(order: &Operation, draw: &mut Draw) -> Operation {
    Operation::new(
        "fill_order",
        json!({
            "current_owner": order.text("owner"), "current_orderid": order.value["orderid"],
            "current_pays": order.value["amount_to_sell"], "open_owner": names::account(draw),
            "open_orderid": draw.below(u32::MAX.into()), "open_pays": order.value["min_to_receive"],
        }),
    )
}

fn payout(post: &Post, draw: &mut Draw) -> Vec<Operation> {
    let (author, permlink) = (&post.author, &post.permlink);
    let cents = draw.below(40_000);
    let curators = vests(draw.below(900_000_000));
    vec![
        Operation::new(
            "curation_reward",
            json!({"curator": names::account(draw), "reward": curators, "author": author, "permlink": permlink,
                "payout_must_be_claimed": true}),
        ),
        Operation::new(
            "author_reward",
            json!({"author": author, "permlink": permlink, "hbd_payout": hbd(cents / 4), "hive_payout": hive(0),
                "vesting_payout": vests(draw.below(900_000_000)), "curators_vesting_payout": curators,
                "payout_must_be_claimed": true}),
        ),
        Operation::new(
            "comment_reward",
            json!({"author": author, "permlink": permlink, "payout": hbd(cents), "author_rewards": cents,
                "total_payout_value": hbd(cents / 2), "curator_payout_value": hbd(cents / 2),
                "beneficiary_payout_value": hbd(0)}),
        ),
        Operation::new("comment_payout_update", json!({"author": author, "permlink": permlink})),
    ]
}

fn producer_reward(place: &Place<'_>) -> Operation {
    Operation::new(
        "producer_reward",
        json!({"producer": names::witness(place.number), "vesting_shares": vests(494_000_000 + u64::from(place.number % 1000))}),
    )
}
