//! Owns what runs: the command as asked for, checked once at the door.

use async_graphql::{InputObject, OneofObject, SimpleObject};
use serde::{Deserialize, Serialize};

use super::duration::Span;
use super::limits;
use super::rejection::{Rejection, check_name, check_text};

/// What a job runs: a program with its arguments, a script given to a shell, or a handler.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments; for a script, the shell and how it is called; for a handler, empty.
    pub argv: Vec<String>,
    /// The script's text, null for a plain program.
    pub script: Option<String>,
    /// The shell that runs the script.
    pub shell: Option<String>,
    /// The handler that is called: a function of the program that embeds the daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// Directory it runs in; null means the daemon's data directory's `work` folder.
    pub working_directory: Option<String>,
    /// Variables set for it, beside the daemon's short allow list.
    pub environment: Vec<EnvironmentVariable>,
    /// Names taken over from the daemon's own environment.
    pub inherit_environment: Vec<String>,
}

impl Command {
    /// What a search may look at, in lower case (ASCII): a name and the words of the command, no variable.
    pub fn search_text(&self, name: &str) -> String {
        let mut text = name.to_owned();
        for word in self.argv.iter().chain(&self.handler) {
            text.push(' ');
            text.push_str(word);
        }
        text.make_ascii_lowercase();
        text
    }

    /// A command that is still to be filled in; it names no program and is never run.
    pub fn none() -> Command {
        Command {
            argv: Vec::new(),
            script: None,
            shell: None,
            handler: None,
            working_directory: None,
            environment: Vec::new(),
            inherit_environment: Vec::new(),
        }
    }
}

/// A variable of a command. Values of secrets are never shown.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Serialize, Deserialize)]
#[graphql(complex)]
pub struct EnvironmentVariable {
    /// The variable's name.
    pub name: String,
    /// The value as given; the API shows it only when it is no secret.
    #[graphql(skip)]
    pub value: String,
    /// Whether the value is hidden.
    pub is_secret: bool,
}

/// argv without a shell, a script given to a shell, or a handler.
#[derive(Debug, Clone, OneofObject)]
pub enum CommandInput {
    /// A program with its arguments, run without a shell.
    Exec(ExecInput),
    /// A script, run by a shell.
    Script(ScriptInput),
    /// The name of a handler: a function of the program that embeds the daemon; `daemon.handlers` lists them.
    Handler(String),
}

/// A program with its arguments, run without a shell.
#[derive(Debug, Clone, InputObject)]
pub struct ExecInput {
    /// Program and arguments; the program is looked up in PATH when it has no slash.
    pub argv: Vec<String>,
    /// Absolute directory to run in.
    pub working_directory: Option<String>,
    /// Variables to set.
    pub environment: Option<Vec<EnvironmentInput>>,
    /// Names to take over from the daemon's environment.
    pub inherit_environment: Option<Vec<String>>,
}

/// A script, run by a shell.
#[derive(Debug, Clone, InputObject)]
pub struct ScriptInput {
    /// The script.
    pub text: String,
    /// The shell; it is called as `SHELL -c TEXT`.
    #[graphql(default = "/bin/sh")]
    pub shell: String,
    /// Absolute directory to run in.
    pub working_directory: Option<String>,
    /// Variables to set.
    pub environment: Option<Vec<EnvironmentInput>>,
    /// Names to take over from the daemon's environment.
    pub inherit_environment: Option<Vec<String>>,
}

/// A variable to set.
#[derive(Debug, Clone, InputObject)]
pub struct EnvironmentInput {
    /// The variable's name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Never show the value again.
    #[graphql(default)]
    pub is_secret: bool,
}

impl CommandInput {
    /// The command, or what is wrong with the field under `path`.
    pub fn check(self, path: &str) -> Result<Command, Rejection> {
        let (kind, argv, script, shell, directory, environment, inherit) = match self {
            CommandInput::Exec(exec) => {
                let path = format!("{path}.exec.argv");
                check_argv(&path, &exec.argv)?;
                (
                    "exec",
                    exec.argv,
                    None,
                    None,
                    exec.working_directory,
                    exec.environment,
                    exec.inherit_environment,
                )
            }
            CommandInput::Script(script) => {
                let text_path = format!("{path}.script.text");
                if script.text.trim().is_empty() {
                    return Err(Rejection::invalid(&text_path, "must not be empty"));
                }
                check_text(&text_path, &script.text, limits::COMMAND_BYTES_MAX)?;
                let shell_path = format!("{path}.script.shell");
                check_text(&shell_path, &script.shell, limits::TEXT_BYTES_MAX)?;
                if script.shell.is_empty() {
                    return Err(Rejection::invalid(&shell_path, "must not be empty"));
                }
                let argv = vec![script.shell.clone(), "-c".to_owned(), script.text.clone()];
                let (text, shell) = (Some(script.text), Some(script.shell));
                (
                    "script",
                    argv,
                    text,
                    shell,
                    script.working_directory,
                    script.environment,
                    script.inherit_environment,
                )
            }
            CommandInput::Handler(name) => {
                check_name(&format!("{path}.handler"), &name)?;
                return Ok(Command { handler: Some(name), ..Command::none() });
            }
        };
        let path = format!("{path}.{kind}");
        check_directory(&format!("{path}.workingDirectory"), directory.as_deref())?;
        let environment = check_environment(&format!("{path}.environment"), environment.unwrap_or_default())?;
        let inherit_environment = inherit.unwrap_or_default();
        if inherit_environment.len() > limits::ENVIRONMENT_MAX {
            let message = format!("must hold at most {} names", limits::ENVIRONMENT_MAX);
            return Err(Rejection::invalid(&format!("{path}.inheritEnvironment"), message));
        }
        for (index, name) in inherit_environment.iter().enumerate() {
            check_variable_name(&format!("{path}.inheritEnvironment.{index}"), name)?;
        }
        Ok(Command {
            argv,
            script,
            shell,
            handler: None,
            working_directory: directory,
            environment,
            inherit_environment,
        })
    }
}

fn check_argv(path: &str, argv: &[String]) -> Result<(), Rejection> {
    if argv.first().is_none_or(String::is_empty) {
        return Err(Rejection::invalid(path, "must name a program"));
    }
    if argv.len() > limits::ARGV_MAX {
        return Err(Rejection::invalid(path, format!("must hold at most {} arguments", limits::ARGV_MAX)));
    }
    for (index, argument) in argv.iter().enumerate() {
        check_text(&format!("{path}.{index}"), argument, limits::COMMAND_BYTES_MAX)?;
    }
    if argv.iter().map(String::len).sum::<usize>() > limits::COMMAND_BYTES_MAX {
        return Err(Rejection::invalid(
            path,
            format!("must hold at most {} bytes", limits::COMMAND_BYTES_MAX),
        ));
    }
    Ok(())
}

fn check_directory(path: &str, directory: Option<&str>) -> Result<(), Rejection> {
    let Some(directory) = directory else { return Ok(()) };
    check_text(path, directory, 4_096)?;
    if directory.starts_with('/') {
        return Ok(());
    }
    Err(Rejection::invalid(path, "must be an absolute path"))
}

fn check_environment(
    path: &str,
    given: Vec<EnvironmentInput>,
) -> Result<Vec<EnvironmentVariable>, Rejection> {
    if given.len() > limits::ENVIRONMENT_MAX {
        return Err(Rejection::invalid(
            path,
            format!("must hold at most {} variables", limits::ENVIRONMENT_MAX),
        ));
    }
    let mut kept = Vec::with_capacity(given.len());
    for (index, variable) in given.into_iter().enumerate() {
        check_variable_name(&format!("{path}.{index}.name"), &variable.name)?;
        // The kernel takes it as one text, with its name and the `=`.
        let bytes_max = limits::COMMAND_BYTES_MAX.saturating_sub(variable.name.len() + 1);
        check_text(&format!("{path}.{index}.value"), &variable.value, bytes_max)?;
        let EnvironmentInput { name, value, is_secret } = variable;
        kept.push(EnvironmentVariable { name, value, is_secret });
    }
    Ok(kept)
}

fn check_variable_name(path: &str, name: &str) -> Result<(), Rejection> {
    check_text(path, name, limits::NAME_BYTES_MAX)?;
    if name.is_empty() || name.contains('=') {
        return Err(Rejection::invalid(path, "must be a variable's name, without `=`"));
    }
    if name.starts_with("BEADLE_") {
        return Err(Rejection::invalid(path, "names that begin with BEADLE_ are set by the daemon"));
    }
    Ok(())
}

/// A length of time within `min_millis..=SPAN_MILLIS_MAX`, else a refusal of `path`.
pub fn check_span(path: &str, span: Span, min_millis: i64) -> Result<(), Rejection> {
    if (min_millis..=limits::SPAN_MILLIS_MAX).contains(&span.millis()) {
        return Ok(());
    }
    let (min, max) = (Span::from_millis(min_millis), Span::from_millis(limits::SPAN_MILLIS_MAX));
    Err(Rejection::invalid(path, format!("must lie between {min} and {max}, is {span}")))
}
