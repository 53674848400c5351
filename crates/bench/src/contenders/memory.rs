//! The floor of bytes: one thread that makes messages and copies them through memory.

use std::hint::black_box;

use crate::clock::{cpu_ns, now_ns};
use crate::contender::{Contender, Missing, Place, Promises};
use crate::payload;
use crate::work::{Measured, Task, Work, as_float};

/// Far larger than any cache.
const RING_BYTES: usize = 256 << 20;

#[derive(Debug)]
pub(crate) struct Memcpy;

impl Contender for Memcpy {
    fn name(&self) -> &'static str {
        "memcpy"
    }

    fn promises(&self) -> Promises {
        let settings = "floor: one thread, no reader; each message is made and copied into 256 MiB, round and \
                        round; catch-up: copied and checked from there";
        Promises { settings: settings.into(), lossless: true, replays: false, durable: false }
    }

    fn version(&self, _: &Place<'_>) -> Result<String, Missing> {
        Ok("std".to_owned())
    }

    fn offers(&self, work: Work) -> bool {
        matches!(work, Work::Publishing { .. } | Work::CatchUp { .. })
    }

    fn run(&self, task: &Task, _: &Place<'_>) -> anyhow::Result<Measured> {
        let bytes = usize::try_from(task.work.payload())?;
        let mut ring = vec![1_u8; RING_BYTES / bytes * bytes];
        let mut message = vec![0; bytes];
        let is_reading = matches!(task.work, Work::CatchUp { .. });
        if is_reading {
            for (number, slot) in (0..).zip(ring.chunks_exact_mut(bytes)) {
                payload::write(slot, number, 0);
            }
        }
        let (before, cpu_before) = (now_ns(), cpu_ns());
        let mut wrong = 0;
        let (mut at, mut number) = (0, 0);
        for _ in 0..task.messages {
            let slot = &mut ring[at..at + bytes];
            if is_reading {
                message.copy_from_slice(slot);
                wrong += u64::from(payload::check(&message, bytes).map(|heard| heard.number) != Some(number));
            } else {
                payload::write(&mut message, number, 0);
                slot.copy_from_slice(&message);
            }
            (at, number) = (at + bytes, number + 1);
            if at == ring.len() {
                at = 0;
                // What was written once is read again and again.
                number = if is_reading { 0 } else { number };
            }
        }
        let (took_ns, cpu_ns) = (now_ns() - before, cpu_ns() - cpu_before);
        black_box(&ring);
        Ok(Measured {
            messages: task.messages,
            messages_per_second: as_float(task.messages) * 1e9 / as_float(took_ns.max(1)),
            wrong,
            lost: wrong,
            cpu_ns_per_message: as_float(cpu_ns) / as_float(task.messages.max(1)),
            ..Measured::default()
        })
    }
}
