//! A chain of three models, for the test that kills them: two sources, and three models of which each hears the one
//! before it. Which of them it is says the instance's name.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use procession::{Process, Program};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[expect(dead_code, reason = "the test computes with it what must come of all this")]
mod rules;

use rules::{LATENESS, Mixer, end, note};

type BoxError = Box<dyn Error + Send + Sync>;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    /// What the sources say
    seed: u32,
    /// How many events each source says
    count: u64,
    /// Pause after each
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pause: Duration,
    /// How long models hold inputs for earlier ones
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    wait: Duration,
    /// After how many inputs they write a snapshot
    snapshot_after: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            count: 1000,
            pause: Duration::from_millis(1),
            wait: Duration::ZERO,
            snapshot_after: 100,
        }
    }
}

fn main() -> ExitCode {
    Program::new("models").about("A chain of models, to be killed over it.").run(app)
}

async fn app(process: Process<Settings>) -> Result<(), BoxError> {
    match process.instance() {
        "models@even" => source(&process, 0).await,
        "models@odd" => source(&process, 1).await,
        "models@first" => {
            run::<1>(&process, ["models@even/note", "models@odd/note"].map(str::to_owned).into()).await
        }
        "models@second" => run::<2>(&process, vec!["models@first/note".to_owned()]).await,
        "models@third" => {
            run::<3>(&process, vec!["models@second/note".to_owned(), "models@odd/note".to_owned()]).await
        }
        other => Err(format!("{other} is no part of the chain").into()),
    }
}

/// Says what the seed gives, each event once whoever dies, then that this was all.
async fn source(process: &Process<Settings>, which: u64) -> Result<(), BoxError> {
    let Settings { seed, count, pause, .. } = *process.settings();
    let shutdown = process.shutdown();
    let mut number = process.checkpoint::<u64>("number")?.unwrap_or(0);
    while number < count && !shutdown.is_cancelled() {
        let mut batch = process.batch();
        batch.add(&note(seed.into(), which, number))?;
        number += 1;
        batch.checkpoint("number", &number)?;
        batch.commit()?;
        tokio::time::sleep(pause).await;
    }
    if number == count {
        process.heartbeat(end(count))?;
    }
    shutdown.cancelled().await;
    Ok(())
}

async fn run<const LEVEL: u32>(process: &Process<Settings>, sources: Vec<String>) -> Result<(), BoxError> {
    let Settings { wait, snapshot_after, .. } = *process.settings();
    let model = process.model::<Mixer<LEVEL>>("mixer").hear(sources).lateness(LATENESS).wait(wait);
    // However busy the machine is, who was killed is started again within this time.
    let model = model.dead_after(Duration::from_secs(60));
    Ok(model.snapshot_after(snapshot_after).final_every(Duration::from_millis(5)).run().await?)
}
