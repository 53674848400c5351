//! What must be in the journals of the chain, and whether it is.

use std::collections::VecDeque;
use std::path::Path;

use super::claims::Claims;
use super::decode::{Ack, Event};
use super::follow::{Batch, Follower, Result, Trouble};
use super::script::{self, CHECKPOINT, FAN_IN, INPUT, INSTANCES, SIDES, SINK, SOURCE, Said, TOPICS};

/// So many records are kept though they were answered: acknowledgements may come after answers.
const KEPT: u64 = 64;

/// Follows the four journals and checks every record of them, and what was acknowledged and stored with it.
///
/// It knows the journals by the description of their format only, and holds back what it has not seen by a cursor
/// table of its own.
#[derive(Debug)]
pub struct Auditor {
    followers: Vec<Follower>,
    claims: Claims,
    source: Source,
    sides: [Listener; 2],
    sink: Listener,
}

/// What was found so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records of each journal.
    pub records: [u64; 4],
    /// Segments of each journal.
    pub segments: [u64; 4],
    /// Epoch of each journal.
    pub epochs: [u32; 4],
}

/// What a later process must repeat of a record.
#[derive(Debug)]
struct Seen {
    said: Said,
    key: Option<Vec<u8>>,
    epoch: u32,
    checksum: u32,
}

/// Records of a journal that not everybody has dealt with.
#[derive(Debug, Default)]
struct Window {
    start: u64,
    seen: VecDeque<Seen>,
}

impl Window {
    fn get(&self, offset: u64) -> Option<&Seen> {
        self.seen.get(usize::try_from(offset.checked_sub(self.start)?).ok()?)
    }

    fn end(&self) -> u64 {
        self.start + self.seen.len() as u64
    }

    fn forget_before(&mut self, offset: u64) {
        while self.start < offset && self.seen.pop_front().is_some() {
            self.start += 1;
        }
    }
}

#[derive(Debug, Default)]
struct Source {
    window: Window,
    checkpoint: Option<Vec<u8>>,
}

/// A process that answers others' records in their order.
#[derive(Debug)]
struct Listener {
    instance: usize,
    hears: Vec<Hearing>,
    window: Window,
}

/// How far it is with one journal.
#[derive(Debug)]
struct Hearing {
    journal: usize,
    /// The next record that it must answer,
    next: u64,
    /// and the next part of the answer.
    part: usize,
    ack: Option<Ack>,
}

impl Auditor {
    /// To be made before the processes start.
    ///
    /// # Panics
    /// If its cursor table can't be made.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        let claims = Claims::new(&state.join("auditor"), &INSTANCES).expect("a new file in a new folder");
        let side = |instance| Listener::new(instance, &[SOURCE]);
        Self {
            followers: INSTANCES.iter().map(|instance| Follower::new(&state.join(instance))).collect(),
            claims,
            source: Source::default(),
            sides: SIDES.map(side),
            sink: Listener::new(SINK, &SIDES),
        }
    }

    /// Reads what has come since the last call.
    ///
    /// # Errors
    /// What must not be.
    pub fn pass(&mut self) -> Result<()> {
        // Downstream first: a record that is read here was there before, and so was its cause.
        let mut read: [Vec<Batch>; 4] = Default::default();
        for (follower, batches) in self.followers.iter_mut().zip(&mut read).rev() {
            follower.read(batches)?;
        }
        let [source, left, right, sink] = read;
        let about = |instance: usize| {
            move |Trouble(what): Trouble| Trouble(format!("{}: {what}", INSTANCES[instance]))
        };
        for batch in source {
            self.source.check(batch).map_err(about(SOURCE))?;
        }
        let identity = self.followers[SOURCE].identity_low();
        for (side, batches) in self.sides.iter_mut().zip([left, right]) {
            for batch in batches {
                side.check(batch, &[&self.source.window], &[identity]).map_err(about(side.instance))?;
            }
        }
        let identities = SIDES.map(|side| self.followers[side].identity_low());
        let windows = [&self.sides[0].window, &self.sides[1].window];
        for batch in sink {
            self.sink.check(batch, &windows, &identities).map_err(about(SINK))?;
        }
        self.forget()?;
        Ok(())
    }

    /// What everybody has dealt with is no longer held back.
    fn forget(&mut self) -> Result<()> {
        let answered = self.sides.iter().map(|side| side.hears[0].next).min().unwrap_or_default();
        self.source.window.forget_before(answered.saturating_sub(KEPT));
        for (side, heard) in self.sides.iter_mut().zip(&self.sink.hears) {
            side.window.forget_before(heard.next.saturating_sub(KEPT));
        }
        self.sink.window.forget_before(u64::MAX);
        // Whoever has never acknowledged anything does not hold back anything yet: this does it instead.
        let begun = |listener: &Listener, journal: usize| {
            listener.hears.iter().all(|hearing| hearing.journal != journal || hearing.ack.is_some())
        };
        for (index, follower) in self.followers.iter().enumerate() {
            if self.sides.iter().chain([&self.sink]).all(|listener| begun(listener, index)) {
                self.claims.pass(index, follower.held())?;
            }
        }
        Ok(())
    }

    /// How many numbers the source has said.
    #[must_use]
    pub fn said(&self) -> u64 {
        self.source.window.end()
    }

    /// Up to which number everything has passed the whole chain.
    pub fn through(&mut self) -> u64 {
        let mut through = u64::MAX;
        for (side, heard) in self.sides.iter_mut().zip(&self.sink.hears) {
            let hearing = &mut side.hears[0];
            // What the right side leaves out shows only by what comes after it.
            while hearing.part == 0 && hearing.next < self.source.window.end() {
                let Some(seen) = self.source.window.get(hearing.next) else { break };
                if !script::outputs(INSTANCES[side.instance], &seen.said).is_empty() {
                    break;
                }
                hearing.next += 1;
            }
            let waiting = side.window.get(heard.next).map_or(hearing.next, |seen| seen.said.n);
            through = through.min(waiting);
        }
        through
    }

    /// Whether nothing is on its way any more.
    pub fn is_settled(&mut self) -> bool {
        self.through() == self.said()
    }

    /// What was found so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for (index, follower) in self.followers.iter().enumerate() {
            (tally.records[index], tally.epochs[index]) = follower.reached();
            tally.segments[index] = follower.segments;
        }
        tally
    }
}

impl Source {
    fn check(&mut self, batch: Batch) -> Result<()> {
        let Batch { first, epoch, events, acks, checkpoints } = batch;
        if !acks.is_empty() {
            return wrong(format!("it hears nobody, but acknowledges {acks:?}"));
        }
        if events.is_empty() {
            return self.check_restated(first, &checkpoints);
        }
        let start = self.window.end();
        let step = script::step(start);
        if events.len() as u64 != step {
            return wrong(format!("a batch of {} from {start} on, not of {step}", events.len()));
        }
        let point = (step > 1).then(|| (CHECKPOINT.to_owned(), (start + step).to_string().into_bytes()));
        if checkpoints != Vec::from_iter(point.clone()) {
            return wrong(format!("batch at {start}: checkpoints {checkpoints:?}, not {point:?}"));
        }
        self.checkpoint = point.map(|(_, value)| value).or(self.checkpoint.take());
        for event in events {
            let said = script::number(self.window.end());
            check_event(&event, SOURCE, self.window.end(), &said)?;
            let key = Some(script::key(said.n));
            if event.key != key || event.cause.is_some() {
                return wrong(format!("wrong key or cause: {event:?}"));
            }
            self.window.seen.push_back(Seen { said, key, epoch, checksum: event.checksum });
        }
        Ok(())
    }

    fn check_restated(&self, first: bool, checkpoints: &[(String, Vec<u8>)]) -> Result<()> {
        let known = self.checkpoint.clone().map(|value| (CHECKPOINT.to_owned(), value));
        let expected = if first { Vec::from_iter(known) } else { Vec::new() };
        if checkpoints == expected {
            return Ok(());
        }
        wrong(format!("a segment begins with checkpoints {checkpoints:?}, not {expected:?}"))
    }
}

impl Listener {
    fn new(instance: usize, journals: &[usize]) -> Self {
        let hears = journals
            .iter()
            .map(|journal| Hearing { journal: *journal, next: 0, part: 0, ack: None })
            .collect();
        Self { instance, hears, window: Window::default() }
    }

    fn check(&mut self, batch: Batch, windows: &[&Window], identities: &[u64]) -> Result<()> {
        if !batch.checkpoints.is_empty() {
            return wrong(format!("it stores nothing, but {:?}", batch.checkpoints));
        }
        if batch.first {
            return self.check_restated(&batch);
        }
        let begun = self.window.end();
        let mut heard = vec![false; self.hears.len()];
        for event in &batch.events {
            heard[self.answer(event, windows, batch.epoch)?] = true;
        }
        for ((hearing, window), (heard, identity)) in
            self.hears.iter_mut().zip(windows).zip(heard.iter().zip(identities))
        {
            let mut acks = batch.acks.iter().filter(|ack| ack.journal == INSTANCES[hearing.journal]);
            match (acks.next(), acks.next()) {
                (None, None) if !heard => {}
                (Some(ack), None) => hearing.acknowledge(self.instance, ack, window, *identity)?,
                _ => return wrong(format!("outputs from {begun} on, acknowledged by {:?}", batch.acks)),
            }
        }
        let known = |ack: &Ack| self.hears.iter().any(|hearing| ack.journal == INSTANCES[hearing.journal]);
        match batch.acks.iter().find(|ack| !known(ack)) {
            Some(ack) => wrong(format!("acknowledges what it does not hear: {ack:?}")),
            None => Ok(()),
        }
    }

    /// A segment begins with the newest acknowledgement of every journal.
    fn check_restated(&self, batch: &Batch) -> Result<()> {
        let mut known: Vec<&Ack> = self.hears.iter().filter_map(|hearing| hearing.ack.as_ref()).collect();
        let mut found: Vec<&Ack> = batch.acks.iter().collect();
        known.sort_by_key(|ack| &ack.journal);
        found.sort_by_key(|ack| &ack.journal);
        if known == found && batch.events.is_empty() {
            return Ok(());
        }
        wrong(format!("a segment begins with {batch:?}; acknowledged is {known:?}"))
    }

    /// Checks one output; which of the journals it answers.
    fn answer(&mut self, event: &Event, windows: &[&Window], epoch: u32) -> Result<usize> {
        let offset = self.window.end();
        let Some((journal, cause)) = &event.cause else {
            return wrong(format!("no cause: {event:?}"));
        };
        let Some(index) = self.hears.iter().position(|hearing| INSTANCES[hearing.journal] == journal) else {
            return wrong(format!("a cause in another journal: {event:?}"));
        };
        let (hearing, window) = (&mut self.hears[index], windows[index]);
        let (input, said) = hearing.answer(self.instance, window, offset)?;
        if *cause != hearing.next {
            return wrong(format!("offset {offset}: cause {cause} instead of {}: {event:?}", hearing.next));
        }
        check_event(event, self.instance, offset, &said)?;
        if event.key != input.key {
            return wrong(format!("offset {offset}: another key than its cause: {event:?}"));
        }
        let key = input.key.clone();
        hearing.part += 1;
        self.window.seen.push_back(Seen { said, key, epoch, checksum: event.checksum });
        Ok(index)
    }
}

impl Hearing {
    /// The next record to be answered, and the answer.
    fn answer<'a>(&mut self, by: usize, window: &'a Window, offset: u64) -> Result<(&'a Seen, Said)> {
        loop {
            let Some(input) = window.get(self.next) else {
                let journal = INSTANCES[self.journal];
                return wrong(format!("offset {offset}: {journal} {} was never said", self.next));
            };
            if let Some(said) = answers(by, &input.said).into_iter().nth(self.part) {
                return Ok((input, said));
            }
            (self.next, self.part) = (self.next + 1, 0);
        }
    }

    /// Everything before the acknowledged place must have been answered, and nothing behind it.
    fn acknowledge(&mut self, by: usize, ack: &Ack, window: &Window, identity: u64) -> Result<()> {
        while self.next < ack.next
            && let Some(input) = window.get(self.next)
            && answers(by, &input.said).len() == self.part
        {
            (self.next, self.part) = (self.next + 1, 0);
        }
        let subscription = if by == SINK { FAN_IN } else { INPUT };
        let last = ack.next.checked_sub(1).and_then(|last| window.get(last));
        let rightly = last.is_some_and(|last| (last.epoch, last.checksum) == (ack.epoch, ack.checksum))
            && (self.next, self.part) == (ack.next, 0)
            && ack.subscription == subscription
            && ack.identity == identity;
        if !rightly {
            let last = last.map(|last| (last.epoch, last.checksum));
            let at = (self.next, self.part);
            return wrong(format!("acknowledged {ack:?}; answered up to {at:?}, the last record {last:?}"));
        }
        self.ack = Some(ack.clone());
        Ok(())
    }
}

fn answers(by: usize, input: &Said) -> Vec<Said> {
    if by == SINK { vec![script::result(input)] } else { script::outputs(INSTANCES[by], input) }
}

fn check_event(event: &Event, by: usize, offset: u64, said: &Said) -> Result<()> {
    let payload = serde_json::to_vec(said).expect("numbers and text");
    if (event.offset, event.topic.as_str()) != (offset, TOPICS[by]) || event.payload != payload {
        return wrong(format!("offset {offset}: {event:?} instead of {said:?}"));
    }
    Ok(())
}

fn wrong<T>(what: String) -> Result<T> {
    Err(Trouble(what))
}
