//! Owns what is printed: tables and facts for people, JSON for programs, raw log lines.
//! It never colours, and never lets a stored text move the cursor of a terminal.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::client::answers::{Command, Label, LogBatch};

use super::outcome::{Stop, exit};

/// Characters of a command that a table shows.
const COMMAND_CHARS_MAX: usize = 60;

/// The line below the output on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bar {
    /// There is no terminal.
    Never,
    Away,
    Drawn,
}

/// A whole screen that is drawn anew in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Picture {
    /// There is no terminal.
    Never,
    None,
    /// Lines that are not shown yet.
    Begun(Vec<u8>),
}

/// Where output goes.
pub struct Screen<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    is_json: bool,
    bar: Bar,
    picture: Picture,
    /// Whether the last line that was printed has its end: a bar would overwrite it else.
    is_at_line_start: bool,
}

impl<'a> Screen<'a> {
    /// Results to `out`, notes to `err`.
    pub fn new(out: &'a mut dyn Write, err: &'a mut dyn Write, is_json: bool) -> Screen<'a> {
        Screen { out, err, is_json, bar: Bar::Never, picture: Picture::Never, is_at_line_start: true }
    }

    /// Whether a line that is drawn anew may stand below the output, on `err`.
    pub fn with_bar(mut self, has_bar: bool) -> Screen<'a> {
        self.bar = if has_bar && !self.is_json { Bar::Away } else { Bar::Never };
        self
    }

    /// Whether `out` is a terminal that pictures can be drawn on.
    pub fn with_pictures(mut self, has_pictures: bool) -> Screen<'a> {
        self.picture = if has_pictures && !self.is_json { Picture::None } else { Picture::Never };
        self
    }

    /// Whether pictures can be drawn.
    pub fn is_drawn(&self) -> bool {
        self.picture != Picture::Never
    }

    /// Collects the lines that follow.
    pub fn begin_picture(&mut self) {
        self.picture = Picture::Begun(Vec::new());
    }

    /// Shows the collected lines in place of what the terminal shows, as many as fit.
    pub fn end_picture(&mut self) -> io::Result<()> {
        let Picture::Begun(lines) = std::mem::replace(&mut self.picture, Picture::None) else {
            return Ok(());
        };
        let text = String::from_utf8_lossy(&lines);
        // One line stays free for the cursor. Without wrapping: a line that is too long is cut by the terminal.
        let rows = terminal_rows().saturating_sub(1).max(1);
        let shown: Vec<_> = text.lines().take(rows).map(|line| format!("{line}\x1b[K\n")).collect();
        write!(self.out, "\x1b[H\x1b[?7l{}\x1b[J\x1b[?7h", shown.concat())?;
        self.out.flush()
    }

    /// Forgets the collected lines.
    pub fn drop_picture(&mut self) {
        self.picture = Picture::None;
    }

    fn put(&mut self, line: &str) -> io::Result<()> {
        match &mut self.picture {
            Picture::Begun(lines) => writeln!(lines, "{line}"),
            _ => writeln!(self.out, "{line}"),
        }
    }

    /// Draws the line below the output, which any other output takes away.
    pub fn bar(&mut self, text: &str) {
        if self.bar == Bar::Never || !self.is_at_line_start {
            return;
        }
        // Without wrapping: a line that is longer than the terminal is cut by it.
        self.write_err(&format!("\r\x1b[?7l{}\x1b[K\x1b[?7h", tame(text)));
        self.bar = Bar::Drawn;
    }

    /// Takes the line away.
    pub fn clear_bar(&mut self) {
        if self.bar == Bar::Drawn {
            self.bar = Bar::Away;
            self.write_err("\r\x1b[K");
        }
    }

    /// Whether programs read the output.
    pub fn is_json(&self) -> bool {
        self.is_json
    }

    /// With `--json`: the data of an answer as one document.
    pub fn data(&mut self, data: &Value) -> io::Result<()> {
        if self.is_json { writeln!(self.out, "{data:#}") } else { Ok(()) }
    }

    /// With `--json`: one object of a stream on its own line, at once.
    pub fn item(&mut self, data: &Value) -> io::Result<()> {
        if self.is_json {
            writeln!(self.out, "{data}")?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// For people: one line.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        if self.is_json { Ok(()) } else { self.put(&tame(text)) }
    }

    /// For people: aligned columns under their heads. Without rows only the heads.
    pub fn table<const N: usize>(&mut self, heads: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
        if self.is_json {
            return Ok(());
        }
        let rows: Vec<[String; N]> = std::iter::once(heads.map(str::to_owned))
            .chain(rows.iter().map(|row| std::array::from_fn(|column| tame(&row[column]))))
            .collect();
        let widths: [usize; N] = std::array::from_fn(|column| {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        });
        for row in &rows {
            let cells: Vec<_> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            self.put(cells.join("  ").trim_end())?;
        }
        Ok(())
    }

    /// For people: names with values; what has no value is left out.
    pub fn facts(&mut self, facts: &[(&str, Option<String>)]) -> io::Result<()> {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in facts {
            if let Some(value) = value {
                self.line(&format!("{name:width$}  {value}"))?;
            }
        }
        Ok(())
    }

    /// A text that is the whole result; with `--json` as the one field `name`.
    pub fn whole(&mut self, name: &str, text: &str) -> Result<u8, Stop> {
        if self.is_json {
            self.data(&json!({ name: text }))?;
        } else {
            self.out.write_all(text.as_bytes())?;
        }
        Ok(exit::OK)
    }

    /// The lines of a log, as they were printed: each to its own stream.
    pub fn log(&mut self, batch: &LogBatch) -> io::Result<()> {
        if self.is_json {
            return Ok(());
        }
        if batch.lines.is_empty() {
            return Ok(());
        }
        self.clear_bar();
        for line in &batch.lines {
            if !matches!(line.dropped_before.as_str(), "" | "0") {
                self.out.flush()?;
                let start = if self.is_at_line_start { "" } else { "\n" };
                self.say(&format!("{start}beadle: {} bytes of output were not kept\n", line.dropped_before));
            }
            self.is_at_line_start = !line.is_truncated;
            let end = if line.is_truncated { "" } else { "\n" };
            if line.stream == "STDOUT" {
                write!(self.out, "{}{end}", line.text)?;
            } else {
                // On a terminal both streams are one: keep their order.
                self.out.flush()?;
                self.say(&format!("{}{end}", line.text));
            }
        }
        self.out.flush()
    }

    /// Bytes as they come, to stdout; with `--json` too.
    pub fn copy(&mut self, mut bytes: impl io::Read) -> io::Result<u64> {
        let count = io::copy(&mut bytes, self.out)?;
        self.out.flush()?;
        Ok(count)
    }

    /// A line about what we do, to stderr.
    pub fn note(&mut self, text: &str) {
        let lines: Vec<_> = text.lines().map(tame).collect();
        self.say(&format!("beadle: {}\n", lines.join("\nbeadle: ")));
    }

    /// Writes out everything that waits.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn say(&mut self, text: &str) {
        self.clear_bar();
        self.write_err(text);
    }

    fn write_err(&mut self, text: &str) {
        // Without a stderr there is nobody to tell, and the result still counts.
        let _ = self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
    }
}

/// Lines of the terminal on stdout; the usual 24 when it does not say.
fn terminal_rows() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_row);
    if size == 0 { 24 } else { size.into() }
}

/// Without anything that a terminal would obey.
fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A dash for nothing.
pub fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Labels with their values; nothing for none.
pub fn label_list(labels: &[Label]) -> Option<String> {
    let labels: Vec<_> = labels.iter().map(|label| format!("{}={}", label.key, label.value)).collect();
    (!labels.is_empty()).then(|| labels.join(" "))
}

/// A command on one line, cut when it is long.
pub fn brief(command: &Command) -> String {
    cut(&whole_command(command))
}

/// A text on one line, cut when it is long.
pub fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(COMMAND_CHARS_MAX).collect();
    if text.chars().nth(COMMAND_CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

/// A command on one line, words quoted where they need it.
pub fn whole_command(command: &Command) -> String {
    match (&command.script, &command.handler) {
        (Some(script), _) => script.trim().to_owned(),
        (None, Some(handler)) => format!("handler {handler}"),
        (None, None) => command.argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

fn quoted(word: &str) -> String {
    let is_plain = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./:=,@%+".contains(c));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// `PT1M30S` as `1m30s`; what is not of that form stays.
pub fn length(iso: &str) -> String {
    match iso.strip_prefix('P') {
        Some(rest) => rest.replace('T', "").to_lowercase(),
        None => iso.to_owned(),
    }
}

/// A decimal number of bytes in the unit that fits.
pub fn bytes(decimal: &str) -> String {
    let Ok(count) = decimal.parse::<u64>() else {
        return decimal.to_owned();
    };
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, worth)| count >= *worth) {
        Some((name, worth)) => format!("{}.{} {name}", count / worth, count % worth * 10 / worth),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_never_obeyed_by_a_terminal() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let rows =
            [["job_1".to_owned(), "a\u{1b}[31mb\nc".to_owned()], ["job_12".to_owned(), "é".to_owned()]];
        Screen::new(&mut out, &mut err, false).table(["ID", "WHAT"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "ID      WHAT\njob_1   a [31mb c\njob_12  é\n");
    }

    #[test]
    fn lengths_sizes_and_commands_are_short() {
        assert_eq!(length("PT1M30S"), "1m30s");
        assert_eq!(length("P1DT2H"), "1d2h");
        assert_eq!(length("soon"), "soon");
        assert_eq!(bytes("1023"), "1023 B");
        assert_eq!(bytes("1536"), "1.5 KiB");
        assert_eq!(bytes("10737418240"), "10.0 GiB");
        assert_eq!(bytes("many"), "many");
        let argv = ["sh", "-c", "echo 'a b'", ""].map(str::to_owned).to_vec();
        let command: Command = serde_json::from_value(json!({ "argv": argv, "script": null })).unwrap();
        assert_eq!(brief(&command), "sh -c 'echo '\\''a b'\\''' ''");
        let handler = json!({ "argv": [], "script": null, "handler": "resize" });
        assert_eq!(brief(&serde_json::from_value(handler).unwrap()), "handler resize");
        assert_eq!(cut(&"x".repeat(61)), "x".repeat(60) + "...");
    }
}
