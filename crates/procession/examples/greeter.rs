//! A publisher: greets somebody every so often, and goes on where it stopped, also after `kill -9`.

use std::process::ExitCode;
use std::time::Duration;

use procession::{Event, Process, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What it says. A subscriber declares the same, or both take it from a crate that they share.
#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    number: u64,
    whom: String,
}

impl Event for Greeting {
    const TOPIC: &'static str = "greeting";
}

/// Each field is a key in `greeter.toml`, a variable `PROCESSION_GREETER__…` and a flag of `greeter run`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    /// Whom to greet
    whom: String,
    /// Pause between two greetings
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { whom: "world".to_owned(), every: Duration::from_secs(1) }
    }
}

fn main() -> ExitCode {
    procession::run("greeter", greet)
}

async fn greet(process: Process<Settings>) -> Result<()> {
    let Settings { whom, every } = process.settings();
    let shutdown = process.shutdown();
    let mut number = process.checkpoint::<u64>("number")?.unwrap_or(0);
    while !shutdown.is_cancelled() {
        number += 1;
        // The greeting and how far we are: both or neither.
        let mut batch = process.batch();
        batch.add(&Greeting { number, whom: whom.clone() })?;
        batch.checkpoint("number", &number)?;
        batch.commit()?;
        tokio::select! {
            () = tokio::time::sleep(*every) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}
