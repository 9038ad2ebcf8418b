//! Several daemons over one PostgreSQL database, each with a data directory of its own. They run on one machine, so a
//! claim about machines that cannot reach each other's processes must look at who killed them.

use super::daemon::Daemon;
use super::postgres::postgres_url;

/// The lease of the daemons: short, so that a takeover is soon.
pub const LEASE: &str = "3s";

/// Daemons over one database.
pub struct Cluster {
    /// The database, as the daemons are told.
    pub url: String,
    /// They.
    pub daemons: Vec<Daemon>,
}

impl Cluster {
    /// So many daemons with further flags over a new database; `None`, with a line, without a PostgreSQL server.
    pub fn start(count: usize, flags: &[&str]) -> Option<Cluster> {
        Some(Cluster::over(&postgres_url()?, count, flags))
    }

    /// The same over a database that is there.
    pub fn over(url: &str, count: usize, flags: &[&str]) -> Cluster {
        let all = [&["--database", url, "--lease", LEASE], flags].concat();
        let daemons = (0..count).map(|_| Daemon::start_with(&all)).collect();
        Cluster { url: url.to_owned(), daemons }
    }
}
