//! Owns what the dashboard is built from: which files, their digest, and what cargo watches. A file that cannot change
//! what comes out (a test, types alone, a text) is none of it.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use crate::workshop;

/// Where the sources are.
pub const FOLDER: &str = "dashboard";

/// What stands beside the sources: made from them, or to try what was built.
const BESIDE: [&str; 3] = ["node_modules", "dist", "tests"];
/// The one hidden file that counts.
const NPM_SETTINGS: &str = ".npmrc";
/// Ends of names of files that leave no trace in what is built.
const TRACELESS: [&str; 4] = [".test.ts", ".spec.ts", TYPES, ".md"];
/// Types alone. Those that are made from the schema are written anew by each check.
const TYPES: &str = ".d.ts";

/// The files that decide how the dashboard comes out.
pub struct Sources {
    home: PathBuf,
    /// Relative to `home`, in order.
    pub files: Vec<PathBuf>,
    /// What cargo looks at: each of them, or a folder with all that is in it, which tells of a new file too.
    watched: Vec<PathBuf>,
    /// The same for the same files. It may change with the version of Rust, which builds the dashboard once more.
    pub digest: String,
}

impl Sources {
    /// Looks for them; `None` when there is no dashboard here.
    pub fn find(root: &Path) -> Result<Option<Sources>, String> {
        let home = root.join(FOLDER);
        if !home.join("package.json").is_file() {
            return Ok(None);
        }
        let Found { mut files, watched, .. } = look_in(&home, Path::new(""))?;
        files.sort();
        let mut hasher = DefaultHasher::new();
        for path in files.iter().map(|file| home.join(file)).chain([root.join(workshop::PACKER)]) {
            let bytes = fs::read(&path).map_err(|error| cannot_read(&path, &error))?;
            path.strip_prefix(root).unwrap_or(&path).hash(&mut hasher);
            bytes.hash(&mut hasher);
        }
        Ok(Some(Sources { home, files, watched, digest: format!("{:016x}", hasher.finish()) }))
    }

    /// Tells cargo what to look at before it runs this again.
    pub fn watch(&self) {
        for path in &self.watched {
            println!("cargo::rerun-if-changed={}", self.home.join(path).display());
        }
    }
}

/// What a folder holds.
#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    watched: Vec<PathBuf>,
    /// Whether something in it changes without being a source.
    is_restless: bool,
}

fn look_in(home: &Path, folder: &Path) -> Result<Found, String> {
    let place = home.join(folder);
    let is_top = folder.as_os_str().is_empty();
    let mut found = Found { is_restless: is_top, ..Found::default() };
    for entry in fs::read_dir(&place).map_err(|error| cannot_read(&place, &error))? {
        let entry = entry.map_err(|error| cannot_read(&place, &error))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        found.is_restless |= name.ends_with(TYPES);
        let is_beside = is_top && BESIDE.contains(&name.as_ref());
        let is_hidden = name.starts_with('.') && name != NPM_SETTINGS;
        if is_beside || is_hidden || TRACELESS.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        let path = folder.join(name.as_ref());
        if home.join(&path).is_dir() {
            let inner = look_in(home, &path)?;
            found.is_restless |= inner.is_restless;
            found.files.extend(inner.files);
            found.watched.extend(inner.watched);
        } else {
            found.files.push(path.clone());
            found.watched.push(path);
        }
    }
    if !found.is_restless {
        found.watched = vec![folder.to_owned()];
    }
    Ok(found)
}

fn cannot_read(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be read: {error}", path.display())
}
