//! Owns how the dashboard gets into the program: built once from its sources by npm, packed by `pack.mjs`, embedded as a
//! table that `src/web/pages.rs` reads. It must never need Node.js: a program without it is whole, and serves a page
//! that says what is missing.
//!
//! `pack.mjs` compresses with the zlib of Node.js, which is there whenever there is something to compress: native code,
//! where a crate in a build script is compiled without optimisation, takes minutes for brotli's best, and is one more
//! thing to compile for everybody.
#![expect(
    clippy::disallowed_methods,
    reason = "a build script stands outside of the house: it reads cargo's environment and starts npm"
)]

mod sources;
mod table;
mod workshop;

use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::{env, fs};

use sources::Sources;
use workshop::Workshop;

/// The variable that leaves the dashboard out on purpose.
const SWITCH: &str = "BEADLE_DASHBOARD";
/// The oldest Node.js that builds it, which `dashboard/package.json` names too.
const NODE_OLDEST: (u32, u32) = (20, 19);

fn main() {
    println!("cargo::rerun-if-env-changed={SWITCH}");
    println!("cargo::rerun-if-changed={}", workshop::PACKER);
    if let Err(why) = embed() {
        eprintln!("{why}");
        process::exit(1);
    }
}

fn embed() -> Result<(), String> {
    let (root, out) = (directory("CARGO_MANIFEST_DIR")?, directory("OUT_DIR")?);
    let workshop = build(&root, &out)?;
    // The lock is held until everything was copied.
    table::write(workshop.as_ref().map(Workshop::dist), &out)
}

fn directory(variable: &str) -> Result<PathBuf, String> {
    env::var_os(variable).map(PathBuf::from).ok_or_else(|| format!("cargo did not set {variable}"))
}

/// The dashboard, built; `None` when there is to be none, or can be none here.
fn build(root: &Path, out: &Path) -> Result<Option<Workshop>, String> {
    match env::var(SWITCH).as_deref() {
        Err(_) | Ok("") => {}
        Ok("off") => return Ok(None),
        Ok(other) => return Err(format!("{SWITCH} can only be `off`, not `{other}`")),
    }
    let Some(sources) = Sources::find(root)? else {
        return Ok(None);
    };
    sources.watch();
    let workshop = Workshop::open(root, out, &sources)?;
    if !workshop.is_done() {
        if !has_tools() {
            let (major, minor) = NODE_OLDEST;
            println!(
                "cargo::warning=built without the dashboard: install Node.js {major}.{minor} or newer with npm and build again"
            );
            watch_for_tools();
            return Ok(None);
        }
        workshop.work(&sources)?;
    }
    Ok(Some(workshop))
}

/// Whether Node.js and npm are here, and new enough.
fn has_tools() -> bool {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let mut numbers = text.trim().trim_start_matches('v').split('.').map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    version("node").is_some_and(|found| found >= NODE_OLDEST) && version("npm").is_some()
}

/// Has cargo ask again once programs were installed.
fn watch_for_tools() {
    println!("cargo::rerun-if-env-changed=PATH");
    let path = env::var_os("PATH").unwrap_or_default();
    for folder in env::split_paths(&path).filter(|folder| folder.is_absolute()) {
        // What does not exist would count as changed each time.
        if fs::metadata(&folder).is_ok_and(|found| found.is_dir()) {
            println!("cargo::rerun-if-changed={}", folder.display());
        }
    }
}
