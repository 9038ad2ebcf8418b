//! Owns the table of embedded files: an expression of Rust in the build's own folder, and beside it the files that it
//! includes. It must never include from a folder that another build may empty.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::workshop::LIST;

/// The table's file.
const TABLE: &str = "dashboard.rs";
/// The folder of the copies.
const COPIES: &str = "embedded";

/// Writes the table of what stands in `dist`; an empty one for nothing.
pub fn write(dist: Option<PathBuf>, out: &Path) -> Result<(), String> {
    let copies = out.join(COPIES);
    let written = forget(&copies).and_then(|()| {
        let rows = dist.map_or(Ok(String::new()), |dist| rows(&dist, &copies))?;
        fs::write(out.join(TABLE), format!("&[\n{rows}]\n"))
    });
    written.map_err(|error| format!("the dashboard cannot be embedded from {}: {error}", out.display()))
}

fn forget(copies: &Path) -> io::Result<()> {
    if copies.exists() { fs::remove_dir_all(copies) } else { Ok(()) }
}

/// A row for each line of the list: path, media type and tag, with a tab between them.
fn rows(dist: &Path, copies: &Path) -> io::Result<String> {
    let list = fs::read_to_string(dist.join(LIST))?;
    let mut rows = String::new();
    for line in list.lines().skip(1) {
        let mut cells = line.split('\t');
        let (Some(path), Some(media_type), Some(tag)) = (cells.next(), cells.next(), cells.next()) else {
            return Err(io::Error::other(format!("{LIST} has the line {line:?}")));
        };
        let plain = copy(dist, copies, path, "")?;
        let packed = |end: &str| -> io::Result<String> {
            if !dist.join(format!("{path}{end}")).exists() {
                return Ok("None".to_owned());
            }
            Ok(format!("Some({})", copy(dist, copies, path, end)?))
        };
        let (brotli, gzip) = (packed(".br")?, packed(".gz")?);
        let _ = writeln!(
            rows,
            "File {{ path: {:?}, media_type: {media_type:?}, tag: {tag:?}, plain: {plain}, brotli: {brotli}, gzip: {gzip} }},",
            format!("/{path}")
        );
    }
    Ok(rows)
}

/// Copies a file and says how Rust includes it.
fn copy(dist: &Path, copies: &Path, path: &str, end: &str) -> io::Result<String> {
    let name = format!("{path}{end}");
    let target = copies.join(&name);
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(dist.join(&name), target)?;
    let included = format!("/{COPIES}/{name}");
    Ok(format!("include_bytes!(concat!(env!(\"OUT_DIR\"), {included:?}))"))
}
