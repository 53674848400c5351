//! What each listener has heard so far, read from its own journal or from what it printed.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::script::{SUM, Sum, Told, Word};
use super::view::View;
use crate::chain::{Event, Follower, Result, Trouble};

/// What a listener is compared with: the lives of all words that the source's journal holds.
pub(super) type Truth = Vec<u64>;

/// Takes deliveries in turn, and gaps.
#[derive(Debug)]
pub(super) struct Plain {
    follower: Follower,
    pub(super) view: View,
}

impl Plain {
    pub(super) fn new(instance: &Path) -> Self {
        Self { follower: Follower::new(instance), view: View::default() }
    }

    pub(super) fn look(&mut self) -> Result<()> {
        for event in events(&mut self.follower)? {
            match decode::<Told>(&event)? {
                Told::Heard { life, n } => self.view.hear(life, n)?,
                Told::Missed { from, to, reason } => self.view.miss(from, to, &reason)?,
            }
        }
        Ok(())
    }
}

/// Takes deliveries by key; gaps are in its log.
#[derive(Debug)]
pub(super) struct Keyed {
    follower: Follower,
    /// How often it has heard the word of a life at an offset.
    heard: HashMap<(u64, u64), u64>,
}

impl Keyed {
    pub(super) fn new(instance: &Path) -> Self {
        Self { follower: Follower::new(instance), heard: HashMap::new() }
    }

    pub(super) fn look(&mut self) -> Result<()> {
        for event in events(&mut self.follower)? {
            let Told::Heard { life, n } = decode(&event)? else {
                return Err(Trouble(format!("it hears no gaps, but says {event:?}")));
            };
            *self.heard.entry((life, n)).or_default() += 1;
        }
        Ok(())
    }

    /// A word that was heard more often than it was taken back, by what it has logged.
    pub(super) fn repeats(&self, logs: &str) -> Option<String> {
        let gaps: Vec<u64> = logs.lines().filter_map(diverged_from).collect();
        let allowed = |n: u64| 1 + gaps.iter().filter(|from| **from <= n).count() as u64;
        let mut repeated = self.heard.iter().filter(|((_, n), times)| **times > allowed(*n));
        let ((life, n), times) = repeated.next()?;
        Some(format!("word {n} of life {life} was heard {times} times, with gaps from {gaps:?}"))
    }

    /// The first word that it has not heard.
    pub(super) fn lacks(&self, truth: &Truth) -> Option<String> {
        let words = truth.iter().zip(0..);
        let mut missed = words.filter(|(life, n)| !self.heard.contains_key(&(**life, *n)));
        let (life, n) = missed.next()?;
        Some(format!("word {n} of life {life} and {} others were not heard", missed.count()))
    }
}

/// Concludes, and takes back.
#[derive(Debug)]
pub(super) struct Model {
    follower: Follower,
    /// What is asserted and not retracted.
    holds: BTreeMap<String, Sum>,
}

impl Model {
    pub(super) fn new(instance: &Path) -> Self {
        Self { follower: Follower::new(instance), holds: BTreeMap::new() }
    }

    pub(super) fn look(&mut self) -> Result<()> {
        for event in events(&mut self.follower)? {
            match event.topic.as_str() {
                SUM => self.assert(&event)?,
                "_retract" => {
                    let id = text(&decode::<Value>(&event)?, &["id"]);
                    if self.holds.remove(&id).is_none() {
                        return Err(Trouble(format!("retracted, but not asserted: {event:?}")));
                    }
                }
                "_late" => {
                    return Err(Trouble(format!("nothing is final, but something is late: {event:?}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn assert(&mut self, event: &Event) -> Result<()> {
        let id = text(&decode::<Value>(event)?, &["_said", "id"]);
        match self.holds.insert(id, decode(event)?) {
            None => Ok(()),
            Some(before) => Err(Trouble(format!("asserted while {before:?} was: {event:?}"))),
        }
    }

    /// Where what holds is not what one run over the words in order gives.
    pub(super) fn parts_from(&self, truth: &Truth) -> Option<String> {
        let mut states = BTreeMap::<Vec<u8>, u64>::new();
        let words = truth.iter().zip(0..).map(|(life, n)| Word::new(*life, n));
        let mut expected: Vec<Sum> = words
            .map(|word| {
                let state = states.entry(word.key()).or_default();
                let sum = Sum::after(*state, &word);
                *state = sum.state;
                sum
            })
            .collect();
        expected.sort();
        let mut holds: Vec<Sum> = self.holds.values().cloned().collect();
        holds.sort();
        if holds == expected {
            return None;
        }
        let extra = holds.iter().find(|sum| expected.binary_search(sum).is_err());
        let lacking = expected.iter().find(|sum| holds.binary_search(sum).is_err());
        Some(format!(
            "{} conclusions hold instead of {}; {extra:?} must not, {lacking:?} must",
            holds.len(),
            expected.len()
        ))
    }
}

/// `procession tail`, and what it has printed.
#[derive(Debug)]
pub(super) struct Tail {
    printed: PathBuf,
    read: u64,
    pub(super) view: View,
}

impl Tail {
    pub(super) fn new(printed: PathBuf) -> Self {
        Self { printed, read: 0, view: View::default() }
    }

    pub(super) fn look(&mut self) -> Result<()> {
        let mut new = Vec::new();
        let mut file = File::open(&self.printed)?;
        file.seek(SeekFrom::Start(self.read))?;
        file.read_to_end(&mut new)?;
        // The last line may not be whole.
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in String::from_utf8_lossy(&new[..whole]).lines() {
            self.take(line)?;
        }
        self.read += whole as u64;
        Ok(())
    }

    fn take(&mut self, line: &str) -> Result<()> {
        let nonsense = || Trouble(format!("tail printed {line}"));
        let said: Value = serde_json::from_str(line).map_err(|_| nonsense())?;
        let number = |value: &Value, name: &str| value[name].as_u64().ok_or_else(nonsense);
        if let Some(gap) = said.get("gap") {
            return self.view.miss(
                number(gap, "from")?,
                number(gap, "to")?,
                gap["reason"].as_str().unwrap_or_default(),
            );
        }
        let word: Word = serde_json::from_value(said["payload"].clone()).map_err(|_| nonsense())?;
        if number(&said, "offset")? != word.n || !word.is_whole() {
            return Err(nonsense());
        }
        self.view.hear(word.life, word.n)
    }
}

/// Where the gap begins that a line of a log tells of.
fn diverged_from(line: &str) -> Option<u64> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").filter(|fields| fields["reason"] == "diverged")?;
    fields["from"].as_u64()
}

/// Everything that has been said since the last call.
pub(super) fn events(follower: &mut Follower) -> Result<Vec<Event>> {
    let mut batches = Vec::new();
    follower.read(&mut batches)?;
    Ok(batches.into_iter().flat_map(|batch| batch.events).collect())
}

/// What the source's journal holds now, read from its first word on.
pub(super) fn truth(source: &Path) -> Result<Truth> {
    let mut truth = Truth::new();
    for event in events(&mut Follower::new(source))? {
        let word: Word = decode(&event)?;
        if event.offset != word.n || !word.is_whole() {
            return Err(Trouble(format!("not what was said: {event:?}")));
        }
        truth.push(word.life);
    }
    Ok(truth)
}

fn decode<T: serde::de::DeserializeOwned>(event: &Event) -> Result<T> {
    serde_json::from_slice(&event.payload).map_err(|error| Trouble(format!("{error}: {event:?}")))
}

fn text(value: &Value, path: &[&str]) -> String {
    path.iter().fold(value, |value, name| &value[*name]).as_str().unwrap_or_default().to_owned()
}
