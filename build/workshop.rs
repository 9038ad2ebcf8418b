//! Owns the place where the dashboard is built, once for all profiles, and one cargo at a time. It must never write into
//! sources that are not ours to write: those of a package, or on a disk that takes no writes, are built elsewhere.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sources::{FOLDER, Sources};

/// The script that compresses what was built and lists it.
pub const PACKER: &str = "build/pack.mjs";
/// The list that it leaves in `dist`: the digest of the sources, then a line for each file. Written last, so that where
/// it stands everything is there.
pub const LIST: &str = ".packed";

/// What cargo puts beside the sources of a package.
const PACKAGE_MARK: &str = ".cargo_vcs_info.json";
/// The API's schema, which the dashboard reads beside its own folder.
const SCHEMA: &str = "schema.graphql";
/// What npm leaves behind when it has installed everything.
const INSTALLED: &str = "node_modules/.package-lock.json";

/// The place, held against other builds until it is dropped.
pub struct Workshop {
    root: PathBuf,
    home: PathBuf,
    place: PathBuf,
    digest: String,
    _lock: File,
}

impl Workshop {
    /// Waits until no other build is there.
    pub fn open(root: &Path, out: &Path, sources: &Sources) -> Result<Workshop, String> {
        let home = root.join(FOLDER);
        let lock = File::open(&home).map_err(|error| cannot_write(&home, &error))?;
        // Where a folder cannot be locked (some network file systems), two builds at once are the user's to avoid.
        let _ = lock.lock();
        let digest = sources.digest.clone();
        let is_built = reads(&home, &digest);
        let is_ours = || !root.join(PACKAGE_MARK).exists() && fs::create_dir_all(home.join("dist")).is_ok();
        let place = if is_built || is_ours() { home.clone() } else { out.join("workshop").join(FOLDER) };
        Ok(Workshop { root: root.to_owned(), home, place, digest, _lock: lock })
    }

    /// Where the built files are.
    pub fn dist(&self) -> PathBuf {
        self.place.join("dist")
    }

    /// Whether they were built from exactly these sources.
    pub fn is_done(&self) -> bool {
        reads(&self.place, &self.digest)
    }

    /// Builds them.
    pub fn work(&self, sources: &Sources) -> Result<(), String> {
        // Those of the sources serve the copy too, which is newer than they are.
        let has_packages = is_installed(&self.home);
        if self.place != self.home {
            self.bring(sources, has_packages).map_err(|error| cannot_write(&self.place, &error))?;
        }
        if !has_packages {
            self.run("npm", &["ci", "--include=dev", "--ignore-scripts", "--no-audit", "--no-fund"])?;
        }
        self.run("npm", &["run", "build"])?;
        let (packer, dist) = (self.root.join(PACKER), self.dist());
        self.run("node", &[&packer.to_string_lossy(), &dist.to_string_lossy(), &self.digest])
    }

    /// A copy of the sources where we may write, with a link to the packages that were installed for them.
    fn bring(&self, sources: &Sources, has_packages: bool) -> io::Result<()> {
        if self.place.exists() {
            fs::remove_dir_all(&self.place)?;
        }
        for file in &sources.files {
            let target = self.place.join(file);
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::copy(self.home.join(file), target)?;
        }
        if let Some(above) = self.place.parent() {
            fs::copy(self.root.join(SCHEMA), above.join(SCHEMA))?;
        }
        if has_packages {
            symlink(self.home.join("node_modules"), self.place.join("node_modules"))?;
        }
        Ok(())
    }

    /// Runs a program to its good end; what it said goes on only when it fails.
    fn run(&self, program: &str, args: &[&str]) -> Result<(), String> {
        let output = Command::new(program)
            .args(args)
            .current_dir(&self.place)
            // With `production` npm would leave out what builds.
            .env_remove("NODE_ENV")
            .output()
            .map_err(|error| format!("{program} cannot be started: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "{}{}\n`{program} {}` failed in {}; BEADLE_DASHBOARD=off builds without the dashboard",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            args.join(" "),
            self.place.display()
        ))
    }
}

/// Whether what stands in `dist` there was made from sources with this digest.
fn reads(place: &Path, digest: &str) -> bool {
    let list = fs::read_to_string(place.join("dist").join(LIST));
    list.is_ok_and(|list| list.lines().next() == Some(digest))
}

/// Whether the packages are there as the lock says.
fn is_installed(place: &Path) -> bool {
    let changed = |path: &str| fs::metadata(place.join(path)).and_then(|found| found.modified()).ok();
    match (changed(INSTALLED), changed("package-lock.json")) {
        (Some(installed), Some(locked)) => installed >= locked,
        (installed, None) => installed.is_some(),
        (None, Some(_)) => false,
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be built in: {error}", path.display())
}
