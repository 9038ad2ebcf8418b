//! The dashboard as people use it: stories that a script of `tests/node/browser` tells in a real browser, against the
//! real program. It must never leave a browser behind, nor hide that there was none.

mod stories;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use std::{fs, thread};

use crate::api::node::script;
use crate::api::pages::{chromium, is_built};
use crate::support::daemon::Daemon;
use crate::support::printed::{gather, text};
use crate::support::wait::now;

/// How long one story may take on a busy machine; on a quiet one it takes seconds.
const LIMIT: Duration = Duration::from_mins(4);

/// Where pictures of a story that failed are left.
fn shots() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard")
}

/// Tells the story in a browser of its own. A line `please: WORD` of the script is a wish that only the test can
/// fulfil (`kill` or `start` the daemon under the open page); it is answered by a line once that is done.
fn tell(story: &str, daemon: &mut Daemon) {
    tell_of(story, 0, daemon);
}

/// The same of something that has a size, which the story reads as `SIZE`.
fn tell_of(story: &str, size: usize, daemon: &mut Daemon) {
    if !is_built() {
        return;
    }
    let (Some(mut script), Some(browser)) = (script(&format!("browser/{story}.mjs")), chromium()) else {
        return;
    };
    fs::create_dir_all(shots()).expect("the tests' directory can be written");
    let begun = now();
    let mut child = script
        .env("URL", daemon.url())
        .env("LINK", link(&daemon.banner()))
        .env("TOKEN", daemon.token())
        .env("SIZE", size.to_string())
        .env("CHROMIUM", browser)
        .env("SHOTS", shots())
        .env("HOME", daemon.directory())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node starts");
    let complaints = gather(child.stderr.take().expect("asked for"));
    let lines = lines(child.stdout.take().expect("asked for"));
    let mut answers = child.stdin.take().expect("asked for");
    let mut told = String::new();
    loop {
        match lines.recv_timeout(LIMIT.saturating_sub(begun.elapsed())) {
            Ok(line) => {
                if let Some(wish) = line.strip_prefix("please: ") {
                    fulfil(wish, daemon);
                    // A script that has ended meanwhile has its own words for why.
                    let _ = writeln!(answers, "done");
                }
                told.push_str(&line);
                told.push('\n');
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                break;
            }
        }
    }
    let ended = child.wait().expect("our own child can be waited for");
    let took = begun.elapsed();
    assert!(ended.success(), "{story} after {took:?}: {ended}\n{told}{}", text(&complaints));
    assert!(told.ends_with(&format!("story: {story}\n")), "{story} was not told to its end:\n{told}");
    println!("{story}: {:.1} s\n{told}", took.as_secs_f32());
}

/// The link in a banner.
fn link(banner: &str) -> String {
    let mut lines = banner.lines().filter_map(|line| line.trim().strip_prefix("dashboard "));
    lines.next().unwrap_or_else(|| panic!("no link in {banner}")).trim().to_owned()
}

fn fulfil(wish: &str, daemon: &mut Daemon) {
    match wish {
        "kill" => daemon.kill9(),
        "start" => daemon.restart(),
        _ => panic!("nobody knows how to {wish}"),
    }
}

/// The lines of a stream as they come.
fn lines(stream: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
