//! Owns the PostgreSQL server of the measure: a new cluster on the disk that is measured, as durable as it is installed.
//! It ends with its value, and with this process in whatever way that ends. It must never touch a server that it did not
//! start.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::program::directory;

/// How it keeps what it has acknowledged, for the table.
pub const DURABILITY: &str = "PostgreSQL, fsync and synchronous_commit on";

/// Runs in the cluster's directory with the socket's one as `$1` and the databases behind it, says when they are there, and
/// ends the server when its standard input ends.
const GUARDIAN: &str = r#"
socket=$1; shift
initdb -D data -U postgres -A trust -E UTF8 --no-locale >init.log 2>&1 </dev/null || exit 1
postgres -D data -k "$socket" -c listen_addresses= -c fsync=on -c synchronous_commit=on -c full_page_writes=on \
  -c shared_buffers=256MB -c max_connections=400 -c max_wal_size=2GB >server.log 2>&1 </dev/null &
server=$!
for name in "$@"; do
  until createdb -h "$socket" -U postgres "$name" >create.log 2>&1 </dev/null; do
    kill -0 "$server" 2>/dev/null || exit 1
    sleep 0.05
  done
done
echo ready
cat >/dev/null
kill -INT "$server"
wait "$server"
"#;

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Postgres {
    guardian: Child,
    socket: TempDir,
    _data: TempDir,
}

impl Postgres {
    /// Starts a server with these empty databases; `None` when this machine has none that starts.
    pub fn start(databases: &[&str]) -> Option<Postgres> {
        let programs = programs()?;
        let data = directory();
        // A socket's path must be short, so it does not lie with the data.
        let socket = TempDir::with_prefix_in("pg-", "/tmp").expect("a directory can be made");
        let mut guardian = Command::new("/bin/sh");
        guardian.args(["-c", GUARDIAN, "guardian"]).arg(socket.path()).args(databases);
        guardian.env_clear().env("PATH", format!("{}:/usr/bin:/bin", programs.display())).env("LC_ALL", "C");
        guardian.current_dir(data.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some((user, group)) = owner() {
            for place in [data.path(), socket.path()] {
                chown(place, Some(user), Some(group)).expect("root may give a directory away");
            }
            guardian.uid(user).gid(group);
        }
        let guardian = guardian.spawn().expect("a shell starts");
        let mut server = Postgres { guardian, socket, _data: data };
        let said = server.guardian.stdout.take().expect("it is piped");
        let mut line = String::new();
        let _ = BufReader::new(said).read_line(&mut line);
        (line == "ready\n").then_some(server)
    }

    /// Where a database of it is reached.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.socket.path().display())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

/// The directory of the server's own programs: the newest version that is installed.
fn programs() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let version = |name: &std::ffi::OsStr| name.to_str().and_then(|name| name.parse::<u32>().ok());
    let newest = installed.filter(|entry| version(&entry.file_name()).is_some());
    let newest = newest.max_by_key(|entry| version(&entry.file_name())).map(|entry| entry.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = newest.into_iter().chain(std::env::split_paths(&path));
    places.into_iter().find(|place| place.join("initdb").exists() && place.join("createdb").exists())
}

/// Who runs it: PostgreSQL refuses root.
fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").expect("everybody may read it");
    let account = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(
        account("postgres")
            .or_else(|| account("nobody"))
            .expect("root needs an account `postgres` or `nobody`"),
    )
}
