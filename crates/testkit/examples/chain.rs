//! A chain of processes that only pass records on, for the tests that kill them: a source, two that work side by
//! side, and a sink that hears both. Which of them it is says the instance's name. What they say is in
//! `testkit::chain::script`.

use std::borrow::Cow;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use procession::{Batch, Codec, Delivery, Event, Heard, NoSettings, Process, Program, Start, Subscription};
use serde::{Deserialize, Serialize};
use testkit::chain::script::{self, CHECKPOINT, FAN_IN, INPUT, INSTANCES, Said, TOPICS};

type BoxError = Box<dyn Error + Send + Sync>;

/// How long to wait for room in the journal.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// The right side takes at most so many deliveries at once.
const TAKEN_MAX: u64 = 12;

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Number(Said);

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Output(Said);

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Outcome(Said);

/// The key that an event takes over belongs to its number.
macro_rules! event {
    ($event:ty, $topic:expr) => {
        impl Event for $event {
            const TOPIC: &'static str = $topic;
            const CODEC: Codec = Codec::Json;
            fn key(&self) -> Option<Cow<'_, [u8]>> {
                Some(script::key(self.0.n).into())
            }
        }
    };
}
event!(Number, TOPICS[0]);
event!(Output, TOPICS[1]);
event!(Outcome, TOPICS[3]);

fn main() -> ExitCode {
    Program::new("chain").about("Passes records on, to be killed over it.").run(app)
}

async fn app(process: Process<NoSettings>) -> Result<(), BoxError> {
    // A process is ready when its application waits for the first time.
    tokio::task::yield_now().await;
    match process.instance() {
        "chain@source" => source(&process).await,
        "chain@left" => left(&process).await,
        "chain@right" => right(&process).await,
        "chain@sink" => sink(&process).await,
        other => Err(format!("{other} has no place in the chain").into()),
    }
}

/// Speaks without end; goes on where its own journal ends.
async fn source(process: &Process<NoSettings>) -> Result<(), BoxError> {
    let mut n = resume(process)?;
    let shutdown = process.shutdown();
    while !shutdown.is_cancelled() {
        let step = script::step(n);
        let said = if step == 1 {
            process.publish(&Number(script::number(n))).map(drop)
        } else {
            several(process, n)
        };
        if has_room(said.map_err(BoxError::from)).await? {
            n += step;
        }
        // Signals are heard and sockets answered elsewhere; this is for the readiness and the watchdog.
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn several(process: &Process<NoSettings>, n: u64) -> procession::Result<()> {
    let end = n + script::step(n);
    let mut batch = process.batch();
    for n in n..end {
        batch.add(&Number(script::number(n)))?;
    }
    batch.checkpoint(CHECKPOINT, &end)?;
    batch.commit().map(drop)
}

/// The number to go on with. The checkpoint is of the last batch; since then there were only single records.
fn resume(process: &Process<NoSettings>) -> Result<u64, BoxError> {
    let end = process.read_own(Start::End)?.position().next.0;
    let mut n = process.checkpoint::<u64>(CHECKPOINT)?.unwrap_or_default();
    while n < end && script::step(n) == 1 {
        n += 1;
    }
    if n == end {
        Ok(n)
    } else {
        Err(format!("the journal ends at {end}, the checkpoint leads to {n}").into())
    }
}

/// Answers each number at once.
async fn left(process: &Process<NoSettings>) -> Result<(), BoxError> {
    let mut numbers = process.subscribe::<Number>(INSTANCES[0]).named(INPUT).strict().await?;
    while let Some(delivery) = numbers.next().await? {
        let outputs = outputs_of(process, &delivery)?;
        loop {
            let said = match outputs.as_slice() {
                [only] => process.publish_acking(only, &delivery).map(drop),
                _ => answer(process, &[(&delivery, &outputs)]),
            };
            if has_room(said.map_err(BoxError::from)).await? {
                break;
            }
            if process.shutdown().is_cancelled() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Answers what has come together, and only acknowledges what it has no answer to.
async fn right(process: &Process<NoSettings>) -> Result<(), BoxError> {
    let mut numbers = process.subscribe::<Number>(INSTANCES[0]).named(INPUT).strict().await?;
    while let Some(taken) = take(&mut numbers).await? {
        let mut answers = Vec::new();
        for delivery in &taken {
            answers.push((delivery, outputs_of(process, delivery)?));
        }
        if answers.iter().all(|(_, outputs)| outputs.is_empty() && taken[0].offset.0 % 2 == 0) {
            taken.iter().for_each(Delivery::ack);
            continue;
        }
        let answers: Vec<_> =
            answers.iter().map(|(delivery, outputs)| (*delivery, outputs.as_slice())).collect();
        while !has_room(answer(process, &answers).map_err(BoxError::from)).await? {
            if process.shutdown().is_cancelled() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The next delivery, and some that are there already.
async fn take(numbers: &mut Subscription<Number>) -> Result<Option<Vec<Delivery<Number>>>, BoxError> {
    let Some(first) = numbers.next().await? else { return Ok(None) };
    let most = 1 + first.offset.0 % TAKEN_MAX;
    let mut taken = vec![first];
    while (taken.len() as u64) < most {
        match numbers.try_hear()? {
            None => break,
            Some(Heard::Delivery(delivery)) => taken.push(delivery),
            Some(Heard::Missing(missing)) => return Err(format!("a gap: {missing:?}").into()),
        }
    }
    Ok(Some(taken))
}

/// Outputs and acknowledgements in one batch.
fn answer(
    process: &Process<NoSettings>,
    answers: &[(&Delivery<Number>, &[Output])],
) -> procession::Result<()> {
    let mut batch: Batch<'_> = process.batch();
    for (delivery, outputs) in answers {
        for output in *outputs {
            batch.add_caused(output, delivery)?;
        }
        batch.ack(delivery);
    }
    batch.commit().map(drop)
}

fn outputs_of(process: &Process<NoSettings>, delivery: &Delivery<Number>) -> Result<Vec<Output>, BoxError> {
    check(&delivery.event.0, delivery.key.as_deref())?;
    Ok(script::outputs(process.instance(), &delivery.event.0).into_iter().map(Output).collect())
}

/// Hears both sides by one subscription, and says one record for each of theirs.
async fn sink(process: &Process<NoSettings>) -> Result<(), BoxError> {
    let sides = [INSTANCES[1], INSTANCES[2]];
    let mut outputs = process.subscribe::<Output>(sides).named(FAN_IN).strict().await?;
    while let Some(delivery) = outputs.next().await? {
        check(&delivery.event.0, delivery.key.as_deref())?;
        let outcome = Outcome(script::result(&delivery.event.0));
        while !has_room(process.publish_acking(&outcome, &delivery).map(drop).map_err(BoxError::from)).await?
        {
            if process.shutdown().is_cancelled() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn check(said: &Said, key: Option<&[u8]>) -> Result<(), BoxError> {
    if said.is_whole() && key == Some(&script::key(said.n)) {
        return Ok(());
    }
    Err(format!("this is not what was said: {said:?} with key {key:?}").into())
}

/// False if the journal is at its limit: readers have to pass first.
async fn has_room(said: Result<(), BoxError>) -> Result<bool, BoxError> {
    match said {
        Ok(()) => Ok(true),
        Err(error) if is_full(&*error) => {
            tokio::time::sleep(FULL_PAUSE).await;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn is_full(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let full = |error| matches!(error, &procession::Error::Journal(journal::Error::Full { .. }));
    error.downcast_ref::<procession::Error>().is_some_and(full)
}
