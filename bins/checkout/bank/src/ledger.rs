//! What is booked, as the journal says.

use std::collections::{HashMap, VecDeque};

use contracts::checkout::{Booking, LedgerTotal};

#[derive(Debug)]
pub(crate) struct Ledger {
    bookings: HashMap<String, Booking>,
    oldest_first: VecDeque<String>,
    kept: usize,
    total: LedgerTotal,
}

impl Ledger {
    /// An empty one, which remembers the latest `kept` bookings.
    pub(crate) fn new(kept: u32) -> Self {
        Self {
            bookings: HashMap::new(),
            oldest_first: VecDeque::new(),
            kept: usize::try_from(kept).unwrap_or(usize::MAX),
            total: LedgerTotal { charges: 0, cents: 0 },
        }
    }

    pub(crate) fn find(&self, charge: &str) -> Option<&Booking> {
        self.bookings.get(charge)
    }

    pub(crate) fn total(&self) -> LedgerTotal {
        self.total
    }

    pub(crate) fn book(&mut self, booking: Booking) {
        if booking.approved {
            self.total.charges += 1;
            self.total.cents += booking.cents;
        }
        self.oldest_first.push_back(booking.charge.clone());
        self.bookings.insert(booking.charge.clone(), booking);
        while self.oldest_first.len() > self.kept {
            let oldest = self.oldest_first.pop_front().expect("there are more than none");
            self.bookings.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_approved_counts_and_the_latest_are_kept() {
        let mut ledger = Ledger::new(2);
        for (charge, cents, approved) in [("a", 100, true), ("b", 200, false), ("c", 300, true)] {
            ledger.book(Booking { charge: charge.to_owned(), cents, approved, reason: None });
        }
        assert_eq!(ledger.total(), LedgerTotal { charges: 2, cents: 400 });
        assert!(ledger.find("a").is_none() && ledger.find("b").is_some() && ledger.find("c").is_some());
    }
}
