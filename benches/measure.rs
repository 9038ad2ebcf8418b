//! Owns the arithmetic: rates, medians, percentiles, and how a figure is written. It must never round before the end.

use std::time::Duration;

/// So many in that time, a second.
pub fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(1e-9)
}

/// The figure in the middle.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The median of the ratios of figures that were taken side by side.
pub fn ratio(ours: &[f64], floor: &[f64]) -> f64 {
    let ratios: Vec<f64> = ours.iter().zip(floor).map(|(ours, floor)| ours / floor).collect();
    median(&ratios)
}

/// That of `sorted` which `percent` of all do not exceed.
pub fn percentile(sorted: &[u32], percent: usize) -> f64 {
    assert!(!sorted.is_empty(), "nothing was measured");
    let at = (sorted.len() * percent / 100).min(sorted.len() - 1);
    f64::from(sorted[at])
}

/// A figure with its unit: three digits, or whole with commas when it is large.
pub fn figure(value: f64, unit: &str) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.2} {unit}");
    }
    if value.abs() < 1_000.0 {
        return format!("{value:.1} {unit}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {unit}")
}
