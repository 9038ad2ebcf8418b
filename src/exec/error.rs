//! Owns the reasons why a process could not be started, in words that say what to mend.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Why nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    /// There is no first argument, or it is empty.
    #[error("no program is named: the command line is empty")]
    NoProgram,
    /// Text for the program holds U+0000, which ends a text there.
    #[error("{place} holds a NUL byte, which no program can be given (EINVAL)")]
    NulByte {
        /// Which text it is.
        place: String,
    },
    /// A variable's name is empty, or holds `=` or NUL.
    #[error("`{}` cannot be the name of a variable (EINVAL)", name.escape_default())]
    BadVariable {
        /// The name as given.
        name: String,
    },
    /// The working directory does not exist.
    #[error("the directory `{}` does not exist (ENOENT)", directory.display())]
    DirectoryMissing {
        /// The directory as given.
        directory: PathBuf,
    },
    /// The working directory cannot be entered.
    #[error("the directory `{}` cannot be entered ({})", directory.display(), errno_name(*errno))]
    DirectoryUnusable {
        /// The directory as given.
        directory: PathBuf,
        /// The system's error number.
        errno: i32,
    },
    /// No such program.
    #[error("the program `{program}` was not found (ENOENT){}", searched_text(searched.as_deref()))]
    ProgramNotFound {
        /// The program as given.
        program: String,
        /// The `PATH` that was searched; `None` for a path, which is not searched.
        searched: Option<String>,
    },
    /// The program is there, but may not be run.
    #[error("`{}` may not be executed ({}): {}", path.display(), errno_name(*errno), refusal_text(*errno))]
    NotExecutable {
        /// The file that was found.
        path: PathBuf,
        /// The system's error number.
        errno: i32,
    },
    /// The program is there, but what has to run it is not.
    #[error("`{}` needs the interpreter `{interpreter}`, which does not exist (ENOENT)", path.display())]
    BadInterpreter {
        /// The script or program that was found.
        path: PathBuf,
        /// What its first line names, or the loader of a binary.
        interpreter: String,
    },
    /// The program is no binary of this machine and names no interpreter.
    #[error("`{}` is neither a binary of this machine nor a script with a `#!` line (ENOEXEC)", path.display())]
    BadFormat {
        /// The file that was found.
        path: PathBuf,
    },
    /// Arguments and environment together, or one of them, are longer than the system takes.
    #[error("arguments and environment are too long for the system ({bytes} bytes, E2BIG)")]
    ArgumentsTooLong {
        /// Bytes of arguments and environment together.
        bytes: usize,
    },
    /// Any other refusal of the system.
    #[error("the system refused to {step} ({})", errno_name(*errno))]
    Os {
        /// What was asked of it.
        step: &'static str,
        /// The system's error number.
        errno: i32,
    },
}

impl SpawnError {
    /// What failed, with the name of the system's error where there is one.
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// Whether the machine, or the daemon itself, lacks descriptors, processes or memory for now: nothing is wrong with
    /// what was to be started.
    pub fn is_shortage(&self) -> bool {
        matches!(self, Self::Os { errno, .. } if is_shortage(*errno))
    }

    pub(super) fn not_executable(path: PathBuf, errno: i32) -> SpawnError {
        SpawnError::NotExecutable { path, errno }
    }

    /// Reads from the system's answer, and from the file, what was wrong with the start of `path`.
    pub(super) fn diagnose(error: &std::io::Error, path: &Path, argument_bytes: usize) -> SpawnError {
        let errno = errno_of(error);
        let path = path.to_owned();
        match Errno::from_raw_os_error(errno) {
            Errno::NOENT | Errno::NOTDIR if path.exists() => {
                let interpreter = interpreter(&path).unwrap_or_else(|| "(the binary's loader)".into());
                SpawnError::BadInterpreter { path, interpreter }
            }
            Errno::NOENT | Errno::NOTDIR => {
                SpawnError::ProgramNotFound { program: path.display().to_string(), searched: None }
            }
            Errno::ACCESS | Errno::PERM | Errno::TXTBSY => SpawnError::not_executable(path, errno),
            Errno::NOEXEC => SpawnError::BadFormat { path },
            Errno::TOOBIG => SpawnError::ArgumentsTooLong { bytes: argument_bytes },
            _ => SpawnError::Os { step: "start the process", errno },
        }
    }
}

/// Whether the error number says that something is used up for now.
pub fn is_shortage(errno: i32) -> bool {
    let known = [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE];
    known.iter().any(|known| known.raw_os_error() == errno)
}

/// The system's error number; 0 when the error is not the system's.
pub(super) fn errno_of(error: &std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

/// The program that a script's first line names.
fn interpreter(path: &Path) -> Option<String> {
    // The kernel looks at 256 bytes.
    let mut head = Vec::new();
    std::fs::File::open(path).ok()?.take(256).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    line.split_ascii_whitespace().next().map(str::to_owned)
}

fn searched_text(searched: Option<&str>) -> String {
    searched.map_or_else(String::new, |path| format!("; searched in PATH: {path}"))
}

fn refusal_text(errno: i32) -> &'static str {
    match Errno::from_raw_os_error(errno) {
        Errno::ISDIR => "it is a directory",
        Errno::TXTBSY => "it is being written",
        Errno::PERM => "the system forbids it",
        _ => "permission is missing on it or on its interpreter",
    }
}

fn errno_name(errno: i32) -> String {
    let name = match Errno::from_raw_os_error(errno) {
        Errno::ACCESS => "EACCES",
        Errno::AGAIN => "EAGAIN",
        Errno::INVAL => "EINVAL",
        Errno::IO => "EIO",
        Errno::ISDIR => "EISDIR",
        Errno::LOOP => "ELOOP",
        Errno::MFILE => "EMFILE",
        Errno::NAMETOOLONG => "ENAMETOOLONG",
        Errno::NFILE => "ENFILE",
        Errno::NOENT => "ENOENT",
        Errno::NOMEM => "ENOMEM",
        Errno::NOSYS => "ENOSYS",
        Errno::NOTDIR => "ENOTDIR",
        Errno::PERM => "EPERM",
        Errno::STALE => "ESTALE",
        Errno::TXTBSY => "ETXTBSY",
        _ => return format!("errno {errno}"),
    };
    name.to_owned()
}
