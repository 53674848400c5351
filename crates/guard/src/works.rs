//! What is counted: each work as a process of its own, which does it so many times and ends.

use std::borrow::Cow;
use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use procession::calls::{Interface, NoError, Request};
use procession::ordering::{Compensate, EventTime, Fold, FoldOptions, Heard, Input, Model, Order, Outputs};
use procession::{Codec, Delivery, Event, Process};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of each process that works.
pub(crate) const NAME: &str = "guard";
/// Whose journal lies ready for those that hear.
pub(crate) const SPEAKER: &str = "guard@speaker";
/// Events of a batch.
const BATCH: usize = 16;
/// Deliveries that are open at a time where they are acknowledged out of order.
const OPEN: usize = 32;
/// Keys of events.
const KEYS: u64 = 64;
/// Between two events, in event time.
const STEP: Duration = Duration::from_millis(10);
/// Inputs of each key that are there before one comes late, and those of them that it should have come before.
const INPUTS_BEFORE: u64 = 16;
const OVERTAKEN: u64 = 8;
/// Longer than a run takes.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

type BoxError = Box<dyn Error + Send + Sync>;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum, Default)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// An event is said.
    #[default]
    Publish,
    /// The same, one of 16 that are said together.
    Batch,
    /// An event is heard and acknowledged.
    Delivery,
    /// The acknowledgement alone.
    Acknowledgement,
    /// An event is heard and acknowledged in any order, 32 open at a time.
    AnyOrder,
    /// An event is heard, and acknowledged by the event that follows from it.
    PublishAcking,
    /// An event is heard by key.
    Keyed,
    /// The same by a handler that has to wait.
    KeyedWaiting,
    /// An input of a model that comes in order.
    ModelInput,
    /// An input that comes late, behind 8 others of its key, with the correction; the fold alone.
    LateInput,
    /// A call of this process by itself: asked, answered, read.
    Call,
}

impl Work {
    /// Its name on the command line and in the record.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value().expect("no work is hidden");
        value.get_name().to_owned()
    }

    /// How often the work is done in the shorter one of two runs.
    pub(crate) const fn times(self) -> u64 {
        match self {
            Self::Call => 500,
            Self::LateInput => 4096,
            _ => 8192,
        }
    }

    /// The function whose instructions alone are counted.
    pub(crate) const fn within(self) -> Option<&'static str> {
        match self {
            Self::Acknowledgement => Some("*acknowledge_alone*"),
            _ => None,
        }
    }

    /// Whether what other threads do belongs to it.
    pub(crate) const fn is_of_all_threads(self) -> bool {
        matches!(self, Self::Call)
    }

    /// Whether the speaker's journal must lie ready.
    pub(crate) const fn hears(self) -> bool {
        !matches!(self, Self::Publish | Self::Batch | Self::LateInput | Self::Call)
    }
}

/// What a process is to do.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Settings {
    /// The work
    work: Work,
    /// How often
    times: u64,
}

/// An event of ordinary size.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Word {
    number: u64,
    at: i64,
    text: Cow<'static, str>,
}

impl Word {
    fn new(number: u64) -> Self {
        Self::at(number, in_order(number))
    }

    fn at(number: u64, at: EventTime) -> Self {
        Self { number, at: at.0, text: "what is said in a few words".into() }
    }
}

/// When an event happens.
fn in_order(number: u64) -> EventTime {
    EventTime(0).plus(STEP * u32::try_from(number).unwrap_or(u32::MAX))
}

impl Event for Word {
    const TOPIC: &'static str = "word";
    // What counts is the way that an event takes, not the writing and reading of JSON.
    const CODEC: Codec = Codec::Bincode;

    fn key(&self) -> Option<Cow<'_, [u8]>> {
        Some((self.number % KEYS).to_le_bytes().to_vec().into())
    }
}

impl Compensate for Word {}

impl Input for Word {
    fn take(heard: &Heard<'_>) -> Result<Self, String> {
        INPUTS.fetch_add(1, Ordering::Relaxed);
        heard.decode()
    }

    fn key(&self) -> Cow<'_, [u8]> {
        Event::key(self).expect("it has one")
    }

    fn at(&self) -> Option<EventTime> {
        Some(EventTime(self.at))
    }
}

/// Inputs that the model has taken.
static INPUTS: AtomicU64 = AtomicU64::new(0);

/// Says every fourth word of a key again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Echo {
    heard: u64,
}

impl Model for Echo {
    type Input = Word;
    type Output = Word;

    fn apply(&mut self, _: EventTime, word: &Word, out: &mut Outputs<Word>) {
        self.heard += 1;
        if self.heard.is_multiple_of(4) {
            out.say(word.clone());
        }
    }
}

/// Asks for what it says.
#[derive(Debug, Serialize, Deserialize)]
struct Repeat {
    text: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Repeated {
    text: String,
}

impl Request for Repeat {
    const METHOD: &'static str = "io.procession.guard.Echo.Repeat";
    type Reply = Repeated;
    type Error = NoError;
}

const ECHO: &str = "interface io.procession.guard.Echo\n\nmethod Repeat(text: string) -> (text: string)\n";

/// Works, and ends.
pub(crate) async fn work(process: Process<Settings>) -> Result<(), BoxError> {
    let Settings { work, times } = *process.settings();
    match work {
        Work::Publish => {
            for number in 0..times {
                process.publish(&Word::new(number))?;
            }
        }
        Work::Batch => batches(&process, times)?,
        Work::Delivery | Work::Acknowledgement => deliveries(&process, times).await?,
        Work::AnyOrder => in_any_order(&process, times).await?,
        Work::PublishAcking => answers(&process, times).await?,
        Work::Keyed => by_key(&process, times, false).await?,
        Work::KeyedWaiting => by_key(&process, times, true).await?,
        Work::ModelInput => model(&process, times).await?,
        Work::LateInput => late_inputs(times)?,
        Work::Call => calls(&process, times).await?,
    }
    Ok(())
}

fn batches(process: &Process<Settings>, times: u64) -> Result<(), BoxError> {
    for first in (0..times).step_by(BATCH) {
        let mut batch = process.batch();
        for number in (first..times).take(BATCH) {
            batch.add(&Word::new(number))?;
        }
        batch.commit()?;
    }
    Ok(())
}

async fn deliveries(process: &Process<Settings>, times: u64) -> Result<(), BoxError> {
    let mut words = process.subscribe::<Word>(SPEAKER).await?;
    for _ in 0..times {
        let Some(word) = words.next().await? else { break };
        acknowledge_alone(&word);
    }
    Ok(())
}

/// A function of its own, so that its instructions can be told apart.
#[inline(never)]
fn acknowledge_alone(word: &Delivery<Word>) {
    word.ack();
}

async fn in_any_order(process: &Process<Settings>, times: u64) -> Result<(), BoxError> {
    let mut words = process.subscribe::<Word>(SPEAKER).in_any_order().await?;
    let mut open = Vec::with_capacity(OPEN);
    for _ in 0..times {
        let Some(word) = words.next().await? else { break };
        open.push(word);
        if open.len() == OPEN {
            open.drain(..).rev().for_each(|word| word.ack());
        }
    }
    Ok(())
}

async fn answers(process: &Process<Settings>, times: u64) -> Result<(), BoxError> {
    let mut words = process.subscribe::<Word>(SPEAKER).await?;
    for _ in 0..times {
        let Some(word) = words.next().await? else { break };
        process.publish_acking(&word.event, &word)?;
    }
    Ok(())
}

async fn by_key(process: &Process<Settings>, times: u64, waits: bool) -> Result<(), BoxError> {
    let words = process.subscribe::<Word>(SPEAKER).await?;
    let (left, shutdown) = (AtomicU64::new(times), process.shutdown());
    let at_a_time = NonZeroUsize::new(8).expect("not zero");
    words
        .for_each_keyed(at_a_time, async |_: Delivery<Word>| {
            if waits {
                tokio::task::yield_now().await;
            }
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                shutdown.cancel();
            }
            procession::Result::<()>::Ok(())
        })
        .await?;
    Ok(())
}

/// Nothing becomes final and no snapshot is written: both follow the clock, or are rare.
async fn model(process: &Process<Settings>, times: u64) -> Result<(), BoxError> {
    let shutdown = process.shutdown();
    let model =
        process.model::<Echo>("echo").hear(SPEAKER).lateness(NEVER).dead_after(NEVER).final_every(NEVER);
    let model = model.snapshot_after(u64::MAX).watch(move |_| {
        if INPUTS.load(Ordering::Relaxed) == times {
            shutdown.cancel();
        }
    });
    Ok(model.run().await?)
}

/// A fold without a process around it: what follows from a late input there depends on what else comes meanwhile.
fn late_inputs(times: u64) -> Result<(), BoxError> {
    let mut fold = Fold::<Echo>::new("echo", FoldOptions::default());
    let mut take = |number: u64, at: EventTime| {
        let (word, journal) = (Word::at(number, at), Arc::from(SPEAKER));
        let key = Input::key(&word).into_owned();
        fold.event(&key, Order::of_event(at, journal, number), word);
        fold.flush(|saying| {
            std::hint::black_box(saying.payload);
        })
    };
    let before = KEYS * INPUTS_BEFORE;
    for number in 0..before {
        take(number, in_order(number))?;
    }
    let overtaken = in_order(KEYS * (INPUTS_BEFORE - OVERTAKEN));
    for number in 0..times {
        // Each a little later than the one before, so that all come before the same ones.
        take(before + number, overtaken.minus(STEP).plus(Duration::from_micros(number + 1)))?;
    }
    Ok(())
}

async fn calls(process: &Process<Settings>, times: u64) -> Result<(), BoxError> {
    let echo = Interface::new(ECHO, Arc::new(()))
        .on(async |_: Arc<()>, Repeat { text }: Repeat| Ok(Repeated { text }));
    process.offer(echo)?;
    let caller = process.caller(process.instance())?;
    for _ in 0..times {
        caller.call(&Repeat { text: "what is said in a few words".to_owned() }).await?;
    }
    Ok(())
}
