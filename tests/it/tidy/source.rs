//! Reads Rust source just far enough to tell code, comments and text apart, and to find where a brace closes.
//! It must never guess: a rule that cannot be told from these parts is not checked here.

use std::fs;
use std::path::{Path, PathBuf};

/// One file, taken apart. All three views have the file's own lines.
#[derive(Debug)]
pub struct Source {
    /// Its path from the repository's root, such as `src/store/mod.rs`.
    pub path: String,
    /// As it stands.
    pub whole: String,
    /// Comments and the inside of texts replaced by spaces, items under `#[cfg(test)]` too.
    pub code: String,
    /// Each comment with its line, from 1.
    pub comments: Vec<(usize, String)>,
    /// Each text literal outside tests with its line, from 1.
    pub texts: Vec<(usize, String)>,
    /// The modules of this file that are only for tests and stand in files of their own, as paths without `.rs`.
    test_modules: Vec<String>,
}

impl Source {
    /// Takes `whole` apart.
    pub fn parse(path: &str, whole: &str) -> Source {
        let mut lexer = Lexer::new(whole);
        lexer.run();
        let test_spans = test_spans(&lexer.code);
        let test_modules = test_spans.iter().filter_map(|&(from, to)| test_module(path, &whole[from..to]));
        let test_modules = test_modules.collect();
        let mut code = lexer.code;
        for &(from, to) in &test_spans {
            blank(&mut code, from, to);
        }
        let in_test = |at: usize| test_spans.iter().any(|&(from, to)| (from..to).contains(&at));
        let line_of = |at: usize| whole[..at].matches('\n').count() + 1;
        let placed = |(at, text): (usize, String)| (line_of(at), text);
        Source {
            path: path.to_owned(),
            code: String::from_utf8(code).expect("only whole signs are blanked"),
            comments: lexer.comments.into_iter().map(placed).collect(),
            texts: lexer.texts.into_iter().filter(|(at, _)| !in_test(*at)).map(placed).collect(),
            whole: whole.to_owned(),
            test_modules,
        }
    }

    /// Leaves only comments of what is for tests alone.
    fn forget_code(&mut self) {
        self.texts.clear();
        let mut code = std::mem::take(&mut self.code).into_bytes();
        let end = code.len();
        blank(&mut code, 0, end);
        self.code = String::from_utf8(code).expect("blanks are text");
    }

    /// Every `.rs` file below `folder` of the repository, in order.
    pub fn all(root: &Path, folder: &str) -> Vec<Source> {
        let mut paths = Vec::new();
        collect(&root.join(folder), &mut paths);
        paths.sort();
        assert!(!paths.is_empty(), "no source in {folder}");
        let read = |path: &PathBuf| {
            let name = path.strip_prefix(root).expect("below the root").display().to_string();
            Source::parse(&name, &fs::read_to_string(path).expect("source is readable text"))
        };
        let mut sources: Vec<Source> = paths.iter().map(read).collect();
        let modules: Vec<String> = sources.iter().flat_map(|source| source.test_modules.clone()).collect();
        let is_test = |source: &&mut Source| {
            let inside = |module: &String| source.path.strip_prefix(module.as_str());
            modules.iter().filter_map(inside).any(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        sources.iter_mut().filter(is_test).for_each(Source::forget_code);
        sources
    }

    /// The line, from 1, of a position in `code`.
    pub fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// `path:line`, for a finding.
    pub fn place(&self, at: usize) -> String {
        format!("{}:{}", self.path, self.line(at))
    }

    /// The positions in `code` where `word` stands as a word of its own.
    pub fn words(&self, word: &str) -> Vec<usize> {
        let bytes = self.code.as_bytes();
        let is_part = |at: Option<&u8>| at.is_some_and(|&byte| is_word(byte));
        self.code
            .match_indices(word)
            .map(|(at, _)| at)
            .filter(|&at| {
                let before = at.checked_sub(1).and_then(|before| bytes.get(before));
                !is_part(before) && !is_part(bytes.get(at + word.len()))
            })
            .collect()
    }
}

/// Whether a byte can be part of a name.
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The name that starts at `at`, if one does.
pub fn word_at(code: &str, at: usize) -> Option<&str> {
    let rest = code.get(at..)?;
    let end = rest.bytes().position(|byte| !is_word(byte)).unwrap_or(rest.len());
    (end > 0).then_some(&rest[..end])
}

/// The position behind the bracket that closes the one at `open`.
pub fn closing(code: &[u8], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder is readable") {
        let path = entry.expect("a source folder is readable").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Where items under `#[cfg(test)]` stand, the attribute included.
fn test_spans(code: &[u8]) -> Vec<(usize, usize)> {
    const MARK: &[u8] = b"#[cfg(test)]";
    let mut spans = Vec::new();
    let mut at = 0;
    while let Some(found) = code[at..].windows(MARK.len()).position(|part| part == MARK) {
        let from = at + found;
        let mut to = from + MARK.len();
        while to < code.len() {
            match code[to] {
                b';' => break,
                b'{' => {
                    to = closing(code, to) - 1;
                    break;
                }
                b'(' | b'[' => to = closing(code, to),
                _ => to += 1,
            }
        }
        at = (to + 1).min(code.len());
        spans.push((from, at));
    }
    spans
}

/// The path, without `.rs`, of a module that is declared by `item` in the file `path` and stands in its own file.
fn test_module(path: &str, item: &str) -> Option<String> {
    let declaration = item.strip_suffix(';')?;
    let (before, name) = declaration.rsplit_once(char::is_whitespace)?;
    before.ends_with("mod").then_some(())?;
    let folder = ["/mod.rs", "/lib.rs", "/main.rs", ".rs"].iter().find_map(|end| path.strip_suffix(end))?;
    Some(format!("{folder}/{name}"))
}

fn blank(code: &mut [u8], from: usize, to: usize) {
    for byte in &mut code[from..to] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// Walks the bytes once; `code` starts as a copy and loses what is not code.
struct Lexer<'a> {
    whole: &'a str,
    code: Vec<u8>,
    at: usize,
    comments: Vec<(usize, String)>,
    texts: Vec<(usize, String)>,
}

impl<'a> Lexer<'a> {
    fn new(whole: &'a str) -> Lexer<'a> {
        Lexer { whole, code: whole.as_bytes().to_vec(), at: 0, comments: Vec::new(), texts: Vec::new() }
    }

    fn run(&mut self) {
        while self.at < self.whole.len() {
            let rest = &self.whole.as_bytes()[self.at..];
            match rest {
                [b'/', b'/', ..] => self.line_comment(),
                [b'/', b'*', ..] => self.block_comment(),
                [b'"', ..] => self.text(),
                [b'r', b'"' | b'#', ..] if !self.follows_word() => self.raw_text(1),
                [b'b' | b'c', b'r', b'"' | b'#', ..] if !self.follows_word() => self.raw_text(2),
                [b'\'', ..] => self.sign_or_lifetime(),
                _ => self.at += 1,
            }
        }
    }

    /// Whether the byte before is part of a name, so that an `r` here ends a name and starts no raw text.
    /// The `b` of a byte text is such a name of its own.
    fn follows_word(&self) -> bool {
        self.at > 0 && is_word(self.whole.as_bytes()[self.at - 1])
    }

    /// Moves on to `to` and blanks what lies between.
    fn skip(&mut self, from: usize, to: usize) {
        blank(&mut self.code, from, to);
        self.at = to;
    }

    fn line_comment(&mut self) {
        let from = self.at;
        let end = self.whole[from..].find('\n').map_or(self.whole.len(), |length| from + length);
        self.comments.push((from, self.whole[from..end].to_owned()));
        self.skip(from, end);
    }

    fn block_comment(&mut self) {
        let (from, bytes) = (self.at, self.whole.as_bytes());
        let (mut end, mut depth) = (from, 0usize);
        while end < bytes.len() {
            match &bytes[end..] {
                [b'/', b'*', ..] => (depth, end) = (depth + 1, end + 2),
                [b'*', b'/', ..] => (depth, end) = (depth - 1, end + 2),
                _ => end += 1,
            }
            if depth == 0 {
                break;
            }
        }
        self.comments.push((from, self.whole[from..end].to_owned()));
        self.skip(from, end);
    }

    fn text(&mut self) {
        let (from, bytes) = (self.at, self.whole.as_bytes());
        let mut end = from + 1;
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let end = end.min(bytes.len());
        self.texts.push((from, self.whole[from + 1..end].to_owned()));
        self.skip(from + 1, end);
        self.at = end + 1;
    }

    /// A raw text whose `r` stands `prefix` bytes before its hashes; a raw name (`r#type`) is passed over.
    fn raw_text(&mut self, prefix: usize) {
        let from = self.at + prefix;
        let hashes = self.whole[from..].bytes().take_while(|byte| *byte == b'#').count();
        let open = from + hashes;
        if self.whole.as_bytes().get(open) != Some(&b'"') {
            self.at = open;
            return;
        }
        let close = format!("\"{}", "#".repeat(hashes));
        let end = self.whole[open + 1..].find(&close).map_or(self.whole.len(), |length| open + 1 + length);
        self.texts.push((from, self.whole[open + 1..end].to_owned()));
        self.skip(open + 1, end);
        self.at = (end + close.len()).min(self.whole.len());
    }

    /// `'a'` and `'\n'` are signs, `'a` is a lifetime or a label.
    fn sign_or_lifetime(&mut self) {
        let rest = &self.whole[self.at + 1..];
        let mut signs = rest.chars();
        let first = signs.next();
        if first == Some('\\') {
            let end = rest[2..].find('\'').map_or(rest.len(), |length| 2 + length);
            self.skip(self.at + 1, self.at + 1 + end);
            self.at += 1;
        } else if signs.next() == Some('\'') {
            let length = first.map_or(0, char::len_utf8);
            self.skip(self.at + 1, self.at + 1 + length);
            self.at += 1;
        } else {
            self.at += 1;
        }
    }
}

#[test]
fn code_comments_and_texts_are_told_apart() {
    let whole = "//! crate::a\nfn f<'x>(c: char) -> &'x str { /* crate::b /* deep */ { */\n\
                 let _ = (c == '\"', '\\'', b\"crate::c\", r#\"SELECT \"one\"\"#, r#type); \"crate::d\" }\n\
                 #[cfg(test)]\nmod tests { use crate::e; }\nfn g() { crate::f() }\n";
    let source = Source::parse("x.rs", whole);
    let paths: Vec<usize> = source.words("crate").iter().map(|&at| source.line(at)).collect();
    assert_eq!(paths, [6], "{}", source.code);
    assert_eq!(source.code.len(), whole.len());
    let texts: Vec<&str> = source.texts.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["crate::c", "SELECT \"one\"", "crate::d"]);
    assert_eq!(source.texts[1].0, 3);
    assert_eq!(source.comments.len(), 2);
    let body = source.code.find('{').unwrap();
    assert_eq!(source.line(closing(source.code.as_bytes(), body)), 3);
}

#[test]
fn modules_for_tests_in_files_of_their_own_are_found() {
    let declared = |path: &str, code: &str| Source::parse(path, code).test_modules;
    assert_eq!(declared("src/web/mod.rs", "#[cfg(test)]\nmod toy;\nmod socket;"), ["src/web/toy"]);
    assert_eq!(declared("src/web/guard.rs", "#[cfg(test)]\npub(super) mod tests;"), ["src/web/guard/tests"]);
    assert_eq!(declared("src/lib.rs", "#[cfg(test)] mod tests { mod a; }"), Vec::<String>::new());
    let mut source = Source::parse("src/web/toy.rs", "// why\nfn f() { \"text\" }");
    source.forget_code();
    assert_eq!((source.code.trim(), source.texts.len(), source.comments.len()), ("", 0, 1));
}
