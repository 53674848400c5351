//! Procession itself, by `procession bench`: real micro-processes that use nothing but the public API.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::OURS;
use crate::contender::{Contender, Missing, Place, Promises};
use crate::server::version_of;
use crate::work::{Durability, Measured, Percentiles, Task, Work, as_float};

#[derive(Debug)]
pub(crate) struct Ours;

impl Contender for Ours {
    fn name(&self) -> &'static str {
        OURS
    }

    fn promises(&self) -> Promises {
        let settings = "one publish and one acknowledgement for each message, payloads raw, sync every 1s unless \
                        stated";
        Promises { settings: settings.into(), lossless: true, replays: true, durable: true }
    }

    fn version(&self, place: &Place<'_>) -> Result<String, Missing> {
        version_of(&program(place).display().to_string(), &["--version"])
    }

    fn offers(&self, _: Work) -> bool {
        true
    }

    fn run(&self, task: &Task, place: &Place<'_>) -> anyhow::Result<Measured> {
        let folder = super::folder(place)?;
        let output = Command::new(program(place))
            .args(arguments(task, folder.path()))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        // Lost messages make it fail, too, but are to be counted here.
        let text = String::from_utf8_lossy(&output.stdout);
        let outcome: Outcome = serde_json::from_str(&text)
            .with_context(|| format!("procession bench, {}: {text}", output.status))?;
        outcome.measured(task)
    }
}

fn program(place: &Place<'_>) -> std::path::PathBuf {
    place.programs.join("procession")
}

fn arguments(task: &Task, folder: &Path) -> Vec<String> {
    let (payload, messages) = (task.work.payload().to_string(), task.messages.to_string());
    let dir = folder.display().to_string();
    let mut list = vec!["bench"];
    let (subscribers, sync, waiting);
    if let Work::Latency { spin, .. } = task.work {
        list.extend(["latency", "--count", &messages]);
        if spin {
            list.push("--spin");
        }
    } else {
        subscribers = task.work.subscribers().to_string();
        sync = task.work.durability().to_string();
        list.extend(["pubsub", "--messages", &messages, "--subscribers", &subscribers, "--codec", "raw"]);
        list.extend(["--sync", &sync]);
        match task.work {
            Work::CatchUp { .. } => list.push("--behind"),
            Work::Durable { durability: Durability::Always, waiting: publishers, .. } => {
                waiting = publishers.to_string();
                list.extend(["--waiting", &waiting]);
            }
            _ => {}
        }
    }
    list.extend(["--payload", &payload, "--dir", &dir, "--json"]);
    list.into_iter().map(str::to_owned).collect()
}

#[derive(Debug, Deserialize)]
struct Outcome {
    publisher: Publisher,
    subscribers: Vec<Subscriber>,
    delivery_us: Option<Percentiles>,
}

#[derive(Debug, Deserialize)]
struct Publisher {
    messages_per_second: f64,
    cpu_ns_per_message: u64,
}

#[derive(Debug, Deserialize)]
struct Subscriber {
    messages_per_second: f64,
    cpu_ns_per_message: u64,
    received: u64,
    lost: u64,
    duplicated: u64,
}

impl Outcome {
    fn measured(self, task: &Task) -> anyhow::Result<Measured> {
        if self.subscribers.len() != usize::try_from(task.work.subscribers())? {
            bail!("{} subscribers reported, not {}", self.subscribers.len(), task.work.subscribers());
        }
        let heard = self.subscribers.iter().map(|one| one.cpu_ns_per_message).sum::<u64>();
        let said =
            if matches!(task.work, Work::CatchUp { .. }) { 0 } else { self.publisher.cpu_ns_per_message };
        let slowest = self.subscribers.iter().map(|one| one.messages_per_second).reduce(f64::min);
        Ok(Measured {
            messages: task.messages,
            messages_per_second: slowest.unwrap_or(self.publisher.messages_per_second),
            received: self.subscribers.iter().map(|one| one.received).collect(),
            lost: self.subscribers.iter().map(|one| one.lost).sum(),
            duplicated: self.subscribers.iter().map(|one| one.duplicated).sum(),
            wrong: 0,
            cpu_ns_per_message: as_float(heard + said),
            latency_us: self.delivery_us,
        })
    }
}
