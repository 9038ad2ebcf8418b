//! Whose code we ship, and on what terms: every dependency's licence must be one that we can keep.

use serde_json::Value;

use super::{assert_none, root};
use crate::support::program::{program, shown};

/// The licences we accept. MPL-2.0 asks only that changes to its own files stay open.
const ALLOWED: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "MPL-2.0",
    "BSL-1.0",
    // The list of certificate authorities: data, free to share.
    "CDLA-Permissive-2.0",
    "0BSD",
    "Unlicense",
];

#[test]
fn every_dependency_has_a_licence_that_we_accept() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a list of packages");
    assert!(packages.len() > 50, "only {} packages: is this the whole tree?", packages.len());
    let findings: Vec<String> = packages.iter().filter_map(finding).collect();
    assert_none(&findings);
}

fn finding(package: &Value) -> Option<String> {
    let name = &package["name"];
    let Some(licence) = package["license"].as_str() else {
        return Some(format!("{name} states no licence"));
    };
    match is_accepted(licence) {
        Ok(true) => None,
        Ok(false) => Some(format!("{name} is under {licence}")),
        Err(why) => Some(format!("{name}: cannot read {licence:?}: {why}")),
    }
}

/// What is compiled on this machine: other platforms' crates may not even be downloaded.
fn metadata() -> Value {
    let rustc = program("rustc").arg("-vV").output().expect("rustc is beside cargo");
    let version = String::from_utf8_lossy(&rustc.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let output = program(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform"])
        .arg(host.expect("rustc names its host"))
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", shown(&output));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// Whether an SPDX expression can be met by accepted licences alone. `/` is an older way to write OR.
fn is_accepted(expression: &str) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let accepted = any_of(&mut words)?;
    match words.next() {
        None => Ok(accepted),
        Some(word) => Err(format!("unexpected {word:?}")),
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>) -> Result<bool, String> {
    let mut accepted = all_of(words)?;
    while words.next_if_eq(&"OR").is_some() {
        accepted |= all_of(words)?;
    }
    Ok(accepted)
}

fn all_of(words: &mut Words<'_>) -> Result<bool, String> {
    let mut accepted = single(words)?;
    while words.next_if_eq(&"AND").is_some() {
        accepted &= single(words)?;
    }
    Ok(accepted)
}

fn single(words: &mut Words<'_>) -> Result<bool, String> {
    match words.next() {
        Some("(") => {
            let accepted = any_of(words)?;
            words.next_if_eq(&")").ok_or("a bracket is not closed")?;
            Ok(accepted)
        }
        None | Some("OR" | "AND" | "WITH" | ")") => Err("a licence is missing".to_owned()),
        Some(name) => {
            let exception = words.next_if_eq(&"WITH").and_then(|_| words.next());
            let whole =
                exception.map_or_else(|| name.to_owned(), |exception| format!("{name} WITH {exception}"));
            Ok(ALLOWED.contains(&whole.as_str()))
        }
    }
}

#[test]
fn a_licence_expression_is_read_by_its_rules() {
    let cases = [
        ("MIT", Ok(true)),
        ("GPL-3.0-only", Ok(false)),
        ("MIT OR GPL-3.0-only", Ok(true)),
        ("MIT AND GPL-3.0-only", Ok(false)),
        ("MIT/Apache-2.0", Ok(true)),
        ("GPL-3.0-only/AGPL-3.0-only", Ok(false)),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", Ok(true)),
        ("(MIT OR Apache-2.0) AND OpenSSL", Ok(false)),
        ("GPL-2.0-only OR MIT AND OpenSSL", Ok(false)),
        ("GPL-2.0-only AND OpenSSL OR MIT", Ok(true)),
        ("Apache-2.0 WITH LLVM-exception OR OpenSSL", Ok(true)),
        ("MIT WITH Classpath-exception-2.0", Ok(false)),
    ];
    for (expression, expected) in cases {
        assert_eq!(is_accepted(expression), expected, "{expression}");
    }
    for broken in ["", "MIT OR", "(MIT", "MIT Apache-2.0", "AND MIT"] {
        assert!(is_accepted(broken).is_err(), "{broken:?}");
    }
}

#[test]
fn a_package_without_an_accepted_licence_is_found() {
    let package = |licence: Value| serde_json::json!({"name": "p", "license": licence});
    assert!(finding(&package("MIT".into())).is_none());
    assert!(finding(&package("OpenSSL".into())).unwrap().contains("under OpenSSL"));
    assert!(finding(&package(Value::Null)).unwrap().contains("no licence"));
    assert!(finding(&package("MIT OR".into())).unwrap().contains("cannot read"));
}
