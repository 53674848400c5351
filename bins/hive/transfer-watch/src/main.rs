//! Publishes transfers above a threshold per asset.
//!
//! Hears `broadcaster/transfer`, says `large-transfer` with the transfer as its cause.
//!
//! Where the broadcaster is set to `mode = "head"`, a transfer that a fork moves to another block is said again
//! by the broadcaster, and so here: `trx_id` and `op_in_trx` tell that it is the same one.

mod settings;

use std::cmp::Ordering;
use std::error::Error;
use std::process::ExitCode;

use contracts::hive::{LargeTransfer, Transfer};
use procession::{Process, Program};
use settings::Settings;

fn main() -> ExitCode {
    Program::new("transfer-watch")
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .version(env!("CARGO_PKG_VERSION"))
        .run(app)
}

async fn app(process: Process<Settings>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let thresholds = process.settings().amounts()?;
    let mut transfers = process.subscribe::<Transfer>("broadcaster").await?;
    while let Some(delivery) = transfers.next().await? {
        let amount = &delivery.event.value().amount;
        let is_large =
            thresholds.iter().any(|threshold| amount.compare(threshold) == Some(Ordering::Greater));
        if is_large {
            process.publish_acking(&LargeTransfer::from(&delivery.event), &delivery)?;
        } else {
            delivery.ack();
        }
    }
    Ok(())
}
