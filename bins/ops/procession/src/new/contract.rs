//! The event types that the processes of a context share in Rust.

/// An event type of crate `contracts`, and a payload that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contract {
    pub(super) context: &'static str,
    topic: &'static str,
    pub(super) name: &'static str,
    pub(super) payload: &'static str,
}

macro_rules! operation {
    ($kind:literal, $value:literal) => {
        concat!(
            r#"{"block":1,"trx_id":"","trx_in_block":0,"op_in_trx":0,"timestamp":"2016-03-24T16:05:00","op":{"type":""#,
            $kind,
            r#"_operation","value":"#,
            $value,
            "}}"
        )
    };
}

/// A test reads each payload as the type.
const CONTRACTS: [Contract; 6] = [
    Contract {
        context: "hive",
        topic: "comment",
        name: "Comment",
        payload: operation!("comment", r#"{"author":"ann","permlink":"one","title":"A title"}"#),
    },
    Contract {
        context: "hive",
        topic: "vote",
        name: "Vote",
        payload: operation!("vote", r#"{"voter":"ann","author":"bob","permlink":"one","weight":10000}"#),
    },
    Contract {
        context: "hive",
        topic: "transfer",
        name: "Transfer",
        payload: operation!("transfer", r#"{"from":"ann","to":"bob","amount":"1.000 HIVE","memo":""}"#),
    },
    Contract {
        context: "hive",
        topic: "custom_json",
        name: "CustomJson",
        payload: operation!(
            "custom_json",
            r#"{"required_auths":[],"required_posting_auths":["ann"],"id":"game","json":"{}"}"#
        ),
    },
    Contract {
        context: "hive",
        topic: "new-post",
        name: "NewPost",
        payload: concat!(
            r#"{"author":"ann","permlink":"one","title":"A title","url":"https://peakd.com/@ann/one","#,
            r#""block":1,"trx_id":"","timestamp":"2016-03-24T16:05:00"}"#
        ),
    },
    Contract {
        context: "hive",
        topic: "large-transfer",
        name: "LargeTransfer",
        payload: concat!(
            r#"{"from":"ann","to":"bob","amount":"25000.000","asset":"HIVE","#,
            r#""block":1,"trx_id":"","op_in_trx":0,"timestamp":"2016-03-24T16:05:00"}"#
        ),
    },
];

/// The type of a topic in a context, if it has one.
pub(super) fn find(context: &str, topic: &str) -> Option<Contract> {
    CONTRACTS.into_iter().find(|contract| contract.context == context && contract.topic == topic)
}

impl Contract {
    /// Its path: `contracts::hive::Comment`.
    pub(super) fn path(&self) -> String {
        format!("contracts::{}::{}", self.context, self.name)
    }
}

#[cfg(test)]
mod tests {
    use contracts::hive;
    use procession::Event;

    use super::*;

    fn check<E: Event>(name: &str) {
        let contract = find("hive", E::TOPIC).unwrap_or_else(|| panic!("{} isn't listed", E::TOPIC));
        assert_eq!(contract.name, name);
        let event: E =
            serde_json::from_str(contract.payload).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(serde_json::to_string(&event).is_ok());
    }

    #[test]
    fn types_are_those_of_the_contracts_and_read_their_payloads() {
        check::<hive::Comment>("Comment");
        check::<hive::Vote>("Vote");
        check::<hive::Transfer>("Transfer");
        check::<hive::CustomJson>("CustomJson");
        check::<hive::NewPost>("NewPost");
        check::<hive::LargeTransfer>("LargeTransfer");
        assert_eq!(find("hive", "comment").unwrap().path(), "contracts::hive::Comment");
        assert_eq!(find("shop", "comment"), None);
    }
}
