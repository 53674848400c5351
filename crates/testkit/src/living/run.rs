//! Starts the processes, makes the source lose something, starts it again, and compares.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::disk;
use super::listener::{Keyed, Model, Plain, Tail, Truth, truth};
use super::report::{Loss, Report};
use super::script::{LISTENERS, SOURCE, WORD};
use crate::chain::{Result, Sight, Trouble};
use crate::home::Home;
use crate::process::Running;
use crate::wait::DEADLINE;

/// Of every process.
const FLAGS: [&str; 4] = ["--log-level", "warn", "--subscription-max-attempts", "60000"];
/// Of the source: segments are small, syncs rare, and nothing is dropped.
const JOURNAL: [&str; 6] =
    ["--journal-segment-bytes", "64 KiB", "--journal-keep-bytes", "1 GiB", "--journal-sync", "every 50ms"];
/// Copies of the source's folder that may be put back.
const COPIES_MAX: usize = 3;
/// How long listeners are looked at for whether they only wait, while there is nothing to hear.
const IDLE_LOOK: Duration = Duration::from_millis(200);
/// More of a processor than that is no waiting.
const IDLE_SHARE: f64 = 0.5;

/// The kernel counts processor time for others in hundredths of a second.
const TICK_MILLIS: u64 = 10;

/// A source and those who hear it.
#[derive(Debug)]
pub struct Run {
    home: Home,
    program: PathBuf,
    random: StdRng,
    source: Option<Running>,
    /// The how-many-th life of the source it is.
    life: u64,
    listeners: Vec<Running>,
    tail: Running,
    plain: Plain,
    keyed: Keyed,
    model: Model,
    printed: Tail,
    copies: Vec<PathBuf>,
    copied: u64,
    report: Report,
    begun: Instant,
}

impl Run {
    /// Starts the listeners in a new home, with the example `living` at `program` and the command line at `procession`.
    ///
    /// # Panics
    /// If they aren't there or can't be started.
    #[must_use]
    pub fn new(home: Home, program: &Path, procession: &Path, seed: u64) -> Self {
        let [program, procession] =
            [program, procession].map(|path| path.canonicalize().expect("the program has been built"));
        let start = |name: &&str| start(&home, &program, name, &[]);
        let pattern = format!("{SOURCE}/{WORD}");
        let tail = home.command_at(&procession, &["tail", &pattern, "--from", "beginning", "--json"]);
        let tail = Running::spawn(&home, "tail", tail);
        let [plain, keyed, model] = LISTENERS.map(|name| home.instance(name));
        Self {
            listeners: LISTENERS.iter().map(start).collect(),
            random: StdRng::seed_from_u64(seed),
            source: None,
            life: 0,
            plain: Plain::new(&plain),
            keyed: Keyed::new(&keyed),
            model: Model::new(&model),
            printed: Tail::new(tail.stdout_path().to_owned()),
            tail,
            copies: Vec::new(),
            copied: 0,
            report: Report { seed, ..Report::default() },
            begun: Instant::now(),
            program,
            home,
        }
    }

    /// Loses something of a kind, or of any, and sees that everybody has the rest.
    ///
    /// # Errors
    /// What must not be.
    pub fn round(&mut self, loss: Option<Loss>) -> Result<()> {
        let loss = loss.unwrap_or_else(|| match self.random.random_range(0..100) {
            0..15 => Loss::None,
            15..45 => Loss::Power,
            45..65 => Loss::PowerOfAll,
            65..80 => Loss::All,
            _ => Loss::SinceCopy,
        });
        self.speak()?;
        self.lose(loss).map_err(|Trouble(what)| Trouble(format!("{loss:?}: {what}")))?;
        self.life += 1;
        let count = self.random.random_range(1..150).to_string();
        self.source = Some(self.start_source(&["--count", &count]));
        self.settle(count.parse().unwrap_or_default())
            .map_err(|Trouble(what)| Trouble(format!("after {loss:?} in life {}: {what}", self.life)))?;
        self.plain.view.has_come_back = false;
        *self.report.rounds.entry(loss).or_default() += 1;
        if self.random.random_bool(0.5) {
            self.make_copy()?;
        }
        Ok(())
    }

    /// Ends everything.
    ///
    /// Gives what must not be, if there is something. The files are kept then, and it says where.
    #[must_use]
    pub fn finish(mut self, result: Result<()>) -> (Report, Option<Trouble>) {
        self.report.time = self.begun.elapsed();
        for view in [&self.plain.view, &self.printed.view] {
            self.report.heard += view.end() + view.forgotten;
            self.report.forgotten += view.forgotten;
            self.report.again += view.again;
        }
        let logs: Vec<String> = self.listeners.iter().map(Running::stderr).collect();
        let Self { home, report, .. } = self;
        let trouble = result.err().map(|Trouble(what)| {
            let folder = home.keep();
            Trouble(format!("{what}\nthe files are kept in {}; {logs:#?}", folder.display()))
        });
        (report, trouble)
    }

    /// A life in which the source speaks until it is killed.
    fn speak(&mut self) -> Result<()> {
        self.kill_source();
        self.life += 1;
        let mut sight = Sight::new(self.journal());
        let before = sight.committed();
        self.source = Some(self.start_source(&[]));
        let until = Instant::now() + DEADLINE;
        while sight.committed() <= before {
            self.is_well()?;
            if Instant::now() > until {
                return Err(Trouble(format!("life {} says nothing", self.life)));
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        self.pause(20);
        Ok(())
    }

    fn lose(&mut self, loss: Loss) -> Result<()> {
        let (journal, folder) = (self.journal(), self.home.instance(SOURCE));
        match loss {
            Loss::None => self.kill_source(),
            Loss::Power | Loss::PowerOfAll => {
                let early = disk::capture(&journal)?;
                self.pause(20);
                self.kill_source();
                let image = disk::lose_power(&early, &disk::capture(&journal)?, &mut self.random);
                if loss == Loss::PowerOfAll {
                    self.listeners.drain(..).for_each(Running::kill9);
                    self.plain.view.has_come_back = true;
                    for name in LISTENERS {
                        disk::forget_boot(&self.home.instance(name), &mut self.random)?;
                    }
                }
                disk::put(&image, &journal)?;
                if loss == Loss::PowerOfAll {
                    let start = |name: &&str| start(&self.home, &self.program, name, &[]);
                    self.listeners = LISTENERS.iter().map(start).collect();
                }
                self.wait_unrecovered()?;
            }
            Loss::All => {
                self.kill_source();
                fs::remove_dir_all(&folder)?;
                self.pause(50);
            }
            Loss::SinceCopy => {
                self.kill_source();
                if let Some(index) =
                    self.copies.len().checked_sub(1).map(|last| self.random.random_range(0..=last))
                {
                    fs::remove_dir_all(&folder)?;
                    self.pause(20);
                    // In one step: files that are missing because they have yet to come look like damage.
                    let whole = self.home.path().join("put-back");
                    disk::copy(&self.copies[index], &whole)?;
                    fs::rename(whole, &folder)?;
                }
                self.pause(50);
            }
        }
        Ok(())
    }

    /// Nobody can read the end before the source has recovered it: whoever waits for that sleeps.
    fn wait_unrecovered(&mut self) -> Result<()> {
        if self.random.random_bool(0.6) {
            self.pause(50);
            return Ok(());
        }
        // What was there to be read before is read.
        thread::park_timeout(IDLE_LOOK);
        let running = || self.listeners.iter().chain([&self.tail]);
        let before: Vec<Duration> = running().map(processor_time).collect();
        let began = Instant::now();
        thread::park_timeout(IDLE_LOOK);
        let took = began.elapsed();
        for (process, before) in running().zip(before) {
            let used = processor_time(process).saturating_sub(before);
            if used > took.mul_f64(IDLE_SHARE) {
                let name = process.name();
                return Err(Trouble(format!(
                    "{name} used {used:?} of {took:?} to wait for what is not recovered"
                )));
            }
        }
        Ok(())
    }

    /// Everybody must have what the source's journal holds, once the source has said `count` words in this life.
    fn settle(&mut self, count: usize) -> Result<()> {
        let folder = self.home.instance(SOURCE);
        let until = Instant::now() + DEADLINE;
        loop {
            self.is_well()?;
            // While it recovers its files, they need not make sense.
            let said = truth(&folder)
                .ok()
                .filter(|truth| truth.iter().filter(|life| **life == self.life).count() == count);
            if let Some(truth) = said {
                return self.compare(&truth, until);
            }
            if Instant::now() > until {
                let found = truth(&folder).map(|truth| truth.len());
                return Err(Trouble(format!("the source has not said {count} words: {found:?}")));
            }
            thread::park_timeout(Duration::from_millis(3));
        }
    }

    fn compare(&mut self, truth: &Truth, until: Instant) -> Result<()> {
        loop {
            self.look()?;
            let lacking = self.lacking(truth);
            let Some(lacking) = lacking else {
                let repeats = self.keyed.repeats(&self.home.logs(LISTENERS[1]));
                return repeats.map_or(Ok(()), |what| Err(Trouble(format!("keyed: {what}"))));
            };
            if Instant::now() > until {
                return Err(Trouble(lacking));
            }
            self.is_well()?;
            thread::park_timeout(Duration::from_millis(3));
        }
    }

    fn look(&mut self) -> Result<()> {
        let about = |who: &'static str| move |Trouble(what): Trouble| Trouble(format!("{who}: {what}"));
        self.plain.look().map_err(about("plain"))?;
        self.keyed.look().map_err(about("keyed"))?;
        self.model.look().map_err(about("model"))?;
        self.printed.look().map_err(about("tail"))
    }

    /// What somebody does not have, or has too much.
    fn lacking(&self, truth: &Truth) -> Option<String> {
        for (who, view) in [("plain", &self.plain.view), ("tail", &self.printed.view)] {
            if !view.is(truth) {
                return Some(format!("{who}: {}", view.parts_from(truth)));
            }
        }
        let keyed = self.keyed.lacks(truth).map(|what| format!("keyed: {what}"));
        keyed.or_else(|| self.model.parts_from(truth).map(|what| format!("model: {what}")))
    }

    fn is_well(&mut self) -> Result<()> {
        for running in self.listeners.iter_mut().chain([&mut self.tail]).chain(&mut self.source) {
            if !running.is_alive() {
                let name = running.name().to_owned();
                return Err(Trouble(format!("{name} ended by itself: {:?}", running.kill9_at_last())));
            }
        }
        Ok(())
    }

    fn make_copy(&mut self) -> Result<()> {
        self.copied += 1;
        let copy = self.home.path().join(format!("copy-{}", self.copied));
        disk::copy(&self.home.instance(SOURCE), &copy)?;
        self.copies.push(copy);
        if self.copies.len() > COPIES_MAX {
            fs::remove_dir_all(self.copies.remove(0))?;
        }
        Ok(())
    }

    fn start_source(&self, more: &[&str]) -> Running {
        let life = self.life.to_string();
        start(&self.home, &self.program, SOURCE, &[&JOURNAL[..], &["--life", &life], more].concat())
    }

    fn kill_source(&mut self) {
        if let Some(mut source) = self.source.take() {
            source.kill9_at_last();
        }
    }

    fn journal(&self) -> PathBuf {
        self.home.instance(SOURCE).join("journal")
    }

    /// For a time up to this.
    fn pause(&mut self, millis_max: u64) {
        thread::park_timeout(Duration::from_micros(self.random.random_range(0..=millis_max * 1000)));
    }
}

fn start(home: &Home, program: &Path, name: &str, more: &[&str]) -> Running {
    let mut command = home.command_at(program, &["run", "--instance", name]);
    command.args(FLAGS).args(more);
    Running::spawn(home, name, command)
}

/// What a process has used so far.
fn processor_time(process: &Running) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap_or_default();
    // The name before may hold anything; user and system time are the 14th and 15th field.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * TICK_MILLIS)
}
