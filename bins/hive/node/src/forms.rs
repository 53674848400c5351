//! Blocks and operations in the forms of the two APIs, and the conversion between them.
//!
//! | | appbase (`block_api`) | condenser |
//! | --- | --- | --- |
//! | operation | `{"type":"vote_operation","value":{..}}` | `["vote",{..}]` |
//! | amount | `{"amount":"1000","precision":3,"nai":"@@000000021"}` | `"1.000 HIVE"` |
//! | static variant | `{"type":"comment_payout_beneficiaries","value":{..}}` | `[0,{..}]` |
//!
//! What is already in the form asked for is passed on verbatim, and so is the data of recorded pairs; only the
//! rest is converted. In the
//! direction of objects a string is taken for an amount only in a field known to hold one, because a
//! memo may well read `1.000 HIVE`; in the other direction the shape alone is unambiguous.

use serde_json::value::RawValue;

use crate::assets;
use crate::block::{Block, Transaction};
use crate::json::{self, Fields, Raw, Shape};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Appbase,
    Condenser,
}

/// Nesting beyond this is left unconverted: no operation comes near, and recursion stays bounded.
const DEPTH_MAX: usize = 32;

/// The fields that hold static variants, with the variants' names in their order.
const VARIANTS: [(&str, &str, &[&str]); 4] = [
    ("comment_options", "extensions", &["comment_payout_beneficiaries", "allowed_vote_assets"]),
    ("pow2", "work", &["pow2", "equihash_pow"]),
    ("recurrent_transfer", "extensions", &["void_t", "recurrent_transfer_pair_id"]),
    ("update_proposal", "extensions", &["void_t", "update_proposal_end_date"]),
];

/// The same for a block's header.
const HEADER_VARIANTS: &[&str] = &["void_t", "version", "hardfork_version_vote"];

/// What only a condenser's transaction has.
const CONDENSER_EXTRAS: [&str; 3] = ["transaction_id", "block_num", "transaction_num"];

/// The block as one of the APIs answers it, without a wrapper.
pub(crate) fn block(block: &Block, form: Form) -> Raw {
    let mut fields = vec![("previous".to_owned(), json::raw(&block.previous))];
    for (key, value) in block.header.iter() {
        let value = match key {
            "extensions" => variants(value, HEADER_VARIANTS, form),
            _ => value.to_owned(),
        };
        fields.push((key.to_owned(), value));
    }
    let transactions: Vec<Raw> = (block.transactions.iter().enumerate())
        .map(|(index, transaction)| self::transaction(transaction, block.number, index, form))
        .collect();
    let ids: Vec<&str> = block.transactions.iter().map(|t| t.id.as_str()).collect();
    fields.push(("transactions".to_owned(), json::raw(&transactions)));
    fields.push(("block_id".to_owned(), json::raw(&block.id)));
    fields.push(("transaction_ids".to_owned(), json::raw(&ids)));
    json::raw(&fields.into_iter().collect::<Fields>())
}

/// A condenser's recording keeps the extras it has (about half of the nodes added them), with the
/// number rewritten; an appbase one is given them, as nodes of today do.
fn transaction(transaction: &Transaction, number: u32, index: usize, form: Form) -> Raw {
    let mut fields = transaction.fields.clone();
    let recorded = fields.get("operations").and_then(json::items).unwrap_or_default();
    let recorded_as_pairs = recorded.first().is_some_and(|op| json::shape(op) == Shape::Array);
    if recorded.iter().any(|op| operation_form(op) != Some(form)) {
        let operations: Vec<Raw> = recorded.iter().map(|op| served(op, form)).collect();
        fields.set("operations", json::raw(&operations));
    }
    match form {
        Form::Appbase => {
            for extra in CONDENSER_EXTRAS {
                fields.remove(extra);
            }
        }
        Form::Condenser if !recorded_as_pairs => {
            fields.set("transaction_id", json::raw(&transaction.id));
            fields.set("block_num", json::raw(&number));
            fields.set("transaction_num", json::raw(&index));
        }
        Form::Condenser => {
            if fields.get("block_num").is_some() {
                fields.set("block_num", json::raw(&number));
            }
        }
    }
    json::raw(&fields)
}

/// The form that an operation is in; `None` where it is neither.
pub(crate) fn operation_form(operation: &RawValue) -> Option<Form> {
    match json::shape(operation) {
        Shape::Object => Some(Form::Appbase),
        Shape::Array => Some(Form::Condenser),
        Shape::String | Shape::Other => None,
    }
}

/// The operation in a form: itself where it has it already, or where it is no operation at all.
pub(crate) fn operation(operation: &RawValue, form: Form) -> Raw {
    if operation_form(operation) == Some(form) {
        return operation.to_owned();
    }
    let Some((name, value)) = operation_parts(operation) else {
        return operation.to_owned();
    };
    let value = convert_operation(&name, &value, form);
    match form {
        Form::Appbase => tagged(&format!("{name}_operation"), value),
        Form::Condenser => json::raw(&[json::raw(&name), value]),
    }
}

/// A block's operation as an API answers it.
///
/// An old recording's pairs become objects for `block_api`, but their data stays as it was recorded: whoever plays
/// a recording gets its operations untouched, and a reader of the chain must take every form of an amount anyway.
pub(crate) fn served(recorded: &RawValue, form: Form) -> Raw {
    match (form, operation_form(recorded), operation_parts(recorded)) {
        (Form::Appbase, Some(Form::Condenser), Some((name, value))) => {
            tagged(&format!("{name}_operation"), value)
        }
        _ => operation(recorded, form),
    }
}

/// An operation's name without `_operation`, and its data, from either form.
pub(crate) fn operation_parts(operation: &RawValue) -> Option<(String, Raw)> {
    let (name, value) = match operation_form(operation)? {
        Form::Condenser => {
            let [name, value] = <[Raw; 2]>::try_from(json::items(operation)?).ok()?;
            (json::text(&name)?, value)
        }
        Form::Appbase => {
            let mut fields = Fields::parse(operation.get()).ok()?;
            (fields.text("type")?, fields.remove("value")?)
        }
    };
    let short = name.strip_suffix("_operation").unwrap_or(&name).to_owned();
    Some((short, value))
}

/// An object's amounts in a form: for the answers that the node makes up itself.
pub(crate) fn amounts(object: &RawValue, form: Form) -> Raw {
    convert(object, form, 0)
}

fn convert_operation(name: &str, value: &RawValue, form: Form) -> Raw {
    let Ok(fields) = Fields::parse(value.get()) else {
        return value.to_owned();
    };
    let convert_field = |key: &str, value: &RawValue| match VARIANTS
        .iter()
        .find(|(op, field, _)| (*op, *field) == (name, key))
    {
        Some((_, _, names)) => variants(value, names, form),
        None => convert_field(key, value, form, 0),
    };
    json::raw(
        &fields.iter().map(|(key, value)| (key.to_owned(), convert_field(key, value))).collect::<Fields>(),
    )
}

fn convert_field(key: &str, value: &RawValue, form: Form, depth: usize) -> Raw {
    if form == Form::Appbase && assets::is_amount_field(key) {
        if let Some(amount) = assets::to_object(value) {
            return amount;
        }
        // A list of amounts, such as what a treasury consolidates.
        if let Some(list) = json::items(value) {
            let list: Vec<Raw> = list.iter().map(|item| convert_field(key, item, form, depth + 1)).collect();
            return json::raw(&list);
        }
    }
    convert(value, form, depth)
}

fn convert(value: &RawValue, form: Form, depth: usize) -> Raw {
    if depth >= DEPTH_MAX {
        return value.to_owned();
    }
    if form == Form::Condenser
        && let Some(amount) = assets::to_text(value)
    {
        return amount;
    }
    match json::shape(value) {
        Shape::Object => match Fields::parse(value.get()) {
            Ok(fields) => json::raw(
                &(fields.iter())
                    .map(|(key, value)| (key.to_owned(), convert_field(key, value, form, depth + 1)))
                    .collect::<Fields>(),
            ),
            Err(_) => value.to_owned(),
        },
        Shape::Array => {
            let items = json::items(value).unwrap_or_default();
            json::raw(&items.iter().map(|item| convert(item, form, depth + 1)).collect::<Vec<Raw>>())
        }
        Shape::String | Shape::Other => value.to_owned(),
    }
}

/// One static variant or a list of them. `[0,{..}]` is a variant, `[[0,{..}]]` a list of one.
fn variants(value: &RawValue, names: &[&str], form: Form) -> Raw {
    if let Some(variant) = variant(value, names, form) {
        return variant;
    }
    match json::items(value) {
        Some(list) => json::raw(
            &(list.iter())
                .map(|item| variant(item, names, form).unwrap_or_else(|| item.clone()))
                .collect::<Vec<Raw>>(),
        ),
        None => value.to_owned(),
    }
}

/// `None` for what isn't a variant, has a name or number that we don't know, or is in the form already.
fn variant(value: &RawValue, names: &[&str], form: Form) -> Option<Raw> {
    match form {
        Form::Appbase => {
            let [tag, content] = <[Raw; 2]>::try_from(json::items(value)?).ok()?;
            let name = names.get(tag.get().parse::<usize>().ok()?)?;
            Some(tagged(name, convert(&content, form, 1)))
        }
        Form::Condenser => {
            let fields = Fields::parse(value.get()).ok()?;
            let name = fields.text("type")?;
            let tag = names.iter().position(|known| *known == name)?;
            Some(json::raw(&[json::raw(&tag), convert(fields.get("value")?, form, 1)]))
        }
    }
}

fn tagged(name: &str, value: Raw) -> Raw {
    json::raw(&Fields::from_iter([("type".to_owned(), json::raw(name)), ("value".to_owned(), value)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Raw {
        serde_json::from_str(text).unwrap()
    }

    fn check(appbase: &str, condenser: &str) {
        assert_eq!(operation(&parse(appbase), Form::Condenser).get(), condenser);
        assert_eq!(operation(&parse(condenser), Form::Appbase).get(), appbase);
        assert_eq!(operation(&parse(appbase), Form::Appbase).get(), appbase);
        assert_eq!(operation(&parse(condenser), Form::Condenser).get(), condenser);
    }

    #[test]
    fn operations_both_ways() {
        check(
            r#"{"type":"vote_operation","value":{"voter":"a","weight":-10000}}"#,
            r#"["vote",{"voter":"a","weight":-10000}]"#,
        );
        check(
            r#"{"type":"transfer_operation","value":{"to":"b","amount":{"amount":"1","precision":3,"nai":"@@000000013"},"memo":"1.000 HIVE"}}"#,
            r#"["transfer",{"to":"b","amount":"0.001 HBD","memo":"1.000 HIVE"}]"#,
        );
        check(
            r#"{"type":"comment_options_operation","value":{"max_accepted_payout":{"amount":"0","precision":3,"nai":"@@000000013"},"extensions":[{"type":"comment_payout_beneficiaries","value":{"beneficiaries":[{"account":"x","weight":600}]}}]}}"#,
            r#"["comment_options",{"max_accepted_payout":"0.000 HBD","extensions":[[0,{"beneficiaries":[{"account":"x","weight":600}]}]]}]"#,
        );
        check(
            r#"{"type":"pow2_operation","value":{"work":{"type":"pow2","value":{"pow_summary":1}},"props":{"account_creation_fee":{"amount":"1","precision":3,"nai":"@@000000021"}}}}"#,
            r#"["pow2",{"work":[0,{"pow_summary":1}],"props":{"account_creation_fee":"0.001 HIVE"}}]"#,
        );
        check(
            r#"{"type":"consolidate_treasury_balance_operation","value":{"total_moved":[{"amount":"9","precision":3,"nai":"@@000000013"}]}}"#,
            r#"["consolidate_treasury_balance",{"total_moved":["0.009 HBD"]}]"#,
        );
    }

    #[test]
    fn big_integers_and_unknown_types_survive() {
        check(
            r#"{"type":"from_the_future_operation","value":{"n":98765432109876543210,"s":"7.000 HIVE","l":[[0,{"a":[]}]]}}"#,
            r#"["from_the_future",{"n":98765432109876543210,"s":"7.000 HIVE","l":[[0,{"a":[]}]]}]"#,
        );
        assert_eq!(operation(&parse("7"), Form::Appbase).get(), "7");
        assert_eq!(operation(&parse(r#"["vote"]"#), Form::Appbase).get(), r#"["vote"]"#);
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("[\"custom\",{{\"x\":{}{}}}]", "[".repeat(10_000), "]".repeat(10_000));
        let converted = operation(&parse(&deep), Form::Appbase);
        assert!(converted.get().len() > 20_000);
    }
}
