//! Owns how `beadle --help` lists the commands: by what a person wants to do. It never knows what a command does.

use std::fmt::Write as _;

use clap::Command;

/// Commands by what they are for. One that no group names stands in the last but one.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Run", &["run", "follow", "wait", "logs", "why", "cancel", "retry", "hold", "release", "update"]),
    ("Look", &["status", "open", "top", "jobs", "job", "next", "events", "health"]),
    ("Define", &["task", "schedule", "plan", "apply", "import"]),
    ("Operate", &["queue", "incidents", "token", "sink", "serve", "config", "schema", "completions"]),
    ("In a job", &["report"]),
];
/// The place of [`GROUPS`] for what none of them names.
const REST: usize = 3;

/// The command with its commands in groups.
pub fn grouped(command: Command) -> Command {
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{}\nOptions of every command:\n{{options}}\n\n\
         `beadle COMMAND --help` says more. Exit codes: 0 done, 1 refused, 2 usage, 3 not found, 4 denied,\n\
         5 no daemon, 124 the wait timed out; with --follow, --wait, follow and wait the job's own.\n",
        groups(&command)
    );
    command.help_template(template)
}

fn groups(command: &Command) -> String {
    let all: Vec<(&str, String)> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .map(|sub| (sub.get_name(), sub.get_about().map(ToString::to_string).unwrap_or_default()))
        .collect();
    let width = all.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (place, (head, names)) in GROUPS.iter().enumerate() {
        let _ = write!(text, "\n{head}:\n");
        let listed = names.iter().filter_map(|name| all.iter().find(|(known, _)| known == name));
        let is_named = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
        let rest = all.iter().filter(|(name, _)| place == REST && !is_named(name));
        for (name, about) in listed.chain(rest) {
            let _ = writeln!(text, "  {name:width$}  {about}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_stands_in_one_group() {
        let command = super::super::Cli::command();
        let text = groups(&command);
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let lines = text.lines().filter(|line| line.split_whitespace().next() == Some(sub.get_name()));
            assert_eq!(lines.filter(|line| line.starts_with("  ")).count(), 1, "{}:\n{text}", sub.get_name());
        }
        let extra = Command::new("x").subcommand(Command::new("later").about("Of a later version"));
        let text = groups(&extra);
        assert!(text.contains("Operate:\n  later  Of a later version\n"), "{text}");
    }
}
