//! What one customer does: a function of a seed and of the session's number, and of nothing else.

use contracts::checkout::{Method, Product, products};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// The chances of what makes a customer interesting.
const WRONG_WEIGHT: f64 = 0.06;
const CORRECTED: f64 = 0.75;
const REMOVES: f64 = 0.08;
const COMES_BACK: f64 = 0.05;
const CASH: f64 = 0.35;
const ITEMS_MAX: usize = 10;
/// Basket and bag differ by at least so much in the end, or not at all: no scale is exact to the gram.
const DIFFERENCE_MIN: i64 = 50;

/// One thing that a customer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Begins.
    Start,
    /// Holds a product before the reader; produce is weighed first.
    Scan { product: &'static Product, grams: Option<i64> },
    /// Puts something in the bag, or takes it out.
    Bag { grams: i64 },
    /// Takes a line out of the basket.
    Remove { line: u32 },
    /// Wants to pay.
    CheckOut,
    /// Goes on after all.
    Reopen,
    /// Pays.
    Pay { method: Method, tendered_cents: Option<i64> },
}

/// What one customer does, and what must come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) actions: Vec<Action>,
    pub(crate) expected: Expected,
}

/// What must come of a script, whatever fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) items: u32,
    pub(crate) total_cents: i64,
    /// What the basket's items weigh.
    pub(crate) basket_grams: i64,
    /// What lies in the bag.
    pub(crate) bag_grams: i64,
    /// How often something was put in the bag that weighs something else than what was scanned.
    pub(crate) wrong_weights: u32,
}

impl Expected {
    /// Whether bag and basket disagree when the customer pays.
    pub(crate) fn is_mismatch(&self) -> bool {
        self.basket_grams != self.bag_grams
    }
}

impl Script {
    /// The script of a session.
    pub(crate) fn of(seed: u64, number: u64) -> Self {
        // Neighbouring numbers must not give neighbouring seeds of one another's.
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03);
        Writing::new(StdRng::seed_from_u64(mixed)).write()
    }
}

/// An item that is in the basket.
#[derive(Debug, Clone, Copy)]
struct InBasket {
    line: u32,
    cents: i64,
    grams: i64,
}

/// A script while it is written.
struct Writing {
    random: StdRng,
    actions: Vec<Action>,
    basket: Vec<InBasket>,
    lines: u32,
    bag_grams: i64,
    wrong_weights: u32,
    /// What is too much in the bag, and will be put right later.
    to_correct: i64,
}

impl Writing {
    fn new(random: StdRng) -> Self {
        let actions = vec![Action::Start];
        let basket = Vec::new();
        Writing { random, actions, basket, lines: 0, bag_grams: 0, wrong_weights: 0, to_correct: 0 }
    }

    fn write(mut self) -> Script {
        for _ in 0..self.random.random_range(1..=ITEMS_MAX) {
            self.take_item();
            if self.basket.len() > 1 && self.random.random_bool(REMOVES) {
                self.remove_item();
            }
        }
        self.correct();
        self.actions.push(Action::CheckOut);
        if self.random.random_bool(COMES_BACK) {
            self.actions.push(Action::Reopen);
            self.take_item();
            self.correct();
            self.actions.push(Action::CheckOut);
        }
        self.pay();
        let sum = |of: fn(&InBasket) -> i64| self.basket.iter().map(of).sum();
        let expected = Expected {
            items: u32::try_from(self.basket.len()).expect("a basket holds a few items"),
            total_cents: sum(|item| item.cents),
            basket_grams: sum(|item| item.grams),
            bag_grams: self.bag_grams,
            wrong_weights: self.wrong_weights,
        };
        Script { actions: self.actions, expected }
    }

    fn take_item(&mut self) {
        let product = &products()[self.random.random_range(0..products().len())];
        let weighed = product.is_by_weight().then(|| self.random.random_range(80..2500));
        let grams = product.grams(weighed).expect("produce has been weighed");
        let cents = product.cents(weighed).expect("produce has been weighed");
        self.lines += 1;
        self.basket.push(InBasket { line: self.lines, cents, grams });
        self.actions.push(Action::Scan { product, grams: weighed });
        let wrong = if self.random.random_bool(WRONG_WEIGHT) { self.wrong_by(grams) } else { 0 };
        if wrong != 0 {
            self.wrong_weights += 1;
            if self.random.random_bool(CORRECTED) {
                self.to_correct += wrong;
            }
        }
        self.bag(grams + wrong);
    }

    /// Something else is put in the bag than what was scanned, or nothing is.
    fn wrong_by(&mut self, grams: i64) -> i64 {
        match self.random.random_range(0..3) {
            0 => -grams,
            1 => self.random.random_range(20..600),
            _ => -self.random.random_range(1..=grams.min(200)),
        }
    }

    fn remove_item(&mut self) {
        let place = self.random.random_range(0..self.basket.len());
        let item = self.basket.remove(place);
        self.actions.push(Action::Remove { line: item.line });
        // No more can be taken out than lies in it.
        self.bag(-item.grams.min(self.bag_grams));
    }

    /// Puts right what the customer has noticed, and what is too little to be noticed.
    fn correct(&mut self) {
        let wrong = std::mem::take(&mut self.to_correct);
        self.bag(-wrong.min(self.bag_grams));
        let difference = self.bag_grams - self.basket.iter().map(|item| item.grams).sum::<i64>();
        if difference.abs() < DIFFERENCE_MIN {
            self.bag(-difference);
        }
    }

    fn bag(&mut self, grams: i64) {
        if grams != 0 {
            self.bag_grams += grams;
            self.actions.push(Action::Bag { grams });
        }
    }

    fn pay(&mut self) {
        let total: i64 = self.basket.iter().map(|item| item.cents).sum();
        let (method, tendered_cents) = if self.random.random_bool(CASH) {
            let note = [500, 1000, 2000][self.random.random_range(0..3)];
            (Method::Cash, Some((total + note - 1) / note * note))
        } else {
            (Method::Card, None)
        };
        self.actions.push(Action::Pay { method, tendered_cents });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scripts() -> impl Iterator<Item = Script> {
        (0..2000).map(|number| Script::of(7, number))
    }

    #[test]
    fn a_script_is_a_function_of_seed_and_number() {
        assert!(scripts().eq(scripts()));
        assert_ne!(Script::of(7, 1), Script::of(7, 2));
        assert_ne!(Script::of(7, 1), Script::of(8, 1));
    }

    /// What comes of the actions, counted anew.
    #[test]
    fn what_is_expected_is_what_the_actions_come_to() {
        for script in scripts() {
            let mut lines: Vec<Option<(i64, i64)>> = Vec::new();
            let mut bag = 0;
            for action in &script.actions {
                match *action {
                    Action::Scan { product, grams } => {
                        lines.push(Some((product.cents(grams).unwrap(), product.grams(grams).unwrap())));
                    }
                    Action::Remove { line } => {
                        lines[usize::try_from(line).unwrap() - 1].take().expect("it was there");
                    }
                    Action::Bag { grams } => {
                        bag += grams;
                        assert!(bag >= 0 && grams != 0, "{script:?}");
                    }
                    _ => {}
                }
            }
            let left: Vec<_> = lines.into_iter().flatten().collect();
            let Expected { items, total_cents, basket_grams, bag_grams, .. } = script.expected;
            assert_eq!(usize::try_from(items).unwrap(), left.len());
            assert_eq!(total_cents, left.iter().map(|(cents, _)| cents).sum::<i64>());
            assert_eq!(basket_grams, left.iter().map(|(_, grams)| grams).sum::<i64>());
            assert_eq!(bag_grams, bag);
            assert!(!(1..DIFFERENCE_MIN).contains(&(bag_grams - basket_grams).abs()), "{script:?}");
            assert!(items > 0 && matches!(script.actions.last(), Some(Action::Pay { .. })));
        }
    }

    #[test]
    fn there_is_something_of_everything() {
        let scripts: Vec<Script> = scripts().collect();
        let share = |what: &dyn Fn(&Script) -> bool| scripts.iter().filter(|script| what(script)).count();
        let does = |what: fn(&Action) -> bool| share(&move |script: &Script| script.actions.iter().any(what));
        assert!(share(&|script| script.expected.is_mismatch()) > 50);
        assert!(share(&|script| script.expected.wrong_weights > 0 && !script.expected.is_mismatch()) > 100);
        assert!(does(|action| matches!(action, Action::Remove { .. })) > 100);
        assert!(does(|action| matches!(action, Action::Reopen)) > 50);
        assert!(does(|action| matches!(action, Action::Scan { grams: Some(_), .. })) > 500);
        assert!(does(|action| matches!(action, Action::Pay { method: Method::Cash, .. })) > 400);
    }
}
