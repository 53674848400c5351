//! Deals with events by key, several keys at a time, and behaves as it is told: slowly, with failures, or by dying.
//! The tests of deliveries by key drive it as a real process.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use procession::{Any, Delivery, Event, Message, Process, Result, Subscription};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    /// Keys at a time
    concurrency: NonZeroUsize,
    /// Longest time that an event takes
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pause: Duration,
    /// Acknowledge by the output only where the number is no multiple of this; 0: always
    plain_one_in: u64,
    /// Fail with the event of this number
    fail: u64,
    /// Fail with events of this number and later ones
    fail_from: u64,
    /// Die over the event of this number
    die: u64,
    /// Never finish with events of this key
    hang: String,
    /// Wait with the event of this number
    gated: u64,
    /// Until there is this file
    gate: PathBuf,
    /// Do the work on threads of its own
    threads: bool,
    /// One after the other, whatever the key
    one_by_one: bool,
    /// One after the other, and acknowledge in any order: the event of number 0 never
    any_order: bool,
    /// Take only events that are a number
    typed: bool,
    /// Name of the subscription
    name: String,
    /// What it hears
    sources: String,
}

impl Default for Settings {
    fn default() -> Self {
        let concurrency = NonZeroUsize::new(16).expect("not zero");
        let (pause, hang) = (Duration::ZERO, String::new());
        Self {
            concurrency,
            pause,
            plain_one_in: 0,
            fail: u64::MAX,
            fail_from: u64::MAX,
            die: u64::MAX,
            hang,
            gated: u64::MAX,
            gate: PathBuf::new(),
            threads: false,
            one_by_one: false,
            any_order: false,
            typed: false,
            name: "sorted".to_owned(),
            sources: "source/*".to_owned(),
        }
    }
}

/// What `source` says, by its type.
#[derive(Debug, Deserialize, Serialize)]
struct Number {
    number: u64,
}

impl Event for Number {
    const TOPIC: &'static str = "count";
}

fn main() -> ExitCode {
    procession::run("sorter", listen)
}

async fn listen(process: Process<Settings>) -> Result<()> {
    let settings = process.settings();
    if settings.typed {
        let subscription = process.subscribe::<Number>("source").named(&settings.name).await?;
        let take = async |event: Delivery<Number>| {
            wait_at_the_gate(settings, event.event.number).await;
            Result::<()>::Ok(())
        };
        return subscription.for_each_keyed(settings.concurrency, take).await;
    }
    let subscribe = process.subscribe_any(settings.sources.as_str()).named(&settings.name);
    if settings.any_order {
        return leave_the_first(&process, subscribe.in_any_order().await?).await;
    }
    let mut subscription = subscribe.await?;
    if settings.one_by_one {
        while let Some(event) = subscription.next().await? {
            sort(&process, event).await?;
        }
        return Ok(());
    }
    if !settings.threads {
        return subscription
            .for_each_keyed(settings.concurrency, async |event| sort(&process, event).await)
            .await;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("threads can be started");
    let sorted = subscription
        .for_each_keyed(settings.concurrency, async |event| {
            let process = process.clone();
            let sorted =
                runtime.spawn(async move { sort(&process, event).await.map_err(|error| error.to_string()) });
            sorted.await.unwrap_or_else(|error| Err(error.to_string()))
        })
        .await;
    runtime.shutdown_background();
    sorted
}

/// Says `sorted` for each event but the first, and acknowledges it then.
async fn leave_the_first(process: &Process<Settings>, mut subscription: Subscription<Any>) -> Result<()> {
    let mut first = None;
    while let Some(event) = subscription.next().await? {
        let number = event.event.decode::<Value>()?["number"].as_u64().unwrap_or_default();
        if number == 0 {
            first = Some(event);
            continue;
        }
        let said = json!({"number": number, "key": null, "attempt": event.attempt});
        process.publish_message(&Message::json("sorted", &said)?.caused_by(&event))?;
        event.ack();
    }
    drop(first);
    Ok(())
}

async fn wait_at_the_gate(settings: &Settings, number: u64) {
    while settings.gated == number && !settings.gate.exists() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Says `sorted` for each event, with its acknowledgement.
async fn sort(process: &Process<Settings>, event: Delivery<Any>) -> Result<()> {
    let settings = process.settings();
    let number = event.event.decode::<Value>()?["number"].as_u64().unwrap_or_default();
    if !settings.hang.is_empty() && event.key.as_deref() == Some(settings.hang.as_bytes()) {
        tracing::info!("begins to hang, attempt {}", event.attempt);
        std::future::pending::<()>().await;
    }
    wait_at_the_gate(settings, number).await;
    if !settings.pause.is_zero() {
        // Some are done at once, some take long: no two in the same order.
        let part = f64::from(u32::try_from(number.wrapping_mul(0x9e37_79b9) % 1000).unwrap_or(0)) / 1000.0;
        tokio::time::sleep(settings.pause.mul_f64(part * part)).await;
    }
    if settings.die == number {
        std::process::abort();
    }
    if settings.fail == number || number >= settings.fail_from {
        event.nack("told so");
        tracing::info!("refused, attempt {}", event.attempt);
        return Ok(());
    }
    if settings.plain_one_in > 0 && number % settings.plain_one_in == 0 {
        event.ack();
        return Ok(());
    }
    let key = event.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned());
    let said = json!({"number": number, "key": key, "attempt": event.attempt});
    let mut batch = process.batch();
    batch.add_message(Message::json("sorted", &said)?.caused_by(&event))?.ack(&event);
    batch.commit()?;
    Ok(())
}
