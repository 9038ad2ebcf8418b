//! Owns the table of results: how a row is judged, printed, and put into `benches/README.md`. It must never show a
//! figure without the floor that was measured beside it.

use std::fs;
use std::path::Path;

use crate::machine;

/// Where the table of `section` begins and ends in the page.
fn marks(section: &str) -> [String; 2] {
    [format!("<!-- {section} -->"), format!("<!-- end of {section} -->")]
}

/// What a ratio should be.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

/// One result.
#[derive(Debug)]
pub struct Row {
    /// Such as `T1`.
    pub target: &'static str,
    /// What was measured.
    pub what: String,
    /// What Beadle reached, with its unit.
    pub measured: String,
    /// What it is compared with, with its unit.
    pub floor: String,
    /// The one by the other.
    pub ratio: f64,
    /// What that should be.
    pub wanted: Wanted,
}

impl Row {
    fn is_met(&self) -> bool {
        match self.wanted {
            Wanted::AtLeast(least) => self.ratio >= least,
            Wanted::AtMost(most) => self.ratio <= most,
        }
    }

    fn line(&self) -> String {
        let wanted = match self.wanted {
            Wanted::AtLeast(least) => format!("≥ {least}"),
            Wanted::AtMost(most) => format!("≤ {most}"),
        };
        let verdict = if self.is_met() { "met" } else { "**not met**" };
        let Row { target, what, measured, floor, ratio, .. } = self;
        format!("| {target} | {what} | {measured} | {floor} | {ratio:.3} | {wanted} | {verdict} |")
    }
}

/// All results of one run.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Table {
    /// Adds a result and prints it.
    pub fn add(&mut self, row: Row) {
        println!("{}", row.line());
        self.rows.push(row);
    }

    /// Adds a sentence that belongs to the results, and prints it.
    pub fn note(&mut self, sentence: String) {
        println!("  {sentence}");
        self.notes.push(sentence);
    }

    /// The whole as Markdown.
    fn page(&self) -> String {
        let mut page = format!(
            "{}\n\n| target | what; beside it | Beadle | the other | ratio | wanted | |\n| --- | --- | --- | --- | --- | --- | --- |\n",
            machine::described()
        );
        let rows = self.rows.iter().map(|row| row.line() + "\n");
        page.extend(rows.chain(["\n".to_owned()]));
        page.extend(self.notes.iter().map(|note| format!("- {note}\n")));
        page
    }

    /// Puts the table between the marks of the page's section, in the place of the one before.
    pub fn write(&self, path: &Path, section: &str) {
        let [opening, closing] = marks(section);
        let old = fs::read_to_string(path).expect("the page can be read");
        let (head, rest) = old.split_once(&opening).expect("the page has a place for the table");
        let (_, tail) = rest.split_once(&closing).expect("the page says where the table ends");
        let page = format!("{head}{opening}\n{}{closing}{tail}", self.page());
        fs::write(path, page).expect("the page can be written");
    }
}
