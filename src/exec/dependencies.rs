//! Owns the file that tells a process how the jobs ended that its own job waited for. It is private, and gone
//! when the attempt is over.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The variable that names the file to a process.
pub const DEPENDENCIES_VARIABLE: &str = "BEADLE_DEPENDENCIES";
/// How the name of such a file begins.
const PREFIX: &str = "dependencies_";
/// How it ends.
const SUFFIX: &str = ".json";

/// The file of one attempt: a JSON object, written entry by entry. Dropping it removes it.
#[derive(Debug)]
pub struct DependencyFile {
    path: PathBuf,
    file: File,
    is_empty: bool,
}

impl DependencyFile {
    /// Makes the file of the attempt in `directory`.
    pub fn create(directory: &Path, attempt: &str) -> io::Result<DependencyFile> {
        let path = directory.join(format!("{PREFIX}{attempt}{SUFFIX}"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(DependencyFile { path, file, is_empty: true })
    }

    /// Adds entries: each with its name, and its value as JSON text.
    pub fn add(&mut self, entries: &[(String, String)]) -> io::Result<()> {
        let mut text = String::new();
        for (name, value) in entries {
            let begin = if std::mem::take(&mut self.is_empty) { "{" } else { "," };
            text.extend([begin, "\n\"", name, "\":", value]);
        }
        self.file.write_all(text.as_bytes())
    }

    /// Writes the end; from here on the file can be read.
    pub fn finish(&mut self) -> io::Result<()> {
        self.file.write_all(if self.is_empty { b"{}\n" } else { b"\n}\n" })
    }

    /// The variable and the path, for the process.
    pub fn variable(&self) -> (String, String) {
        (DEPENDENCIES_VARIABLE.to_owned(), self.path.to_string_lossy().into_owned())
    }
}

impl Drop for DependencyFile {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether a file of this name is one of ours, also of a daemon that died.
pub(super) fn is_ours(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;
    use crate::exec::clear_channels;

    #[test]
    fn the_file_is_private_whole_json_and_gone_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("report");
        clear_channels(&place).unwrap();
        let mut file = DependencyFile::create(&place, "attempt_7").unwrap();
        let (name, path) = file.variable();
        assert_eq!(name, "BEADLE_DEPENDENCIES");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let entry = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        file.add(&[entry("job_1", "1"), entry("job_2", "[]")]).unwrap();
        file.add(&[entry("job_3", "\"\\n\"")]).unwrap();
        file.finish().unwrap();
        let read: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, json!({"job_1": 1, "job_2": [], "job_3": "\n"}));
        drop(file);
        assert!(!Path::new(&path).exists());
        let mut empty = DependencyFile::create(&place, "attempt_8").unwrap();
        empty.finish().unwrap();
        assert_eq!(std::fs::read(empty.variable().1).unwrap(), b"{}\n");
    }

    #[test]
    fn what_a_dead_daemon_left_is_cleared_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        std::mem::forget(DependencyFile::create(directory.path(), "attempt_9").unwrap());
        std::fs::write(directory.path().join("dependencies.json"), "{}").unwrap();
        clear_channels(directory.path()).unwrap();
        let left = std::fs::read_dir(directory.path()).unwrap().map(|one| one.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["dependencies.json"]);
    }
}
