//! Owns the talk with a service manager (systemd's `sd_notify` protocol): a datagram to the socket that it named. Where
//! there is none, nothing happens. Children never learn of the socket: they get no variable of ours by default.

use std::time::Duration;

use sd_notify::NotifyState;

use super::environment::variable;

/// The variables by which a service manager talks to its service, and which are no business of a job.
pub const OWN_VARIABLES: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// Whether a service manager listens.
pub fn is_present() -> bool {
    variable("NOTIFY_SOCKET").is_some()
}

/// Whether what we print goes into the service manager's log, which others may read. It names the file by device and inode:
/// the variable alone may have been meant for a program that started us.
pub fn keeps_output() -> bool {
    let Some(journal) = variable("JOURNAL_STREAM") else {
        return false;
    };
    let output = rustix::fs::fstat(std::io::stdout());
    output.is_ok_and(|output| journal == format!("{}:{}", output.st_dev, output.st_ino))
}

/// How often the service manager wants a sign of life at least; `None` when it wants none.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// The daemon does its work from here on.
pub fn ready() {
    tell(&NotifyState::Ready);
}

/// One line for those who look.
pub fn status(text: &str) {
    tell(&NotifyState::Status(text));
}

/// A sign of life.
pub fn alive() {
    tell(&NotifyState::Watchdog);
}

/// The daemon stops in order.
pub fn stopping() {
    tell(&NotifyState::Stopping);
}

/// The stop takes so long from now on at least.
pub fn more_time(length: Duration) {
    tell(&NotifyState::ExtendTimeoutUsec(u32::try_from(length.as_micros()).unwrap_or(u32::MAX)));
}

fn tell(state: &NotifyState<'_>) {
    // A manager that does not listen decides for itself what that means.
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!("the service manager could not be told {state}: {error}");
    }
}
