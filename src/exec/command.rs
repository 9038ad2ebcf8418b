//! Owns what is to be started: the specification, the environment's allow list and the search for
//! the program. It must never start anything.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::base::{environment, service};
use crate::exec::error::{SpawnError, errno_of};

/// The variable that marks every process of an attempt.
pub const COOKIE_VARIABLE: &str = "BEADLE_COOKIE";

/// Where programs are searched when no `PATH` is given.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an attempt keeps of the daemon's own environment, besides `LC_*`.
const ALLOWED: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"];

/// One process to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The program and its arguments. A program without a slash is searched in `environment`'s `PATH`.
    pub argv: Vec<String>,
    /// Where it starts; the daemon's own directory when `None`.
    pub directory: Option<PathBuf>,
    /// The complete environment: the child gets exactly these, and the cookie. The last of a name wins.
    pub environment: Vec<(String, String)>,
    /// A secret of this attempt, given as `BEADLE_COOKIE`, by which survivors are found.
    pub cookie: String,
    /// Whether it gets one pipe for both outputs: then everything is standard output, in its true order.
    pub merges_output: bool,
}

impl Spec {
    /// Names of all variables that the child gets.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let given = self.environment.iter().map(|(name, _)| name.clone());
        given.chain([COOKIE_VARIABLE.to_owned()])
    }

    /// Refuses what cannot be handed to a program at all.
    pub(super) fn check(&self) -> Result<(), SpawnError> {
        if self.argv.first().is_none_or(String::is_empty) {
            return Err(SpawnError::NoProgram);
        }
        let nul = |place: String| Err(SpawnError::NulByte { place });
        if let Some(at) = self.argv.iter().position(|text| text.contains('\0')) {
            return nul(if at == 0 { "the program".into() } else { format!("argument {at}") });
        }
        if self.directory.as_deref().is_some_and(has_nul) {
            return nul("the directory".into());
        }
        if self.cookie.contains('\0') {
            return nul("the cookie".into());
        }
        for (name, value) in &self.environment {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(SpawnError::BadVariable { name: name.clone() });
            }
            if value.contains('\0') {
                return nul(format!("the value of the variable {name}"));
            }
        }
        Ok(())
    }

    /// The program's absolute path, searched as `execvp` would in the child.
    pub(super) fn resolve(&self) -> Result<PathBuf, SpawnError> {
        let base = self.base()?;
        let program = &self.argv[0];
        if program.contains('/') {
            let path = absolute(&base, Path::new(program))?;
            return match executable(&path) {
                Ok(()) => Ok(path),
                Err(errno) if is_absence(errno) => {
                    Err(SpawnError::ProgramNotFound { program: program.clone(), searched: None })
                }
                Err(errno) => Err(SpawnError::not_executable(path, errno)),
            };
        }
        let searched = self.path();
        let mut refused = None;
        for entry in searched.split(':') {
            let path = absolute(&base, &Path::new(entry).join(program))?;
            match executable(&path) {
                Ok(()) => return Ok(path),
                Err(errno) if is_absence(errno) => {}
                Err(errno) => {
                    refused.get_or_insert((path, errno));
                }
            }
        }
        Err(match refused {
            Some((path, errno)) => SpawnError::not_executable(path, errno),
            None => {
                SpawnError::ProgramNotFound { program: program.clone(), searched: Some(searched.to_owned()) }
            }
        })
    }

    /// The bytes of arguments and environment, as the kernel counts them against its limit.
    pub(super) fn argument_bytes(&self) -> usize {
        let argv: usize = self.argv.iter().map(|text| text.len() + 1).sum();
        let environment: usize =
            self.environment.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        argv + environment
    }

    /// The directory that relative paths start from, once it is known to be usable.
    fn base(&self) -> Result<PathBuf, SpawnError> {
        let Some(directory) = &self.directory else {
            return Ok(PathBuf::from("."));
        };
        let unusable = |errno| SpawnError::DirectoryUnusable { directory: directory.clone(), errno };
        match std::fs::metadata(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(SpawnError::DirectoryMissing { directory: directory.clone() })
            }
            Err(error) => Err(unusable(errno_of(&error))),
            Ok(found) if !found.is_dir() => Err(unusable(Errno::NOTDIR.raw_os_error())),
            Ok(_) => {
                access(directory, Access::EXEC_OK).map_err(|errno| unusable(errno.raw_os_error()))?;
                Ok(directory.clone())
            }
        }
    }

    fn path(&self) -> &str {
        self.environment
            .iter()
            .rev()
            .find_map(|(name, value)| (name == "PATH" && !value.is_empty()).then_some(value.as_str()))
            .unwrap_or(DEFAULT_PATH)
    }
}

/// The environment that an attempt starts from: an allow list (`PATH`, which always has a value,
/// `HOME`, `USER`, `LOGNAME`, `SHELL`, `LANG`, `LC_*`, `TZ`, `TMPDIR`) and the variables named in
/// `inherit`, taken from the daemon's own; but never those by which a service manager talks to the daemon.
pub fn default_environment(inherit: &[String]) -> Vec<(String, String)> {
    select(environment::variables(), inherit)
}

pub(super) fn select(all: Vec<(String, String)>, inherit: &[String]) -> Vec<(String, String)> {
    let mut chosen: Vec<_> = all
        .into_iter()
        .filter(|(name, value)| {
            let is_allowed = ALLOWED.contains(&name.as_str()) || name.starts_with("LC_");
            // An empty PATH would search the working directory only.
            // Who has the service manager's socket can speak for the daemon.
            let is_own = service::OWN_VARIABLES.contains(&name.as_str());
            (is_allowed && !(name == "PATH" && value.is_empty())) || (inherit.contains(name) && !is_own)
        })
        .collect();
    if !chosen.iter().any(|(name, _)| name == "PATH") {
        chosen.push(("PATH".into(), DEFAULT_PATH.into()));
    }
    chosen
}

/// `path` seen from `base`. Absolute, since the child changes its directory before it looks.
fn absolute(base: &Path, path: &Path) -> Result<PathBuf, SpawnError> {
    std::path::absolute(base.join(path))
        .map_err(|error| SpawnError::Os { step: "find the daemon's own directory", errno: errno_of(&error) })
}

fn executable(path: &Path) -> Result<(), i32> {
    let found = std::fs::metadata(path).map_err(|error| errno_of(&error))?;
    if found.is_dir() {
        return Err(Errno::ISDIR.raw_os_error());
    }
    access(path, Access::EXEC_OK).map_err(Errno::raw_os_error)
}

fn is_absence(errno: i32) -> bool {
    errno == Errno::NOENT.raw_os_error() || errno == Errno::NOTDIR.raw_os_error()
}

fn has_nul(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().contains(&0)
}
