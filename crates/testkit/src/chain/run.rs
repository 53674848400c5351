//! Starts the chain, hits its processes, starts them again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;

use super::audit::Auditor;
use super::follow::{Result, Trouble};
use super::report::{Aim, Fault, Report};
use super::script::INSTANCES;
use super::sight::Sight;
use crate::home::Home;
use crate::process::{Ended, Running};
use crate::wait::DEADLINE;

/// What every process of the chain is told: attempts are counted, but a delivery is never given up, however often its
/// process is killed over it.
const FLAGS: [&str; 8] = [
    "--log-level",
    "warn",
    "--subscription-max-attempts",
    "60000",
    "--journal-when-full",
    "wait",
    "--journal-max-bytes",
    "512 KiB",
];

/// Segment size, bytes kept and syncs of each process: small and often, so that kills also hit the changes.
const JOURNALS: [[&str; 3]; 4] = [
    ["32 KiB", "64 KiB", "every 5ms"],
    ["16 KiB", "32 KiB", "every 2ms"],
    ["32 KiB", "32 KiB", "never"],
    ["24 KiB", "48 KiB", "every 20ms"],
];

/// How long to wait for a process to do something worth killing it for.
const MOVE_PATIENCE: Duration = Duration::from_millis(200);
/// How long to wait until a process comes by the point at which it is to die.
const AIM_PATIENCE: Duration = Duration::from_secs(2);
/// After so many rounds everything that was said must pass the chain undisturbed.
const SETTLE_EVERY: u64 = 250;
const SETTLE_EVERY_AIMED: u64 = 50;

/// The chain under fire.
#[derive(Debug)]
pub struct Run {
    home: Home,
    program: PathBuf,
    random: StdRng,
    members: Vec<Member>,
    auditor: Auditor,
    report: Report,
    /// Deaths and attempts of each process at each point.
    tried: BTreeMap<(usize, String), (u64, u64)>,
    begun: Instant,
}

#[derive(Debug)]
struct Member {
    running: Running,
    sight: Sight,
    /// Committed when it was started.
    start: u64,
}

impl Run {
    /// Starts the chain in a new home, with the example `chain` at `program`.
    ///
    /// # Panics
    /// If the program isn't there or can't be started.
    #[must_use]
    pub fn new(home: Home, program: &Path, seed: u64) -> Self {
        let program = &program.canonicalize().expect("the program has been built");
        let auditor = Auditor::new(&home.state());
        let start = |victim: usize| {
            let sight = Sight::new(home.instance(INSTANCES[victim]).join("journal"));
            Member { running: start(&home, program, victim, None), sight, start: 0 }
        };
        Self {
            members: (0..INSTANCES.len()).map(start).collect(),
            program: program.to_owned(),
            random: StdRng::seed_from_u64(seed),
            auditor,
            report: Report { seed, ..Report::default() },
            tried: BTreeMap::new(),
            begun: Instant::now(),
            home,
        }
    }

    /// Random faults for a time, but no more than `rounds`.
    ///
    /// # Errors
    /// What must not be.
    pub fn random(&mut self, time: Duration, rounds: u64) -> Result<()> {
        let end = Instant::now() + time;
        let most = self.report.rounds() + rounds;
        while Instant::now() < end && self.report.rounds() < most {
            self.round()?;
            self.audit()?;
            if self.report.rounds().is_multiple_of(SETTLE_EVERY) {
                self.settle()?;
            }
        }
        Ok(())
    }

    /// Lets a process die at a point of the journal's code, and starts it again; whether it came by.
    ///
    /// # Errors
    /// What must not be.
    pub fn aim(&mut self, aim: &Aim) -> Result<bool> {
        self.kill(aim.victim, Some(aim))?;
        let until = Instant::now() + AIM_PATIENCE;
        let mut disturbed = self.random.random_bool(0.7);
        let mut hit = false;
        while !hit && Instant::now() < until {
            hit = !self.members[aim.victim].running.is_alive();
            if !hit && !disturbed && Instant::now() + AIM_PATIENCE * 9 / 10 > until {
                // A neighbour dies, too.
                let other = (aim.victim + self.random.random_range(1..INSTANCES.len())) % INSTANCES.len();
                self.kill(other, None)?;
                disturbed = true;
            }
            self.audit()?;
            thread::park_timeout(Duration::from_micros(500));
        }
        // It may come by until the last moment; then this is too late, and does no harm.
        self.members[aim.victim].running.signal(Signal::KILL);
        self.bury(aim.victim, None)?;
        let tried = self.tried.entry((aim.victim, aim.point.clone())).or_default();
        for (hits, tries) in [tried, self.report.points.entry(aim.point.clone()).or_default()] {
            (*hits, *tries) = (*hits + u64::from(hit), *tries + 1);
        }
        self.count(Fault::Aimed);
        self.audit()?;
        if self.report.rounds().is_multiple_of(SETTLE_EVERY_AIMED) {
            self.settle()?;
        }
        Ok(hit)
    }

    /// Lets everything pass, stops the processes, and checks the rest.
    ///
    /// Gives what must not be, if there is something. The files are kept then, and it says where.
    #[must_use]
    pub fn finish(mut self, so_far: Result<()>) -> (Report, Option<Trouble>) {
        let result = so_far.and_then(|()| self.end());
        self.report.time = self.begun.elapsed();
        self.report.tally = self.auditor.tally();
        let Self { home, members, report, .. } = self;
        drop(members);
        let trouble = result
            .err()
            .map(|Trouble(what)| Trouble(format!("{what}\nthe files are kept in {}", home.keep().display())));
        (report, trouble)
    }

    /// Whether it is worth the wait: not if a few attempts were in vain, and none was not.
    #[must_use]
    pub fn is_reachable(&self, aim: &Aim) -> bool {
        self.tried.get(&(aim.victim, aim.point.clone())).is_none_or(|(hits, tries)| *hits > 0 || *tries < 3)
    }

    /// What happened so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn end(&mut self) -> Result<()> {
        self.settle()?;
        let mut members = std::mem::take(&mut self.members).into_iter();
        let source = members.next().expect("a chain has a source");
        self.end_well(source)?;
        let rest: Vec<Member> = members.collect();
        let until = Instant::now() + DEADLINE;
        while !self.auditor.is_settled() {
            self.auditor.pass()?;
            if Instant::now() > until {
                return Err(self.stuck());
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        rest.into_iter().try_for_each(|member| self.end_well(member))?;
        self.auditor.pass()?;
        if self.auditor.is_settled() { Ok(()) } else { Err(self.stuck()) }
    }

    fn end_well(&mut self, mut member: Member) -> Result<()> {
        // Should it wait for room in its journal, others have to go on.
        member.running.signal(Signal::TERM);
        let until = Instant::now() + DEADLINE;
        while member.running.is_alive() && Instant::now() < until {
            self.auditor.pass()?;
            thread::park_timeout(Duration::from_millis(1));
        }
        let ended = member.running.kill9_at_last();
        self.note(&ended)?;
        if ended.code() == Some(0) { Ok(()) } else { Err(Trouble(format!("told to stop: {ended:?}"))) }
    }

    fn round(&mut self) -> Result<()> {
        let victim = self.random.random_range(0..INSTANCES.len());
        let fault = match self.random.random_range(0..100) {
            0..40 => Fault::AfterRecord,
            40..60 => Fault::AfterFile,
            60..80 => Fault::Anytime,
            80..93 => Fault::Stop,
            _ => Fault::Storm,
        };
        match fault {
            Fault::AfterRecord => {
                self.until(victim, Sight::has_moved)?;
                self.pause(0.1, 2_000.0);
                self.kill(victim, None)?;
            }
            Fault::AfterFile => {
                self.until(victim, Sight::has_other_files)?;
                self.pause(0.1, 500.0);
                self.kill(victim, None)?;
            }
            Fault::Stop => self.stop(victim)?,
            Fault::Storm => self.storm()?,
            Fault::Anytime | Fault::Aimed => {
                self.pause(1.0, 20_000.0);
                self.kill(victim, None)?;
            }
        }
        self.count(fault);
        Ok(())
    }

    fn stop(&mut self, victim: usize) -> Result<()> {
        if self.random.random_bool(0.5) {
            self.until(victim, Sight::has_moved)?;
        }
        self.pause(0.1, 1_000.0);
        self.alive(victim)?;
        self.members[victim].running.signal(Signal::STOP);
        if self.random.random_bool(0.5) {
            let other = (victim + self.random.random_range(1..INSTANCES.len())) % INSTANCES.len();
            self.until(other, Sight::has_moved)?;
            self.pause(0.1, 1_000.0);
            self.kill(other, None)?;
        }
        self.pause(10.0, 50_000.0);
        self.audit()?;
        if self.random.random_bool(0.3) {
            return self.kill(victim, None);
        }
        self.members[victim].running.signal(Signal::CONT);
        Ok(())
    }

    fn storm(&mut self) -> Result<()> {
        let mut victims: Vec<usize> = (0..INSTANCES.len()).collect();
        for last in (1..victims.len()).rev() {
            victims.swap(last, self.random.random_range(0..=last));
        }
        victims.truncate(self.random.random_range(2..=INSTANCES.len()));
        self.until(victims[0], Sight::has_moved)?;
        for victim in &victims {
            self.alive(*victim)?;
            self.members[*victim].running.signal(Signal::KILL);
            self.pause(0.1, 300.0);
        }
        for victim in victims {
            self.bury(victim, None)?;
            self.pause(0.1, 3_000.0);
        }
        Ok(())
    }

    /// SIGKILL, and started again at once. It must have been alive until now.
    fn kill(&mut self, victim: usize, aim: Option<&Aim>) -> Result<()> {
        self.alive(victim)?;
        self.members[victim].running.signal(Signal::KILL);
        self.bury(victim, aim)
    }

    /// Takes note of how it ended, which must be by SIGKILL, and starts it again.
    fn bury(&mut self, victim: usize, aim: Option<&Aim>) -> Result<()> {
        let member = &mut self.members[victim];
        let spoken = member.sight.committed() > member.start;
        let ended = member.running.kill9_at_last();
        if ended.signal() != Some(Signal::KILL.as_raw()) {
            return Err(Trouble(format!("{} ended by itself: {ended:?}", INSTANCES[victim])));
        }
        member.start = member.sight.committed();
        member.running = start(&self.home, &self.program, victim, aim);
        self.report.kills += 1;
        self.report.kills_of_speakers += u64::from(spoken);
        self.note(&ended)
    }

    fn alive(&mut self, victim: usize) -> Result<()> {
        let running = &mut self.members[victim].running;
        if running.is_alive() {
            return Ok(());
        }
        let ended = running.kill9_at_last();
        Err(Trouble(format!("{} ended by itself: {ended:?}", INSTANCES[victim])))
    }

    /// Errors must not be logged; warnings are counted.
    fn note(&mut self, ended: &Ended) -> Result<()> {
        for line in ended.stderr.lines() {
            if line.contains("\"ERROR\"") || line.contains("panicked at") {
                return Err(Trouble(format!("an error was logged: {ended:?}")));
            }
            if let Some((_, rest)) = line.split_once("\"message\":\"") {
                let message = rest.split('"').next().unwrap_or(rest).to_owned();
                *self.report.warnings.entry(message).or_default() += 1;
            }
        }
        Ok(())
    }

    fn audit(&mut self) -> Result<()> {
        self.auditor.pass()
    }

    /// Everything that has been said by now must pass the chain.
    fn settle(&mut self) -> Result<()> {
        self.audit()?;
        let said = self.auditor.said();
        let until = Instant::now() + DEADLINE;
        while self.auditor.through() < said {
            for victim in 0..INSTANCES.len() {
                self.alive(victim)?;
            }
            if Instant::now() > until {
                return Err(self.stuck());
            }
            thread::park_timeout(Duration::from_millis(1));
            self.audit()?;
        }
        self.report.settled += 1;
        Ok(())
    }

    fn stuck(&mut self) -> Trouble {
        let (said, through) = (self.auditor.said(), self.auditor.through());
        let logs: Vec<String> = self.members.iter().map(|member| member.running.stderr()).collect();
        Trouble(format!(
            "{DEADLINE:?} without a fault, and only {through} of {said} numbers have passed the chain: {:?}; {logs:#?}",
            self.auditor.tally()
        ))
    }

    /// Waits for something to happen to the victim, but not for long.
    fn until(&mut self, victim: usize, happened: impl Fn(&mut Sight) -> bool) -> Result<()> {
        self.members[victim].sight.look();
        let begun = Instant::now();
        let mut audited = begun;
        while begun.elapsed() < MOVE_PATIENCE {
            if happened(&mut self.members[victim].sight) {
                return Ok(());
            }
            if audited.elapsed() > Duration::from_millis(5) {
                // The journals may be at their limit, which waits for the auditor, too.
                self.audit()?;
                audited = Instant::now();
            }
        }
        Ok(())
    }

    /// For a time between these, in microseconds; short times are as likely as long ones.
    fn pause(&mut self, least: f64, most: f64) {
        let micros = (self.random.random_range(least.ln()..most.ln())).exp();
        let end = Instant::now() + Duration::from_secs_f64(micros / 1e6);
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            // Sleeping takes at least 60 µs longer than it was asked for.
            if left > Duration::from_micros(500) {
                thread::park_timeout(left / 2)
            } else {
                std::hint::spin_loop()
            }
        }
    }

    fn count(&mut self, fault: Fault) {
        *self.report.rounds.entry(fault).or_default() += 1;
    }
}

fn start(home: &Home, program: &Path, victim: usize, aim: Option<&Aim>) -> Running {
    let name = INSTANCES[victim];
    let [segment, kept, sync] = JOURNALS[victim];
    let mut command = home.command_at(program, &["run", "--instance", name]);
    command.args(FLAGS).args(["--journal-segment-bytes", segment, "--journal-keep-bytes", kept]);
    command.args(["--journal-sync", sync]).env_remove("JOURNAL_FAULT");
    if let Some(Aim { point, count, .. }) = aim {
        command.env("JOURNAL_FAULT", format!("{point}:{count}"));
    }
    Running::spawn(home, name, command)
}
