//! Owns the reading of what a daemon prints: gathered line by line while it runs, so that its pipes are never full.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What the daemon prints once it accepts connections.
const READY: &str = "listening on http://";

/// What was gathered so far.
pub fn text(gathered: &Mutex<String>) -> String {
    gathered.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Keeps everything a stream gives, line by line, on a thread that ends with the stream.
pub fn gather(stream: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let gathered = Arc::new(Mutex::new(String::new()));
    let target = Arc::clone(&gathered);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut text = target.lock().unwrap_or_else(PoisonError::into_inner);
            writeln!(text, "{line}").expect("a string can always be written to");
        }
    });
    gathered
}

/// `127.0.0.1:PORT` of the banner, once its line is complete.
pub fn address_in(banner: &str) -> Option<String> {
    let (_, rest) = banner.split_once(READY)?;
    let end = rest.find(|sign: char| sign.is_whitespace() || sign == '/')?;
    Some(rest[..end].to_owned())
}
