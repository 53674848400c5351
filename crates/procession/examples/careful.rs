//! A subscriber with scruples: takes only what is durable, ends at a gap, refuses what it is told to refuse. The tests
//! of subscriptions drive it as a real process.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;
use std::time::Duration;

use procession::{Any, Codec, Heard, Message, Process, Result, Start, Subscription};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    /// Take only what is safe from power loss
    durable: bool,
    /// End at a gap
    strict: bool,
    /// Refuse events with this number
    refuse: u64,
    /// Refuse one in so many
    refuse_one_in: u64,
    /// Acknowledge in any order
    any_order: bool,
    /// Hear `a` and `b`, hold all, and refuse what is held when something is missing
    regret: bool,
    /// Ask again and again instead of waiting, and say what is missing
    impatient: bool,
    /// Hold so many deliveries before the first of them is acknowledged
    hold: usize,
    /// Hear only what is said from now on, and say so
    end: bool,
}

fn main() -> ExitCode {
    procession::run("careful", listen)
}

/// Gives up each time that there is nothing at once.
async fn ask(process: &Process<Settings>, mut subscription: Subscription<Any>) -> Result<()> {
    tokio::time::sleep(Duration::from_millis(1)).await;
    while !process.shutdown().is_cancelled() {
        let heard = {
            let mut hear = pin!(subscription.hear());
            poll_fn(|context| match hear.as_mut().poll(context) {
                Poll::Ready(heard) => Poll::Ready(Some(heard)),
                Poll::Pending => Poll::Ready(None),
            })
            .await
        };
        match heard.transpose()?.flatten() {
            Some(Heard::Delivery(delivery)) => delivery.ack(),
            Some(Heard::Missing(missing)) => {
                let said = json!({"from": missing.gap.from.0, "to": missing.gap.to.0});
                process.publish_message(&Message::json("missing", &said)?)?;
            }
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    Ok(())
}

/// Holds what it hears, and says what is missing.
async fn regret(process: &Process<Settings>, mut subscription: Subscription<Any>) -> Result<()> {
    let mut held = Vec::new();
    while let Some(heard) = subscription.hear().await? {
        match heard {
            Heard::Delivery(delivery) => {
                let number = delivery.event.decode::<Value>()?["number"].clone();
                process.publish_message(&Message::json("heard", &json!({"number": number}))?)?;
                held.push(delivery);
            }
            Heard::Missing(missing) => {
                process.publish_message(&Message::json("missing", &json!({"of": &*missing.journal}))?)?;
                held.drain(..).for_each(|delivery| delivery.nack("told so"));
            }
        }
    }
    Ok(())
}

/// Says `heard` for each delivery, with its attempt, and acknowledges in another order than it heard.
async fn listen(process: Process<Settings>) -> Result<()> {
    let settings = process.settings();
    if settings.regret {
        let subscription = process.subscribe_any(["a/*", "b/*"]).named("all").await?;
        return regret(&process, subscription).await;
    }
    let mut subscribe = process.subscribe_any("source").named("all");
    if settings.durable {
        subscribe = subscribe.durable();
    }
    if settings.strict {
        subscribe = subscribe.strict();
    }
    if settings.any_order {
        subscribe = subscribe.in_any_order();
    }
    if settings.end {
        subscribe = subscribe.from(Start::End);
    }
    let mut subscription = subscribe.await?;
    if settings.end {
        process.publish_message(&Message::encoded("begun", Codec::Raw, &b"null"[..]))?;
    }
    if settings.impatient {
        return ask(&process, subscription).await;
    }
    let mut held = Vec::new();
    while let Some(delivery) = subscription.next().await? {
        let number = delivery.event.decode::<Value>()?["number"].as_u64().unwrap_or_default();
        let heard = json!({"number": number, "attempt": delivery.attempt});
        process.publish_message(&Message::json("heard", &heard)?.caused_by(&delivery))?;
        let is_one_of = settings.refuse_one_in > 0 && (number + 1).is_multiple_of(settings.refuse_one_in);
        if settings.refuse == number || is_one_of {
            delivery.nack("told so");
            continue;
        }
        held.push(delivery);
        if held.len() > settings.hold {
            // The newest first: none of them counts before the oldest.
            while let Some(delivery) = held.pop() {
                delivery.ack();
            }
            process.publish_message(&Message::encoded("settled", Codec::Raw, &b"null"[..]))?;
        }
    }
    Ok(())
}
