//! A subscriber: answers each greeting, exactly once, whoever dies in between.

use std::process::ExitCode;

use procession::{Event, NoSettings, Process, Result};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    number: u64,
    whom: String,
}

impl Event for Greeting {
    const TOPIC: &'static str = "greeting";
}

/// What it says because of it.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    to: u64,
}

impl Event for Answer {
    const TOPIC: &'static str = "answer";
}

fn main() -> ExitCode {
    procession::run("listener", listen)
}

async fn listen(process: Process<NoSettings>) -> Result<()> {
    // The greeter may be down, or may never have run: it is waited for, and nothing is missed.
    let mut greetings = process.subscribe::<Greeting>("greeter").await?;
    while let Some(delivery) = greetings.next().await? {
        // The answer, its cause, and the acknowledgement of what it answers: all or nothing.
        process.publish_acking(&Answer { to: delivery.event.number }, &delivery)?;
    }
    Ok(())
}
