//! The processes of a checkout, started, killed and stopped.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::plan::{ALL_DONE, Plan};
use super::report::Report;
use crate::chain::{Sight, Trouble};
use crate::home::Home;
use crate::peer::call;
use crate::process::{Ended, Running};
use crate::wait::DEADLINE;

/// All of them; the customers come last, so that the others are there for a first run without waiting.
pub(super) const MEMBERS: [&str; 7] =
    ["weight-check", "payment", "bank", "basket", "scale", "scanner", "customer"];
/// The pauses between two kills, in seconds; short ones are as likely as long ones,
const PAUSE_MIN: f64 = 0.005;
const PAUSE_MAX: f64 = 2.0;
/// and in a run with few customers, which is soon over, long ones are not so long.
const PAUSE_MAX_OF_FEW: f64 = 0.2;
const FEW: u64 = 500;
/// A run whose customers get nowhere for so long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A checkout that runs.
#[derive(Debug)]
pub struct Shop {
    plan: Plan,
    random: StdRng,
    members: Vec<Running>,
    report: Report,
    /// Last, so that the processes are gone when their folders go.
    home: Home,
}

impl Shop {
    /// Runs a plan to its end: all customers have gone, all verdicts are final, all processes have ended well. What is
    /// left are the journals.
    ///
    /// # Errors
    /// Somebody ended who should not, or logged an error, or nothing goes on.
    pub fn run(home: Home, plan: &Plan) -> Result<(Home, Report), Trouble> {
        plan.configure(&home);
        let random = StdRng::seed_from_u64(plan.seed ^ u64::from(plan.faults_one_in));
        let members = MEMBERS.iter().map(|name| Running::start(&home, name, &["run"])).collect();
        let mut shop = Shop { plan: plan.clone(), random, members, report: Report::default(), home };
        let begun = Instant::now();
        let done = shop.play();
        shop.report.time = begun.elapsed();
        let done = done.and_then(|()| shop.close());
        let Shop { members, report, home, .. } = shop;
        drop(members);
        match done {
            Ok(()) => Ok((home, report)),
            Err(Trouble(what)) => {
                Err(Trouble(format!("{what}\nthe files are kept in {}", home.keep().display())))
            }
        }
    }

    /// The customers shop.
    fn play(&mut self) -> Result<(), Trouble> {
        if self.plan.outage_sessions > 0 {
            self.do_without_weight_check()?;
        }
        let pause_max = if self.plan.sessions < FEW { PAUSE_MAX_OF_FEW } else { PAUSE_MAX };
        let mut last = (Instant::now(), 0);
        loop {
            let pause = (self.random.random_range(PAUSE_MIN.ln()..pause_max.ln())).exp();
            if self.customers_are_gone(Duration::from_secs_f64(pause))? {
                return Ok(());
            }
            let committed = self.said("customer");
            if committed > last.1 {
                last = (Instant::now(), committed);
            } else if last.0.elapsed() > PATIENCE {
                return Err(self.stuck("no customer has gone"));
            }
            if self.plan.kills {
                let victim = self.random.random_range(0..self.members.len());
                self.kill(victim)?;
            }
        }
    }

    /// A third of the customers with it, some without it, the others with it again.
    fn do_without_weight_check(&mut self) -> Result<(), Trouble> {
        let before = (self.plan.sessions - self.plan.outage_sessions) / 2;
        self.until_gone(before)?;
        let running = self.members.remove(0);
        let (name, down) = (running.name().to_owned(), Instant::now());
        running.kill9();
        let from = self.said("payment");
        *self.report.kills.entry(name.clone()).or_default() += 1;
        // Some have gone in the meantime.
        let result = self.until_gone(self.said("customer") + self.plan.outage_sessions);
        self.report.outage = Some((down.elapsed(), from, self.said("payment")));
        self.members.insert(0, Running::start(&self.home, &name, &["run"]));
        result
    }

    /// Waits until so many customers have gone.
    fn until_gone(&mut self, count: u64) -> Result<(), Trouble> {
        let begun = Instant::now();
        while self.said("customer") < count {
            if begun.elapsed() > PATIENCE {
                return Err(self.stuck(&format!("{count} customers have not gone")));
            }
            self.check_alive()?;
            thread::park_timeout(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Whether all have, within a pause.
    fn customers_are_gone(&mut self, pause: Duration) -> Result<bool, Trouble> {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            let (customer, others) = self.members.split_last_mut().expect("there are some");
            if !customer.is_alive() {
                let ended = customer.kill9_at_last();
                return if ended.code() == Some(0) { Ok(true) } else { Err(bad_end(&ended)) };
            }
            for other in others {
                if !other.is_alive() {
                    return Err(bad_end(&other.kill9_at_last()));
                }
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        Ok(false)
    }

    fn check_alive(&mut self) -> Result<(), Trouble> {
        for member in self.members.iter_mut().filter(|member| member.name() != "customer") {
            if !member.is_alive() {
                return Err(bad_end(&member.kill9_at_last()));
            }
        }
        Ok(())
    }

    fn kill(&mut self, victim: usize) -> Result<(), Trouble> {
        let member = &mut self.members[victim];
        if !member.is_alive() {
            // It is the customers' turn to end by themselves.
            return Ok(());
        }
        member.signal(Signal::KILL);
        let ended = member.kill9_at_last();
        let name = member.name().to_owned();
        // It may have come to its end a moment before.
        if ended.code() == Some(0) && name == "customer" {
            *member = Running::start(&self.home, &name, &["run"]);
            return Ok(());
        }
        *member = Running::start(&self.home, &name, &["run"]);
        *self.report.kills.entry(name).or_default() += 1;
        self.note(&ended)
    }

    /// All verdicts become final; then the processes are told to end.
    fn close(&mut self) -> Result<(), Trouble> {
        let socket = self.home.socket("weight-check");
        let until = Instant::now() + DEADLINE;
        while settled(&socket).is_none_or(|at| at < ALL_DONE) {
            if Instant::now() > until {
                return Err(self.stuck("the verdicts do not become final"));
            }
            self.check_alive()?;
            thread::park_timeout(Duration::from_millis(5));
        }
        self.members.pop();
        for mut member in std::mem::take(&mut self.members) {
            member.signal(Signal::TERM);
            let ended = member.wait(DEADLINE);
            self.note(&ended)?;
            if ended.code() != Some(0) {
                return Err(bad_end(&ended));
            }
        }
        let summary: Value = serde_json::from_slice(&fs::read(self.home.path().join("summary.json"))?)
            .map_err(|error| Trouble(format!("the summary can't be read: {error}")))?;
        self.report.repeated = summary["repeated"].as_u64().unwrap_or(0);
        Ok(())
    }

    /// How many records a process has said, as its marks tell.
    fn said(&self, name: &str) -> u64 {
        Sight::new(self.home.instance(name).join("journal")).committed()
    }

    /// Errors must not be logged; warnings are counted.
    fn note(&mut self, ended: &Ended) -> Result<(), Trouble> {
        for line in ended.stderr.lines() {
            if line.contains("\"ERROR\"") || line.contains("panicked at") {
                return Err(Trouble(format!("an error was logged: {line}\n{ended:?}")));
            }
            if !line.contains("\"WARN\"") {
                continue;
            }
            let message = line
                .split_once("\"message\":\"")
                .map_or(line, |(_, rest)| rest.split('"').next().unwrap_or(rest));
            *self.report.warnings.entry(message.to_owned()).or_default() += 1;
        }
        Ok(())
    }

    fn stuck(&self, what: &str) -> Trouble {
        let logs: Vec<String> = MEMBERS.iter().map(|name| tail(&self.home.logs(name), name)).collect();
        Trouble(format!("{what} for a long time; {}", logs.join("\n")))
    }
}

/// Up to when verdicts are final, if weight-check answers.
fn settled(socket: &Path) -> Option<i64> {
    let verdict =
        call(socket, "io.procession.checkout.WeightCheck.Verdict", &json!({"session": "none"})).ok()?;
    verdict["final"].as_str()?.parse().ok()
}

fn bad_end(ended: &Ended) -> Trouble {
    Trouble(format!("it ended by itself: {ended:?}"))
}

fn tail(log: &str, name: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(5).collect();
    format!("---- {name}\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
}
