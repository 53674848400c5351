//! Whether a row of numbers grows.

/// Numbers over time, as they are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Trend {
    /// Median of the first quarter after the warm-up.
    pub(crate) first: f64,
    /// Median of the last quarter.
    pub(crate) last: f64,
    pub(crate) max: f64,
    /// By least squares over all after the warm-up, in units per hour.
    pub(crate) slope_per_hour: f64,
}

impl Trend {
    /// Of (seconds, value) in the order of time; `None` for fewer than 8.
    pub(crate) fn of(samples: &[(f64, f64)]) -> Option<Self> {
        if samples.len() < 8 {
            return None;
        }
        let quarter = samples.len() / 4;
        let values = |samples: &[(f64, f64)]| samples.iter().map(|(_, value)| *value).collect::<Vec<_>>();
        Some(Self {
            first: median(values(&samples[..quarter]))?,
            last: median(values(&samples[samples.len() - quarter..]))?,
            max: values(samples).into_iter().fold(f64::MIN, f64::max),
            slope_per_hour: slope(samples) * 3600.0,
        })
    }

    /// Whether the last quarter lies more than a tenth and more than `allowance` above the first.
    pub(crate) fn grows(&self, allowance: f64) -> bool {
        self.last - self.first > (self.first / 10.0).max(allowance)
    }
}

/// The middle one; `None` of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count.is_multiple_of(2) => Some(f64::midpoint(values[middle - 1], values[middle])),
        _ => Some(values[middle]),
    }
}

/// Units per second by least squares.
fn slope(samples: &[(f64, f64)]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of samples is small")]
    let count = samples.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (mean_time, mean_value) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let together: f64 = samples.iter().map(|(time, value)| (time - mean_time) * (value - mean_value)).sum();
    let alone: f64 = samples.iter().map(|(time, _)| (time - mean_time).powi(2)).sum();
    if alone > 0.0 { together / alone } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trend(value: impl Fn(f64) -> f64) -> Trend {
        let samples: Vec<_> = (0..400).map(f64::from).map(|time| (time, value(time))).collect();
        Trend::of(&samples).unwrap()
    }

    #[test]
    fn what_grows_is_told_from_what_only_moves() {
        let saw = trend(|time| 10.0 + time % 7.0);
        assert!(!saw.grows(0.5), "{saw:?}");
        let leak = trend(|time| 10.0 + time % 7.0 + time / 100.0);
        assert!(leak.grows(0.5) && !leak.grows(4.0), "{leak:?}");
        assert!((leak.slope_per_hour - 36.0).abs() < 5.0, "{leak:?}");
        let falls = trend(|time| 100.0 - time / 10.0);
        assert!(!falls.grows(0.0), "{falls:?}");
        assert!((falls.slope_per_hour + 360.0).abs() < 0.01, "{falls:?}");
    }

    #[test]
    fn outliers_move_no_median() {
        let spikes = trend(|time| if time > 300.0 && time % 3.0 == 0.0 { 1e9 } else { 5.0 });
        assert!(!spikes.grows(0.1), "{spikes:?}");
        assert_eq!(median(vec![3.0, 1.0, 2.0, 100.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
        assert!(Trend::of(&[(0.0, 1.0); 7]).is_none());
    }
}
