//! What a run is like: who shops, what fails.

use std::fmt::Write as _;

use crate::home::Home;

/// When the script's event time begins: far ahead of the machine's clock, so that by no mistake anybody reads that.
pub(super) const BEGIN: i64 = 4_000_000_000_000_000;
/// What an empty lane promises lies further ahead than any of its sessions.
pub(super) const ALL_DONE: i64 = BEGIN + 300 * 24 * 3600 * 1_000_000;

/// What payment does where the weight can't be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The customer may pay all the same.
    Trust,
    /// The customer has to wait.
    Refuse,
}

/// One run of the checkout.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the customers do follows from this, and what fails too.
    pub seed: u64,
    /// How many customers there are,
    pub sessions: u64,
    /// at so many lanes.
    pub lanes: u32,
    /// One delivery in so many is delayed, one moved, one repeated, and one dropped and delivered again; none: 0.
    pub faults_one_in: u32,
    /// Whether processes are killed all the while.
    pub kills: bool,
    /// What payment does without weight-check.
    pub policy: Policy,
    /// So many sessions are paid while weight-check is down.
    pub outage_sessions: u64,
}

impl Plan {
    /// Nothing fails.
    #[must_use]
    pub fn faultless(seed: u64, sessions: u64, lanes: u32) -> Self {
        let (faults_one_in, kills, policy, outage_sessions) = (0, false, Policy::Refuse, 0);
        Self { seed, sessions, lanes, faults_one_in, kills, policy, outage_sessions }
    }

    /// The same customers; deliveries go wrong once in `one_in` times, and processes are killed.
    #[must_use]
    pub fn under_fire(&self, one_in: u32) -> Self {
        Self { faults_one_in: one_in, kills: true, ..self.clone() }
    }

    /// The same customers; weight-check is down while so many of them pay.
    #[must_use]
    pub fn without_weight_check(&self, sessions: u64) -> Self {
        Self { outage_sessions: sessions, policy: Policy::Trust, ..self.clone() }
    }

    /// Writes the settings of all processes.
    pub(super) fn configure(&self, home: &Home) {
        let Self { seed, sessions, lanes, policy, .. } = *self;
        home.configure("procession.toml", &self.shared());
        let clock = format!("event_clock = \"lanes\"\nlanes = {lanes}\n");
        let devices = format!("{clock}events_per_second = 1000000\n");
        home.configure("scanner.toml", &devices);
        home.configure("scale.toml", &devices);
        home.configure("basket.toml", &format!("{clock}sessions_max = {}\n", sessions + 1));
        let (weight_check, payment) = match policy {
            Policy::Refuse => ("2s", "refuse"),
            Policy::Trust => ("2s", "trust"),
        };
        home.configure(
            "payment.toml",
            &format!(
                "policy = \"{payment}\"\nverification_patience = \"{weight_check}\"\nbank_patience = \"2s\"\n"
            ),
        );
        home.configure("bank.toml", "delay = \"1ms\"\n");
        home.configure(
            "weight-check.toml",
            "tolerance_grams = 0\nlateness = \"1s\"\nfinal_every = \"5ms\"\nsnapshot_after = 100\n",
        );
        let summary = home.path().join("summary.json");
        home.configure(
            "customer.toml",
            &format!(
                "seed = {seed}\nsessions = {sessions}\nlanes = {lanes}\npace = \"0s\"\nbegin = {BEGIN}\n\
                 patience = \"10m\"\nsummary = \"{}\"\n",
                summary.display()
            ),
        );
    }

    /// Settings that all processes have in common.
    fn shared(&self) -> String {
        let mut text = "[process.log]\nlevel = \"info\"\n[process.journal]\nsegment_bytes = \"16 MiB\"\n\
            keep_bytes = \"4 GiB\"\n[process.subscription]\nmax_attempts = 60000\nbackoff = \"1ms\"\n"
            .to_owned();
        let rate = self.faults_one_in;
        if rate > 0 {
            let seed = self.seed & u64::from(u32::MAX);
            write!(
                text,
                "[process.subscription.faults]\nseed = {seed}\ndelay_one_in = {rate}\ndelay_max = \"50ms\"\n\
                 reorder_one_in = {rate}\nduplicate_one_in = {rate}\nredeliver_one_in = {rate}\n"
            )
            .expect("a text takes any text");
        }
        text
    }
}
