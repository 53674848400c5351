//! The floor of durability: one process that appends a message and calls fdatasync, one at a time.

use std::fs::File;
use std::io::Write as _;

use crate::clock::{cpu_ns, now_ns};
use crate::contender::{Contender, Missing, Place, Promises};
use crate::payload;
use crate::work::{Durability, Measured, Task, Work, as_float};

#[derive(Debug)]
pub(crate) struct Fdatasync;

impl Contender for Fdatasync {
    fn name(&self) -> &'static str {
        "fdatasync"
    }

    fn promises(&self) -> Promises {
        let settings = "floor: a write and an fdatasync for each message, one at a time, no reader";
        Promises { settings: settings.into(), lossless: true, replays: false, durable: true }
    }

    fn version(&self, _: &Place<'_>) -> Result<String, Missing> {
        Ok("kernel".to_owned())
    }

    fn offers(&self, work: Work) -> bool {
        matches!(work, Work::Durable { durability: Durability::Always, waiting: 1, .. })
    }

    fn run(&self, task: &Task, place: &Place<'_>) -> anyhow::Result<Measured> {
        let folder = super::folder(place)?;
        let mut file = File::create(folder.path().join("log"))?;
        let mut message = vec![0; usize::try_from(task.work.payload())?];
        let (before, cpu_before) = (now_ns(), cpu_ns());
        for number in 0..task.messages {
            payload::write(&mut message, number, 0);
            file.write_all(&message)?;
            file.sync_data()?;
        }
        let (took_ns, cpu_ns) = (now_ns() - before, cpu_ns() - cpu_before);
        Ok(Measured {
            messages: task.messages,
            messages_per_second: as_float(task.messages) * 1e9 / as_float(took_ns.max(1)),
            cpu_ns_per_message: as_float(cpu_ns) / as_float(task.messages.max(1)),
            ..Measured::default()
        })
    }
}
