//! Owns the reading of one line of a crontab, by cron's own rules.

/// What a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    Empty,
    /// Without its `#`.
    Comment(String),
    Variable {
        name: String,
        value: String,
    },
    Job(JobLine),
    /// With the reason.
    Unknown(String),
}

/// A line that runs something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLine {
    /// Five fields with blanks between them, or a word with `@`.
    pub schedule: String,
    /// Of the user's column.
    pub user: Option<String>,
    /// With its percent signs.
    pub command: String,
}

/// Reads a line. `has_users` says whether a job's command is behind a user's name.
pub fn read(line: &str, has_users: bool) -> Line {
    let text = line.trim_matches([' ', '\t', '\r']);
    if text.is_empty() {
        return Line::Empty;
    }
    if let Some(comment) = text.strip_prefix('#') {
        return Line::Comment(comment.trim_start_matches('#').trim().to_owned());
    }
    if let Some((name, value)) = variable(text) {
        return Line::Variable { name, value };
    }
    job(text, has_users)
}

/// `name = value`; either may be quoted. A job's line is none, because a blank and another word follow its first.
fn variable(text: &str) -> Option<(String, String)> {
    let (name, rest) = if let Some(quote) = text.chars().next().filter(|first| "\"'".contains(*first)) {
        text[1..].split_once(quote)?
    } else {
        text.split_at(text.find(|c: char| c == '=' || c.is_whitespace())?)
    };
    let value = rest.trim_start().strip_prefix('=')?.trim();
    let is_quoted = |quote: char| value.len() > 1 && value.starts_with(quote) && value.ends_with(quote);
    let value = if is_quoted('"') || is_quoted('\'') { &value[1..value.len() - 1] } else { value };
    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}

fn job(text: &str, has_users: bool) -> Line {
    // A dash in front keeps cron from writing to the system's log.
    let text = text.strip_prefix('-').unwrap_or(text);
    let is_schedule = text.starts_with(|c: char| c.is_ascii_digit() || c == '*' || c == '@' || c == '~');
    if !is_schedule {
        return Line::Unknown("it is neither a variable nor a job".to_owned());
    }
    let count = if text.starts_with('@') { 1 } else { 5 };
    let (mut rest, mut fields) = (text, Vec::new());
    for _ in 0..count {
        let (field, after) = word(rest);
        fields.push(field);
        rest = after;
    }
    let mut user = None;
    if has_users {
        let (name, after) = word(rest);
        user = Some(name.to_owned()).filter(|name| !name.is_empty());
        rest = after;
    }
    if rest.is_empty() {
        return Line::Unknown(if has_users {
            "it has no command behind the fields and the user".to_owned()
        } else {
            "it has no command behind the fields".to_owned()
        });
    }
    Line::Job(JobLine { schedule: fields.join(" "), user, command: rest.to_owned() })
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// The command for a shell. What is behind the first `%` is its standard input, with each further `%` a new line;
/// `\%` is a percent sign.
pub fn script(command: &str) -> String {
    let mut parts = vec![String::new()];
    let mut signs = command.chars().peekable();
    while let Some(sign) = signs.next() {
        let last = parts.last_mut().expect("there is always a part");
        match sign {
            '\\' if signs.peek() == Some(&'%') => last.extend(signs.next()),
            '%' => parts.push(String::new()),
            sign => last.push(sign),
        }
    }
    let command = parts.remove(0);
    if parts.is_empty() {
        return command;
    }
    let mut end = "INPUT".to_owned();
    while parts.contains(&end) {
        end.push('_');
    }
    let mut input = parts.join("\n");
    // As cron does: what is there ends with a line.
    if !input.is_empty() && !input.ends_with('\n') {
        input.push('\n');
    }
    // In braces, so that the whole command reads it, and not only its last part.
    format!("{{\n{}\n}} <<'{end}'\n{input}{end}\n", command.trim_end())
}
