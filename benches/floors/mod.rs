//! Owns the floors: small programs of our own that do the least that a target could cost. Each is this same
//! executable in a process of its own, so that its cost can be told from the client's. None of it may know Beadle.

pub mod cycle;
pub mod disk;
pub mod frames;
pub mod lines;
pub mod rows;
pub mod schema;
pub mod server;
pub mod spawn;
pub mod sql;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::load::{Load, request};

/// The word by which this executable is a floor.
pub const WORD: &str = "floor";

/// A floor that serves. Dropping it kills it.
#[derive(Debug)]
pub struct Floor {
    child: Child,
    address: String,
}

impl Floor {
    /// Starts it and waits until it listens.
    pub fn serve(name: &str, arguments: &[&str]) -> Floor {
        let mut child = spawned(name, arguments);
        let mut address = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut address).expect("a floor says where it listens");
        Floor { child, address: address.trim().to_owned() }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A crowd of clients that all send this.
    pub fn load(&self, connections: usize, jobs_each: usize, query: &str, variables: &Value) -> Load {
        let request = request(&self.address, "none", query, variables).into();
        Load { address: self.address.clone(), request, connections, jobs_each }
    }

    /// The same for a page without GraphQL.
    pub fn load_path(&self, connections: usize, path: &str) -> Load {
        let request = crate::load::http::get(&self.address, path).into();
        Load { address: self.address.clone(), request, connections, jobs_each: 0 }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a floor that ends by itself, and gives the figures that it prints as JSON.
pub fn figures(name: &str, arguments: &[&str]) -> Value {
    let output = spawned(name, arguments).wait_with_output().expect("our own child can be waited for");
    assert!(output.status.success(), "the floor {name} failed");
    serde_json::from_slice(&output.stdout).expect("a floor prints JSON")
}

/// One of the figures.
pub fn rate(name: &str, arguments: &[&str]) -> f64 {
    figures(name, arguments)["per_second"].as_f64().expect("a floor prints its rate")
}

fn spawned(name: &str, arguments: &[&str]) -> Child {
    let own = std::env::current_exe().expect("Linux tells a program where it is");
    let mut command = Command::new(own);
    command.arg(WORD).arg(name).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().expect("this program starts once more")
}

/// Is the floor `name`, in the child.
pub fn run(name: &str, arguments: &[String]) {
    let count = |at: usize| arguments[at].parse::<usize>().expect("a count");
    let number = |at: usize| arguments[at].parse::<i64>().expect("a count");
    match name {
        "server" => server::run(arguments.first().map(String::as_str)),
        "frames" => frames::run(),
        "rows" => rows::run(arguments[0].as_ref(), number(1), number(2)),
        "chunks" => rows::run_chunks(arguments[0].as_ref(), number(1)),
        "cycle" => cycle::run(arguments[0].as_ref(), number(1), number(2)),
        "fdatasync" => disk::run(arguments[0].as_ref(), count(1)),
        "lines" => lines::run(arguments[0].parse().expect("a count"), arguments[1].parse().expect("a pace")),
        "spawn" => spawn::run(count(0), count(1), count(2)),
        other => panic!("there is no floor {other}"),
    }
}
