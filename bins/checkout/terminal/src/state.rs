//! What the page shows, as JSON: `GET /api/lanes/N`, and the event `state` of `GET /api/lanes/N/events`.

use contracts::checkout::{Basket, BasketState, Judgement, Line, Receipt, Verdict, product};
use serde::Serialize;

/// All that a page shows of its lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct State {
    pub(crate) lane: u32,
    pub(crate) session: Option<String>,
    pub(crate) phase: Phase,
    /// As it was last seen; none before it was.
    pub(crate) basket: Option<ShownBasket>,
    pub(crate) weight: Option<ShownVerdict>,
    /// What the bagging scale shows; none while it can't be asked.
    pub(crate) bag_grams: Option<i64>,
    pub(crate) services: Services,
    pub(crate) receipt: Option<Receipt>,
}

/// What the customer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// There is none.
    Idle,
    /// Scans.
    Shopping,
    /// Pays.
    Closed,
    /// Has paid.
    Paid,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Services {
    pub(crate) basket: Service,
    pub(crate) scanner: Service,
    pub(crate) scale: Service,
    pub(crate) weight_check: Service,
    pub(crate) payment: Service,
}

impl Services {
    /// The names of those that don't answer.
    pub(crate) fn silent(&self) -> Vec<&'static str> {
        let Self { basket, scanner, scale, weight_check, payment } = *self;
        let all = [
            ("basket", basket),
            ("scanner", scanner),
            ("scale", scale),
            ("weight-check", weight_check),
            ("payment", payment),
        ];
        all.into_iter().filter(|(_, service)| *service == Service::Down).map(|(name, _)| name).collect()
    }
}

/// Whether a process answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Service {
    /// It does.
    Up,
    /// It doesn't.
    Down,
}

/// A basket as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ShownBasket {
    pub(crate) lines: Vec<ShownLine>,
    pub(crate) total_cents: i64,
    pub(crate) grams: i64,
    #[serde(skip)]
    pub(crate) state: BasketState,
}

/// A line as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ShownLine {
    #[serde(flatten)]
    line: Line,
    /// The weight is worth showing.
    by_weight: bool,
}

/// A verdict as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ShownVerdict {
    pub(crate) verdict: Judgement,
    pub(crate) expected_grams: i64,
    pub(crate) measured_grams: i64,
}

impl From<Basket> for ShownBasket {
    fn from(basket: Basket) -> Self {
        let shown = |line: Line| {
            let by_weight = product(&line.product).is_some_and(contracts::checkout::Product::is_by_weight);
            ShownLine { line, by_weight }
        };
        let lines = basket.lines.into_iter().map(shown).collect();
        ShownBasket { lines, total_cents: basket.total_cents, grams: basket.grams, state: basket.state }
    }
}

impl From<Verdict> for ShownVerdict {
    fn from(verdict: Verdict) -> Self {
        let Verdict { judgement, expected_grams, measured_grams, .. } = verdict;
        ShownVerdict { verdict: judgement, expected_grams, measured_grams }
    }
}
