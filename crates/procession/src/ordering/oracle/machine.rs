//! The machines of the chain, and what they hear and say.

use super::*;

/// Journals by number: two sources, a foreign model, and the three models of the chain.
pub(super) const NAMES: [&str; 6] = ["raw", "noise", "foreign", "a", "b", "c"];
pub(super) const HEARS: [&[usize]; 3] = [&[0, 1], &[3, 2], &[4, 0]];
pub(super) const FIRST_MODEL: usize = 3;

/// What a model of the chain does; every level has its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) factor: i64,
    pub(super) summand: i64,
    pub(super) modulus: i64,
    /// How many outputs, by the state.
    pub(super) outputs: [u8; 4],
    pub(super) delayed: bool,
    pub(super) irrevocable: bool,
    pub(super) compensated: bool,
    pub(super) keys: i64,
}

thread_local! {
    pub(super) static RULES: RefCell<[Rules; 3]> = const { RefCell::new([Rules {
        factor: 1, summand: 0, modulus: 1, outputs: [0; 4],
        delayed: false, irrevocable: false, compensated: false, keys: 1,
    }; 3]) };
}

pub(super) fn rules(level: usize) -> Rules {
    RULES.with_borrow(|rules| rules[level])
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note<const L: usize> {
    pub(super) at: EventTime,
    pub(super) value: i64,
}

impl<const L: usize> Input for Note<L> {
    fn take(heard: &Heard<'_>) -> Result<Self, String> {
        heard.decode()
    }

    fn key(&self) -> Cow<'_, [u8]> {
        key_of(L, self.value).into()
    }

    fn at(&self) -> Option<EventTime> {
        Some(self.at)
    }
}

pub(super) fn key_of(level: usize, value: i64) -> Vec<u8> {
    value.rem_euclid(rules(level).keys).to_string().into_bytes()
}

/// What level `L` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdict<const L: usize> {
    pub(super) at: EventTime,
    pub(super) value: i64,
}

impl<const L: usize> Event for Verdict<L> {
    const TOPIC: &'static str = "note";
}

impl<const L: usize> Compensate for Verdict<L> {
    fn compensation(&self) -> Option<Self> {
        rules(L).compensated.then(|| Self { value: -1, ..self.clone() })
    }

    fn effect(&self) -> Effect {
        if rules(L).irrevocable && self.value % 3 == 0 { Effect::Irrevocable } else { Effect::Pure }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine<const L: usize> {
    pub(super) state: i64,
}

impl<const L: usize> Model for Machine<L> {
    type Input = Note<L>;
    type Output = Verdict<L>;

    fn apply(&mut self, at: EventTime, note: &Note<L>, out: &mut Outputs<Verdict<L>>) {
        assert_eq!(at, note.at);
        let rules = rules(L);
        self.state =
            (self.state * rules.factor + note.value + rules.summand + at.0 % 3).rem_euclid(rules.modulus);
        let count = rules.outputs[usize::try_from(self.state % 4).unwrap()];
        for nth in 0..i64::from(count) {
            let delay = if rules.delayed {
                Duration::from_micros((self.state % 3).unsigned_abs())
            } else {
                Duration::ZERO
            };
            out.say_after(delay, Verdict { at: at.plus(delay), value: self.state * 2 + nth });
        }
    }

    fn is_over(&self) -> bool {
        *self == Self::default()
    }
}
