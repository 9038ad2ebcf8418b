//! Owns the doctor's look at a data directory: files, their rights, the disk below, the lock, the databases, the clock.
//! It must never change anything, and each thing that it finds says what to do.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::base::clock::Clock;
use crate::engine::tokens::digest;
use crate::store::backup::{LOGS_NAME, STATE_NAME};
use crate::store::beside::Depth;
use crate::store::doctor::{self, Looked, RULE_COUNT, TokenStanding, Which};
use crate::store::{self, moved, restore};

/// Below so much free space the doctor warns, and below so much the daemon will soon refuse work.
const FREE_BYTES_LOW: u64 = 256 * 1024 * 1024;
const FREE_BYTES_LEAST: u64 = 16 * 1024 * 1024;
/// A journal of this size was not written back for long: somebody reads without an end.
const JOURNAL_BYTES_HIGH: u64 = 256 * 1024 * 1024;
/// The newest event may be so much ahead of the clock.
const CLOCK_SLACK: Duration = Duration::from_mins(1);
/// Bytes of a small file that are read.
const SMALL_BYTES_MAX: u64 = 4 * 1024;

/// File systems that a store does not belong on, by the number that the kernel gives them, and why.
const FILE_SYSTEMS: [(u64, &str, &str); 9] = [
    (0x6969, "NFS", OVER_THE_NET),
    (0x517B, "SMB", OVER_THE_NET),
    (0xFF53_4D42, "CIFS", OVER_THE_NET),
    (0xFE53_4D42, "SMB", OVER_THE_NET),
    (0x00C3_6400, "Ceph", OVER_THE_NET),
    (0x0102_1997, "9p", OVER_THE_NET),
    (0x6573_5546, "FUSE", "its locks and its fsync are those of some program; use a local disk"),
    (0x794C_7630, "overlay", "it goes with its container; put the data directory on a volume"),
    (0x0102_1994, "tmpfs", "it is memory and goes at the next boot; use a disk"),
];
const OVER_THE_NET: &str = "locks over a network can fail and damage the database; use a local disk";

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// All is well.
    Ok,
    /// Somebody should look at it.
    Warn,
    /// Somebody must do something.
    Fail,
}

impl Level {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Level::Ok => "OK",
            Level::Warn => "WARN",
            Level::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it came out.
    pub level: Level,
    /// What is so, and what to do about it.
    pub words: String,
}

fn ok(name: &'static str, words: impl Into<String>) -> Check {
    Check { name, level: Level::Ok, words: words.into() }
}

fn warn(name: &'static str, words: impl Into<String>) -> Check {
    Check { name, level: Level::Warn, words: words.into() }
}

fn fail(name: &'static str, words: impl Into<String>) -> Check {
    Check { name, level: Level::Fail, words: words.into() }
}

/// Looks at everything.
pub async fn examine(
    data_dir: &Path,
    depth: Depth,
    settings: Result<PathBuf, String>,
    clock: &dyn Clock,
) -> Vec<Check> {
    let directory = match fs::metadata(data_dir) {
        Ok(found) if found.is_dir() => found,
        Ok(_) => return vec![fail("directory", format!("{} is no directory", data_dir.display()))],
        Err(error) => {
            let words = format!("{}: {error}; name the data directory with --data-dir", data_dir.display());
            return vec![fail("directory", words)];
        }
    };
    let mut checks = vec![
        ok("directory", data_dir.display().to_string()),
        rights(data_dir, &directory),
        lock(data_dir),
        file_system(data_dir),
        room(data_dir),
        match settings {
            Ok(data_dir) => {
                ok("settings", format!("they can be read; the data is in {}", data_dir.display()))
            }
            Err(reason) => fail("settings", format!("{reason}; the daemon will not start with them")),
        },
    ];
    if let Some(backup) = restore::unfinished(data_dir) {
        let words = format!("a restore of {backup} was cut off; run `beadle restore {backup} --force` again");
        checks.push(fail("restore", words));
    }
    if let Some(database) = moved::moved_to(data_dir) {
        let words = format!("the store was moved to {database}: the files here are of the past");
        checks.push(warn("moved", words));
    }
    checks.extend(spool(data_dir));
    let token = small_file(&data_dir.join("admin.token"));
    let secret = token.as_ref().ok().map(|text| digest(text));
    checks.extend(databases(data_dir, depth, secret.as_deref(), clock).await);
    if let Err(error) = token {
        let words = format!(
            "admin.token cannot be read: {error}; the next start of the daemon makes a new one \
                             when the file is not there"
        );
        checks.push(warn("token", words));
    }
    checks
}

/// Whether only the owner can look in. What the daemon makes is made so; a copy by hand may not be.
fn rights(data_dir: &Path, directory: &fs::Metadata) -> Check {
    let mut open = Vec::new();
    if directory.permissions().mode() & 0o077 != 0 {
        open.push(format!("{} (chmod 700)", data_dir.display()));
    }
    let owner = directory.uid();
    let mut foreign = Vec::new();
    let mut look = |name: &str| {
        let path = data_dir.join(name);
        let Ok(found) = fs::metadata(&path) else { return };
        if found.permissions().mode() & 0o077 != 0 && directory.permissions().mode() & 0o077 != 0 {
            open.push(format!("{} (chmod 600)", path.display()));
        }
        if found.uid() != owner {
            foreign.push(path.display().to_string());
        }
    };
    for name in [STATE_NAME, LOGS_NAME] {
        for end in ["", "-wal", "-shm"] {
            look(&format!("{name}{end}"));
        }
    }
    for name in ["beadle.lock", "admin.token", "beadle.toml"] {
        look(name);
    }
    if !foreign.is_empty() {
        let words = format!("{} is owned by another user than the directory: chown", foreign.join(", "));
        return fail("permissions", words);
    }
    if !open.is_empty() {
        return fail("permissions", format!("others can read {}", open.join(", ")));
    }
    ok("permissions", "only the owner can read the directory")
}

/// Whether a daemon runs here. The lock is only tried for, and given back at once.
fn lock(data_dir: &Path) -> Check {
    let Ok(mut file) = File::open(data_dir.join("beadle.lock")) else {
        return ok("daemon", "no daemon has run here yet");
    };
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return ok("daemon", "no daemon runs here");
    }
    let mut owner = String::new();
    // What cannot be read is an owner that nobody knows.
    let _ = file.read_to_string(&mut owner);
    let owner = owner.trim();
    if Path::new("/proc").join(owner).join("stat").exists() && !owner.is_empty() {
        return ok("daemon", format!("process {owner} runs here"));
    }
    warn(
        "daemon",
        format!("the lock is held, but its owner {owner:?} is not a process that can be seen from here"),
    )
}

fn file_system(data_dir: &Path) -> Check {
    let found = match rustix::fs::statfs(data_dir) {
        Ok(found) => found,
        Err(error) => return warn("file system", format!("it does not tell what it is: {error}")),
    };
    #[expect(clippy::cast_sign_loss, reason = "the kernel gives a pattern of bits")]
    let kind = found.f_type as u64 & 0xFFFF_FFFF;
    match FILE_SYSTEMS.iter().find(|(number, ..)| *number == kind) {
        Some((_, name, why)) => warn("file system", format!("{name}: {why}")),
        None => ok("file system", format!("a local one, by its number {kind:#x}")),
    }
}

fn room(data_dir: &Path) -> Check {
    let free = match store::sizes::room(data_dir) {
        Ok(room) => room.free_bytes,
        Err(error) => return warn("disk", format!("it does not tell its free space: {error}")),
    };
    let words = format!("{} MiB are free", free >> 20);
    if free < FREE_BYTES_LEAST {
        fail("disk", format!("{words}: make room, or the daemon will refuse work"))
    } else if free < FREE_BYTES_LOW {
        warn("disk", format!("{words}: make room soon"))
    } else {
        ok("disk", words)
    }
}

/// What a daemon could not write into the store and kept beside it.
fn spool(data_dir: &Path) -> Option<Check> {
    let path = data_dir.join("spool");
    match store::spool::waiting(&path) {
        Ok(0) => None,
        Ok(count) => Some(warn(
            "spool",
            format!("{} holds {count} results that the next start brings into the store", path.display()),
        )),
        Err(fault) => Some(fail("spool", fault.to_string())),
    }
}

fn small_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SMALL_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

async fn databases(data_dir: &Path, depth: Depth, secret: Option<&str>, clock: &dyn Clock) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut rules = Vec::new();
    for (name, which) in [(STATE_NAME, Which::State), (LOGS_NAME, Which::Logs)] {
        let path = data_dir.join(name);
        if !path.exists() {
            let words = format!("{} is not there; a daemon makes it at its first start", path.display());
            checks.push(warn(name_of(which), words));
            continue;
        }
        checks.push(journal(&path, which));
        match doctor::look(&path, which, depth, (secret, clock.now())).await {
            Ok(looked) => {
                checks.push(whole(&looked, which, depth));
                checks.extend(state_of(&looked, which, clock));
                rules.push(looked);
            }
            Err(fault) => checks.push(fail(name_of(which), format!("{fault}; restore a backup"))),
        }
    }
    let broken: Vec<_> = rules.iter().flat_map(|looked| &looked.broken).collect();
    for one in &broken {
        checks.push(fail("rules", format!("{one}; please report it, and keep a backup of this state")));
    }
    if broken.is_empty() && rules.iter().any(|looked| looked.damage.is_none() && looked.pending.is_empty()) {
        checks.push(ok("rules", format!("{RULE_COUNT} rules of the rows were asked, and hold")));
    }
    checks
}

fn name_of(which: Which) -> &'static str {
    if which == Which::State { "state" } else { "logs" }
}

fn whole(looked: &Looked, which: Which, depth: Depth) -> Check {
    let name = name_of(which);
    if let Some(damage) = &looked.damage {
        return fail(name, format!("damaged: {damage}; stop the daemon and restore a backup"));
    }
    if !looked.pending.is_empty() {
        let names = looked.pending.join(", ");
        return warn(
            name,
            format!("of an older version: the next start migrates it ({names}), after a copy"),
        );
    }
    let how =
        if depth == Depth::Full { "every index was compared" } else { "--full compares the indexes too" };
    ok(name, format!("whole and of this version; {how} (SQLite {})", looked.sqlite))
}

/// What only the state can tell: its clock, and the admin's token.
fn state_of(looked: &Looked, which: Which, clock: &dyn Clock) -> Vec<Check> {
    let mut checks = Vec::new();
    if which == Which::State {
        let now = clock.now();
        let ahead = looked.newest_at.map(|newest| newest.since(now)).unwrap_or_default();
        checks.push(if ahead > CLOCK_SLACK {
            let seconds = ahead.as_secs();
            warn(
                "clock",
                format!(
                    "the newest event is {seconds} s in the future: the clock was set back; set it right"
                ),
            )
        } else {
            ok("clock", format!("it says {now}, and no event is later"))
        });
    }
    match looked.token {
        None => {}
        Some(TokenStanding::Good) => checks.push(ok("token", "admin.token opens the door")),
        Some(TokenStanding::Over) => checks.push(warn(
            "token",
            "admin.token was revoked; to get a new one remove the file and start the daemon again",
        )),
        Some(TokenStanding::Unknown) => {
            checks.push(warn(
                "token",
                "the store does not know admin.token yet; the next start makes it known",
            ));
        }
    }
    checks
}

fn journal(path: &Path, which: Which) -> Check {
    let name = if which == Which::State { "state journal" } else { "logs journal" };
    let mut journal = path.as_os_str().to_os_string();
    journal.push("-wal");
    let bytes = fs::metadata(&journal).map_or(0, |found| found.len());
    if bytes > JOURNAL_BYTES_HIGH {
        let words =
            format!("{} MiB: something reads for very long; end that, or restart the daemon", bytes >> 20);
        return warn(name, words);
    }
    ok(name, format!("{} KiB", bytes >> 10))
}
