//! Owns the translation of a crontab: what each line means to cron, and what of it a schedule can say.
//! Pure: it never reads a file, and never leaves anything out without a word.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::cron::CronPattern;

mod line;
mod names;
mod write;

#[cfg(test)]
mod tests;

pub use write::toml;

use line::{JobLine, Line};

/// Characters of a line that a remark quotes.
const QUOTED_CHARS_MAX: usize = 60;

/// What the crontab itself does not say.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The zone of the clock that cron goes by.
    pub time_zone: String,
    /// The directory that cron starts jobs in, unless the crontab sets `HOME`.
    pub home: Option<String>,
    /// Whether each job names its user, as in `/etc/crontab`.
    pub has_users: bool,
}

/// A job of the crontab as a task with its schedule, both of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Made from its command.
    pub name: String,
    /// Where it stands, from 1.
    pub line: usize,
    /// As it stands.
    pub source: String,
    /// The comment right above it.
    pub description: Option<String>,
    /// For the shell.
    pub script: String,
    /// `SHELL` as it stood at that line.
    pub shell: Option<String>,
    /// `HOME` as it stood at that line, else the one that was given.
    pub directory: Option<String>,
    /// The variables as they stood at that line.
    pub environment: BTreeMap<String, String>,
    /// Five fields, or a word with `@`.
    pub cron: String,
    /// `CRON_TZ` as it stood at that line, else the one that was given.
    pub time_zone: String,
    /// `RANDOM_DELAY` as it stood at that line, in minutes.
    pub jitter_minutes: u32,
}

/// Something that was left out, or is not quite the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Where, from 1; 0 for the whole.
    pub line: usize,
    /// A sentence.
    pub text: String,
}

/// A crontab in our words.
#[derive(Debug, Clone, Default)]
pub struct Translation {
    /// In the order of the lines.
    pub jobs: Vec<Job>,
    /// In the order of the lines.
    pub remarks: Vec<Remark>,
}

/// Translates a whole crontab.
pub fn translate(text: &str, settings: &Settings) -> Translation {
    let mut reader = Reader::new(settings);
    for (index, line) in text.lines().enumerate() {
        reader.line(index + 1, line);
    }
    reader.finish()
}

/// What was read so far.
struct Reader<'a> {
    settings: &'a Settings,
    translation: Translation,
    /// As they stand for the next job.
    variables: BTreeMap<String, String>,
    /// The comment right above.
    comment: Vec<String>,
    names: BTreeSet<String>,
    users: BTreeSet<String>,
}

/// Variables that are for cron, or that cron gives its own value.
const OF_CRON: [&str; 8] = [
    "SHELL",
    "MAILTO",
    "MAILFROM",
    "CRON_TZ",
    "RANDOM_DELAY",
    "LOGNAME",
    "CONTENT_TYPE",
    "CONTENT_TRANSFER_ENCODING",
];

/// A schedule has a day of jitter at most.
const JITTER_MINUTES_MAX: u32 = 24 * 60;

impl<'a> Reader<'a> {
    fn new(settings: &'a Settings) -> Reader<'a> {
        Reader {
            settings,
            translation: Translation::default(),
            variables: BTreeMap::new(),
            comment: Vec::new(),
            names: BTreeSet::new(),
            users: BTreeSet::new(),
        }
    }

    fn remark(&mut self, line: usize, text: impl Into<String>) {
        self.translation.remarks.push(Remark { line, text: text.into() });
    }

    fn line(&mut self, number: usize, text: &str) {
        match line::read(text, self.settings.has_users) {
            Line::Empty => self.comment.clear(),
            // A job that somebody switched off describes nothing.
            Line::Comment(text) if matches!(line::read(&text, self.settings.has_users), Line::Job(_)) => {
                self.comment.clear();
            }
            Line::Comment(text) => self.comment.push(text),
            Line::Variable { name, value } => {
                self.comment.clear();
                self.variable(number, name, value);
            }
            Line::Job(job) => self.job(number, text.trim(), job),
            Line::Unknown(reason) => {
                self.comment.clear();
                self.remark(number, format!("left out, because {reason}: {}", quoted(text.trim())));
            }
        }
    }

    fn variable(&mut self, number: usize, name: String, value: String) {
        let remark = match name.as_str() {
            "MAILTO" if !value.is_empty() => Some(format!(
                "MAILTO={value} is left out: Beadle sends no mail. Each job's output is kept in its log \
                 (`beadle logs ID`), failures are listed by `beadle jobs --state failed`."
            )),
            "MAILFROM" | "CONTENT_TYPE" | "CONTENT_TRANSFER_ENCODING" => {
                Some(format!("{name} is left out: it is about mail, and Beadle sends none."))
            }
            "LOGNAME" => Some("LOGNAME is left out: cron sets it by itself to the user's name.".to_owned()),
            "TZ" => Some(format!(
                "TZ={value} is what the commands see; as with cron it does not move the due times. For those set \
                 `time_zone` of the schedules."
            )),
            "RANDOM_DELAY" if value.parse::<u32>().is_err() => {
                Some(format!("RANDOM_DELAY={value} is left out: it is no number of minutes."))
            }
            "RANDOM_DELAY" if value.parse::<u32>().is_ok_and(|minutes| minutes > JITTER_MINUTES_MAX) => {
                Some(format!(
                    "RANDOM_DELAY={value} becomes `jitter = \"{JITTER_MINUTES_MAX}m\"`, the most that there is."
                ))
            }
            "RANDOM_DELAY" => Some(format!(
                "RANDOM_DELAY={value} becomes `jitter = \"{value}m\"`: a part of it that stays the same for each schedule, not a \
                 new one each time."
            )),
            name if name.starts_with("BEADLE_") => {
                Some(format!("{name} is left out: names that begin with BEADLE_ are set by the daemon."))
            }
            _ => None,
        };
        if let Some(text) = remark {
            self.remark(number, text);
        }
        if !name.starts_with("BEADLE_") {
            self.variables.insert(name, value);
        }
    }

    fn job(&mut self, number: usize, source: &str, job: JobLine) {
        let comment = std::mem::take(&mut self.comment);
        if job.schedule.eq_ignore_ascii_case("@reboot") {
            let advice = "@reboot has no due time. Start it from the service manager when the machine is up, \
                          for example by a unit that runs it or that runs `beadle run`";
            self.remark(number, format!("left out, because {advice}: {}", quoted(source)));
            return;
        }
        let cron = match pattern(&job.schedule) {
            Ok(cron) => cron,
            Err(reason) => {
                self.remark(number, format!("left out, because {reason}: {}", quoted(source)));
                return;
            }
        };
        if let Some(user) = job.user.filter(|user| self.users.insert(user.clone())) {
            self.remark(
                number,
                format!("the user {user} is left out, here and below: jobs run as the user of the daemon."),
            );
        }
        let variable = |name: &str| self.variables.get(name).filter(|value| !value.is_empty()).cloned();
        let translated = Job {
            name: names::unique(&mut self.names, &job.command),
            line: number,
            source: source.to_owned(),
            description: (!comment.is_empty()).then(|| comment.join(" ")),
            script: line::script(&job.command),
            shell: variable("SHELL"),
            directory: variable("HOME").or_else(|| self.settings.home.clone()),
            environment: self
                .variables
                .iter()
                .filter(|(name, _)| !OF_CRON.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            cron,
            time_zone: variable("CRON_TZ").unwrap_or_else(|| self.settings.time_zone.clone()),
            jitter_minutes: variable("RANDOM_DELAY")
                .and_then(|delay| delay.parse().ok())
                .map_or(0, |minutes: u32| minutes.min(JITTER_MINUTES_MAX)),
        };
        self.translation.jobs.push(translated);
    }

    fn finish(mut self) -> Translation {
        let mut whole = vec![
            "cron starts a job also while its last run goes on: written as `overlap = \"allow\"`. Leave the line out, \
             and a due time is skipped while the last run goes on."
                .to_owned(),
            "cron forgets due times while the machine is off: written as `misfire = \"skip\"`. Leave the line out, and \
             one run makes up for them."
                .to_owned(),
        ];
        if self.translation.jobs.iter().any(|job| job.directory.is_none()) {
            whole.push(
                "cron starts jobs in the home directory of their user, Beadle in the `work` folder of its data directory: \
                 set `working_directory` where a command needs it."
                    .to_owned(),
            );
        }
        if !self.translation.jobs.is_empty() {
            let whole = whole.into_iter().map(|text| Remark { line: 0, text });
            self.translation.remarks.extend(whole);
        }
        self.translation
    }
}

/// The pattern for a schedule, or why there is none that means the same.
fn pattern(schedule: &str) -> Result<String, String> {
    let fields: Vec<_> = schedule.split_whitespace().collect();
    if schedule.eq_ignore_ascii_case("@every_minute") {
        return Ok("* * * * *".to_owned());
    }
    if schedule.contains('~') {
        return Err(format!(
            "`{schedule}` asks for a random time; give a range with `jitter` on a schedule of your own"
        ));
    }
    if let [_, _, day, _, weekday] = fields[..] {
        // For cron a field that begins with a star does not restrict, even with a step: then both must match. For us,
        // as for cron without the star, a day matches when either does.
        let is_restricted = |field: &str| field != "*";
        let is_stepped = |field: &str| field.starts_with('*') && field != "*";
        if is_restricted(day) && is_restricted(weekday) && (is_stepped(day) || is_stepped(weekday)) {
            return Err(format!(
                "cron runs it when the day of month `{day}` and the day of week `{weekday}` both match, and here it \
                 would run when either does"
            ));
        }
    }
    CronPattern::check(schedule)
        .map(|_| fields.join(" "))
        .map_err(|reason| reason.trim_end_matches('.').to_owned())
}

fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}
