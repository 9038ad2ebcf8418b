//! A mixed load for a long time with a fault of some kind again and again: all promises hold, and neither memory nor
//! descriptors grow.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use beadle::base::random::{Random, SystemRandom};
use beadle::store::db::{Db, Durability};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::daemon::Daemon;
use crate::support::dice::Dice;
use crate::support::history::Witness;
use crate::support::ledger::{Trial, check_starts};
use crate::support::length::sized;
use crate::support::load::Load;
use crate::support::wait::{now, span};

const VARIABLE: &str = "BEADLE_TEST_POINTS";
/// Points at which a part is made to panic: each lies in a part that is started again by itself.
const PANICS: &[&str] =
    &["schedule.settled", "writer.committed", "writer.before_commit", "log.committed", "claim.committed"];
/// Subscribers that never read, in one burst.
const DEAF: usize = 40;
/// Jobs that print as fast as they can at the same time.
const FLOOD: usize = 2;
/// Descriptors that may be open more at the end than at the beginning of the last part. A few looks see as many jobs and
/// connections as there happen to be.
fn growth_descriptors_max() -> usize {
    sized(32, 8)
}

/// How long all of it takes, and how often something goes wrong.
fn run_length() -> Duration {
    sized(Duration::from_secs(40), Duration::from_mins(30))
}
fn fault_every() -> Duration {
    sized(Duration::from_secs(5), Duration::from_mins(1))
}
/// How long a fault lasts that has a length.
fn fault_length() -> Duration {
    sized(Duration::from_secs(2), Duration::from_secs(8))
}
/// Bytes that one job of a flood prints.
fn flood_bytes() -> usize {
    sized(6_000_000, 24_000_000)
}
/// What a daemon may have grown by between the first and the last third of the samples: caches that fill, and what a
/// flood leaves in the allocator, are no leak, and the short run has no time for them to even out.
fn growth_kib_max() -> i64 {
    sized(128 * 1024, 32 * 1024)
}
/// Between two rounds of a client.
fn pace() -> Duration {
    sized(Duration::from_millis(300), Duration::from_millis(600))
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// The daemon is killed.
    Kill,
    /// The daemon is killed, and a part of its successor panics some time later.
    Panic,
    /// The daemon is stopped in order and started again.
    Restart,
    /// The daemon stands still for a while.
    Freeze,
    /// Somebody else holds the store's file locked for a while.
    Lock,
    /// Jobs print as fast as they can.
    Flood,
    /// Many subscribe and never read.
    Deaf,
}

const TROUBLES: [Trouble; 7] = [
    Trouble::Kill,
    Trouble::Panic,
    Trouble::Restart,
    Trouble::Freeze,
    Trouble::Lock,
    Trouble::Flood,
    Trouble::Deaf,
];
/// Those that end the daemon. The last part of the run has none of them: one daemon lives through it, so that its memory
/// can be watched.
const DEADLY: [Trouble; 3] = [Trouble::Kill, Trouble::Panic, Trouble::Restart];
/// Those that a daemon lives through.
const TRYING: [Trouble; 4] = [Trouble::Freeze, Trouble::Lock, Trouble::Flood, Trouble::Deaf];

/// Troubles in an order that chance gives, each once before one comes again.
#[derive(Debug)]
struct Deck {
    all: &'static [Trouble],
    left: Vec<Trouble>,
}

impl Deck {
    fn of(all: &'static [Trouble]) -> Deck {
        Deck { all, left: Vec::new() }
    }

    fn draw(&mut self, dice: &Dice) -> Trouble {
        if self.left.is_empty() {
            self.left = self.all.to_vec();
        }
        self.left.swap_remove(dice.roll(self.left.len()))
    }
}

#[test]
fn a_long_mixed_run_with_a_fault_again_and_again_keeps_every_promise() {
    let dice = Dice::new();
    let mut daemon = Daemon::prepared(&["--slots", "6"]);
    let mut starts = vec![daemon.try_start(&[]).expect("the daemon starts")];
    let load = Load::new(SystemRandom.hex(8), pace());
    load.set_up(&daemon);
    let witness = Witness::begin(&daemon);
    let clients = load.start(2);

    let begun = now();
    let (mut count, mut samples, mut floods, mut faults) = ([0; TROUBLES.len()], Vec::new(), 0, 0);
    let (mut deadly, mut trying) = (Deck::of(&DEADLY), Deck::of(&TRYING));
    while begun.elapsed() < run_length() {
        let is_calm = begun.elapsed() > run_length() * 3 / 5;
        let round = now();
        let deck = if is_calm || faults % 2 == 1 { &mut trying } else { &mut deadly };
        let trouble = deck.draw(&dice);
        faults += 1;
        count[trouble as usize] += 1;
        if let Some(took) = strike(&mut daemon, &load, &dice, trouble, &mut floods) {
            starts.push(took);
        }
        span(fault_every().saturating_sub(round.elapsed()));
        assert!(daemon.has_ended().is_none(), "the daemon died of {trouble:?}");
        if is_calm {
            samples.push(Sample::of(daemon.pid()));
        }
    }
    let ready =
        daemon.graphql("{ health { status subsystems { name status message restartCount } } }", json!({}));
    load.wind_up(&daemon, clients, Duration::from_secs(30));
    let (mut follower, start) = witness.end();
    let trial = Trial {
        daemon: &daemon,
        ledger: &load.ledger,
        follower: Some((&mut follower, &start)),
        mark: &load.mark,
        forgets: false,
        starts: &starts,
    };
    let figures = trial.judge();
    let troubles: Vec<String> =
        TROUBLES.iter().map(|trouble| format!("{trouble:?} {}", count[*trouble as usize])).collect();
    println!("mixed run of {:.0} s: {}", begun.elapsed().as_secs_f64(), troubles.join(", "));
    println!("mixed run: {figures}");
    println!("mixed run: {}", Sample::told(&samples));
    assert_eq!(figures.breaches, []);
    assert_eq!(ready["health"]["status"], json!("OK"), "{ready:#}");
    Sample::check(&samples);
    check_starts(&starts);
}

/// Lets one thing go wrong, and right again. Gives how long a start took, where there was one.
fn strike(
    daemon: &mut Daemon,
    load: &Load,
    dice: &Dice,
    trouble: Trouble,
    floods: &mut usize,
) -> Option<Duration> {
    match trouble {
        Trouble::Kill => {
            daemon.kill9();
            Some(daemon.try_start(&[]).expect("a killed daemon starts again"))
        }
        Trouble::Panic => {
            daemon.kill9();
            // A part that panics within the start ends the daemon: the trap is set when it is ready.
            let set = daemon.data().join("panic-now");
            fs::remove_file(&set).or_else(is_not_there).expect("the trap of last time");
            let trap = format!("{}:{}:panic", PANICS[dice.roll(PANICS.len())], set.display());
            let took = daemon.try_start(&[(VARIABLE, &trap)]).expect("a killed daemon starts again");
            fs::write(&set, "").expect("a file beside the store");
            Some(took)
        }
        Trouble::Restart => {
            daemon.terminate();
            Some(daemon.try_start(&[]).expect("a stopped daemon starts again"))
        }
        Trouble::Freeze => {
            signal(daemon.pid(), Signal::STOP);
            span(fault_length());
            signal(daemon.pid(), Signal::CONT);
            None
        }
        Trouble::Lock => {
            hold_locked(&daemon.data().join("beadle.db"));
            None
        }
        Trouble::Flood => {
            *floods += 1;
            let script = format!("yes | head -c {}", flood_bytes());
            let job = |place: usize| load.job(&format!("flood-{floods}-{place}"), &script, json!({}));
            load.enqueue(&(0..FLOOD).map(job).collect::<Vec<_>>());
            None
        }
        Trouble::Deaf => {
            let deaf: Vec<_> = (0..DEAF).filter_map(|_| subscribe_deaf(daemon).ok()).collect();
            span(fault_length());
            drop(deaf);
            None
        }
    }
}

/// A trap that was sprung took its file with it.
fn is_not_there(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("our own child");
}

/// Holds the lock of writers on the file for a while, as any other program can.
fn hold_locked(path: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let db = Db::open_sqlite(path, Durability::Full, String::new())
            .await
            .expect("the file opens beside the daemon");
        let held = db.begin().await.expect("the lock of writers");
        span(fault_length());
        drop(held);
        db.close().await;
    });
}

/// Asks for every event, and never reads the answer.
fn subscribe_deaf(daemon: &Daemon) -> std::io::Result<TcpStream> {
    let body = json!({"query": "subscription { events { events { cursor type data } } }"}).to_string();
    let mut socket = TcpStream::connect(daemon.address())?;
    write!(
        socket,
        "POST /graphql HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nAccept: text/event-stream\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        daemon.address(),
        daemon.token(),
        body.len()
    )?;
    Ok(socket)
}

/// What the daemon holds at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    resident_kib: i64,
    descriptors: usize,
}

impl Sample {
    fn of(pid: u32) -> Sample {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has one");
        let resident_kib = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("our own child").count();
        Sample { resident_kib, descriptors }
    }

    /// Without those of the first round of troubles, when there are enough: caches fill then.
    fn warm(samples: &[Sample]) -> &[Sample] {
        if samples.len() > 2 * TRYING.len() { &samples[TRYING.len()..] } else { samples }
    }

    /// The means of the first and of the last third: resident KiB and descriptors.
    fn ends(samples: &[Sample]) -> [(i64, usize); 2] {
        let samples = Sample::warm(samples);
        let part = (samples.len() / 3).max(1);
        [&samples[..part], &samples[samples.len() - part..]].map(|some| {
            let resident =
                some.iter().map(|one| one.resident_kib).sum::<i64>() / i64::try_from(some.len()).unwrap_or(1);
            (resident, some.iter().map(|one| one.descriptors).sum::<usize>() / some.len())
        })
    }

    fn told(samples: &[Sample]) -> String {
        let [(first, first_open), (last, last_open)] = Sample::ends(samples);
        let peak = samples.iter().map(|one| one.resident_kib).max().unwrap_or_default();
        format!(
            "one daemon over the last {} faults: resident {first} KiB then {last} KiB (peak {peak}), descriptors \
             {first_open} then {last_open}",
            samples.len()
        )
    }

    fn check(samples: &[Sample]) {
        assert!(samples.len() >= 3, "too few faults to see a slope");
        let [(first, first_open), (last, last_open)] = Sample::ends(samples);
        assert!(last - first < growth_kib_max(), "memory grows: {}", Sample::told(samples));
        assert!(
            last_open <= first_open + growth_descriptors_max(),
            "descriptors grow: {}",
            Sample::told(samples)
        );
    }
}
