//! Randomness that can be had again.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// A generator with a new seed, or the one in `PROCESSION_TEST_SEED`; prints it, so that a failure can be had again.
///
/// # Panics
/// If the variable isn't a number.
#[must_use]
pub fn seeded(test: &str) -> StdRng {
    let seed = match std::env::var("PROCESSION_TEST_SEED") {
        Ok(text) => {
            text.parse().unwrap_or_else(|_| panic!("PROCESSION_TEST_SEED={text} is no 64-bit number"))
        }
        Err(_) => rand::random(),
    };
    println!("{test}: PROCESSION_TEST_SEED={seed} gives this run again");
    StdRng::seed_from_u64(seed)
}
