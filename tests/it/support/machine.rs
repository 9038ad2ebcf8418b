//! Owns the sharing of this machine: most tests run side by side, a measurement runs alone.
//! A file lock, so that it also holds between processes (one process for each test under some runners).

use std::fs::File;
use std::path::Path;

/// A place on the machine, given back when dropped.
#[derive(Debug)]
pub struct Place {
    _lock: File,
}

/// A place beside others. A test may hold several.
pub fn shared() -> Place {
    let lock = open();
    lock.lock_shared().expect("a lock file can be shared");
    Place { _lock: lock }
}

/// The whole machine, once nobody else is on it. Never ask for it while holding a shared place.
pub fn alone() -> Place {
    let lock = open();
    lock.lock().expect("a lock file can be locked");
    Place { _lock: lock }
}

fn open() -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("beadle-tests.lock");
    File::options().create(true).append(true).open(path).expect("the test target's directory can be written")
}
