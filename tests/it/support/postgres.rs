//! Owns a temporary PostgreSQL: one cluster for each test process, one database for each call.
//! It needs only the server's own programs. The cluster is a child of a guardian that ends it and removes its
//! files when this process ends in whatever way, a kill -9 included. It must never touch a server it did not start.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use beadle::base::environment::variable;
use sqlx::{Connection, PgConnection};

use super::program::{program, shown};
use super::wait::{now, until};

/// initdb and the first start on a slow disk.
const START_LIMIT: Duration = Duration::from_mins(1);

/// The usual one, which here only stands in the name of a socket.
const PORT: u16 = 5432;

/// A socket's path has at most 107 bytes; longer temporary directories are not used.
const SOCKET_DIRECTORY_BYTES_MAX: usize = 80;

/// Runs with the cluster's directory as `$1` and further options of the server behind it, and ends with its standard
/// input, which is over when the test process is gone. For each line of it the server is stopped at once and started again. Sorting by ICU's rules makes a missing `COLLATE "C"` visible; servers without ICU do without.
const GUARDIAN: &str = r#"
cd "$1" || exit 1
place=$1; shift
init() { initdb -D data -U postgres -A trust -E UTF8 --no-locale --no-sync "$@"; }
{ init --locale-provider=icu --icu-locale=en || { rm -rf data; init; }; } >server.log 2>&1 </dev/null || exit 1
start() {
  postgres -D data -k "$place" -c listen_addresses= -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
    -c shared_buffers=16MB -c max_connections=300 -c max_wal_size=256MB "$@" >>server.log 2>&1 </dev/null &
  server=$!
}
stop() { kill -QUIT "$server" 2>/dev/null; wait "$server"; }
start "$@"
while read -r _; do stop; start "$@"; done
stop
cd /
rm -rf "$place"
"#;

/// Whether the daemons of this run shall stand on PostgreSQL.
pub fn is_on_postgres() -> bool {
    variable("BEADLE_TEST_ENGINE").as_deref() == Some("postgres")
}

/// Whether a test that is about the SQLite file is left out of this run; says so, with the reason.
pub fn skips_on_postgres(why: &str) -> bool {
    if is_on_postgres() {
        println!("skipped on PostgreSQL: {why}");
    }
    is_on_postgres()
}

/// What a daemon is told so that it runs on the engine that is asked for: a new PostgreSQL database for each, or nothing.
pub fn engine_flags() -> Vec<String> {
    if !is_on_postgres() {
        return Vec::new();
    }
    let url = postgres_url().expect("the engine that is asked for is here");
    vec!["--database".to_owned(), url]
}

/// The URL of a fresh, empty database; `None`, with a printed line, when this machine has no PostgreSQL server.
///
/// Panics in that case when `CI=true`: there a skipped test would look like a passed one.
pub fn postgres_url() -> Option<String> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let cluster = CLUSTER.get_or_init(Cluster::start).as_ref().or_else(skipped)?;
    let name = format!("beadle_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    cluster.create_database(&name);
    Some(cluster.url(&name))
}

static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();

fn skipped<T>() -> Option<T> {
    println!("skipped on PostgreSQL: no initdb and postgres on PATH or in /usr/lib/postgresql/*/bin");
    None
}

/// The socket of the cluster; only once there is one.
pub fn postgres_socket() -> PathBuf {
    let cluster = CLUSTER.get().and_then(Option::as_ref).expect("a database was asked for before");
    cluster.directory.join(".s.PGSQL.5432")
}

/// A server of its own, for a test that stops it. It keeps what it has committed.
pub struct Server(Cluster);

impl Server {
    /// Starts one; `None`, with a printed line, where there is none.
    pub fn start() -> Option<Server> {
        let server = Server(Cluster::start_with(&["synchronous_commit=on".to_owned()]).or_else(skipped)?);
        server.0.create_database("beadle");
        Some(server)
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        self.0.url("beadle")
    }

    /// Stops it at once, in the middle of whatever it does, and starts it again.
    pub fn restart(&self) {
        let mut words = &self.0.guardian;
        words.write_all(b"again\n").expect("the guardian lives");
        until("PostgreSQL to answer again", START_LIMIT, || self.0.reaches("beadle").then_some(()));
    }

    /// Ends the sessions of everybody else.
    pub fn end_sessions(&self) {
        let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE datname = 'beadle' AND pid <> pg_backend_pid()";
        // One that is just ending may take us along.
        let _ = self.0.execute("beadle", ended);
    }
}

/// A server on a port of its own that speaks TLS.
pub struct EncryptedServer {
    /// The certificate of the authority that signed the server's.
    pub authority: PathBuf,
    /// That of another one.
    pub stranger: PathBuf,
    cluster: Cluster,
}

impl EncryptedServer {
    /// The URL of its first database over TCP.
    pub fn url(&self, mode: &str, authority: &Path) -> String {
        let (port, authority) = (self.cluster.port, authority.display());
        format!("postgres://postgres@localhost:{port}/postgres?sslmode={mode}&sslrootcert={authority}")
    }
}

/// A server whose certificate is for `localhost`; `None`, with a printed line, without PostgreSQL or `openssl`.
pub fn encrypted_server() -> Option<EncryptedServer> {
    let has_openssl = program("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    let Some(binaries) = binaries().filter(|_| has_openssl) else {
        println!("skipped: no PostgreSQL server, or no openssl on PATH");
        return None;
    };
    let owner = owner();
    let directory = directory(owner);
    for name in ["authority", "stranger"] {
        certificate(&directory, name, &["-subj", &format!("/CN={name}")]);
    }
    let signed = ["-subj", "/CN=server", "-CA", "authority.crt", "-CAkey", "authority.key"];
    let named = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"];
    certificate(&directory, "server", &[&signed[..], &named].concat());
    for name in ["server.crt", "server.key"] {
        let file = directory.join(name);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("our own file");
        if let Some((user, group)) = owner {
            chown(&file, Some(user), Some(group)).expect("root may give a file away");
        }
    }
    // Free at this moment; nobody else is told of it.
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|door| door.local_addr()).expect("a free port").port();
    let options = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", directory.join("server.crt").display()),
        format!("ssl_key_file={}", directory.join("server.key").display()),
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
    ];
    let (authority, stranger) = (directory.join("authority.crt"), directory.join("stranger.crt"));
    Some(EncryptedServer {
        authority,
        stranger,
        cluster: Cluster::start_in((binaries, owner, directory), port, &options),
    })
}

/// Makes a key and a certificate, `NAME.key` and `NAME.crt`.
fn certificate(directory: &Path, name: &str, more: &[&str]) {
    let mut openssl = program("openssl");
    openssl
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")])
        .args(more)
        .current_dir(directory);
    let output = openssl.output().expect("openssl starts");
    assert!(output.status.success(), "{}", shown(&output));
}

/// A running cluster. The end of the process, or a drop, closes `guardian`, which is what ends the cluster.
struct Cluster {
    directory: PathBuf,
    port: u16,
    guardian: File,
}

impl Cluster {
    fn start() -> Option<Cluster> {
        Cluster::start_with(&[])
    }

    fn start_with(options: &[String]) -> Option<Cluster> {
        let Some(binaries) = binaries() else {
            assert!(
                variable("CI").as_deref() != Some("true"),
                "CI=true and no PostgreSQL server was found: install the Debian package `postgresql`, \
                 or put initdb and postgres on PATH"
            );
            return None;
        };
        let owner = owner();
        Some(Cluster::start_in((binaries, owner, directory(owner)), PORT, options))
    }

    fn start_in(
        (binaries, owner, directory): (PathBuf, Option<(u32, u32)>, PathBuf),
        port: u16,
        options: &[String],
    ) -> Cluster {
        let path = format!("{}:/usr/bin:/bin", binaries.display());
        let mut guardian = program("/bin/sh");
        guardian
            .args(["-c", GUARDIAN, "guardian"])
            .arg(&directory)
            .args(options.iter().flat_map(|option| ["-c", option]))
            .env_clear()
            .env("PATH", path)
            .env("LC_ALL", "C")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        run_as(&mut guardian, owner);
        let mut guardian = guardian.spawn().expect("/bin/sh starts");
        let stdin = guardian.stdin.take().expect("standard input was asked for");
        let cluster = Cluster { directory, port, guardian: OwnedFd::from(stdin).into() };
        let begun = now();
        until("PostgreSQL to answer", START_LIMIT * 2, || {
            let ended = guardian.try_wait().expect("a child can be waited for").is_some();
            let hopeless = ended || begun.elapsed() > START_LIMIT;
            assert!(!hopeless, "PostgreSQL did not start:\n{}", cluster.log());
            cluster.reaches("postgres").then_some(())
        });
        cluster
    }

    fn url(&self, database: &str) -> String {
        let (port, directory) = (self.port, self.directory.display());
        format!("postgres://postgres@localhost:{port}/{database}?host={directory}")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("server.log")).unwrap_or_default()
    }

    fn reaches(&self, database: &str) -> bool {
        // The socket appears a little before the server accepts, so only a session tells.
        self.directory.join(format!(".s.PGSQL.{}", self.port)).exists()
            && self.execute(database, "SELECT 1").is_ok()
    }

    fn create_database(&self, name: &str) {
        self.execute("postgres", &format!("CREATE DATABASE {name}"))
            .unwrap_or_else(|why| panic!("cannot create the database {name}: {why}\n{}", self.log()));
    }

    /// Runs one statement in a session of its own, on a thread of its own: the caller may be inside a runtime.
    fn execute(&self, database: &str, statement: &str) -> Result<(), sqlx::Error> {
        let (url, statement) = (self.url(database), statement.to_owned());
        let session = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&url).await?;
                sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await?;
                connection.close().await
            })
        });
        session.join().expect("a database session does not panic")
    }
}

/// The directory that holds both `initdb` and `postgres`; the newest version when several are installed.
fn binaries() -> Option<PathBuf> {
    let complete = |place: &PathBuf| place.join("initdb").exists() && place.join("postgres").exists();
    let path = variable("PATH").unwrap_or_default();
    // Only a link's target has the share files beside it.
    let on_path = std::env::split_paths(&path).find(complete).and_then(|place| {
        let initdb = fs::canonicalize(place.join("initdb")).ok()?;
        initdb.parent().map(Path::to_path_buf)
    });
    on_path.filter(complete).or_else(|| {
        let mut installed: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
            .ok()?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
            })
            .filter(|(_, place)| complete(place))
            .collect();
        installed.sort();
        installed.pop().map(|(_, place)| place)
    })
}

/// Who runs the server: PostgreSQL refuses root, so root hands it to `postgres`, else to `nobody`.
fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").expect("/etc/passwd is readable");
    let account = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let found = account("postgres").or_else(|| account("nobody"));
    Some(found.expect("root needs an account `postgres` or `nobody` to run PostgreSQL"))
}

/// A new directory that only the server's account can enter.
fn directory(owner: Option<(u32, u32)>) -> PathBuf {
    let base = Some(std::env::temp_dir())
        .filter(|place| place.as_os_str().len() <= SOCKET_DIRECTORY_BYTES_MAX)
        .unwrap_or_else(|| PathBuf::from("/tmp"));
    let directory = tempfile::Builder::new()
        .prefix("beadle-pg-")
        .tempdir_in(base)
        .expect("a temporary directory can be made");
    // From here on the guardian removes it.
    let directory = directory.keep();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).expect("our own directory");
    if let Some((user, group)) = owner {
        chown(&directory, Some(user), Some(group)).expect("root may give a directory away");
    }
    directory
}

fn run_as(command: &mut Command, owner: Option<(u32, u32)>) {
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
}

/// Guards the support itself: two calls give two databases, and the guardian is what ends the cluster.
mod self_test {
    use super::*;

    #[test]
    fn each_call_gives_an_empty_database_of_its_own() {
        let (Some(one), Some(two)) = (postgres_url(), postgres_url()) else {
            return;
        };
        assert_ne!(one, two);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut first = PgConnection::connect(&one).await.unwrap();
            let mut second = PgConnection::connect(&two).await.unwrap();
            sqlx::raw_sql("CREATE TABLE only_here (id BIGINT)").execute(&mut first).await.unwrap();
            let absent = sqlx::raw_sql("SELECT id FROM only_here").execute(&mut second).await;
            assert!(absent.is_err(), "the second database sees the first one's table");
        });
    }

    #[test]
    fn the_cluster_goes_with_the_process_that_holds_its_guardian() {
        if binaries().is_none() {
            assert!(postgres_url().is_none());
            return;
        }
        let cluster = Cluster::start().expect("the programs are there");
        let directory = cluster.directory.clone();
        assert!(directory.join("data/postmaster.pid").exists());
        // The kernel does the same with every open pipe of a process that ends.
        drop(cluster);
        until("the cluster and its files to be gone", START_LIMIT, || (!directory.exists()).then_some(()));
    }
}
