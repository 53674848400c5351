//! A small process that the tests look at from outside: it ticks, hears other processes' ticks, or hangs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use procession::{Error, Event, Process, Program};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    /// Ticks to say at once.
    ticks: u64,
    /// Pause between the ticks that follow, in milliseconds; 0 for none to follow.
    every_ms: u64,
    /// A process whose ticks are heard; each is said again under `heard`.
    hears: String,
    /// Take one tick and never finish with it.
    holds: bool,
    /// A file to wait for, saying so.
    waits_for: Option<PathBuf>,
    /// Fail once ready.
    fails: bool,
    /// Go on ticking where there is no room.
    patient: bool,
    /// Begin to hang once ready.
    hang: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tick {
    number: u64,
}

impl Event for Tick {
    const TOPIC: &'static str = "tick";
}

#[derive(Debug, Serialize, Deserialize)]
struct Heard {
    number: u64,
}

impl Event for Heard {
    const TOPIC: &'static str = "heard";
}

fn main() -> ExitCode {
    Program::new("sample").about("Ticks, hears, or hangs.").version("1.2.3").run(app)
}

async fn app(process: Process<Settings>) -> procession::Result<()> {
    let Settings { ticks, every_ms, hears, hang, waits_for, .. } = process.settings();
    for number in 0..*ticks {
        process.publish(&Tick { number })?;
    }
    if let Some(file) = waits_for {
        let waiting = process.waiting(format!("there is no {}", file.display()));
        while !file.exists() && !process.shutdown().is_cancelled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(waiting);
    }
    if process.settings().fails {
        tokio::task::yield_now().await;
        return Err(Error::Decode { what: "the key".to_owned(), reason: "it is bent".to_owned() });
    }
    if !hears.is_empty() {
        return hear(&process, hears).await;
    }
    if *hang {
        // Once past this it is ready.
        tokio::task::yield_now().await;
        loop {
            std::thread::park();
        }
    }
    if *every_ms > 0 {
        let mut pace = tokio::time::interval(Duration::from_millis(*every_ms));
        for number in *ticks.. {
            tokio::select! {
                _ = pace.tick() => match process.publish(&Tick { number }) {
                    Err(Error::Journal(journal::Error::Full { .. })) if process.settings().patient => {}
                    said => drop(said?),
                },
                () = process.shutdown().cancelled_owned() => return Ok(()),
            }
        }
    }
    process.shutdown().cancelled().await;
    Ok(())
}

async fn hear(process: &Process<Settings>, hears: &str) -> procession::Result<()> {
    let mut ticks = process.subscribe::<Tick>(hears).await?;
    while let Some(delivery) = ticks.next().await? {
        if process.settings().holds {
            process.shutdown().cancelled().await;
            return Ok(());
        }
        process.publish_acking(&Heard { number: delivery.event.number }, &delivery)?;
    }
    Ok(())
}
