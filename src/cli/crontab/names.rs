//! Owns the names that tasks get from their commands: short, readable, each once.

use std::collections::BTreeSet;

/// Characters of a name.
const NAME_CHARS_MAX: usize = 40;
/// Programs that only start another one.
const WRAPPERS: [&str; 20] = [
    "cd",
    "test",
    "[",
    "sudo",
    "env",
    "nice",
    "ionice",
    "nohup",
    "exec",
    "time",
    "timeout",
    "flock",
    "chronic",
    "setsid",
    "systemd-cat",
    "command",
    "if",
    "then",
    "run-one",
    "cronic",
];
/// Programs that run the file which they are given.
const INTERPRETERS: [&str; 11] =
    ["sh", "bash", "dash", "zsh", "python", "python2", "python3", "perl", "ruby", "php", "node"];
/// Endings of files that say only in which language they are.
const ENDINGS: [&str; 8] = [".sh", ".bash", ".py", ".pl", ".rb", ".php", ".js", ".bin"];

/// A name for the command that is not among `taken` yet, and now is.
pub fn unique(taken: &mut BTreeSet<String>, command: &str) -> String {
    let base = of_command(command);
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    let free = std::iter::once(base.clone()).chain(numbered).find(|name| !taken.contains(name));
    let name = free.expect("there are more numbers than names");
    taken.insert(name.clone());
    name
}

fn of_command(command: &str) -> String {
    // What is behind a percent sign is only read.
    let command = command.split('%').next().unwrap_or_default();
    let words: Vec<&str> = command
        .split(|c: char| c.is_whitespace() || "|&;<>()".contains(c))
        .map(|word| word.trim_matches(['"', '\'', '`', '$', '{', '}']))
        .filter(|word| !word.is_empty())
        .collect();
    // Of a command in several parts, the first part that does something names it.
    let mut programs = command
        .split(['|', ';', '&'])
        .filter_map(|part| program(&part.split_whitespace().collect::<Vec<_>>()));
    let found = programs.next().or_else(|| words.first().copied()).unwrap_or("job");
    let cleaned = clean(found);
    if cleaned.is_empty() { "job".to_owned() } else { cleaned }
}

/// The word of a simple command that says what it does.
fn program<'a>(words: &[&'a str]) -> Option<&'a str> {
    let mut first = None;
    for word in words.iter().map(|word| word.trim_matches(['"', '\'', '(', ')', '{', '}'])) {
        let base = word.rsplit('/').next().unwrap_or(word);
        let is_assignment =
            word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && !name.contains('/'));
        if word.is_empty() || word.starts_with('-') || is_assignment {
            continue;
        }
        if matches!(base, "cd" | "test" | "[") {
            // It does nothing by itself; the next part does.
            return None;
        }
        let is_wrapper = WRAPPERS.contains(&base);
        // Behind a wrapper stand its own arguments: numbers, durations, lock files.
        let is_argument =
            first.is_none() && !base.starts_with(|c: char| c.is_alphabetic()) || base.contains(".lock");
        if is_wrapper || is_argument {
            continue;
        }
        if INTERPRETERS.contains(&base) {
            first = first.or(Some(word));
            continue;
        }
        return Some(word);
    }
    first
}

fn clean(word: &str) -> String {
    let base = word.trim_end_matches('/').rsplit('/').next().unwrap_or(word);
    let base = ENDINGS.iter().find_map(|ending| base.strip_suffix(ending)).unwrap_or(base);
    let signs = base.chars().map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' });
    let name: String = signs.take(NAME_CHARS_MAX).collect();
    name.trim_matches(['.', '_', '-']).to_owned()
}
