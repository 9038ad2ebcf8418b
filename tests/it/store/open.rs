//! The start of a store: one daemon to a directory, and nothing that cannot be read is ever replaced.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use beadle::base::clock::FakeClock;
use beadle::base::random::SeededRandom;
use beadle::store::{Fault, FaultKind, Store};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use super::stage::{Place, Stage, T0, block_on, enqueue, new_job, on_both, on_sqlite, open};
use crate::support::wait::{PATIENCE, until};

async fn open_directory(directory: &Path) -> Result<Store, Fault> {
    Store::open_directory(directory, &FakeClock::new(T0), &SeededRandom::new(1)).await
}

/// Every database of a directory with its bytes; the driver may still be removing its journal of a refused one.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).expect("the directory can be read");
    entries
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .map(|path| {
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("a file can be read"))
        })
        .collect()
}

/// Opens what must not be opened: it is refused by name, and not a byte has changed.
async fn refused(directory: &Path, file: &str, words: &str) {
    let before = contents(directory);
    let fault = open_directory(directory).await.expect_err("this must not be opened");
    assert_eq!(fault.kind, FaultKind::Damaged, "{fault}");
    let path = directory.join(file).display().to_string();
    assert!(fault.message.contains(&path), "{fault} does not name {path}");
    assert!(fault.message.contains(words), "{fault} does not say {words:?}");
    let after = contents(directory);
    for (name, bytes) in &before {
        assert!(after.get(name) == Some(bytes), "{name} was changed ({words})");
    }
    let again = open_directory(directory).await.expect_err("also the second time");
    assert_eq!(again.message, fault.message, "the refusal left the lock free");
}

/// Makes a file that another program may have left.
async fn make_sqlite(path: &Path, script: &str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("a file can be made");
    sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection).await.expect("the test's script");
    connection.close().await.expect("the file is closed in order");
}

#[test]
fn a_directory_has_one_daemon_and_the_second_is_told_which() {
    on_sqlite(async |stage| {
        let Place::Directory(directory) = &stage.place else { unreachable!("this claim is tried on SQLite") };
        let fault = open_directory(directory.path()).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Locked);
        assert!(fault.message.contains(&format!("process {}", std::process::id())), "{fault}");
        assert!(fault.message.contains(&directory.path().display().to_string()), "{fault}");
        stage.enqueue(new_job()).await;
        let again = open_directory(directory.path()).await.unwrap_err();
        assert_eq!(again.message, fault.message, "a refused one takes nothing from the first");
    });
}

#[test]
fn a_new_store_is_made_once_and_knows_itself_again() {
    on_both(async |stage| {
        let epoch = stage.reader().epoch();
        let id = stage.enqueue(new_job()).await;
        let stage = stage.reopen().await;
        assert_eq!(stage.reader().epoch(), epoch);
        assert_eq!(stage.job(id).await.id, id);
        assert!(stage.reader().size_bytes().await.unwrap() > 0);
        assert_eq!(stage.number("SELECT count(*) FROM migrations WHERE name LIKE 'state/%'").await, 10);
    });
}

#[test]
fn a_start_and_a_stop_without_work_write_nothing() {
    on_sqlite(async |stage| {
        stage.apply(enqueue(vec![new_job(); 5])).await;
        assert_eq!(
            stage.number("SELECT auto_vacuum FROM pragma_auto_vacuum()").await,
            2,
            "room is given back"
        );
        let Stage { hand, place, .. } = stage.reopen().await;
        hand.close().await;
        let Place::Directory(directory) = &place else { unreachable!("this claim is tried on SQLite") };
        let before = contents(directory.path());
        let journal = directory.path().join("beadle.db-wal");
        assert!(!journal.exists(), "the journal is written back");
        open_directory(directory.path()).await.unwrap().close().await;
        assert!(contents(directory.path()) == before, "a start wrote into the files");
    });
}

/// Bytes of a page in the journal.
const FRAME: u64 = 4_096 + 24;

#[test]
fn a_journal_is_written_back_while_the_writer_goes_on_and_begins_anew_when_it_is_long() {
    on_sqlite(async |stage| {
        let Place::Directory(directory) = &stage.place else { unreachable!("this claim is tried on SQLite") };
        let size = |name: &str| fs::metadata(directory.path().join(name)).map_or(0, |file| file.len());
        let before = size("beadle.db");
        let mut jobs = 0;
        // Beside the writer, long before it would do so itself.
        while size("beadle.db-wal") < 2_000 * FRAME {
            stage.apply(enqueue(vec![new_job(); 50])).await;
            jobs += 50;
        }
        let has_grown = || (size("beadle.db") >= before + 200 * 4_096).then_some(());
        until("a part of the journal in the file", PATIENCE, has_grown);
        // By the writer in the end: then the journal begins anew, of which its header counts how often.
        let begun = || {
            let journal = fs::read(directory.path().join("beadle.db-wal")).unwrap();
            u32::from_be_bytes(journal[12..16].try_into().unwrap())
        };
        let first = begun();
        while begun() < first + 2 {
            let held = size("beadle.db-wal");
            // A slow disk may hold up who writes back, and so the begin, for a moment.
            assert!(held < 4 * 4_000 * FRAME, "{held} bytes of journal behind {jobs} jobs");
            stage.apply(enqueue(vec![new_job(); 200])).await;
            jobs += 200;
        }
        assert_eq!(stage.number("SELECT count(*) FROM jobs").await, jobs);
        assert_eq!(
            stage.number("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'").await,
            0
        );
    });
}

#[test]
fn two_stores_have_different_names() {
    block_on(async {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let clock = FakeClock::new(T0);
        let first = Store::open_directory(one.path(), &clock, &SeededRandom::new(1)).await.unwrap();
        let second = Store::open_directory(two.path(), &clock, &SeededRandom::new(2)).await.unwrap();
        assert_ne!(first.reader().epoch(), second.reader().epoch());
    });
}

#[test]
fn the_files_are_only_for_their_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    block_on(async {
        let outer = tempfile::tempdir().unwrap();
        let directory = outer.path().join("deep/data");
        let store = open_directory(&directory).await.unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("beadle.lock")), 0o600);
        store.close().await;
    });
}

#[test]
fn the_file_of_another_program_is_refused_and_left_as_it_was() {
    block_on(async {
        for journal in ["DELETE", "WAL"] {
            for file in ["beadle.db", "logs.db"] {
                let directory = tempfile::tempdir().unwrap();
                let script = format!(
                    "PRAGMA journal_mode = {journal}; CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)"
                );
                make_sqlite(&directory.path().join(file), &script).await;
                refused(directory.path(), file, "another program").await;
            }
        }
    });
}

#[test]
fn what_is_no_database_is_refused_and_left_as_it_was() {
    block_on(async {
        let text = b"dear diary, today I learned what a header is\n".repeat(200);
        for bytes in [text.as_slice(), b"x", &[0; 4_096], b"SQLite format 3\0 and then nothing of the kind"] {
            for file in ["beadle.db", "logs.db"] {
                let directory = tempfile::tempdir().unwrap();
                fs::write(directory.path().join(file), bytes).unwrap();
                refused(directory.path(), file, "").await;
            }
        }
    });
}

#[test]
fn an_empty_file_is_a_store_to_be() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("beadle.db"), b"").unwrap();
        open_directory(directory.path()).await.unwrap().close().await;
    });
}

#[test]
fn a_damaged_store_is_refused_and_left_as_it_was() {
    on_sqlite(async |stage| {
        stage.apply(enqueue(vec![new_job(); 500])).await;
        let Place::Directory(directory) = stage.place else { unreachable!("this claim is tried on SQLite") };
        stage.hand.close().await;
        let path = directory.path().join("beadle.db");
        let mut bytes = fs::read(&path).unwrap();
        let (from, to) = (bytes.len() / 4, bytes.len() * 3 / 4);
        bytes[from..to].fill(0x5a);
        fs::write(&path, &bytes).unwrap();
        refused(directory.path(), "beadle.db", "").await;
    });
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_as_it_was() {
    on_both(async |stage| {
        stage.enqueue(new_job()).await;
        stage
            .execute("INSERT INTO migrations (name, applied_at_us) VALUES ('state/9999_from_afar', 1)")
            .await;
        let Stage { hand, place, clock, random } = stage;
        hand.close().await;
        if let Place::Directory(directory) = &place {
            refused(directory.path(), "beadle.db", "state/9999_from_afar").await;
        } else {
            let fault = open(&place, clock.as_ref(), random.as_ref()).await.unwrap_err();
            assert!(fault.message.contains("state/9999_from_afar"), "{fault}");
        }
    });
}

#[test]
fn a_directory_that_cannot_be_made_or_written_is_named() {
    block_on(async {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("file"), b"in the way").unwrap();
        // Nobody can write into /proc, whoever they are.
        for directory in [outer.path().join("file/data"), outer.path().join("file"), "/proc/self".into()] {
            let fault = open_directory(&directory).await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Io, "{fault}");
            assert!(fault.message.contains(&directory.display().to_string()), "{fault}");
        }
        assert_eq!(fs::read(outer.path().join("file")).unwrap(), b"in the way");
    });
}
