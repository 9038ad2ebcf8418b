//! Owns the trees of processes that attempts grow beyond their groups: who loses its parent is adopted by this
//! process, known again, ended with its attempt and reaped by its pid. It must never touch a child that was here before,
//! one that a `Leader` or a `Companion` stands for, or one that a running attempt may own, and never wait for children in
//! general.
//!
//! An orphan belongs to the attempt whose cookie it bears; else to that of its group, its session, or of a process that
//! it was seen below; else to any attempt that ran when it began: it is ended when the last of these has ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, pidfd_send_signal, set_child_subreaper};
use tokio::sync::{mpsc, oneshot};

use crate::base::clock::{self, Clock};
use crate::exec::command::COOKIE_VARIABLE;
use crate::exec::procfs::{self, Identity, Stat};
use crate::exec::survivors::pin;

pub(super) mod below;
pub(super) mod companions;
mod single;

use below::Below;
use companions::Companions;
use single::{has_children_of_this_thread, is_same, kill, reap};

/// After SIGKILL: how long a process may take to be gone before we say that it hangs.
pub const HANGS_AFTER: Duration = Duration::from_secs(5);
/// First and longest pause between two looks at what is dying.
const LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));
/// The child of a start begins at most so long after the start, in ticks: who began later is not of it, however long it
/// hangs.
const BEGINS_WITHIN_TICKS: u64 = 1_000;
/// Questions to the first thread that may wait.
const QUESTIONS_MAX: usize = 64;

/// One for the whole process: its children know no other parts.
static TREES: LazyLock<Trees> = LazyLock::new(Trees::default);
/// The way to the first thread, where one answers.
static FIRST_THREAD: OnceLock<mpsc::Sender<oneshot::Sender<bool>>> = OnceLock::new();

#[derive(Debug, Default)]
struct Trees {
    state: Mutex<State>,
    /// Looks that were asked for.
    asked_count: AtomicU64,
    /// Held while somebody looks: never take it under `state`.
    last: Mutex<Option<Arc<Look>>>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether orphans become our children.
    adopts: bool,
    tree_count: u64,
    growing: BTreeMap<u64, Growing>,
    start_count: u64,
    /// Starts whose child is not known here yet: when each began, in ticks since the boot.
    starting: BTreeMap<u64, u64>,
    /// Members outside of their group, by pid.
    known: HashMap<i32, Known>,
    /// Children that were here before us: pid and start time.
    before: HashSet<(i32, u64)>,
    companions: Companions,
}

/// The tree of an attempt that has not ended.
#[derive(Debug)]
struct Growing {
    /// Pid and start time of its first process.
    leader: (i32, u64),
    cookie: String,
    phase: Phase,
    /// When its control group had it, in ticks since the boot: nobody who was born outside of the group later is of it.
    held_ticks: Option<u64>,
    /// Its living members at the last look, once it stops: without the leader.
    left: Vec<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It may do what it likes.
    Running,
    /// It was asked to end, and has its grace.
    Stopping,
    /// All of it must go, since then.
    Ending(Instant),
}

/// A process that was seen outside of its attempt's group.
#[derive(Debug, Clone)]
struct Known {
    stat: Stat,
    /// The trees that it may belong to.
    owners: Vec<u64>,
    /// Not ours to end: it became another user's, or came from elsewhere to the first process of a container.
    is_out_of_reach: bool,
}

/// What one look at all processes came to.
#[derive(Debug)]
struct Look {
    /// Looks that had been asked for when it began: it answers all of them.
    asked_count: u64,
    all: Vec<(i32, Stat)>,
}

/// A start under way, until dropped.
#[derive(Debug)]
pub(super) struct StartUnderWay(u64);

/// A tree from its start to its end. Dropping it forgets it.
#[derive(Debug)]
pub(super) struct Tree {
    id: u64,
    clock: Arc<dyn Clock>,
}

/// Processes that were killed and do not end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hanging {
    /// The first process of the attempt.
    pub leader: i32,
    /// What is left; empty when it is the first process alone.
    pub others: Vec<i32>,
}

/// Makes this process the one that adopts the orphans below it. From here on each child that is not here yet and that we do
/// not start is taken for an orphan of an attempt: it is reaped, and killed when no running attempt may own it. With children
/// that are here at the first call, what bears no mark of an attempt may be theirs, and is left alone.
pub fn adopt_orphans() -> std::io::Result<()> {
    let own = getpid();
    let before = procfs::all().into_iter().filter(|(_, stat)| stat.parent == own.as_raw_nonzero().get());
    let mut state = TREES.state();
    if !state.adopts {
        state.before = before.map(|(pid, stat)| (pid, stat.start_ticks)).collect();
    }
    set_child_subreaper(Some(own))?;
    state.adopts = true;
    Ok(())
}

/// Whether this process adopts orphans.
pub fn adopts_orphans() -> bool {
    TREES.state().adopts
}

/// Answers whether there are orphans, for kernels that do not list the children of a thread. Run it on the program's
/// first thread, which gets them all; it never ends. Without it each look for orphans is one at all processes.
pub async fn answer_on_first_thread() -> Infallible {
    let (sender, mut questions) = mpsc::channel::<oneshot::Sender<bool>>(QUESTIONS_MAX);
    // One that answers already is as good.
    let _ = FIRST_THREAD.set(sender);
    while let Some(question) = questions.recv().await {
        // Whoever asked may have gone.
        let _ = question.send(has_children_of_this_thread());
    }
    std::future::pending().await
}

/// Reaps orphans that have ended, ends those that nobody owns, and tells what does not end. Costs next to nothing while
/// there are none. Call it every second or so.
pub async fn tend(now: Instant) -> Vec<Hanging> {
    if TREES.may_have_orphans().await {
        TREES.look().await;
    }
    let state = TREES.state();
    let hangs = |tree: &&Growing| matches!(tree.phase, Phase::Ending(since) if now.saturating_duration_since(since) >= HANGS_AFTER);
    let trees = state.growing.iter().filter(|(_, tree)| hangs(tree));
    trees.map(|(_, tree)| Hanging { leader: tree.leader.0, others: tree.left.clone() }).collect()
}

/// Hold this from before a child is started until its tree is known: else it would be taken for an orphan. However long
/// that takes, it holds up nobody.
pub(super) fn starting() -> StartUnderWay {
    let ticks = procfs::ticks_now();
    let mut state = TREES.state();
    state.start_count += 1;
    let number = state.start_count;
    state.starting.insert(number, ticks);
    StartUnderWay(number)
}

impl Drop for StartUnderWay {
    fn drop(&mut self) {
        TREES.state().starting.remove(&self.0);
    }
}

impl Tree {
    /// The tree of the process that was just started with this cookie.
    pub(super) fn grow(leader: &Identity, cookie: &str, clock: &Arc<dyn Clock>) -> Tree {
        let mut state = TREES.state();
        state.tree_count += 1;
        let id = state.tree_count;
        let leader = (leader.pid, leader.start_ticks);
        let (cookie, phase) = (cookie.to_owned(), Phase::Running);
        state.growing.insert(id, Growing { leader, cookie, phase, held_ticks: None, left: Vec::new() });
        Tree { id, clock: Arc::clone(clock) }
    }

    /// A control group has the leader from here on, and so all that is born of it.
    pub(super) fn hold(&self) {
        let now = procfs::ticks_now();
        if let Some(tree) = TREES.state().growing.get_mut(&self.id) {
            tree.held_ticks = Some(now);
        }
    }

    /// From here on what is outside of the group has its grace too.
    pub(super) fn stop(&self) {
        if let Some(tree) = TREES.state().growing.get_mut(&self.id)
            && tree.phase == Phase::Running
        {
            tree.phase = Phase::Stopping;
        }
    }

    /// From here on all of it must go: what shows itself is killed.
    pub(super) fn end(&self) {
        if let Some(tree) = TREES.state().growing.get_mut(&self.id)
            && !matches!(tree.phase, Phase::Ending(_))
        {
            tree.phase = Phase::Ending(self.clock.monotonic());
        }
    }

    /// Asks the members outside of the group to end, as far as they are surely its own; those `inside` of its control
    /// group are. Blocks while it looks.
    pub(super) fn ask_outsiders(&self, inside: &[i32]) {
        let look = TREES.look_now();
        let members = TREES.state().note_members(self.id, inside, &look.all);
        for pid in members {
            for signal in [Signal::TERM, Signal::CONT] {
                if let Some(process) = pin(pid.0).filter(|_| is_same(pid)) {
                    let _ = pidfd_send_signal(process, signal);
                }
            }
        }
    }

    /// Whether nothing is left of it but the leader.
    pub(super) async fn is_alone(&self) -> bool {
        TREES.look().await;
        TREES.state().growing.get(&self.id).is_none_or(|tree| tree.left.is_empty())
    }

    /// Ends what is left of it. Resolves when nothing is, however long that takes.
    pub(super) async fn clear(&self) {
        self.end();
        if !TREES.may_have_orphans().await {
            return;
        }
        let (mut pause, longest) = LOOK;
        while !self.is_alone().await {
            clock::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        TREES.state().growing.remove(&self.id);
    }
}

impl Trees {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when there is surely nothing to look for.
    async fn may_have_orphans(&self) -> bool {
        if !self.state().adopts {
            return false;
        }
        if let Some(children) = procfs::children_of_first_thread() {
            let state = self.state();
            return children.into_iter().any(|pid| !state.is_in_order(pid));
        }
        let Some(first_thread) = FIRST_THREAD.get() else { return true };
        let (question, answer) = oneshot::channel();
        first_thread.send(question).await.is_err() || answer.await.unwrap_or(true)
    }

    async fn look(&'static self) -> Arc<Look> {
        match tokio::task::spawn_blocking(|| self.look_now()).await {
            Ok(look) => look,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Only when the runtime shuts down, and we with it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Looks at all processes, reaps and kills what is due. Whoever asks while another looks shares the next look.
    fn look_now(&self) -> Arc<Look> {
        let number = self.asked_count.fetch_add(1, Ordering::SeqCst);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = last.as_ref().filter(|look| look.asked_count > number) {
            return Arc::clone(look);
        }
        let asked_count = self.asked_count.load(Ordering::SeqCst);
        let all = procfs::all();
        // Whoever was being started meanwhile is known by now, is gone, or its start is still under way.
        let mut state = self.state();
        let due = state.sort(&all);
        drop(state);
        let out_of_reach: Vec<i32> =
            due.into_iter().filter(|member| !kill(*member)).map(|(pid, _)| pid).collect();
        if !out_of_reach.is_empty() {
            tracing::warn!(?out_of_reach, "processes of ended attempts belong to another user now and go on");
            self.state().give_up(&out_of_reach);
        }
        let look = Arc::new(Look { asked_count, all });
        *last = Some(Arc::clone(&look));
        look
    }
}

impl State {
    /// Whether a look at this child would change nothing.
    fn is_in_order(&self, pid: i32) -> bool {
        let Some(stat) = procfs::stat(pid) else { return true };
        let is_known = |known: &Known| {
            known.stat.start_ticks == stat.start_ticks
                && (known.is_out_of_reach
                    || known.owners.iter().any(|id| self.phase(*id) == Some(Phase::Running)))
        };
        !self.is_orphan(pid, &stat) || (stat.is_alive() && self.known.get(&pid).is_some_and(is_known))
    }

    /// Whether a child is one that lost its parent.
    fn is_orphan(&self, pid: i32, stat: &Stat) -> bool {
        let member = (pid, stat.start_ticks);
        let is_ours = self.before.contains(&member) || self.companions.holds(pid, stat);
        !is_ours && !self.growing.values().any(|tree| tree.leader == member)
    }

    fn phase(&self, id: u64) -> Option<Phase> {
        self.growing.get(&id).map(|tree| tree.phase)
    }

    /// Reaps orphans that have ended, and notes what is left of trees that stop or end. Gives the members that must be
    /// killed.
    fn sort(&mut self, all: &[(i32, Stat)]) -> Vec<(i32, u64)> {
        let mut left = self.groups_left(all);
        let mut due = Vec::new();
        let orphans = if self.adopts { self.reap_orphans(all) } else { Vec::new() };
        let below = if orphans.is_empty() { Below::default() } else { Below::new(all) };
        for (pid, stat) in orphans {
            let Some(known) = self.know(pid, &stat) else { continue };
            let phases: Vec<_> = known.owners.iter().filter_map(|id| Some((*id, self.phase(*id)?))).collect();
            if known.is_out_of_reach || phases.iter().any(|(_, phase)| *phase == Phase::Running) {
                continue;
            }
            let branch = below.branch((pid, stat.start_ticks));
            let is_stopping = phases.iter().any(|(_, phase)| *phase == Phase::Stopping);
            for (id, _) in phases.iter().filter(|(_, phase)| (*phase == Phase::Stopping) == is_stopping) {
                left.entry(*id).or_default().extend(branch.iter().map(|(pid, _)| *pid));
            }
            if !is_stopping {
                due.extend(branch);
            }
        }
        for (id, tree) in &mut self.growing {
            tree.left = left.remove(id).unwrap_or_default();
        }
        due
    }

    /// Who else is alive in the groups of trees that stop: they have their grace.
    fn groups_left(&self, all: &[(i32, Stat)]) -> HashMap<u64, Vec<i32>> {
        let stopping = self.growing.iter().filter(|(_, tree)| tree.phase == Phase::Stopping);
        let groups: HashMap<i32, u64> = stopping.map(|(id, tree)| (tree.leader.0, *id)).collect();
        let mut left: HashMap<u64, Vec<i32>> = HashMap::new();
        for (pid, stat) in all.iter().filter(|(pid, stat)| stat.is_alive() && stat.group != *pid) {
            if let Some(id) = groups.get(&stat.group) {
                left.entry(*id).or_default().push(*pid);
            }
        }
        left
    }

    /// Takes the status of the orphans that have ended, and forgets who is gone. Gives the living ones.
    fn reap_orphans(&mut self, all: &[(i32, Stat)]) -> Vec<(i32, Stat)> {
        let own = getpid().as_raw_nonzero().get();
        let orphans = all.iter().filter(|(pid, stat)| stat.parent == own && self.is_orphan(*pid, stat));
        let (living, dead): (Vec<(i32, Stat)>, Vec<_>) = orphans.partition(|(_, stat)| stat.is_alive());
        for (pid, stat) in dead {
            let is_sure =
                self.recall(pid, &stat).is_some() || self.owner(&stat, None, procfs::own_places()).is_some();
            if is_sure || !self.may_be_starting(&stat) {
                reap((pid, stat.start_ticks));
            }
        }
        self.companions.forget_gone(all);
        if !self.known.is_empty() {
            let present: HashMap<i32, u64> = all.iter().map(|(pid, stat)| (*pid, stat.start_ticks)).collect();
            self.known.retain(|pid, known| present.get(pid) == Some(&known.stat.start_ticks));
        }
        living
    }

    fn recall(&self, pid: i32, stat: &Stat) -> Option<&Known> {
        self.known.get(&pid).filter(|known| known.stat.start_ticks == stat.start_ticks)
    }

    /// Whether it may be the child of a start that is under way.
    fn may_be_starting(&self, stat: &Stat) -> bool {
        let is_near = |began: &u64| (*began..=began + BEGINS_WITHIN_TICKS).contains(&stat.start_ticks);
        self.starting.values().any(is_near)
    }

    /// What is known of an orphan; looks who it is when nothing is. `None` when it may be none: no mark of an attempt is
    /// on it, and a start is under way.
    fn know(&mut self, pid: i32, stat: &Stat) -> Option<Known> {
        if let Some(known) = self.recall(pid, stat) {
            return Some(known.clone());
        }
        let mut environ = Vec::new();
        procfs::read_environ(pid, &mut environ);
        let owner = self.owner(stat, procfs::value_in(&environ, COOKIE_VARIABLE), procfs::own_places());
        if owner.is_none() && self.may_be_starting(stat) {
            return None;
        }
        // The first process of a container also gets orphans of whoever entered it, and one that had children before it
        // became the daemon those of theirs: none of our business.
        let is_out_of_reach = owner.is_none() && (std::process::id() == 1 || !self.before.is_empty());
        let owners = owner.map_or_else(|| self.suspects(stat), |id| vec![id]);
        let known = Known { stat: *stat, owners, is_out_of_reach };
        self.known.insert(pid, known.clone());
        Some(known)
    }

    /// The tree that an orphan surely belongs to. `(group, session)` are our own: they tell nothing.
    fn owner(&self, stat: &Stat, cookie: Option<&[u8]>, (group, session): (i32, i32)) -> Option<u64> {
        let by_cookie = self.growing.iter().find(|(_, tree)| Some(tree.cookie.as_bytes()) == cookie);
        let by_group = || {
            let mut trees = self.growing.iter();
            trees.find(|(_, tree)| stat.group == tree.leader.0 && stat.start_ticks >= tree.leader.1)
        };
        if let Some((id, _)) = by_cookie.or_else(by_group) {
            return Some(*id);
        }
        let is_near = |known: &&Known| {
            known.owners.len() == 1
                && ((known.stat.session == stat.session && stat.session != session)
                    || (known.stat.group == stat.group && stat.group != group))
        };
        self.known.values().find(is_near).map(|near| near.owners[0])
    }

    /// The trees that an orphan may belong to when nothing tells: all that began before it, but those whose control group
    /// would have it.
    fn suspects(&self, stat: &Stat) -> Vec<u64> {
        let may_own = |(_, tree): &(&u64, &Growing)| {
            tree.leader.1 <= stat.start_ticks && tree.held_ticks.is_none_or(|held| stat.start_ticks <= held)
        };
        self.growing.iter().filter(may_own).map(|(id, _)| *id).collect()
    }

    /// Remembers the members of a tree outside of its group: those below its leader and its own orphans. Gives them.
    fn note_members(&mut self, id: u64, inside: &[i32], all: &[(i32, Stat)]) -> Vec<(i32, u64)> {
        let Some(leader) = self.growing.get(&id).map(|tree| tree.leader) else { return Vec::new() };
        let below = Below::new(all);
        let is_own =
            |pid: &i32| inside.contains(pid) || self.known.get(pid).is_some_and(|known| known.owners == [id]);
        let mut members = below.branch(leader);
        for (pid, stat) in all.iter().filter(|(pid, _)| is_own(pid)) {
            members.extend(below.branch((*pid, stat.start_ticks)));
        }
        members.retain(|member| below.stat(member.0).is_some_and(|stat| stat.group != leader.0));
        members.sort_unstable();
        members.dedup();
        members.retain(|member| *member != leader);
        for (pid, _) in &members {
            if let Some(stat) = below.stat(*pid) {
                let known = Known { stat, owners: vec![id], is_out_of_reach: false };
                self.known.entry(*pid).or_insert(known);
            }
        }
        members
    }

    fn give_up(&mut self, pids: &[i32]) {
        for pid in pids {
            if let Some(known) = self.known.get_mut(pid) {
                known.is_out_of_reach = true;
            }
        }
    }
}

#[cfg(test)]
mod tests;
