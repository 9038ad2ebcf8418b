//! Owns the reading of a definition file, TOML or YAML, into one tree that knows its lines.
//! It never knows what a key means.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use crate::cli::parameters::{too_large, too_large_words};

/// Lists and tables inside each other.
const DEPTH_MAX: usize = 32;
/// Values of one file, with what anchors repeat: a small file must not become a large tree.
const NODES_MAX: usize = 100_000;

/// A value and the line that it begins on, from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub line: usize,
    pub data: Data,
    /// A number or a switch as it stands in the file: `022` is not 22 where a text is wanted. Else empty.
    pub written: String,
}

/// What both languages can say.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    Nothing,
    Switch(bool),
    Whole(i64),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

impl Data {
    /// Whether it is a number or a switch, which stand in a file without quotes.
    fn is_plain(&self) -> bool {
        matches!(self, Data::Switch(_) | Data::Whole(_) | Data::Number(_))
    }
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    pub line: usize,
    pub value: Node,
}

/// What is wrong, and on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slip {
    pub line: usize,
    pub message: String,
}

impl Slip {
    /// A slip on a line.
    pub fn new(line: usize, message: impl Into<String>) -> Slip {
        Slip { line, message: message.into() }
    }
}

/// The language of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Toml,
    Yaml,
}

/// The whole file.
pub fn parse(text: &str, language: Language) -> Result<Node, Slip> {
    match language {
        Language::Toml => toml(text),
        Language::Yaml => yaml(text),
    }
}

impl Node {
    /// What it is, for a message.
    pub fn kind(&self) -> &'static str {
        match self.data {
            Data::Nothing => "nothing",
            Data::Switch(_) => "true or false",
            Data::Whole(_) | Data::Number(_) => "a number",
            Data::Text(_) => "a text",
            Data::List(_) => "a list",
            Data::Table(_) => "a table",
        }
    }

    /// The same as JSON. Refuses a whole number that would become another one there.
    pub fn json(&self) -> Result<Value, Slip> {
        Ok(match &self.data {
            Data::Nothing => Value::Null,
            Data::Switch(switch) => json!(switch),
            Data::Whole(number) => json!(number),
            Data::Number(number) => match (self.written.parse::<u64>(), too_large(&self.written)) {
                (Ok(exact), _) => json!(exact),
                (Err(_), Some(written)) => return Err(Slip::new(self.line, too_large_words(written))),
                (Err(_), None) => json!(number),
            },
            Data::Text(text) => json!(text),
            Data::List(items) => items.iter().map(Node::json).collect::<Result<_, _>>()?,
            Data::Table(entries) => entries
                .iter()
                .map(|entry| Ok((entry.key.clone(), entry.value.json()?)))
                .collect::<Result<_, Slip>>()?,
        })
    }
}

fn toml(text: &str) -> Result<Node, Slip> {
    let table = DeTable::parse(text).map_err(|error| {
        Slip::new(
            error.span().map_or(1, |span| line_of(text, span.start)),
            error.message().replace('\n', ", "),
        )
    })?;
    let entries = toml_table(table.get_ref(), text)?;
    Ok(Node { line: 1, data: Data::Table(entries), written: String::new() })
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].matches('\n').count() + 1
}

fn toml_table(table: &DeTable, text: &str) -> Result<Vec<Entry>, Slip> {
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue>)| {
        let value = toml_value(value, text)?;
        let key: &std::borrow::Cow<str> = key.get_ref();
        Ok(Entry { key: key.to_string(), line: value.line, value })
    };
    table.iter().map(entry).collect()
}

fn toml_value(value: &toml::Spanned<DeValue>, text: &str) -> Result<Node, Slip> {
    let line = line_of(text, value.span().start);
    let wrong = |what: &str| Slip::new(line, format!("{what} cannot be read"));
    let data = match value.get_ref() {
        DeValue::String(text) => Data::Text(text.to_string()),
        DeValue::Boolean(switch) => Data::Switch(*switch),
        DeValue::Integer(number) => Data::Whole(
            i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| wrong(number.as_str()))?,
        ),
        DeValue::Float(number) => Data::Number(number.as_str().parse().map_err(|_| wrong(number.as_str()))?),
        DeValue::Datetime(instant) => return Err(wrong(&format!("the bare instant {instant}"))),
        DeValue::Array(items) => {
            Data::List(items.iter().map(|item| toml_value(item, text)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => Data::Table(toml_table(table, text)?),
    };
    let written = if data.is_plain() { text[value.span()].to_owned() } else { String::new() };
    Ok(Node { line, data, written })
}

fn yaml(text: &str) -> Result<Node, Slip> {
    let mut reader =
        Yaml { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes_left: NODES_MAX };
    let mut whole = Node { line: 1, data: Data::Table(Vec::new()), written: String::new() };
    let mut documents = 0;
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(whole),
            (Event::DocumentStart(_), line) => {
                documents += 1;
                if documents > 1 {
                    return Err(Slip::new(
                        line,
                        "a file holds one document: put the others into files of their own",
                    ));
                }
                let (event, line) = reader.next()?;
                whole = reader.node(event, line, 0)?;
                if whole.data == Data::Nothing {
                    whole.data = Data::Table(Vec::new());
                }
            }
            _ => {}
        }
    }
}

struct Yaml<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes_left: usize,
}

impl<'a> Yaml<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), Slip> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => Err(Slip::new(error.marker().line(), error.info())),
            None => Ok((Event::StreamEnd, 1)),
        }
    }

    fn spend(&mut self, count: usize, line: usize) -> Result<(), Slip> {
        self.nodes_left = self
            .nodes_left
            .checked_sub(count)
            .ok_or_else(|| Slip::new(line, format!("the file holds more than {NODES_MAX} values")))?;
        Ok(())
    }

    /// The value that begins with `event`.
    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Slip> {
        self.spend(1, line)?;
        if depth > DEPTH_MAX {
            return Err(Slip::new(line, format!("lists and tables go deeper than {DEPTH_MAX}")));
        }
        let mut written = String::new();
        let (data, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                if let Some(tag) = tag {
                    return Err(Slip::new(
                        line,
                        format!("the tag {}{} is not used here", tag.handle, tag.suffix),
                    ));
                }
                let is_plain = style == ScalarStyle::Plain;
                let data = if is_plain { plain(&text) } else { Data::Text(text.to_string()) };
                if data.is_plain() {
                    written = text.into_owned();
                }
                (data, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.table(depth)?, anchor),
            Event::Alias(anchor) => {
                let found = self.anchors.get(&anchor).cloned();
                let found = found.ok_or_else(|| Slip::new(line, "the alias stands inside its own anchor"))?;
                self.spend(size(&found), line)?;
                written = found.written;
                (found.data, 0)
            }
            _ => (Data::Nothing, 0),
        };
        let node = Node { line, data, written };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Data, Slip> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(Data::List(items)),
                (event, line) => items.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<Data, Slip> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (key, line) = match self.next()? {
                (Event::MappingEnd | Event::StreamEnd, _) => return Ok(Data::Table(entries)),
                (Event::Scalar(text, ..), line) => (text.into_owned(), line),
                (_, line) => return Err(Slip::new(line, "a key is a text")),
            };
            if entries.iter().any(|entry| entry.key == key) {
                return Err(Slip::new(line, format!("`{key}` stands here twice")));
            }
            let (event, begin) = self.next()?;
            let value = self.node(event, begin, depth + 1)?;
            entries.push(Entry { key, line, value });
        }
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.data {
        Data::List(items) => items.iter().map(size).sum::<usize>(),
        Data::Table(entries) => entries.iter().map(|entry| size(&entry.value)).sum(),
        _ => 0,
    }
}

/// What an unquoted word means by the core schema of YAML 1.2, in which `no` and `on` are texts.
fn plain(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Nothing,
        "true" | "True" | "TRUE" => return Data::Switch(true),
        "false" | "False" | "FALSE" => return Data::Switch(false),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    if is_number && let Ok(number) = text.parse::<i64>() {
        return Data::Whole(number);
    }
    match text.parse::<f64>() {
        Ok(number) if is_number => Data::Number(number),
        _ => Data::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, language: Language) -> Value {
        parse(text, language).and_then(|node| node.json()).unwrap_or_else(|slip| panic!("{slip:?}"))
    }

    #[test]
    fn both_languages_say_the_same() {
        let toml = "[a.b]\nx = 1\ny = [\"p\", 2.5, true]\nz = '''\none\ntwo\n'''\n";
        let yaml = "# why\na:\n  b:\n    x: 1\n    y: [p, 2.5, true]\n    z: |\n      one\n      two\n";
        let expected = json!({ "a": { "b": { "x": 1, "y": ["p", 2.5, true], "z": "one\ntwo\n" } } });
        assert_eq!(read(toml, Language::Toml), expected);
        assert_eq!(read(yaml, Language::Yaml), expected);
        assert_eq!(read("", Language::Toml), json!({}));
        assert_eq!(read("---\n", Language::Yaml), json!({}));
        assert_eq!(read("", Language::Yaml), json!({}));
    }

    #[test]
    fn an_unquoted_word_is_what_it_looks_like() {
        let yaml = "[no, on, ~, 'true', 07, -3, 1e3, 0 3 * * *, 1.2.3, 5s, \"5\", .5, -x]";
        let expected =
            json!(["no", "on", null, "true", 7, -3, 1000.0, "0 3 * * *", "1.2.3", "5s", "5", 0.5, "-x"]);
        assert_eq!(read(yaml, Language::Yaml), expected);
        assert_eq!(read("[18446744073709551615]", Language::Yaml), json!([u64::MAX]));
        let too_large = parse("a: 1\nb: 18446744073709551616\n", Language::Yaml).and_then(|node| node.json());
        assert_eq!(too_large.map_err(|slip| slip.line), Err(2));
    }

    #[test]
    fn an_anchor_is_repeated_and_bounded() {
        assert_eq!(
            read("a: &x {k: 1}\nb: *x\n", Language::Yaml),
            json!({ "a": { "k": 1 }, "b": { "k": 1 } })
        );
        let tenfold = |step: i32| {
            let before = if step == 0 { "x".to_owned() } else { format!("*a{}", step - 1) };
            format!("a{step}: &a{step} [{}]\n", vec![before; 10].join(", "))
        };
        let bomb: Vec<_> = (0..9).map(tenfold).collect();
        assert!(parse(&bomb.concat(), Language::Yaml).unwrap_err().message.contains("more than 100000"));
        let deep = "[".repeat(DEPTH_MAX + 2);
        assert!(parse(&deep, Language::Yaml).is_err());
    }

    #[test]
    fn a_slip_is_told_with_its_line() {
        for (text, language, line, part) in [
            ("a = 1\nb = \n", Language::Toml, 2, ""),
            ("a = 1\n\na = 2\n", Language::Toml, 3, "duplicate"),
            ("a = 2026-01-31T12:00:00Z", Language::Toml, 1, "instant"),
            ("a: 1\nb: [1\nc: 2\n", Language::Yaml, 3, ""),
            ("a: 1\nb: 2\na: 3\n", Language::Yaml, 3, "twice"),
            ("a: !!str 1\n", Language::Yaml, 1, "tag"),
            ("a: 1\n---\nb: 2\n", Language::Yaml, 2, "one document"),
            ("? [a]\n: b\n", Language::Yaml, 1, "key"),
        ] {
            let slip = parse(text, language).expect_err(text);
            assert!(slip.line == line && slip.message.contains(part), "{text:?}: {slip:?}");
        }
    }

    #[test]
    fn values_know_their_lines() {
        for (text, language) in
            [("[a]\nx = 1\ny = [\n  2,\n]\n", Language::Toml), ("a:\n  x: 1\n  y:\n  - 2\n", Language::Yaml)]
        {
            let Data::Table(entries) = parse(text, language).unwrap().data else { panic!("a table") };
            let Data::Table(inner) = &entries[0].value.data else { panic!("a table") };
            let Data::List(items) = &inner[1].value.data else { panic!("a list") };
            assert_eq!((inner[0].line, items[0].line), (2, 4), "{text}");
        }
    }
}
