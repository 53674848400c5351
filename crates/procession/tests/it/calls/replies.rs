//! Replies and refusals, typed and untyped.

use std::time::Duration;

use procession::calls::{Failure, Request};
use procession::varlink::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::kitchen::order::{Cooked, KITCHEN, KitchenError};
use crate::varlink::zlink_client::Zlink;

use super::kitchen::{Answer, NOW, Street, block_on, cook, count, order};

/// A method that no kitchen has.
#[derive(Debug, Serialize, Deserialize)]
struct Clean {}

impl Request for Clean {
    const METHOD: &'static str = "io.procession.example.Kitchen.Clean";
    type Reply = Cooked;
    type Error = KitchenError;
}

/// Another idea of what a kitchen needs to know.
#[derive(Debug, Serialize, Deserialize)]
struct CookAtOnce {
    dish: u32,
}

impl Request for CookAtOnce {
    const METHOD: &'static str = "io.procession.example.Kitchen.Cook";
    type Reply = Cooked;
    type Error = KitchenError;
}

/// Another idea of what a kitchen answers.
#[derive(Debug, Serialize, Deserialize)]
struct CookAndTell {
    dish: String,
    takes_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Told {
    story: String,
}

impl Request for CookAndTell {
    const METHOD: &'static str = "io.procession.example.Kitchen.Cook";
    type Reply = Told;
    type Error = KitchenError;
}

#[test]
fn replies_and_refusals_keep_their_types() {
    let street = Street::new();
    let _kitchen = street.open("kitchen", &[]);
    block_on(async {
        let caller = street.caller("kitchen");
        assert_eq!(caller.call(&cook("soup", NOW)).await.unwrap().times, 1);
        assert_eq!(caller.call(&cook("soup", NOW)).await.unwrap().times, 2);
        assert_eq!(caller.call(&count("soup", NOW)).await.unwrap().times, 2);

        let refused: Answer = caller.call(&cook("unicorn", NOW)).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.refusal(), Some(&KitchenError::NotOnMenu { dish: "unicorn".to_owned() }));
        assert_eq!(refused.to_string(), "nobody here can cook unicorn");
        let refused: Answer = caller.call(&cook("supper", NOW)).await;
        assert_eq!(refused.unwrap_err().refusal(), Some(&KitchenError::KitchenClosed));
        // Several hops, several layers: the words of the last come back.
        let refused: Answer = caller.call(&order("kitchen", "unicorn", NOW)).await;
        assert!(refused.unwrap_err().to_string().contains("nobody here can cook unicorn"));
    });
}

#[test]
fn where_the_two_sides_differ_it_is_said_who_and_how() {
    let street = Street::new();
    let mut kitchen = street.open("kitchen", &[]);
    block_on(async {
        let caller = street.caller("kitchen");
        let failure = caller.call(&Clean {}).await.unwrap_err();
        assert!(matches!(&failure, Failure::NotOffered { method, .. } if method.ends_with("Kitchen.Clean")));
        assert!(!failure.is_uncertain());

        let failure = caller.call(&CookAtOnce { dish: 7 }).await.unwrap_err();
        assert!(matches!(failure, Failure::Misunderstood { uncertain: false, .. }), "{failure:?}");
        assert!(failure.to_string().contains("dish"), "{failure}");

        // The dish is cooked; the caller can't read what it is told.
        let told = CookAndTell { dish: "soup".to_owned(), takes_ms: 0 };
        let failure = caller.call(&told).await.unwrap_err();
        assert!(matches!(failure, Failure::Misunderstood { uncertain: true, .. }), "{failure:?}");
        assert!(failure.to_string().contains("story"), "{failure}");

        let failure = caller.call(&cook("flambé", NOW)).await.unwrap_err();
        assert!(matches!(failure, Failure::Lost { .. }) && failure.is_uncertain(), "{failure:?}");
        // A panic ends a process: the next one takes the next call.
        kitchen.wait_for("the kitchen is on fire");
        assert_eq!(kitchen.wait().code, Some(1));
        let _kitchen = street.open("kitchen", &[]);
        assert_eq!(caller.call(&cook("soup", NOW)).await.unwrap().times, 1);
    });
}

#[test]
fn a_plain_varlink_client_needs_no_deadline() {
    let street = Street::new();
    let _kitchen = street.open("kitchen", &[]);
    block_on(async {
        let mut client = Client::connect(street.socket("kitchen")).await.unwrap();
        let interface = json!({"interface": "io.procession.example.Kitchen"});
        let described: Value =
            client.call("org.varlink.service.GetInterfaceDescription", &interface).await.unwrap();
        assert_eq!(described["description"], KITCHEN);
        let method = "io.procession.example.Kitchen.Cook";
        let cooked: Value = client.call(method, &json!({"dish": "soup", "takes_ms": 1})).await.unwrap();
        assert_eq!(cooked, json!({"times": 1}));
        let missing = client.call::<Value>(method, &json!({"dish": "soup"})).await.unwrap_err();
        assert_eq!(missing.name(), Some("org.varlink.service.InvalidParameter"));
        let refused = client.call::<Value>(method, &json!({"dish": "unicorn", "takes_ms": 1})).await;
        assert_eq!(refused.unwrap_err().name(), Some("io.procession.example.Kitchen.NotOnMenu"));
        client.oneway(method, &json!({"dish": "toast", "takes_ms": 1})).await.unwrap();
        street.until("kitchen", "toast", &["begun", "done"]).await;
    });
}

#[test]
fn zlink_can_call() {
    let street = Street::new();
    let _kitchen = street.open("kitchen", &[]);
    block_on(async {
        let mut zlink = Zlink::connect(&street.socket("kitchen")).await.unwrap();
        let interfaces = zlink.interfaces().await.unwrap();
        assert!(interfaces.iter().any(|name| name == "io.procession.example.Kitchen"), "{interfaces:?}");
        let cooked: Cooked =
            zlink.call("io.procession.example.Kitchen.Cook", cook("soup", NOW)).await.unwrap();
        assert_eq!(cooked.times, 1);
    });
}

#[test]
fn many_tasks_share_a_caller() {
    let street = Street::new();
    let _kitchen = street.open("kitchen", &["--calls-queue", "1000"]);
    block_on(async {
        let caller = street.caller("kitchen");
        let calls = (0..200).map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.call(&cook("soup", Duration::from_millis(1))).await })
        });
        let calls: Vec<_> = calls.collect();
        let mut times = Vec::new();
        for call in calls {
            times.push(call.await.unwrap().unwrap().times);
        }
        times.sort_unstable();
        assert_eq!(times, (1..=200).collect::<Vec<_>>());
    });
}
