//! A daemon whose jobs do nothing, for programs that want to know what a job costs by itself:
//!
//! ```text
//! cargo run --release --example noop -- DIRECTORY [SLOTS [BALLAST_MB [KEY=VALUE]...]]
//! ```
//!
//! `benches/` measures with it. The ballast is memory that the program holds beside the daemon, as real ones do; what
//! follows are further settings.

use std::error::Error;
use std::hint::black_box;

use beadle::{Daemon, HandlerContext};
use serde_json::{Value, json};

/// Jobs that run at once unless said otherwise.
const SLOTS: usize = 256;

/// The whole work of a job.
async fn noop(_ctx: HandlerContext, _input: Value) -> Result<Value, String> {
    Ok(json!({}))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments
        .next()
        .ok_or("say where the data shall lie: noop DIRECTORY [SLOTS [BALLAST_MB [KEY=VALUE]...]]")?;
    let slots = arguments.next().map_or(Ok(SLOTS), |count| count.parse())?;
    let ballast_mb: usize = arguments.next().map_or(Ok(0), |size| size.parse())?;
    // Not zero, so that the memory is really taken.
    let ballast = vec![1_u8; ballast_mb << 20];
    let mut builder = Daemon::builder()
        .data_dir(directory)
        .listen(([127, 0, 0, 1], 0).into())
        .slots(slots)
        .set("max_queued", "100000000")
        .handler("noop", noop);
    for setting in arguments {
        let (key, value) = setting.split_once('=').ok_or("further settings are KEY=VALUE")?;
        builder = builder.set(key, value);
    }
    let daemon = builder.start().await?;
    println!("listening on {}", daemon.url());
    tokio::signal::ctrl_c().await?;
    daemon.stop().await;
    black_box(ballast);
    Ok(())
}
