//! Owns the names of signals: what an attempt shows, and what a policy may name.

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The name of a signal by its number on Linux.
pub fn name(number: i32) -> String {
    let name = usize::try_from(number - 1).ok().and_then(|index| NAMES.get(index));
    name.map_or_else(|| format!("signal {number}"), |name| format!("SIG{name}"))
}

/// Whether some signal has this name.
pub fn is_known(name: &str) -> bool {
    name.strip_prefix("SIG").is_some_and(|name| NAMES.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_signal_is_known_by_its_name() {
        assert_eq!(
            (name(9).as_str(), name(15).as_str(), name(31).as_str()),
            ("SIGKILL", "SIGTERM", "SIGSYS")
        );
        assert_eq!(name(34), "signal 34");
        assert!(is_known("SIGSEGV"));
        assert!(["SEGV", "SIG", "SIGNONE", "signal 34", "sigkill", ""].iter().all(|name| !is_known(name)));
    }
}
