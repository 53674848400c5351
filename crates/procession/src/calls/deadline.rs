//! The time until which the work in hand is wanted.

use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static DEADLINE: Option<Instant>;
}

/// Until when the reply to the call in hand is wanted, where one is in hand: calls made for it end by then, too.
/// None outside of a call, for a caller that set no limit, and in tasks that were spawned.
#[must_use]
pub fn deadline() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok().flatten()
}

/// Runs `work` with a deadline that its own calls inherit.
pub(super) async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> T {
    DEADLINE.scope(deadline, work).await
}

/// The earlier of `limit` from now and the deadline of the call in hand.
pub(super) fn until(limit: Duration) -> Instant {
    let own = after(Instant::now(), limit);
    deadline().map_or(own, |inherited| inherited.min(own))
}

/// So long after `start`; what is too long for a clock is a year.
pub(super) fn after(start: Instant, time: Duration) -> Instant {
    start.checked_add(time).unwrap_or(start + Duration::from_secs(365 * 24 * 3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_is_some_time() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::from_secs(1)), now + Duration::from_secs(1));
        assert!(after(now, Duration::MAX) > now);
    }

    #[tokio::test]
    async fn a_deadline_is_inherited_and_never_grows() {
        assert_eq!(deadline(), None);
        let soon = Instant::now() + Duration::from_secs(1);
        within(Some(soon), async {
            assert_eq!(deadline(), Some(soon));
            assert_eq!(until(Duration::from_secs(60)), soon);
            assert!(until(Duration::from_millis(1)) < soon);
            within(None, async { assert_eq!(deadline(), None) }).await;
        })
        .await;
    }
}
