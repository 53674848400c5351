//! Kitchens as real processes, and whoever calls them.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use procession::calls::{Caller, Failure};
use procession::settings::CallSettings;

use crate::records;
use crate::sample::program;
pub(crate) use crate::sample::{DEADLINE, Home, Running};

#[path = "../../../examples/kitchen/order.rs"]
pub(crate) mod order;

use order::{Cook, Cooked, Count, KitchenError, Order, Progress};

/// Kitchens in a home of their own.
pub(crate) struct Street {
    home: Home,
}

impl Street {
    pub(crate) fn new() -> Self {
        Self { home: Home::new() }
    }

    pub(crate) fn socket(&self, instance: &str) -> PathBuf {
        self.home.socket(instance)
    }

    /// Starts a kitchen and waits until it answers.
    pub(crate) fn open(&self, instance: &str, arguments: &[&str]) -> Running {
        let mut running = self.start(instance, arguments);
        running.wait_for("ready");
        running
    }

    pub(crate) fn start(&self, instance: &str, arguments: &[&str]) -> Running {
        let arguments = [&["run", "--instance", instance], arguments].concat();
        let mut command = self.home.command_of(&program("kitchen"), &arguments);
        Running::start(command.stdout(Stdio::null()))
    }

    pub(crate) fn caller(&self, instance: &str) -> Caller {
        let settings = CallSettings { timeout: DEADLINE, patience: DEADLINE, ..CallSettings::default() };
        Caller::new(instance, self.home.endpoint(instance), &settings)
    }

    /// The steps of a dish, as the kitchen's journal has them.
    pub(crate) fn steps(&self, instance: &str, dish: &str) -> Vec<String> {
        let said = records::all(&self.home, instance).into_iter().map(|said| said.decode::<Progress>());
        said.filter(|said| said.dish == dish).map(|said| said.step).collect()
    }

    /// Waits until a dish has come so far, or farther. Lets other tasks of the test go on.
    pub(crate) async fn until(&self, instance: &str, dish: &str, steps: &[&str]) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = self.steps(instance, dish);
            if found.iter().zip(steps).filter(|(found, step)| found == step).count() == steps.len() {
                return;
            }
            assert!(Instant::now() < deadline, "{dish} of {instance} is {found:?}, not {steps:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

pub(crate) type Answer = Result<Cooked, Failure<KitchenError>>;

pub(crate) fn cook(dish: &str, takes: Duration) -> Cook {
    Cook { dish: dish.to_owned(), takes_ms: milliseconds(takes) }
}

pub(crate) fn count(dish: &str, takes: Duration) -> Count {
    Count { dish: dish.to_owned(), takes_ms: milliseconds(takes) }
}

pub(crate) fn order(from: &str, dish: &str, takes: Duration) -> Order {
    Order { from: from.to_owned(), dish: dish.to_owned(), takes_ms: milliseconds(takes) }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// As long as nobody waits for.
pub(crate) const LONG: Duration = Duration::from_secs(3600);
pub(crate) const NOW: Duration = Duration::ZERO;

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
