//! get_dynamic_global_properties: what a follower looks at is the chain's, the rest is plausible.

use serde_json::{Value, json};

use crate::forms::{self, Form};
use crate::json::{self, Raw};
use crate::view::View;

pub(super) fn answer(view: &View<'_>, form: Form) -> Raw {
    let amount = |amount: u64, precision: u32, nai: &str| json!({"amount": amount.to_string(), "precision": precision, "nai": format!("@@0000000{nai}")});
    let (hive, hbd) = (|n| amount(n, 3, "21"), |n| amount(n, 3, "13"));
    let vests = |n| amount(n, 6, "37");
    let head = view.head_number();
    let mut properties = json!({
        "head_block_number": head,
        "head_block_id": view.head_id(),
        "time": view.head_time(),
        "current_witness": view.head_witness(),
        "last_irreversible_block_num": view.irreversible_number(),
        "current_aslot": u64::from(head) + 200_000,
        "participation_count": 128,
        "recent_slots_filled": "340282366920938463463374607431768211455",
        "total_pow": 514_415,
        "num_pow_witnesses": 172,
        "virtual_supply": hive(505_000_000_000),
        "current_supply": hive(466_000_000_000),
        "init_hbd_supply": hbd(0),
        "current_hbd_supply": hbd(36_000_000_000),
        "total_vesting_fund_hive": hive(190_000_000_000),
        "total_vesting_shares": vests(318_000_000_000_000_000),
        "total_reward_fund_hive": hive(0),
        "total_reward_shares2": "0",
        "pending_rewarded_vesting_shares": vests(700_000_000_000_000),
        "pending_rewarded_vesting_hive": hive(420_000_000),
        "hbd_interest_rate": 1500,
        "hbd_print_rate": 10_000,
        "maximum_block_size": 65_536,
        "vote_power_reserve_rate": 10,
        "delegation_return_period": 432_000,
        "reverse_auction_seconds": 0,
        "available_account_subsidies": 20_000_000,
        "content_reward_percent": 6500,
        "vesting_reward_percent": 1500,
        "proposal_fund_percent": 1000,
        "downvote_pool_percent": 2500,
    });
    if form == Form::Appbase {
        properties["id"] = Value::from(0);
    }
    match form {
        Form::Appbase => json::raw(&properties),
        Form::Condenser => forms::amounts(&json::raw(&properties), form),
    }
}
