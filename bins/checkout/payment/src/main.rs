//! Takes the customers' money: once for each basket, and only when its weight is verified or policy allows it.
//!
//! Answers `io.procession.checkout.Payment`, and says `charge-begun`, `charge-declined`, `paid` and
//! `unverified-payment`. Before the bank is asked, the charge is written down with the key that the bank knows it by; so
//! whenever this process is killed, it knows afterwards which charges it has begun, and asks again with the same key.
//!
//! A payment waits until weight-check's verdict on the basket is settled. Where nobody can tell, the setting `policy`
//! decides, and the payment is listed as unverified.

mod book;
mod settings;
mod till;
mod verify;

use std::error::Error;
use std::process::ExitCode;

use procession::{Process, Program};
use settings::Settings;
use till::Till;

fn main() -> ExitCode {
    Program::new("payment").about(env!("CARGO_PKG_DESCRIPTION")).version(env!("CARGO_PKG_VERSION")).run(app)
}

async fn app(process: Process<Settings>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let till = Till::open(process.clone())?;
    let serving = process.offer(till.interface())?;
    till.resume();
    serving.finished().await;
    Ok(())
}
