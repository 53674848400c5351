//! What lies in the bags, per session, and what was answered about it.

use std::collections::HashMap;

use contracts::checkout::names::{GRAMS_MAX, Invalid, check_grams};
use contracts::checkout::{Answers, Bag, WeightChanged};

/// As many customers are remembered, and so many changes of each.
const SESSIONS_MAX: usize = 20_000;
const REQUESTS_MAX: usize = 2_000;

/// One session's bag.
#[derive(Debug, Clone, Copy)]
struct Content {
    lane: u32,
    grams: i64,
}

/// The bags of all sessions: a fold of the weight changes.
#[derive(Debug)]
pub(crate) struct Bags {
    contents: HashMap<String, Content>,
    answers: Answers<i64>,
}

impl Default for Bags {
    fn default() -> Self {
        Bags { contents: HashMap::new(), answers: Answers::new(SESSIONS_MAX, REQUESTS_MAX) }
    }
}

impl Bags {
    /// What was answered to this request, if it was.
    pub(crate) fn answered(&self, bag: &Bag) -> Option<i64> {
        self.answers.get(&bag.session, &bag.request)
    }

    /// What lies in a session's bag.
    pub(crate) fn grams(&self, session: &str) -> i64 {
        self.contents.get(session).map_or(0, |content| content.grams)
    }

    /// What the scale shows after this change.
    ///
    /// # Errors
    /// The change can't be: the bag would weigh less than nothing, say.
    pub(crate) fn after(&self, bag: &Bag) -> Result<i64, Invalid> {
        let now = self.contents.get(&bag.session).copied();
        let Content { lane, grams } = now.unwrap_or(Content { lane: bag.lane, grams: 0 });
        let refused = |field, reason| Err(Invalid { field, reason });
        if lane != bag.lane {
            return refused("lane", format!("is {}: session {} is at lane {lane}", bag.lane, bag.session));
        }
        if let Err(error) = self.answers.check(&bag.session) {
            return refused("session", error.to_string());
        }
        check_grams(bag.grams.saturating_abs())?;
        match grams + bag.grams {
            after @ 0..=GRAMS_MAX => Ok(after),
            ..0 => refused(
                "grams",
                format!("is {}: only {grams} g lie in the bag, and a weight can't be negative", bag.grams),
            ),
            _ => refused(
                "grams",
                format!("is {}: with the {grams} g in the bag that is more than {GRAMS_MAX} g", bag.grams),
            ),
        }
    }

    /// Takes in what has been said.
    pub(crate) fn apply(&mut self, change: &WeightChanged) {
        let WeightChanged { session, lane, grams, request, .. } = change;
        self.contents.insert(session.clone(), Content { lane: *lane, grams: *grams });
        if let Some(forgotten) = self.answers.put(session, request, *grams) {
            self.contents.remove(&forgotten);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::checkout::At;

    fn bag(session: &str, lane: u32, grams: i64, request: &str) -> Bag {
        Bag { session: session.to_owned(), lane, grams, at: None, request: request.to_owned() }
    }

    fn put(bags: &mut Bags, asked: &Bag) -> Result<i64, String> {
        if let Some(grams) = bags.answered(asked) {
            return Ok(grams);
        }
        let grams = bags.after(asked).map_err(|error| error.to_string())?;
        let Bag { session, lane, request, .. } = asked.clone();
        bags.apply(&WeightChanged { session, lane, at: At(0), grams, request });
        Ok(grams)
    }

    #[test]
    fn weights_add_up_and_asking_again_changes_nothing() {
        let mut bags = Bags::default();
        assert_eq!(put(&mut bags, &bag("a", 1, 500, "1")), Ok(500));
        assert_eq!(put(&mut bags, &bag("a", 1, 250, "2")), Ok(750));
        assert_eq!(put(&mut bags, &bag("a", 1, 500, "1")), Ok(500));
        assert_eq!(put(&mut bags, &bag("a", 1, -250, "3")), Ok(500));
        assert_eq!(put(&mut bags, &bag("b", 2, 1, "1")), Ok(1));
        assert_eq!((bags.grams("a"), bags.grams("b"), bags.grams("c")), (500, 1, 0));
    }

    #[test]
    fn a_weight_that_cannot_be_is_refused_and_changes_nothing() {
        let mut bags = Bags::default();
        put(&mut bags, &bag("a", 1, 500, "1")).unwrap();
        for (asked, says) in [
            (bag("a", 1, -501, "2"), "only 500 g lie in the bag"),
            (bag("a", 1, 99_501, "2"), "more than 100000 g"),
            (bag("a", 1, i64::MIN, "2"), "more than 100000 g"),
            (bag("a", 2, 1, "2"), "session a is at lane 1"),
        ] {
            let refused = put(&mut bags, &asked).unwrap_err();
            assert!(refused.contains(says), "{refused}");
        }
        assert_eq!(put(&mut bags, &bag("a", 1, -500, "2")), Ok(0));
    }

    #[test]
    fn a_session_makes_a_bounded_number_of_requests() {
        let mut bags = Bags::default();
        for number in 0..REQUESTS_MAX {
            put(&mut bags, &bag("a", 1, 0, &number.to_string())).unwrap();
        }
        assert!(put(&mut bags, &bag("a", 1, 0, "more")).unwrap_err().contains("2000 requests"));
        assert_eq!(put(&mut bags, &bag("a", 1, 0, "7")), Ok(0));
    }
}
