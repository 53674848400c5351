//! `io.procession.DeadLetters`: decisions about letters, from outside.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use journal::{Offset, Start};
use tokio::sync::oneshot;

use super::desk::{Order, Refusal, What};
use super::{Found, Letter, Outcome};
use crate::aside::{self, Gone};
use crate::calls::{NoReply, Request as _, answer};
use crate::core::Core;
use crate::interfaces::dead_letters::{
    self, GetParked, LetterError, NotRetried, Parked, ParkedKeys, Release, Released, Retried, Retry, RetryAll,
};
use crate::json;
use crate::subscribe::parked_keys;
use crate::varlink::{Answer, Call, Right, Service};

/// Serves the letters of one process.
pub(crate) struct LettersService {
    pub(crate) core: Arc<Core>,
}

/// Subscription and key of open letters, by where they lie.
type OpenLetters = BTreeMap<Offset, OfKey>;
/// A subscription, and a key of it as letters have it.
type OfKey = (String, Option<Box<[u8]>>);

impl Service for LettersService {
    fn interface(&self) -> &'static str {
        dead_letters::NAME
    }

    fn description(&self) -> &'static str {
        dead_letters::DESCRIPTION
    }

    fn right(&self, method: &str) -> Right {
        if method == "Parked" { Right::Read } else { Right::Control }
    }

    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move {
            match call.full_method() {
                GetParked::METHOD => answer(call, |_: GetParked| self.parked()).await,
                Retry::METHOD => answer(call, |what| self.retry(what)).await,
                RetryAll::METHOD => answer(call, |what| self.retry_all(what)).await,
                dead_letters::Drop::METHOD => answer(call, |what| self.drop_letter(what)).await,
                Release::METHOD => answer(call, |what| self.release(what)).await,
                _ => Err(call.unknown_method()),
            }
        })
    }
}

impl LettersService {
    async fn parked(&self) -> Result<Parked, LetterError> {
        let parked = self.aside(|core, _| {
            let parked = core.subscriptions().into_iter().filter_map(|subscription| {
                let keys = parked_keys(core, &subscription).ok()?;
                let mut keys: Vec<String> = keys.iter().map(|key| json::key(key)).collect();
                keys.sort();
                (!keys.is_empty()).then_some(ParkedKeys { subscription, keys })
            });
            Ok(parked.collect::<Vec<_>>())
        });
        Ok(Parked { parked: parked.await? })
    }

    async fn retry(&self, Retry { offset }: Retry) -> Result<NoReply, LetterError> {
        let letter = self.open_letter(offset).await?;
        let subscription = letter.letter.subscription;
        self.order(&subscription, What::Retry(Offset(offset)), offset, "").await?;
        Ok(NoReply {})
    }

    /// One look through the journal, then one letter after the other: each is delivered before the next is thought of.
    async fn retry_all(&self, RetryAll { subscription }: RetryAll) -> Result<Retried, LetterError> {
        let (open, end) = self.open_letters(subscription).await?;
        let mut of_keys = by_key(&open);
        let (mut letters, mut failed) = (0, Vec::new());
        for (at, (subscription, key)) in open {
            // Those of a key that was released went with it.
            let of_key = (subscription, key);
            if !self.core.outlet.letters.is_undecided(at) {
                // Somebody else was faster.
                continue;
            }
            if of_key.1.is_some() && !of_keys.contains_key(&of_key) {
                continue;
            }
            let is_parked = match &of_key.1 {
                None => false,
                Some(key) => match self.parked_keys(&of_key.0).await {
                    Ok(parked) => parked.contains(key),
                    Err(error) => {
                        failed.push(NotRetried { letter: at.0, reason: error.to_string() });
                        continue;
                    }
                },
            };
            let found = is_parked.then(|| of_keys.remove(&of_key)).flatten();
            let (subscription, key) = of_key;
            let retried = match key.zip(found) {
                None => self.order(&subscription, What::Retry(at), at.0, "").await.map(|_| 1),
                Some((key, found)) => {
                    let found = Found::new(found, end);
                    let text = json::key(&key);
                    let what = What::Release { key, give_up: false, letters: found };
                    self.order(&subscription, what, at.0, &text).await
                }
            };
            match retried {
                Ok(count) => letters += count,
                Err(error) => failed.push(NotRetried { letter: at.0, reason: error.to_string() }),
            }
        }
        Ok(Retried { letters, failed })
    }

    /// Where the open letters lie, with their subscriptions and keys; and where the journal ended then.
    async fn open_letters(&self, only: Option<String>) -> Result<(OpenLetters, Offset), LetterError> {
        self.aside(move |core, gone| {
            let mut open = OpenLetters::new();
            let is_wanted =
                |letter: &Letter| only.as_ref().is_none_or(|only| *only == letter.letter.subscription);
            super::scan(&folder(core), Start::Beginning, &mut open, gone, |letter| {
                is_wanted(&letter).then_some((letter.letter.subscription, letter.key))
            })
            .map(|end| (open, end))
        })
        .await
    }

    async fn drop_letter(
        &self,
        dead_letters::Drop { offset }: dead_letters::Drop,
    ) -> Result<NoReply, LetterError> {
        self.open_letter(offset).await?;
        let settle = move |core: &Core, _: &Gone| core.outlet.settle_letter(Offset(offset), Outcome::Dropped);
        if !self.aside(settle).await? {
            let why = self.core.outlet.letters.refusal(Offset(offset)).unwrap_or(Refusal::NoLetter);
            return Err(refused(why, offset, "", ""));
        }
        tracing::warn!(offset, "a dead letter is dropped, as told");
        Ok(NoReply {})
    }

    async fn release(&self, what: Release) -> Result<Released, LetterError> {
        let Release { subscription, key, drop } = what;
        let parked = self.parked_keys(&subscription).await?;
        let Some(bytes) = parked.into_iter().find(|parked| json::key(parked) == key) else {
            return Err(refused(Refusal::NotParked, 0, &subscription, &key));
        };
        let letters = self.letters_of(&subscription, bytes.clone()).await?;
        let what = What::Release { key: bytes, give_up: drop.unwrap_or(false), letters };
        let letters = self.order(&subscription, what, 0, &key).await?;
        Ok(Released { letters })
    }

    /// The letter at an offset, if it is open. Finding out reads the journal from there on, off this thread.
    async fn open_letter(&self, offset: u64) -> Result<Letter, LetterError> {
        let open = self.aside(move |core, gone| {
            let mut open = BTreeMap::new();
            let take = |letter: Letter| (letter.at == Offset(offset)).then_some(letter);
            super::scan(&folder(core), Start::Offset(Offset(offset)), &mut open, gone, take).map(|_| open)
        });
        open.await?.into_values().next().ok_or_else(|| refused(Refusal::NoLetter, offset, "", ""))
    }

    /// Where the letters of a key lie. That may take a while, and is nothing for the application's own loop.
    async fn letters_of(&self, subscription: &str, key: Box<[u8]>) -> Result<Found, LetterError> {
        let subscription = subscription.to_owned();
        self.aside(move |core, gone| {
            let mut found = Found::default();
            found.go_on(&folder(core), gone, &subscription, &key).map(|()| found)
        })
        .await
    }

    async fn parked_keys(&self, subscription: &str) -> Result<HashSet<Box<[u8]>>, LetterError> {
        let subscription = subscription.to_owned();
        self.aside(move |core, _| parked_keys(core, &subscription)).await
    }

    /// Does what reads the journal, or has to wait for its writer or its disk: this thread goes on answering everybody else.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core, &Gone) -> crate::error::Result<T> + Send + 'static,
    ) -> Result<T, LetterError> {
        let core = Arc::clone(&self.core);
        let done = aside::run(move |gone| work(&core, gone)).await;
        done.map_err(|error| LetterError::failed(&error))?.map_err(|error| LetterError::failed(&error))
    }

    /// Has the subscription do something, and waits until it has taken note of it.
    async fn order(
        &self,
        subscription: &str,
        what: What,
        offset: u64,
        key: &str,
    ) -> Result<u64, LetterError> {
        let not_reading = || LetterError::NotReading { subscription: subscription.to_owned() };
        let desk = self.core.desk(subscription).ok_or_else(not_reading)?;
        let (reply, replied) = oneshot::channel();
        desk.put(Order { what, reply }).map_err(|refusal| refused(refusal, offset, subscription, key))?;
        tracing::debug!(subscription, offset, key, "an order about dead letters waits for its subscription");
        // Dropped with the subscription.
        let done = replied.await.map_err(|_| not_reading())?;
        done.map_err(|refusal| refused(refusal, offset, subscription, key))
    }
}

fn folder(core: &Core) -> PathBuf {
    core.folders.instance(&core.instance)
}

/// Where the letters of each key lie.
fn by_key(open: &OpenLetters) -> HashMap<OfKey, Vec<Offset>> {
    let mut of_keys: HashMap<OfKey, Vec<Offset>> = HashMap::new();
    for (at, of_key) in open.iter().filter(|(_, of_key)| of_key.1.is_some()) {
        of_keys.entry(of_key.clone()).or_default().push(*at);
    }
    of_keys
}

fn refused(refusal: Refusal, offset: u64, subscription: &str, key: &str) -> LetterError {
    let subscription = subscription.to_owned();
    match refusal {
        Refusal::NoLetter => LetterError::NoLetter { offset },
        Refusal::KeyParked(key) => LetterError::KeyParked { subscription, key: json::key(&key) },
        Refusal::NotParked => LetterError::NotParked { subscription, key: key.to_owned() },
        Refusal::Failed(reason) => LetterError::Failed { reason },
    }
}
