//! A daemon inside a Rust program, with two functions of the program behind the usual API:
//!
//! ```text
//! cargo run --example embedded -- [DIRECTORY]
//! ```
//!
//! `count` waits between its steps and reports how far it is; `primes` keeps a thread of its own busy.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use beadle::{Daemon, HandlerContext};
use serde::Deserialize;
use serde_json::{Value, json};

/// Between two steps of `count`.
const STEP: Duration = Duration::from_millis(200);

/// The parameters of a job that counts.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Count {
    to: u64,
}

impl Default for Count {
    fn default() -> Count {
        Count { to: 5 }
    }
}

/// Counts slowly. A real one would wait for the network here, never block its thread.
async fn count(ctx: HandlerContext, input: Count) -> Result<Value, String> {
    ctx.status("counting");
    for done in 1..=input.to {
        if tokio::time::timeout(STEP, ctx.cancelled()).await.is_ok() {
            return Err(format!("told to stop before {done}"));
        }
        ctx.progress(done, input.to);
        ctx.log(format!("{done} of {}", input.to)).await;
    }
    Ok(json!({ "counted": input.to }))
}

/// The parameters of a job that looks for primes.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Primes {
    below: u64,
}

impl Default for Primes {
    fn default() -> Primes {
        Primes { below: 100_000 }
    }
}

/// Finds out how many primes there are. Nobody can end a thread, so it looks now and then whether it shall end.
fn primes(ctx: HandlerContext, input: Primes) -> Result<Value, String> {
    let mut found: Vec<u64> = Vec::new();
    for number in 2..input.below {
        if number % 1_000 == 0 {
            if ctx.is_cancelled() {
                return Err(format!("told to stop at {number}"));
            }
            ctx.progress(number, input.below);
        }
        let mut smaller = found.iter().take_while(|prime| *prime * *prime <= number);
        if smaller.all(|prime| number % prime != 0) {
            found.push(number);
        }
    }
    ctx.blocking_log(format!("the last one is {:?}", found.last()));
    Ok(json!({ "primes": found.len() }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Kept for the length of the program when no directory is given.
    let temporary = tempfile::tempdir()?;
    let data_dir = std::env::args_os().nth(1).map_or(temporary.path().join("data"), PathBuf::from);
    let daemon = Daemon::builder()
        .data_dir(&data_dir)
        .listen(([127, 0, 0, 1], 0).into())
        .slots(4)
        .set("drain_timeout", "5s")
        .handler("count", count)
        .blocking_handler("primes", primes)
        .start()
        .await?;
    println!("listening on {}\ntoken in     {}/admin.token", daemon.url(), data_dir.display());
    println!("try          beadle --data-dir {} run --follow --handler count", data_dir.display());

    tokio::signal::ctrl_c().await?;
    daemon.stop().await;
    println!("stopped in order");
    Ok(())
}
