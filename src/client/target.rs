//! Owns how the daemon is found: which URL, which token. Each look reads the files again,
//! because a restarted daemon may have another port.

use std::fs;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::{Client, ClientError};

/// The file in the data directory that holds the URL of the daemon that runs there.
pub const ADDRESS_FILE: &str = "address";
/// The file in the data directory that holds the first token.
pub const TOKEN_FILE: &str = "admin.token";
/// Where a daemon listens when nobody set anything.
pub const DEFAULT_URL: &str = "http://127.0.0.1:7878";

/// Bytes of either file.
const FILE_BYTES_MAX: u64 = 4 * 1024;

/// Which daemon is meant.
#[derive(Clone, Default)]
pub struct Target {
    /// `--url`, else `BEADLE_URL`.
    pub url: Option<String>,
    /// `BEADLE_TOKEN`.
    pub token: Option<String>,
    /// Where the daemon keeps its address and its first token.
    pub data_dir: Option<PathBuf>,
}

impl std::fmt::Debug for Target {
    /// Never shows the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("url", &self.url)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

impl Target {
    /// A client for the daemon as it can be found now.
    ///
    /// # Errors
    /// `Usage` for an address that cannot be one.
    pub fn client(&self) -> Result<Client, ClientError> {
        let url =
            self.url.clone().or_else(|| self.read(ADDRESS_FILE)).unwrap_or_else(|| DEFAULT_URL.to_owned());
        let token =
            self.token.clone().or_else(|| self.read(TOKEN_FILE).filter(|_| self.may_show_file_token(&url)));
        Client::new(&url, token)
    }

    /// What to say to somebody who was denied.
    pub fn advice(&self) -> String {
        if self.token.is_some() {
            return "the token in BEADLE_TOKEN is not known there, or may not do this".to_owned();
        }
        match &self.data_dir {
            Some(directory) if self.read(TOKEN_FILE).is_some() => format!(
                "the token in {} is not for that daemon; set BEADLE_TOKEN",
                directory.join(TOKEN_FILE).display()
            ),
            Some(directory) => format!(
                "no token could be read from {}; set BEADLE_TOKEN, or name the daemon's data directory with --data-dir",
                directory.join(TOKEN_FILE).display()
            ),
            None => "set BEADLE_TOKEN, or name the daemon's data directory with --data-dir".to_owned(),
        }
    }

    /// The token of the daemon on this machine is never shown to another machine that somebody named.
    fn may_show_file_token(&self, url: &str) -> bool {
        self.url.is_none() || is_loopback(url)
    }

    /// The first line of a file in the data directory.
    fn read(&self, name: &str) -> Option<String> {
        let line = first_line(&self.data_dir.as_ref()?.join(name))?;
        (!line.is_empty()).then_some(line)
    }
}

fn first_line(path: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}

fn is_loopback(url: &str) -> bool {
    let authority = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(target: &Target) -> String {
        target.client().unwrap().url().to_owned()
    }

    fn token(target: &Target) -> Option<String> {
        target.client().unwrap().token
    }

    #[test]
    fn the_daemon_is_found_by_name_then_by_its_file_then_by_default() {
        let directory = tempfile::tempdir().unwrap();
        let mut target = Target { data_dir: Some(directory.path().into()), ..Target::default() };
        assert_eq!(url(&target), DEFAULT_URL);
        fs::write(directory.path().join(ADDRESS_FILE), "http://127.0.0.1:1234\n").unwrap();
        assert_eq!(url(&target), "http://127.0.0.1:1234");
        // A restarted daemon may have another port: the file is read each time.
        fs::write(directory.path().join(ADDRESS_FILE), "http://127.0.0.1:4321\n").unwrap();
        assert_eq!(url(&target), "http://127.0.0.1:4321");
        target.url = Some("http://localhost:9/".into());
        assert_eq!(url(&target), "http://localhost:9");
    }

    #[test]
    fn the_token_in_the_file_stays_on_this_machine() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(TOKEN_FILE), "from-file\n").unwrap();
        let mut target = Target { data_dir: Some(directory.path().into()), ..Target::default() };
        assert_eq!(token(&target).as_deref(), Some("from-file"));
        for (url, is_shown) in [
            ("http://127.0.0.1:1", true),
            ("http://localhost:1", true),
            ("http://[::1]:1/", true),
            ("http://192.0.2.1:1", false),
            ("http://127.0.0.1.example:1", false),
            ("http://localhost.example", false),
        ] {
            target.url = Some(url.into());
            assert_eq!(token(&target).is_some(), is_shown, "{url}");
        }
        target.token = Some("from-environment".into());
        assert_eq!(token(&target).as_deref(), Some("from-environment"));
    }

    #[test]
    fn advice_names_the_file_that_was_looked_at() {
        let target = Target { data_dir: Some("/var/empty".into()), ..Target::default() };
        assert!(target.advice().contains("/var/empty/admin.token"));
    }
}
