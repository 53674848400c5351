//! A process that is called: a kitchen that cooks, and has others cook.

mod order;

use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use order::{Cook, Cooked, Count, KITCHEN, KitchenError, Order, Progress};
use procession::calls::Interface;
use procession::{NoSettings, Process, Program};
use tokio::time::sleep;

fn main() -> ExitCode {
    Program::new("kitchen").about("Cooks what it is asked for").run(app)
}

async fn app(process: Process<NoSettings>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let kitchen = Arc::new(Kitchen { process: process.clone(), cooked: Mutex::default() });
    let interface = Interface::new(KITCHEN, kitchen).on(Kitchen::cook).on(Kitchen::count).on(Kitchen::order);
    process.offer(interface)?.finished().await;
    Ok(())
}

struct Kitchen {
    process: Process<NoSettings>,
    cooked: Mutex<HashMap<String, u64>>,
}

impl Kitchen {
    async fn cook(self: Arc<Self>, request: Cook) -> Result<Cooked, KitchenError> {
        match request.dish.as_str() {
            "unicorn" => return Err(KitchenError::NotOnMenu { dish: request.dish }),
            "supper" => return Err(KitchenError::KitchenClosed),
            "flambé" => panic!("the kitchen is on fire"),
            _ => {}
        }
        let mut dish = self.begin(&request.dish);
        sleep(Duration::from_millis(request.takes_ms)).await;
        dish.is_done = true;
        let mut cooked = self.cooked.lock().unwrap_or_else(PoisonError::into_inner);
        let times = cooked.entry(request.dish).or_default();
        *times += 1;
        Ok(Cooked { times: *times })
    }

    async fn count(self: Arc<Self>, request: Count) -> Result<Cooked, KitchenError> {
        let _counting = self.begin(&format!("count {}", request.dish));
        sleep(Duration::from_millis(request.takes_ms)).await;
        let cooked = self.cooked.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Cooked { times: cooked.get(&request.dish).copied().unwrap_or_default() })
    }

    async fn order(self: Arc<Self>, request: Order) -> Result<Cooked, KitchenError> {
        let mut dish = self.begin(&format!("order {}", request.dish));
        let Order { from, dish: wanted, takes_ms } = request;
        let undelivered = |reason: String| KitchenError::NotDelivered { from: from.clone(), reason };
        let other = self.process.caller(&from).map_err(|error| undelivered(error.to_string()))?;
        let cooked = other.call(&Cook { dish: wanted, takes_ms }).await;
        dish.is_done = true;
        cooked.map_err(|failure| undelivered(failure.to_string()))
    }

    fn begin(&self, dish: &str) -> Dish<'_> {
        self.say(dish, "begun");
        Dish { kitchen: self, name: dish.to_owned(), is_done: false }
    }

    fn say(&self, dish: &str, step: &str) {
        let said = self.process.publish(&Progress { dish: dish.to_owned(), step: step.to_owned() });
        said.expect("the journal takes it");
    }
}

/// Says what became of a dish, also when the work on it is dropped.
struct Dish<'a> {
    kitchen: &'a Kitchen,
    name: String,
    is_done: bool,
}

impl Drop for Dish<'_> {
    fn drop(&mut self) {
        self.kitchen.say(&self.name, if self.is_done { "done" } else { "dropped" });
    }
}
