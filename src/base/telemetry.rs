//! Owns how the daemon's own log is written: to standard error, as text or as JSON lines.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::settings::LogFormat;

/// Starts the log. `level` is one of error, warn, info, debug, trace. Does nothing when it runs already.
pub fn init(format: LogFormat, level: &str) {
    let level = level.parse().unwrap_or(LevelFilter::INFO);
    // Other crates speak only when something is wrong.
    let targets = Targets::new().with_default(LevelFilter::WARN.min(level)).with_target("beadle", level);
    let registry = tracing_subscriber::registry().with(targets);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let _ = match format {
        LogFormat::Json => registry.with(lines.json()).try_init(),
        LogFormat::Text => registry.with(lines.with_ansi(false).with_target(false)).try_init(),
    };
}
