//! Owns the process's environment: nothing else reads a variable.

/// The variable's value when it is set to non-empty UTF-8.
pub fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the environment's one home")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Every variable whose name and value are UTF-8.
pub fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
