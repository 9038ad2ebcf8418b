//! What a child is given, and why one is not started.

use std::path::{Path, PathBuf};

use super::*;
use crate::exec::command::select;

/// Writes a script by a child: a file that this process has open for writing cannot be executed while
/// another test's child is being started.
async fn script(directory: &Path, name: &str, text: &str, mode: &str) -> String {
    let path = directory.join(name).display().to_string();
    let write = spec(&["sh", "-c", r#"printf '%s' "$2" >"$1" && chmod "$3" "$1""#, "sh", &path, text, mode]);
    assert_eq!(run(&write).await.exit.code, Some(0));
    path
}

#[tokio::test]
async fn the_environment_is_exactly_the_one_given() {
    let mut spec = spec(&["env"]);
    spec.environment.push(("B".into(), "first".into()));
    spec.environment.push(("A".into(), "x=y z\n".into()));
    spec.environment.push(("B".into(), "last".into()));
    spec.environment.push(("BEADLE_COOKIE".into(), "forged".into()));
    let text = run(&spec).await.text();
    let expected = format!("A=x=y z\n\nB=last\nBEADLE_COOKIE={}\nPATH={DEFAULT_PATH}\n", spec.cookie);
    assert_eq!(text, expected);
}

#[tokio::test]
async fn the_child_leads_its_group_with_an_empty_input_in_its_directory() {
    let mut spec = sh("echo $0; pwd; wc -c; ps -o pgid= -p $$ | tr -d ' '; echo $$");
    spec.directory = Some(PathBuf::from("/usr"));
    let outcome = run(&spec).await;
    let text = outcome.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["sh", "/usr", "0"]);
    assert_eq!(lines[3], lines[4]);
}

#[tokio::test]
async fn a_path_is_seen_from_the_working_directory() {
    let home = tempfile::tempdir().unwrap();
    script(home.path(), "greet", "#!/bin/sh\necho hello $1\n", "755").await;
    for (program, path) in [("./greet", "/nowhere"), ("greet", "/nowhere:"), ("greet", ".:/nowhere")] {
        let mut spec = spec(&[program, "you"]);
        spec.directory = Some(home.path().to_owned());
        spec.environment = vec![("PATH".into(), path.into())];
        assert_eq!(run(&spec).await.text(), "hello you\n", "{program} in {path}");
    }
}

#[test]
fn what_cannot_be_found_is_said() {
    let missing = refusal(&spec(&["no-such-program"]));
    let expected =
        format!("the program `no-such-program` was not found (ENOENT); searched in PATH: {DEFAULT_PATH}");
    assert_eq!(missing.message(), expected);
    assert!(!missing.is_shortage());
    assert_eq!(
        refusal(&spec(&["/no/such/program"])).message(),
        "the program `/no/such/program` was not found (ENOENT)"
    );
    let mut spec = sh("true");
    spec.directory = Some(PathBuf::from("/no/such"));
    assert_eq!(refusal(&spec).message(), "the directory `/no/such` does not exist (ENOENT)");
    spec.directory = Some(PathBuf::from("/dev/null"));
    assert_eq!(refusal(&spec).message(), "the directory `/dev/null` cannot be entered (ENOTDIR)");
}

#[tokio::test]
async fn a_file_that_cannot_be_run_is_said() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let plain = script(home, "plain", "#!/bin/sh\n", "644").await;
    assert_eq!(
        refusal(&spec(&[&plain])).message(),
        format!("`{plain}` may not be executed (EACCES): permission is missing on it or on its interpreter")
    );
    let mut found = spec(&["plain"]);
    found.environment = vec![("PATH".into(), format!("/nowhere:{}", home.display()))];
    assert!(matches!(refusal(&found), SpawnError::NotExecutable { .. }));

    let orphan = script(home, "orphan", "#! /no/such/sh -e\n", "755").await;
    assert_eq!(
        refusal(&spec(&[&orphan])).message(),
        format!("`{orphan}` needs the interpreter `/no/such/sh`, which does not exist (ENOENT)")
    );
    let prose = script(home, "prose", "just text\n", "755").await;
    assert_eq!(refusal(&spec(&[&prose])), SpawnError::BadFormat { path: prose.into() });
    let text = refusal(&spec(&[home.to_str().unwrap()])).message();
    assert!(text.contains("EISDIR"), "{text}");
}

#[test]
fn what_no_program_can_be_given_is_refused() {
    let nul = |spec: &Spec| match refusal(spec) {
        SpawnError::NulByte { place } => place,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(&spec(&[])), SpawnError::NoProgram);
    assert_eq!(refusal(&spec(&[""])), SpawnError::NoProgram);
    assert_eq!(nul(&spec(&["a\0b"])), "the program");
    assert_eq!(nul(&spec(&["true", "x", "a\0b"])), "argument 2");
    let mut one = spec(&["true"]);
    one.directory = Some(PathBuf::from("/a\0b"));
    assert_eq!(nul(&one), "the directory");
    let mut one = spec(&["true"]);
    one.environment.push(("KEY".into(), "a\0b".into()));
    assert_eq!(nul(&one), "the value of the variable KEY");
    for name in ["", "A=B", "A\0"] {
        let mut one = spec(&["true"]);
        one.environment.push((name.into(), "x".into()));
        assert_eq!(refusal(&one), SpawnError::BadVariable { name: name.into() });
    }
}

#[test]
fn arguments_that_are_too_long_are_said_with_their_size() {
    let long = "x".repeat(200_000);
    let refused = refusal(&spec(&["true", &long]));
    assert!(matches!(refused, SpawnError::ArgumentsTooLong { bytes } if bytes > 200_000));
    assert!(refused.message().contains("E2BIG"));
}

#[test]
fn a_lack_that_passes_is_told_from_a_mistake() {
    let os = |errno| SpawnError::Os { step: "start the process", errno };
    assert!(os(libc::EAGAIN).is_shortage());
    assert!(os(libc::EMFILE).is_shortage());
    assert_eq!(os(libc::EMFILE).message(), "the system refused to start the process (EMFILE)");
    assert!(!os(libc::EIO).is_shortage());
}

#[test]
fn only_the_allowed_and_the_named_are_inherited() {
    let own = ["HOME", "LC_TIME", "TZ", "AWS_SECRET", "WANTED", "BEADLE_TOKEN", "LCX"];
    let own = own.map(|name| (name.to_owned(), "v".to_owned()));
    let names =
        |chosen: Vec<(String, String)>| -> Vec<String> { chosen.into_iter().map(|(name, _)| name).collect() };
    let chosen = select(own.to_vec(), &["WANTED".into(), "ABSENT".into()]);
    let socket = [("NOTIFY_SOCKET".to_owned(), "/run/systemd/notify".to_owned())];
    assert_eq!(names(select(socket.to_vec(), &["NOTIFY_SOCKET".into()])), ["PATH"]);
    assert!(chosen.contains(&("PATH".into(), DEFAULT_PATH.into())));
    assert_eq!(names(chosen), ["HOME", "LC_TIME", "TZ", "WANTED", "PATH"]);
    let kept = select(vec![("PATH".into(), "/mine".into())], &[]);
    assert_eq!(kept, [("PATH".into(), "/mine".into())]);
    let empty = select(vec![("PATH".into(), String::new())], &[]);
    assert_eq!(empty, [("PATH".into(), DEFAULT_PATH.into())]);
}
