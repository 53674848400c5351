//! Operations that look like those of a Hive block of 2025, in appbase form, and in about the same
//! proportions: mostly votes and custom_json, some comments and transfers, a few of everything else.

use serde_json::{Value, json};

use super::names;
use super::{Operation, Place, Post};
use crate::draw::Draw;
use crate::pace::chain_time;

type Make = fn(&Place<'_>, &mut Draw) -> Option<Vec<Operation>>;

/// How often, in a thousand transactions, and what. A maker that finds nothing to refer to (there are
/// no posts yet in the first blocks) makes way for a custom_json.
const MIX: [(u64, Make); 20] = [
    (340, |place, draw| vote(place, draw).map(one)),
    (290, |_, draw| Some(vec![custom_json(draw)])),
    (110, |place, draw| reply(place, draw).map(one)),
    (90, |_, draw| Some(vec![transfer(draw)])),
    (40, |_, draw| Some(vec![claim_reward_balance(draw)])),
    (20, |place, draw| Some(vec![limit_order_create(place, draw)])),
    (15, |place, draw| several_votes(place, draw)),
    (15, |_, draw| Some(vec![limit_order_cancel(draw)])),
    (12, |_, draw| Some(vec![account_witness_vote(draw)])),
    (12, |_, draw| Some(vec![transfer_to_vesting(draw)])),
    (10, |_, draw| Some(vec![delegate_vesting_shares(draw)])),
    (10, |place, draw| edit(place, draw).map(one)),
    (8, |_, draw| Some(vec![feed_publish(draw)])),
    (8, |_, draw| Some(vec![account_update2(draw)])),
    (6, |place, draw| delete_comment(place, draw).map(one)),
    (4, |place, draw| Some(vec![create_claimed_account(place, draw)])),
    (4, |_, draw| Some(vec![update_proposal_votes(draw)])),
    (3, |_, draw| Some(vec![recurrent_transfer(draw)])),
    (2, |_, draw| Some(vec![convert(draw)])),
    (1, |_, draw| Some(vec![witness_set_properties(draw)])),
];

/// The operations of one transaction.
pub(super) fn any(place: &Place<'_>, draw: &mut Draw) -> Vec<Operation> {
    let mut left = draw.below(MIX.iter().map(|(weight, _)| weight).sum());
    for (weight, make) in MIX {
        if left < weight {
            return make(place, draw).unwrap_or_else(|| vec![custom_json(draw)]);
        }
        left -= weight;
    }
    vec![custom_json(draw)]
}

/// A new top-level post, every other one with its options.
pub(super) fn post(post: &Post, draw: &mut Draw) -> Vec<Operation> {
    let title = names::words(draw, 3, 9);
    let mut operations = vec![comment(("", post.tag), post, &title, &names::text(draw, 12), draw)];
    if draw.percent(50) {
        let beneficiaries = json!([{"type": "comment_payout_beneficiaries", "value": {
            "beneficiaries": [{"account": names::account(draw), "weight": 100 * (1 + draw.below(20))}]}}]);
        operations.push(Operation::new(
            "comment_options",
            json!({
                "author": post.author, "permlink": post.permlink, "max_accepted_payout": hbd(1_000_000_000),
                "percent_hbd": if draw.percent(70) { 10_000 } else { 0 }, "allow_votes": true,
                "allow_curation_rewards": true,
                "extensions": if draw.percent(60) { beneficiaries } else { json!([]) },
            }),
        ));
    }
    operations
}

pub(super) fn hive(thousandths: u64) -> Value {
    json!({"amount": thousandths.to_string(), "precision": 3, "nai": "@@000000021"})
}

pub(super) fn hbd(thousandths: u64) -> Value {
    json!({"amount": thousandths.to_string(), "precision": 3, "nai": "@@000000013"})
}

pub(super) fn vests(millionths: u64) -> Value {
    json!({"amount": millionths.to_string(), "precision": 6, "nai": "@@000000037"})
}

fn one(operation: Operation) -> Vec<Operation> {
    vec![operation]
}

fn comment(parent: (&str, &str), of: &Post, title: &str, body: &str, draw: &mut Draw) -> Operation {
    let metadata = match draw.below(20) {
        0 => String::new(),
        1 => "{\"tags\":[\"unfinished\"".to_owned(),
        _ => json!({"app": "peakd/2025.7.1", "format": "markdown", "tags": [of.tag, "hive"]}).to_string(),
    };
    Operation::new(
        "comment",
        json!({
            "parent_author": parent.0, "parent_permlink": parent.1, "author": of.author, "permlink": of.permlink,
            "title": title, "body": body, "json_metadata": metadata,
        }),
    )
}

fn reply(place: &Place<'_>, draw: &mut Draw) -> Option<Operation> {
    let parent = place.generator.earlier_post(place.number, draw)?;
    let permlink = format!("re-{}-{}", parent.author.replace('.', ""), names::base36(draw.next() >> 20));
    let reply = Post { author: names::account(draw), permlink, tag: parent.tag };
    let body = names::text(draw, 3);
    Some(comment((&parent.author, &parent.permlink), &reply, "", &body, draw))
}

/// The author of a post writes it anew, or sends a patch.
fn edit(place: &Place<'_>, draw: &mut Draw) -> Option<Operation> {
    let post = place.generator.earlier_post(place.number, draw)?;
    let title = names::words(draw, 3, 9);
    let body =
        if draw.percent(50) { "@@ -1,4 +1,5 @@\n-Some\n+These\n".to_owned() } else { names::text(draw, 12) };
    Some(comment(("", post.tag), &post, &title, &body, draw))
}

fn delete_comment(place: &Place<'_>, draw: &mut Draw) -> Option<Operation> {
    let post = place.generator.earlier_post(place.number, draw)?;
    Some(Operation::new("delete_comment", json!({"author": post.author, "permlink": post.permlink})))
}

fn vote(place: &Place<'_>, draw: &mut Draw) -> Option<Operation> {
    let post = place.generator.earlier_post(place.number, draw)?;
    let weight = *draw.pick(&[&10_000, &10_000, &5000, &2500, &100, &750, &-10_000]);
    Some(Operation::new(
        "vote",
        json!({"voter": names::account(draw), "author": post.author, "permlink": post.permlink, "weight": weight}),
    ))
}

fn several_votes(place: &Place<'_>, draw: &mut Draw) -> Option<Vec<Operation>> {
    (0..2 + draw.below(3)).map(|_| vote(place, draw)).collect()
}

fn custom_json(draw: &mut Draw) -> Operation {
    let account = names::account(draw);
    let other = names::account(draw);
    let (id, json) = match draw.below(12) {
        0..=2 => (
            "follow",
            json!(["follow", {"follower": account, "following": other, "what": ["blog"]}]).to_string(),
        ),
        3 => ("notify", json!(["setLastRead", {"date": "2026-01-01T00:00:00"}]).to_string()),
        4..=6 => ("sm_submit_team", json!({"trx_id": draw.hex(40), "team_hash": draw.hex(32)}).to_string()),
        7..=8 => (
            "ssc-mainnet-hive",
            json!({"contractName": "market", "contractAction": "buy", "contractPayload":
                {"symbol": "SWAP.TEST", "quantity": "1.00000000", "price": "0.1"}})
            .to_string(),
        ),
        9 => {
            ("pp_podcast_update", json!({"version": "1.1", "sessionId": draw.next(), "iris": []}).to_string())
        }
        10 if draw.percent(30) => ("", String::new()),
        10 => ("broken", "{\"unfinished\": [1, 2".to_owned()),
        _ => ("community", json!(["subscribe", {"community": "hive-100001"}]).to_string()),
    };
    let active = id == "ssc-mainnet-hive";
    let (auths, posting) = if active { (vec![account], vec![]) } else { (vec![], vec![account]) };
    Operation::new(
        "custom_json",
        json!({"required_auths": auths, "required_posting_auths": posting, "id": id, "json": json}),
    )
}

fn transfer(draw: &mut Draw) -> Operation {
    // From a thousandth to some hundred thousand, each power of ten about as likely.
    let size = 10_u64.pow(u32::try_from(draw.below(9)).expect("it is below 9"));
    let amount = size + draw.below(size * 9);
    let amount = if draw.percent(60) { hive(amount) } else { hbd(amount) };
    let memo = match draw.below(5) {
        0 => String::new(),
        1 => format!("order {}", draw.below(1_000_000)),
        2 => "1.000 HIVE".to_owned(),
        _ => names::text(draw, 1),
    };
    Operation::new(
        "transfer",
        json!({"from": names::account(draw), "to": names::account(draw), "amount": amount, "memo": memo}),
    )
}

fn transfer_to_vesting(draw: &mut Draw) -> Operation {
    let account = names::account(draw);
    let amount = 1 + draw.below(50_000);
    Operation::new("transfer_to_vesting", json!({"from": account, "to": account, "amount": hive(amount)}))
}

fn recurrent_transfer(draw: &mut Draw) -> Operation {
    let pair = json!([{"type": "recurrent_transfer_pair_id", "value": {"pair_id": 1 + draw.below(9)}}]);
    Operation::new(
        "recurrent_transfer",
        json!({
            "from": names::account(draw), "to": names::account(draw), "amount": hive(1 + draw.below(9000)),
            "memo": "monthly", "recurrence": 720, "executions": 12,
            "extensions": if draw.percent(50) { pair } else { json!([]) },
        }),
    )
}

fn claim_reward_balance(draw: &mut Draw) -> Operation {
    Operation::new(
        "claim_reward_balance",
        json!({
            "account": names::account(draw), "reward_hive": hive(draw.below(2000)), "reward_hbd": hbd(draw.below(3000)),
            "reward_vests": vests(draw.below(9_000_000_000)),
        }),
    )
}

fn delegate_vesting_shares(draw: &mut Draw) -> Operation {
    Operation::new(
        "delegate_vesting_shares",
        json!({
            "delegator": names::account(draw), "delegatee": names::account(draw),
            "vesting_shares": vests(draw.below(900_000_000_000)),
        }),
    )
}

fn limit_order_create(place: &Place<'_>, draw: &mut Draw) -> Operation {
    let expiration = place.at.checked_add(jiff::SignedDuration::from_hours(7 * 24)).unwrap_or(place.at);
    let (give, get) = (1 + draw.below(100_000), 1 + draw.below(100_000));
    let (sell, receive) = if draw.percent(50) { (hive(give), hbd(get)) } else { (hbd(give), hive(get)) };
    Operation::new(
        "limit_order_create",
        json!({
            "owner": names::account(draw), "orderid": draw.below(u32::MAX.into()), "amount_to_sell": sell,
            "min_to_receive": receive, "fill_or_kill": draw.percent(5), "expiration": chain_time(expiration),
        }),
    )
}

fn limit_order_cancel(draw: &mut Draw) -> Operation {
    Operation::new(
        "limit_order_cancel",
        json!({"owner": names::account(draw), "orderid": draw.below(u32::MAX.into())}),
    )
}

fn account_witness_vote(draw: &mut Draw) -> Operation {
    let witness = names::witness(u32::try_from(draw.below(21)).expect("it is below 21"));
    Operation::new(
        "account_witness_vote",
        json!({"account": names::account(draw), "witness": witness, "approve": draw.percent(80)}),
    )
}

fn feed_publish(draw: &mut Draw) -> Operation {
    let witness = names::witness(u32::try_from(draw.below(21)).expect("it is below 21"));
    let rate = json!({"base": hbd(180 + draw.below(60)), "quote": hive(1000)});
    Operation::new("feed_publish", json!({"publisher": witness, "exchange_rate": rate}))
}

fn witness_set_properties(draw: &mut Draw) -> Operation {
    let witness = names::witness(u32::try_from(draw.below(21)).expect("it is below 21"));
    let props = json!([["hbd_exchange_rate", draw.hex(64)], ["key", draw.hex(66)]]);
    Operation::new("witness_set_properties", json!({"owner": witness, "props": props, "extensions": []}))
}

fn account_update2(draw: &mut Draw) -> Operation {
    let profile =
        json!({"profile": {"about": names::text(draw, 1), "location": "", "version": 2}}).to_string();
    Operation::new(
        "account_update2",
        json!({
            "account": names::account(draw), "json_metadata": "", "posting_json_metadata": profile, "extensions": [],
        }),
    )
}

fn create_claimed_account(place: &Place<'_>, draw: &mut Draw) -> Operation {
    let authority = |draw: &mut Draw| json!({"weight_threshold": 1, "account_auths": [], "key_auths": [[names::public_key(draw.next()), 1]]});
    let name = format!("new{}{}", names::base36(place.number.into()), names::base36(draw.below(36 * 36)));
    Operation::new(
        "create_claimed_account",
        json!({
            "creator": names::account(draw), "new_account_name": name, "owner": authority(draw),
            "active": authority(draw), "posting": authority(draw), "memo_key": names::public_key(draw.next()),
            "json_metadata": "", "extensions": [],
        }),
    )
}

fn update_proposal_votes(draw: &mut Draw) -> Operation {
    Operation::new(
        "update_proposal_votes",
        json!({
            "voter": names::account(draw), "proposal_ids": [300 + draw.below(60)], "approve": draw.percent(90),
            "extensions": [],
        }),
    )
}

fn convert(draw: &mut Draw) -> Operation {
    Operation::new(
        "convert",
        json!({"owner": names::account(draw), "requestid": draw.below(u32::MAX.into()), "amount": hbd(1 + draw.below(99_999))}),
    )
}
