//! Owns the start of the user's browser, which is no attempt: nobody watches it, and it may outlive us.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// The program that knows which browser the user likes.
const OPENER: &str = "xdg-open";

/// Shows a local page. It is named by its file, never by an address: the arguments of a program can be read by every
/// user of the machine.
///
/// # Errors
/// Why no browser could be started.
pub fn browse(page: &Path) -> Result<(), String> {
    #[expect(clippy::disallowed_methods, reason = "this is the floor that starts programs")]
    let mut opener = Command::new(OPENER);
    opener.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    opener.spawn().map(drop).map_err(|error| format!("{OPENER} cannot be started: {error}"))
}
