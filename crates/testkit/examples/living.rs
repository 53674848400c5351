//! A source, and those who hear it, for the proof that makes the source lose what it had said. Which of them it is
//! says the instance's name. What they say is in `testkit::living::script`.

use std::borrow::Cow;
use std::error::Error;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use procession::ordering::{Compensate, EventTime, Heard as Record, Input, Model, Outputs};
use procession::{Delivery, Event, Heard, Process, Program, Start};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testkit::living::script::{self, LISTENERS, SOURCE};

type BoxError = Box<dyn Error + Send + Sync>;

/// Longer than anything runs here: nothing becomes final.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    /// Life of the source
    life: u64,
    /// Words to say; none: without end
    count: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct Word(script::Word);

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Told(script::Told);

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Sum(script::Sum);

impl Event for Word {
    const TOPIC: &'static str = script::WORD;
    fn key(&self) -> Option<Cow<'_, [u8]>> {
        Some(self.0.key().into())
    }
}

impl Event for Told {
    const TOPIC: &'static str = script::TOLD;
}

impl Event for Sum {
    const TOPIC: &'static str = script::SUM;
}

impl Compensate for Sum {}

fn main() -> ExitCode {
    Program::new("living").about("Speaks and hears, to lose what was said.").run(app)
}

async fn app(process: Process<Settings>) -> Result<(), BoxError> {
    // A process is ready when its application waits for the first time.
    tokio::task::yield_now().await;
    let [plain, keyed, model] = LISTENERS;
    match process.instance() {
        SOURCE => speak(&process).await,
        name if name == plain => hear(&process).await,
        name if name == keyed => hear_by_key(&process).await,
        name if name == model => conclude(&process).await,
        other => Err(format!("{other} has no part in this").into()),
    }
}

/// Goes on where its journal ends: single words, and batches that lie across pages.
async fn speak(process: &Process<Settings>) -> Result<(), BoxError> {
    let Settings { life, count } = *process.settings();
    let shutdown = process.shutdown();
    let mut n = process.read_own(Start::End)?.position().next.0;
    let end = count.map_or(u64::MAX, |count| n + count);
    while n < end && !shutdown.is_cancelled() {
        let mut batch = process.batch();
        let next = (n + 1 + n % 5).min(end);
        for n in n..next {
            batch.add(&Word(script::Word::new(life, n)))?;
        }
        batch.commit()?;
        n = next;
        tokio::time::sleep(Duration::from_micros(n % 3 * 200)).await;
    }
    shutdown.cancelled().await;
    Ok(())
}

async fn hear(process: &Process<Settings>) -> Result<(), BoxError> {
    let mut words = process.subscribe::<Word>(SOURCE).named("words").await?;
    while let Some(heard) = words.hear().await? {
        match heard {
            Heard::Delivery(delivery) => {
                process.publish_acking(&heard_word(&delivery)?, &delivery)?;
            }
            Heard::Missing(missing) => {
                let (from, to) = (missing.gap.from.0, missing.gap.to.0);
                let reason = missing.gap.reason.to_string();
                process.publish(&Told(script::Told::Missed { from, to, reason }))?;
            }
        }
    }
    Ok(())
}

async fn hear_by_key(process: &Process<Settings>) -> Result<(), BoxError> {
    let words = process.subscribe::<Word>(SOURCE).named("words").await?;
    let at_a_time = NonZeroUsize::new(4).expect("not zero");
    words
        .for_each_keyed(at_a_time, async |delivery: Delivery<Word>| {
            tokio::task::yield_now().await;
            process.publish_acking(&heard_word(&delivery)?, &delivery)?;
            Ok::<(), BoxError>(())
        })
        .await?;
    Ok(())
}

fn heard_word(delivery: &Delivery<Word>) -> Result<Told, BoxError> {
    let Word(word) = &delivery.event;
    if !word.is_whole() || word.n != delivery.offset.0 {
        return Err(format!("this is not what was said at {}: {word:?}", delivery.offset).into());
    }
    Ok(Told(script::Told::Heard { life: word.life, n: word.n }))
}

impl Input for Word {
    fn take(heard: &Record<'_>) -> Result<Self, String> {
        heard.decode()
    }

    fn key(&self) -> Cow<'_, [u8]> {
        self.0.key().into()
    }

    fn at(&self) -> Option<EventTime> {
        Some(EventTime(self.0.at_micros()))
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Mixer {
    state: u64,
}

impl Model for Mixer {
    type Input = Word;
    type Output = Sum;

    fn apply(&mut self, _: EventTime, Word(word): &Word, out: &mut Outputs<Sum>) {
        let sum = script::Sum::after(self.state, word);
        self.state = sum.state;
        out.say(Sum(sum));
    }
}

async fn conclude(process: &Process<Settings>) -> Result<(), BoxError> {
    let model = process.model::<Mixer>("mixer").hear(format!("{SOURCE}/{}", script::WORD));
    Ok(model.lateness(NEVER).dead_after(NEVER).snapshot_after(300).run().await?)
}
