//! Owns the channel through which a running process reports: a FIFO of its own, read line by line. It must never
//! wait for a writer or let one wait for ever, and never keep more than one line that is not complete.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::Errno;
use tokio::net::unix::pipe::{OpenOptions, Receiver};

use crate::domain::limits::REPORT_LINE_BYTES_MAX;

/// The variable that names the channel to a process.
pub const REPORT_VARIABLE: &str = "BEADLE_REPORT";
/// Bytes taken at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// The most that an unprivileged pipe can hold: so much is taken out before anything else is done.
const PIPE_BYTES_MAX: usize = 1024 * 1024;

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Complete lines, without their newline.
    pub lines: Vec<Vec<u8>>,
    /// Lines that were too long and are lost.
    pub too_long_count: u64,
}

impl Heard {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.too_long_count == 0
    }
}

/// The reading side of one process's channel. Dropping it removes the FIFO.
#[derive(Debug)]
pub struct ReportChannel {
    path: PathBuf,
    pipe: Receiver,
    lines: Lines,
}

impl ReportChannel {
    /// Makes the FIFO and opens it. We hold it open for writing too, so that it never ends and nobody who opens
    /// it has to wait for us.
    pub fn open(path: PathBuf) -> io::Result<ReportChannel> {
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        match OpenOptions::new().read_write(true).open_receiver(&path) {
            Ok(pipe) => Ok(ReportChannel { path, pipe, lines: Lines::default() }),
            Err(error) => {
                remove(&path);
                Err(error)
            }
        }
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for something to read, and reads it. May be dropped at any time without a loss.
    pub async fn next(&mut self) -> Heard {
        loop {
            // A flood must not keep the attempt from its stop: the others of this task get their turn.
            tokio::task::coop::consume_budget().await;
            if self.pipe.readable().await.is_err() {
                // Only when the runtime shuts down, and we with it.
                std::future::pending::<()>().await;
            }
            let heard = self.take_chunk();
            if !heard.is_empty() {
                return heard;
            }
        }
    }

    fn take_chunk(&mut self) -> Heard {
        let (mut chunk, mut heard) = ([0; CHUNK_BYTES], Heard::default());
        // Looks at the readiness that was seen, and clears it when nothing is left.
        if let Ok(count) = self.pipe.try_read(&mut chunk) {
            self.lines.split(&chunk[..count], &mut heard);
        }
        heard
    }

    /// Everything that was written before this call, without waiting.
    pub fn drain(&mut self) -> Heard {
        let mut heard = Heard::default();
        let mut chunk = [0; CHUNK_BYTES];
        let mut taken = 0;
        // Read past the runtime, which may not yet have seen that there is something.
        while taken < PIPE_BYTES_MAX {
            match rustix::io::read(&self.pipe, &mut chunk) {
                Ok(count) if count > 0 => {
                    taken += count;
                    self.lines.split(&chunk[..count], &mut heard);
                }
                Err(Errno::INTR) => {}
                _ => break,
            }
        }
        heard
    }

    /// As `drain`, when nobody writes any more: the last line may lack its newline.
    pub fn finish(&mut self) -> Heard {
        let mut heard = self.drain();
        self.lines.split(b"\n", &mut heard);
        heard
    }
}

impl Drop for ReportChannel {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    // What cannot be removed now is removed at the next start.
    let _ = std::fs::remove_file(path);
}

/// Makes the directory for channels, or clears it of those of a daemon that died: they have no reader. What is
/// neither a channel nor a file of dependencies is not ours and stays.
pub fn clear_channels(directory: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_fifo() || super::dependencies::is_ours(&entry.file_name()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The line that is being read.
#[derive(Debug, Default)]
struct Lines {
    tail: Vec<u8>,
    /// The line is too long: the rest of it is passed over.
    is_too_long: bool,
}

impl Lines {
    fn split(&mut self, bytes: &[u8], heard: &mut Heard) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            if self.is_too_long || self.tail.len() + text.len() > REPORT_LINE_BYTES_MAX {
                (self.tail, self.is_too_long) = (Vec::new(), true);
            } else {
                self.tail.extend_from_slice(text);
            }
            if text.len() == part.len() {
                return;
            }
            let line = std::mem::take(&mut self.tail);
            if std::mem::take(&mut self.is_too_long) {
                heard.too_long_count += 1;
            } else if !line.is_empty() {
                heard.lines.push(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn split(parts: &[&[u8]]) -> Heard {
        let (mut lines, mut heard) = (Lines::default(), Heard::default());
        for part in parts {
            lines.split(part, &mut heard);
        }
        heard
    }

    fn texts(lines: &[&str]) -> Vec<Vec<u8>> {
        lines.iter().map(|line| line.as_bytes().to_vec()).collect()
    }

    #[test]
    fn lines_are_put_together_and_cut() {
        assert_eq!(split(&[b"a\nb\n\nc"]).lines, texts(&["a", "b"]));
        assert_eq!(split(&[b"a", b"b\nc", b"", b"\n"]).lines, texts(&["ab", "c"]));
    }

    #[test]
    fn a_line_that_is_too_long_is_counted_and_the_next_one_is_heard() {
        let long = vec![b'x'; REPORT_LINE_BYTES_MAX];
        assert_eq!(split(&[&long, b"\n"]).lines, std::slice::from_ref(&long));
        let heard = split(&[&long, b"x", &long, b"\nnext\n"]);
        assert_eq!((heard.lines, heard.too_long_count), (texts(&["next"]), 1));
    }

    #[tokio::test]
    async fn a_channel_is_private_never_blocks_and_goes_away() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("report");
        clear_channels(&place).unwrap();
        let path = place.join("attempt_1");
        let mut channel = ReportChannel::open(path.clone()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(channel.drain(), Heard::default());
        // A writer that comes and goes does not end it.
        for word in ["one\n", "two\n"] {
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(word.as_bytes()).unwrap();
            assert_eq!(channel.next().await.lines, texts(&[word.trim()]));
        }
        let mut writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        writer.write_all(b"three\nfo").unwrap();
        assert_eq!(channel.drain().lines, texts(&["three"]), "at once, whatever the runtime has seen");
        writer.write_all(b"ur").unwrap();
        assert_eq!(channel.finish().lines, texts(&["four"]));
        drop(channel);
        assert!(!path.exists());
        ReportChannel::open(path.clone()).unwrap();
        // One whose daemon died without a word.
        std::mem::forget(ReportChannel::open(place.join("stale")).unwrap());
        std::fs::write(place.join("not ours"), "").unwrap();
        clear_channels(&place).unwrap();
        let left: Vec<_> = std::fs::read_dir(&place).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(left, ["not ours"]);
    }
}
