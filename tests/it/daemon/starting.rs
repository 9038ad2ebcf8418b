//! Starts that must fail: each with a clear message and a non-zero exit, and nothing overwritten.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::json;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use crate::support::daemon::{Daemon, beadle};
use crate::support::program::shown;
use crate::support::wait::until;

/// A start that cannot succeed says so within this.
const REFUSAL_LIMIT: Duration = Duration::from_secs(2);

fn serve(data: &Path, listen: &str) -> Command {
    let mut serve = beadle();
    serve.arg("serve").arg("--data-dir").arg(data).args(["--listen", listen]);
    serve
}

/// Runs a start that must fail, and checks that it does: in time, with a code, a message and no panic.
fn refused(mut serve: Command) -> String {
    let mut child = serve
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("the start to be refused", REFUSAL_LIMIT, || child.try_wait().expect("our own child"))
    }));
    // A daemon that did start must not outlive the test.
    let _ = child.kill();
    let output: Output = child.wait_with_output().expect("our own child");
    assert!(ended.is_ok(), "it was not refused within {REFUSAL_LIMIT:?}: {}", shown(&output));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code().is_some_and(|code| code != 0), "{}", shown(&output));
    assert!(!message.contains("panicked") && !message.trim().is_empty(), "{}", shown(&output));
    message
}

#[test]
fn a_second_daemon_on_the_same_directory_is_refused_and_names_the_first() {
    let daemon = Daemon::start();
    let message = refused(serve(&daemon.data(), "127.0.0.1:0"));
    assert!(
        message.contains(&daemon.pid().to_string()),
        "it does not name process {}: {message}",
        daemon.pid()
    );
    let id = daemon.enqueue(&["/bin/true"]);
    assert_eq!(daemon.wait_final(&id).job["state"], json!("SUCCEEDED"), "the first daemon was disturbed");
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_by_name() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("a-file");
    fs::write(&file, "kept").unwrap();
    // Not even root can make a directory in the first two.
    let mut places = vec![file.clone(), file.join("below"), Path::new("/proc/beadle").to_path_buf()];
    let closed = place.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    if !rustix::process::geteuid().is_root() {
        places.extend([closed.clone(), closed.join("below")]);
    }
    for data in places {
        let message = refused(serve(&data, "127.0.0.1:0"));
        assert!(message.contains(&*data.to_string_lossy()), "{} is not named: {message}", data.display());
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
}

#[test]
fn a_taken_port_is_refused_by_its_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = TempDir::new().unwrap();
    let message = refused(serve(&place.path().join("data"), &address));
    assert!(message.contains(&address), "{address} is not named: {message}");
}

#[test]
fn an_open_address_is_refused_unless_a_proxy_is_in_front() {
    let place = TempDir::new().unwrap();
    let message = refused(serve(&place.path().join("data"), "0.0.0.0:0"));
    assert!(message.contains("behind_proxy"), "it does not say what to do: {message}");
}

#[test]
fn a_damaged_database_is_refused_and_left_as_it_is() {
    let mut daemon = Daemon::start();
    let id = daemon.enqueue(&["/bin/true"]);
    daemon.wait_final(&id);
    daemon.terminate();
    let path = daemon.data().join("beadle.db");
    let whole = fs::read(&path).unwrap();
    let mut no_header = whole.clone();
    no_header[..100].fill(b'x');
    let mut no_schema = whole.clone();
    no_schema[100..4096.min(whole.len())].fill(0xff);
    for damaged in [no_header, no_schema, whole[..50].to_vec()] {
        fs::write(&path, &damaged).unwrap();
        let message = refused(serve(&daemon.data(), "127.0.0.1:0"));
        assert!(message.contains("beadle.db"), "the file is not named: {message}");
        assert!(fs::read(&path).unwrap() == damaged, "the damaged database was written to");
    }
    fs::write(&path, &whole).unwrap();
    daemon.restart();
    let job = daemon.graphql("query ($id: ID!) { job(id: $id) { state } }", json!({ "id": id }));
    assert_eq!(job["job"]["state"], json!("SUCCEEDED"));
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_as_it_is() {
    let mut daemon = Daemon::start();
    daemon.terminate();
    let path = daemon.data().join("beadle.db");
    pretend_newer(&path);
    let before = fs::read(&path).unwrap();
    let message = refused(serve(&daemon.data(), "127.0.0.1:0"));
    assert!(message.contains("beadle.db") && message.contains("newer"), "{message}");
    assert!(fs::read(&path).unwrap() == before, "the newer database was written to");
}

/// Adds a migration that no program knows yet to the list of those that were applied.
fn pretend_newer(path: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let url = format!("sqlite://{}", path.display());
        let mut connection = SqliteConnection::connect(&url).await.expect("our own database");
        let added = sqlx::raw_sql(
            "INSERT INTO migrations (name, applied_at_us) VALUES ('9999_from_the_future', 0);
             PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .execute(&mut connection)
        .await;
        added.expect("the list of migrations can be added to");
        connection.close().await.expect("our own database");
    });
}

#[test]
fn an_unknown_setting_is_refused_with_the_nearest_one() {
    let daemon = Daemon::start();
    let data = TempDir::new().unwrap();
    let mut with_variable = serve(data.path(), "127.0.0.1:0");
    with_variable.env("BEADLE_POL_INTERVAL", "1s");
    let message = refused(with_variable);
    assert!(message.contains("BEADLE_POLL_INTERVAL"), "{message}");
    fs::write(data.path().join("beadle.toml"), "slotz = 3\n").unwrap();
    let message = refused(serve(data.path(), "127.0.0.1:0"));
    assert!(message.contains("slotz") && message.contains("slots"), "{message}");
    drop(daemon);
}

#[test]
fn the_first_start_writes_a_token_for_its_owner_only_and_keeps_it() {
    let mut daemon = Daemon::start();
    let path = daemon.data().join("admin.token");
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{mode:o}");
    let first = daemon.token().to_owned();
    assert!(first.len() >= 32, "a token has 256 random bits");
    daemon.terminate();
    daemon.restart();
    assert_eq!(daemon.token(), first);
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    for path in ["healthz", "readyz"] {
        let answer = agent.get(format!("{}/{path}", daemon.url())).call().unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
}
