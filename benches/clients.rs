//! Owns the clients of other queues: programs for Node.js in `peers/`, installed with what they need into a directory of
//! their own. It must never leave anything in the source tree, and nothing else may need them.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::measure::figure;
use crate::program::directory;

/// Their source.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");
/// Exactly what is locked, and no word of it but errors; a network that is not there is known soon.
const INSTALL: &[&str] =
    &["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--fetch-retries=1"];

/// The clients, ready to run.
#[derive(Debug)]
pub struct Clients {
    directory: TempDir,
}

impl Clients {
    /// Installs them; `None` where there is no npm, or it cannot get the packages.
    pub fn install() -> Option<Clients> {
        let directory = directory();
        for entry in fs::read_dir(SOURCE).expect("the clients are there").filter_map(Result::ok) {
            if entry.path().is_file() {
                fs::copy(entry.path(), directory.path().join(entry.file_name()))
                    .expect("a file can be copied");
            }
        }
        let mut npm = Command::new("npm");
        npm.args(INSTALL).current_dir(directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
        npm.status().is_ok_and(|status| status.success()).then_some(Clients { directory })
    }

    /// Runs one and gives its figures.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(&self, client: &str, arguments: &[&str]) -> Figures {
        let mut node = Command::new("node");
        node.arg(client).args(arguments).current_dir(self.directory.path()).stderr(Stdio::inherit());
        let output = node.output().expect("node starts");
        assert!(output.status.success(), "the client {client} failed");
        Figures(serde_json::from_slice(&output.stdout).expect("a client prints JSON"))
    }
}

/// What a client printed.
#[derive(Debug)]
pub struct Figures(Value);

impl Figures {
    /// One of the figures.
    pub fn of(&self, name: &str) -> f64 {
        self.0[name].as_f64().unwrap_or_else(|| panic!("the client printed no {name}: {}", self.0))
    }

    /// The same for people.
    pub fn shown(&self, name: &str, unit: &str) -> String {
        figure(self.of(name), unit)
    }
}
