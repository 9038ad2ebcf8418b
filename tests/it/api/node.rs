//! Runs the scripts of `tests/node`, where this machine can. It must never hide that it could not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use beadle::base::environment::variable;

use crate::support::program::program;

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn project() -> PathBuf {
    root().join("tests/node")
}

/// What keeps the scripts from running here; `None` when nothing does.
fn obstacle() -> Option<&'static str> {
    let has_node = program("node").arg("--version").output().is_ok_and(|output| output.status.success());
    if !has_node {
        return Some("there is no Node.js on the PATH");
    }
    let is_installed = project().join("node_modules/playwright-core/package.json").exists();
    (!is_installed).then_some("run npm ci in tests/node")
}

/// A script of `tests/node`, ready to be given arguments and started. `None`, with a printed line, when it cannot run
/// here; panics instead when `CI=true`.
pub fn script(name: &str) -> Option<Command> {
    if let Some(why) = obstacle() {
        assert!(variable("CI").as_deref() != Some("true"), "CI=true, but {name} cannot run: {why}");
        println!("skipped {name}: {why}");
        return None;
    }
    let mut node = program("node");
    node.arg(project().join(name))
        .env_clear()
        .env("PATH", variable("PATH").unwrap_or_default())
        .current_dir(project())
        .stdin(Stdio::null());
    Some(node)
}
