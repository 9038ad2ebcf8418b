//! Owns the way back: a backup's files into a data directory, checked before anything that stands there is moved.
//!
//! What was told after the backup was made is gone, and must not come to mean something else: the restored store has
//! a new name in cursors, so that an old cursor is refused as expired, and it goes on numbering far above whatever
//! was given before.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::backup::{self, Existing, FORMAT, LOGS_NAME, MANIFEST_NAME, Manifest, STATE_NAME};
use super::beside::{self, Depth, named, parent};
use super::db::{Db, Durability, Kind, Sql};
use super::fault::{Fault, FaultKind, Result};
use super::ids::{self, Numbered};
use super::migrations::{self, Set};
use super::moved;
use super::open::{self, UNFINISHED};
use super::upgrade::{self, BACKUPS, file_time};
use crate::args;
use crate::base::clock::{Clock, Timestamp};
use crate::base::points;
use crate::base::random::Random;

/// The first bytes of a SQLite file: a copy that was made before a migration is one, and no archive.
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";
/// A manifest is small.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;
/// Where files lie until they are checked.
const DRAFTS: &str = "restore.draft";

/// The endings of a database's files.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

const RENAME: Sql = Sql::both("UPDATE meta SET value = $1 WHERE name = 'epoch'", &[Kind::Text]);

const LAST_WITH_LOG: Sql = Sql::both("SELECT max(attempt_id) FROM log_chunks", &[]);

// Not ours to kill: beside a daemon that is alive its own processes would be found by these.
const FORGET_PROCESSES: Sql = Sql::both(
    "UPDATE attempts SET cookie = '', pid = NULL, start_ticks = NULL, boot_id = NULL WHERE outcome IS NULL",
    &[],
);

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup says of itself; a copy that was made before a migration says nothing.
    pub manifest: Option<Manifest>,
    /// The files that were put in place.
    pub placed: Vec<PathBuf>,
    /// Where the files went that stood there.
    pub moved: Vec<PathBuf>,
}

/// Puts the files of a backup into a data directory that no daemon uses.
pub async fn restore(
    file: &Path,
    data_dir: &Path,
    existing: Existing,
    (clock, random): (&dyn Clock, &dyn Random),
) -> Result<Restored> {
    open::make_directory(data_dir)?;
    let _lock = open::take_lock(data_dir).await?;
    let drafts = data_dir.join(DRAFTS);
    clear(&drafts);
    open::make_directory(&drafts)?;
    let restored = put_back(file, data_dir, existing, (clock.now(), random)).await;
    clear(&drafts);
    restored
}

/// Removes what a restore that was cut off, or this one, left to be checked.
fn clear(drafts: &Path) {
    for name in [STATE_NAME, LOGS_NAME] {
        for end in ["", "-wal", "-shm", "-journal"] {
            let _ = std::fs::remove_file(drafts.join(format!("{name}{end}")));
        }
    }
    let _ = std::fs::remove_dir(drafts);
}

async fn put_back(
    file: &Path,
    data_dir: &Path,
    existing: Existing,
    (now, random): (Timestamp, &dyn Random),
) -> Result<Restored> {
    let drafts = data_dir.join(DRAFTS);
    let mut source = Source::take(file, &drafts).await?;
    let is_own = source.is_of(file, data_dir);
    if is_own && !source.names.contains(&LOGS_NAME) && !logs_can_stay(data_dir).await {
        source.take_logs_of_upgrade(data_dir).await?;
    }
    let aside = source.displaces(is_own);
    let standing: Vec<PathBuf> =
        aside.iter().map(|name| data_dir.join(name)).filter(|path| path.exists()).collect();
    if let (Existing::Kept, Some(first)) = (existing, standing.first()) {
        let message = format!(
            "{} is there already; restore into an empty data directory, or give --force, which moves it aside",
            first.display()
        );
        return Err(Fault::new(FaultKind::Constraint, message));
    }
    for name in &source.names {
        let set = if *name == STATE_NAME { &migrations::STATE_FILE } else { &migrations::LOGS_FILE };
        check(&drafts.join(name), set).await.map_err(|fault| named(fault, file))?;
    }
    let given = given(data_dir).await;
    begin_anew(&drafts.join(STATE_NAME), is_own, &given, random).await?;
    points::reach("restore.checked");
    place((&source.names, &aside), data_dir, file, now).map(|(placed, moved)| Restored {
        manifest: source.manifest,
        placed,
        moved,
    })
}

/// Whether this version can go on with the logs that stand in the directory; also when there are none.
async fn logs_can_stay(data_dir: &Path) -> bool {
    let path = data_dir.join(LOGS_NAME);
    if !path.exists() {
        return true;
    }
    let Ok(db) = Db::open_beside(&path).await else { return false };
    let unapplied = migrations::unapplied(&db, &migrations::LOGS_FILE).await;
    db.close().await;
    unapplied.is_ok()
}

/// The last numbers that were given in the directory, as far as its files can tell. What cannot be read says nothing, for
/// it may be why somebody restores.
async fn given(data_dir: &Path) -> HashMap<String, i64> {
    let (state, logs) = (data_dir.join(STATE_NAME), data_dir.join(LOGS_NAME));
    let mut given = HashMap::new();
    if state.exists()
        && let Ok(db) = Db::open_beside(&state).await
    {
        given = ids::last_numbers(&db).await.unwrap_or_default();
        db.close().await;
    }
    if logs.exists()
        && let Ok(db) = Db::open_beside(&logs).await
    {
        let row = db.optional(&LAST_WITH_LOG, &[]).await.ok().flatten();
        let last = row.and_then(|row| row.get::<Option<i64>>(0).ok().flatten()).unwrap_or(0);
        let attempt = given.entry(Numbered::Attempt.name().to_owned()).or_insert(0);
        *attempt = last.max(*attempt);
        db.close().await;
    }
    given
}

/// What a backup gave.
struct Source {
    names: Vec<&'static str>,
    manifest: Option<Manifest>,
    /// Whether the logs that stand there are of a newer version.
    outdates_logs: bool,
}

impl Source {
    /// Takes the backup's files out of it, and compares them with what it says of itself. Of a SQLite file with a journal
    /// beside it, the newest part stands in the journal.
    async fn take(path: &Path, drafts: &Path) -> Result<Source> {
        let mut journal = path.as_os_str().to_owned();
        journal.push("-wal");
        let has_journal = std::fs::metadata(&journal).is_ok_and(|journal| journal.len() > 0);
        if has_journal && Source::is_sqlite(path)? {
            beside::copy(path, &drafts.join(STATE_NAME), Depth::Quick).await.map_err(|fault| {
                let message = format!(
                    "{}; a file with a journal is read with it, in a directory that can be written",
                    fault.message
                );
                Fault { message, ..fault }
            })?;
            return Ok(Source::of_state());
        }
        Source::unpack(path, drafts)
    }

    fn of_state() -> Source {
        Source { names: vec![STATE_NAME], manifest: None, outdates_logs: false }
    }

    fn is_sqlite(path: &Path) -> Result<bool> {
        let cannot = |error: std::io::Error| beside::io("read", path, &error);
        let mut first = Vec::new();
        let file = File::open(path).map_err(cannot)?;
        file.take(SQLITE_MAGIC.len() as u64).read_to_end(&mut first).map_err(cannot)?;
        Ok(first == SQLITE_MAGIC)
    }

    fn unpack(path: &Path, drafts: &Path) -> Result<Source> {
        let is_sqlite = Source::is_sqlite(path)?;
        let file = File::open(path).map_err(|error| beside::io("read", path, &error))?;
        if is_sqlite {
            backup::unpack(file, &drafts.join(STATE_NAME))?;
            return Ok(Source::of_state());
        }
        let no_backup = |why: &str| {
            let message = format!("{} is no whole backup: {why}; nothing was touched", path.display());
            Fault::new(FaultKind::Damaged, message)
        };
        let torn = |error: std::io::Error| no_backup(&error.to_string());
        let (mut found, mut manifest) = (Vec::new(), None);
        let mut archive = tar::Archive::new(file);
        for entry in archive.entries().map_err(torn)? {
            let mut entry = entry.map_err(torn)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if name == MANIFEST_NAME {
                let mut text = Vec::new();
                (&mut entry).take(MANIFEST_BYTES_MAX).read_to_end(&mut text).map_err(torn)?;
                let read = serde_json::from_slice::<Manifest>(&text);
                manifest = Some(read.map_err(|error| no_backup(&format!("its manifest says {error}")))?);
                continue;
            }
            let known = [STATE_NAME, LOGS_NAME].into_iter().find(|known| *known == name);
            let known = known.ok_or_else(|| no_backup(&format!("it holds {name:?}")))?;
            let (bytes, sha256) = backup::unpack(entry, &drafts.join(known))?;
            found.push(backup::Part { name: known.to_owned(), bytes, sha256 });
        }
        let manifest = manifest.ok_or_else(|| no_backup("it has no manifest, so it was cut off"))?;
        if manifest.format != FORMAT {
            let format = manifest.format;
            return Err(no_backup(&format!("its form is {format}, and this version reads {FORMAT}")));
        }
        if manifest.files != found || !found.iter().any(|part| part.name == STATE_NAME) {
            return Err(no_backup("its files are not those that it was made of"));
        }
        let is_in = |name: &&str| found.iter().any(|part| part.name == *name);
        Ok(Source {
            names: [STATE_NAME, LOGS_NAME].into_iter().filter(is_in).collect(),
            manifest: Some(manifest),
            outdates_logs: false,
        })
    }

    /// Where a newer version has migrated the logs too: takes the newest copy of them that was made before, which this
    /// version can read. Without one the logs are begun anew.
    async fn take_logs_of_upgrade(&mut self, data_dir: &Path) -> Result<()> {
        let draft = data_dir.join(DRAFTS).join(LOGS_NAME);
        self.outdates_logs = true;
        for copy in upgrade::copies_of_logs(data_dir)? {
            let file = File::open(&copy).map_err(|error| beside::io("read", &copy, &error))?;
            backup::unpack(file, &draft)?;
            if check(&draft, &migrations::LOGS_FILE).await.is_ok() {
                self.names.push(LOGS_NAME);
                break;
            }
            std::fs::remove_file(&draft).map_err(|error| beside::io("removed", &draft, &error))?;
        }
        Ok(())
    }

    /// The files that make room for it. Logs of another store would be taken for those of the jobs in it: its attempts
    /// have the same numbers.
    fn displaces(&self, is_own: bool) -> Vec<&'static str> {
        let is_displaced = |name: &&'static str| {
            !is_own || self.names.contains(name) || (self.outdates_logs && *name == LOGS_NAME)
        };
        [STATE_NAME, LOGS_NAME].into_iter().filter(is_displaced).collect()
    }

    /// Whether the backup was made of this very directory, whose lock we hold: then no daemon lives that could
    /// still own the processes in it.
    fn is_of(&self, file: &Path, data_dir: &Path) -> bool {
        let Ok(here) = std::fs::canonicalize(data_dir) else { return false };
        match &self.manifest {
            Some(manifest) => manifest.data_dir == here,
            None => std::fs::canonicalize(parent(file)).is_ok_and(|place| place == here.join(BACKUPS)),
        }
    }
}

async fn check(path: &Path, set: &Set) -> Result<()> {
    open::check_header(path)?;
    let db = Db::open_beside(path).await?;
    let checked = async {
        if let Some(damage) = db.damage(Depth::Full).await? {
            return Err(Fault::new(FaultKind::Damaged, format!("it is damaged: {damage}")));
        }
        // Names what a newer Beadle wrote.
        if migrations::unapplied(&db, set).await?.len() == set.migrations.len() {
            let message = format!("it is no copy of {}", set.what);
            return Err(Fault::new(FaultKind::Damaged, message));
        }
        Ok(())
    };
    let checked = checked.await;
    db.close().await;
    checked
}

/// Makes the state another one than that which was backed up.
async fn begin_anew(
    path: &Path,
    is_own: bool,
    given: &HashMap<String, i64>,
    random: &dyn Random,
) -> Result<()> {
    let db = Db::open_sqlite(path, Durability::Full, String::new()).await?;
    let changed = async {
        let mut tx = db.begin().await?;
        tx.execute(&RENAME, &args![random.hex(4)]).await?;
        ids::skip_ahead(&mut tx, given).await?;
        if !is_own {
            tx.execute(&FORGET_PROCESSES, &[]).await?;
        }
        tx.commit().await
    };
    let changed = changed.await;
    db.close().await;
    changed.map_err(|fault| named(fault, path))?;
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| beside::io("written", path, &error))
}

/// Moves what stands there aside and the checked files in. A mark stands meanwhile: a start refuses to begin a new
/// store where only half of this was done.
fn place(
    (names, aside): (&[&str], &[&str]),
    data_dir: &Path,
    file: &Path,
    now: Timestamp,
) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mark = data_dir.join(UNFINISHED);
    let cannot = |error: std::io::Error| beside::io("written", &mark, &error);
    let mut text = File::create(&mark).map_err(cannot)?;
    writeln!(text, "{}", file.display()).and_then(|()| text.sync_all()).map_err(cannot)?;
    beside::sync_directory(data_dir)?;
    let end = free_end(aside, data_dir, now);
    let (mut placed, mut moved) = (Vec::new(), Vec::new());
    for name in aside {
        // The journal moves with its file: alone it would be played into the new one.
        for part in PARTS {
            let from = data_dir.join(format!("{name}{part}"));
            let to = data_dir.join(format!("{name}{end}{part}"));
            if from.exists() {
                std::fs::rename(&from, &to).map_err(|error| beside::io("moved aside", &from, &error))?;
                moved.push(to);
            }
        }
        if !names.contains(name) {
            continue;
        }
        points::reach("restore.moved");
        let path = data_dir.join(name);
        let draft = data_dir.join(DRAFTS).join(name);
        std::fs::rename(&draft, &path).map_err(|error| beside::io("put in place", &path, &error))?;
        placed.push(path);
    }
    beside::sync_directory(data_dir)?;
    points::reach("restore.placed");
    moved::forget(data_dir)?;
    std::fs::remove_file(&mark).map_err(|error| beside::io("removed", &mark, &error))?;
    beside::sync_directory(data_dir)?;
    Ok((placed, moved))
}

/// What is put behind the names of the files that are moved aside: no file has such a name yet.
fn free_end(names: &[&str], data_dir: &Path, now: Timestamp) -> String {
    let end = format!(".before-restore-{}", file_time(now));
    let is_free = |end: &str| {
        let mut taken = names.iter().flat_map(|name| PARTS.map(|part| format!("{name}{end}{part}")));
        !taken.any(|name| data_dir.join(name).exists())
    };
    let later = (2..).map(|number| format!("{end}-{number}"));
    std::iter::once(end.clone()).chain(later).find(|end| is_free(end)).expect("numbers do not end")
}

/// The mark of a restore that was cut off, when it stands in the directory: the backup that it read.
pub fn unfinished(data_dir: &Path) -> Option<String> {
    std::fs::read_to_string(data_dir.join(UNFINISHED)).ok().map(|text| text.trim().to_owned())
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&RENAME, &FORGET_PROCESSES];
/// Those over the logs.
pub(super) const OF_LOGS: &[&Sql] = &[&LAST_WITH_LOG];
