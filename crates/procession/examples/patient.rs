//! Says more than there is room for, and waits for its readers; alone, or as the answer to what it hears. The tests of a full
//! journal drive it as a real process.

use std::process::ExitCode;
use std::time::Duration;

use procession::{Any, Delivery, Event, Offset, Process, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    /// Say so many numbers, and end
    count: u64,
    /// Answer what `source` says
    answers: bool,
    /// Lose patience again and again
    impatient: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    number: u64,
    room: String,
}

impl Event for Counted {
    const TOPIC: &'static str = "counted";
}

fn main() -> ExitCode {
    procession::run("patient", count)
}

async fn count(process: Process<Settings>) -> Result<()> {
    if process.settings().answers {
        let mut subscription = process.subscribe_any("source").named("all").await?;
        while let Some(delivery) = subscription.next().await? {
            let number = delivery.event.decode::<Value>()?["number"].as_u64().unwrap_or_default();
            if let Err(error) = say(&process, number, Some(&delivery)).await {
                return if process.shutdown().is_cancelled() { Ok(()) } else { Err(error) };
            }
        }
        return Ok(());
    }
    for number in 0..process.settings().count {
        if let Err(error) = say(&process, number, None).await {
            return if process.shutdown().is_cancelled() { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

async fn say(process: &Process<Settings>, number: u64, delivery: Option<&Delivery<Any>>) -> Result<Offset> {
    let event = Counted { number, room: "x".repeat(150) };
    loop {
        let saying = async {
            match delivery {
                None => process.publish_when_there_is_room(&event).await,
                Some(delivery) => process.publish_acking_when_there_is_room(&event, delivery).await,
            }
        };
        if !process.settings().impatient {
            return saying.await;
        }
        if let Ok(said) = tokio::time::timeout(Duration::from_millis(3), saying).await {
            return said;
        }
    }
}
