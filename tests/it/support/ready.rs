//! Owns the question whether a daemon says that it is ready.

use std::time::Duration;

/// Whether `http://ADDRESS/readyz` says so.
pub fn is_ready(address: &str) -> bool {
    let agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build().new_agent();
    agent.get(format!("http://{address}/readyz")).call().is_ok()
}
