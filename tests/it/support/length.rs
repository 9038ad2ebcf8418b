//! Owns how long the tests of faults run: a short form that everybody runs, and a long one for a night
//! (`tests/run --long`).

use beadle::base::environment::variable;

/// Whether this is the run for a night.
pub fn is_long() -> bool {
    variable("BEADLE_TEST_LONG").is_some_and(|value| !value.is_empty())
}

/// The size of a test: `short` for everybody, `long` for a night.
pub fn sized<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}
