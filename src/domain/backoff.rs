//! Owns the wait before a next try: exponential, capped, spread by ten percent.
//! It never draws randomness: the caller passes it in.

use crate::domain::duration::Span;

/// The share by which a wait is shortened or lengthened at most, so that failed jobs do not come back together.
const SPREAD: f64 = 0.1;

/// The wait after `failed_tries` failures: `min(max, initial * factor^(failed_tries - 1))`, times a number in
/// `[0.9, 1.1)` chosen by `unit`, which is random in `[0, 1)`. A factor below 1 counts as 1.
/// Never negative, never an overflow.
pub fn delay(initial: Span, max: Span, factor: f64, failed_tries: u32, unit: f64) -> Span {
    if initial <= Span::ZERO || max <= Span::ZERO {
        return Span::ZERO;
    }
    let growth = factor.max(1.0).powf(f64::from(failed_tries.saturating_sub(1)));
    let nominal = (float(initial) * growth).min(float(max));
    let spread = 1.0 - SPREAD + 2.0 * SPREAD * unit.clamp(0.0, 1.0);
    #[expect(clippy::cast_possible_truncation, reason = "`as` holds a float at the ends of the range")]
    Span::from_millis((nominal * spread).round() as i64)
}

fn float(span: Span) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a millisecond in 285,000 years is no matter for a wait")]
    let millis = span.millis() as f64;
    millis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_spread_by_a_tenth() {
        let (five, ten_minutes) = (Span::from_secs(5), Span::from_secs(600));
        let table = [
            (five, ten_minutes, 2.0, 0, 0.5, 5_000),
            (five, ten_minutes, 2.0, 1, 0.5, 5_000),
            (five, ten_minutes, 2.0, 2, 0.5, 10_000),
            (five, ten_minutes, 2.0, 7, 0.5, 320_000),
            (five, ten_minutes, 2.0, 8, 0.5, 600_000),
            (five, ten_minutes, 2.0, 1, 0.0, 4_500),
            (five, ten_minutes, 2.0, 8, 0.0, 540_000),
            (five, ten_minutes, 1.0, 1_000, 0.5, 5_000),
            (five, ten_minutes, 1.5, 3, 0.5, 11_250),
            (five, ten_minutes, 0.1, 9, 0.5, 5_000),
            (five, ten_minutes, 2.0, u32::MAX, 0.5, 600_000),
            (five, ten_minutes, f64::INFINITY, 2, 0.5, 600_000),
            (five, ten_minutes, f64::NAN, 5, 0.5, 5_000),
            (ten_minutes, five, 2.0, 1, 0.5, 5_000),
            (Span::ZERO, ten_minutes, 2.0, u32::MAX, 0.5, 0),
            (five, Span::ZERO, 2.0, 1, 0.5, 0),
            (Span::from_secs(-1), ten_minutes, 2.0, 1, 0.5, 0),
        ];
        for (initial, max, factor, failed, unit, wanted) in table {
            let got = delay(initial, max, factor, failed, unit);
            assert_eq!(got.millis(), wanted, "{initial} {max} {factor} {failed} {unit}");
        }
    }

    #[test]
    fn no_input_overflows_or_goes_below_zero() {
        let spans = [i64::MIN, -1, 0, 1, 5_000, i64::MAX].map(Span::from_millis);
        let factors = [f64::NEG_INFINITY, 0.0, 1.0, 2.0, f64::MAX, f64::INFINITY, f64::NAN];
        for initial in spans {
            for max in spans {
                for factor in factors {
                    for failed in [0, 1, 2, 1_000, u32::MAX] {
                        for unit in [0.0, 0.5, 0.999_999, f64::NAN] {
                            assert!(delay(initial, max, factor, failed, unit) >= Span::ZERO);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_spread_stays_inside_ten_percent() {
        for step in 0..1_000 {
            let wait = delay(Span::from_secs(100), Span::from_secs(600), 2.0, 1, f64::from(step) / 1_000.0);
            assert!((90_000..110_000).contains(&wait.millis()), "{wait}");
        }
    }
}
