//! Owns the trees of processes that attempts grow beyond their groups: who loses its parent is adopted by this
//! process, known again, ended with its attempt and reaped by its pid. It must never touch a child that was here before,
//! one that a `Leader` waits for, or one that a running attempt may own, and never wait for children in general.
//!
//! An orphan belongs to the attempt whose cookie it bears; else to that of its group, its session, or of a process that
//! it was seen below; else to any attempt that ran when it began: it is ended when the last of these has ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpgrp, getpid, getsid, pidfd_send_signal, set_child_subreaper, waitid,
};
use tokio::sync::{mpsc, oneshot};

use crate::base::clock::{self, Clock};
use crate::exec::command::COOKIE_VARIABLE;
use crate::exec::procfs::{self, Identity, Stat};
use crate::exec::survivors::{pin, send_kill};

/// After SIGKILL: how long a process may take to be gone before we say that it hangs.
pub const HANGS_AFTER: Duration = Duration::from_secs(5);
/// First and longest pause between two looks at what is dying.
const LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));
/// Questions to the first thread that may wait.
const QUESTIONS_MAX: usize = 64;

/// One for the whole process: its children know no other parts.
static TREES: LazyLock<Trees> = LazyLock::new(Trees::default);
/// The way to the first thread, where one answers.
static FIRST_THREAD: OnceLock<mpsc::Sender<oneshot::Sender<bool>>> = OnceLock::new();

#[derive(Debug, Default)]
struct Trees {
    state: Mutex<State>,
    /// Shared while a child is started and not yet known here.
    starting: RwLock<()>,
    /// Looks that were asked for.
    asked_count: AtomicU64,
    last: Mutex<Option<Arc<Look>>>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether orphans become our children.
    adopts: bool,
    tree_count: u64,
    growing: BTreeMap<u64, Growing>,
    /// Members outside of their group, by pid.
    known: HashMap<i32, Known>,
    /// Children that were here before us: pid and start time.
    before: HashSet<(i32, u64)>,
}

/// The tree of an attempt that has not ended.
#[derive(Debug)]
struct Growing {
    /// Pid and start time of its first process.
    leader: (i32, u64),
    cookie: String,
    phase: Phase,
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
    /// Living members of trees that stop or end, their leaders apart.
    left: HashMap<u64, Vec<i32>>,
}

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

/// Makes this process the one that adopts the orphans below it. From here on each child that is not here yet and that
/// we do not start is taken for an orphan of an attempt: it is reaped, and killed when no running attempt may own it.
pub fn adopt_orphans() -> std::io::Result<()> {
    let own = getpid();
    let before = procfs::all().into_iter().filter(|(_, stat)| stat.parent == own.as_raw_nonzero().get());
    let mut state = TREES.state();
    state.before = before.map(|(pid, stat)| (pid, stat.start_ticks)).collect();
    set_child_subreaper(Some(own))?;
    state.adopts = true;
    Ok(())
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
    let (state, last) = (TREES.state(), TREES.last());
    let hangs = |tree: &&Growing| matches!(tree.phase, Phase::Ending(since) if now.saturating_duration_since(since) >= HANGS_AFTER);
    let trees = state.growing.iter().filter(|(_, tree)| hangs(tree));
    trees
        .map(|(id, tree)| Hanging {
            leader: tree.leader.0,
            others: last.as_ref().and_then(|look| look.left.get(id).cloned()).unwrap_or_default(),
        })
        .collect()
}

/// Hold this from before a child is started until its tree is known: else it would be taken for an orphan.
pub(super) fn starting() -> RwLockReadGuard<'static, ()> {
    TREES.starting.read().unwrap_or_else(PoisonError::into_inner)
}

impl Tree {
    /// The tree of the process that was just started with this cookie.
    pub(super) fn grow(leader: &Identity, cookie: &str, clock: &Arc<dyn Clock>) -> Tree {
        let mut state = TREES.state();
        state.tree_count += 1;
        let id = state.tree_count;
        let leader = (leader.pid, leader.start_ticks);
        state.growing.insert(id, Growing { leader, cookie: cookie.to_owned(), phase: Phase::Running });
        Tree { id, clock: Arc::clone(clock) }
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

    /// Asks the members outside of the group to end, as far as they are surely its own. Blocks while it looks.
    pub(super) fn ask_outsiders(&self) {
        let look = TREES.look_now();
        for pid in TREES.state().note_members(self.id, &look.all) {
            for signal in [Signal::TERM, Signal::CONT] {
                if let Some(process) = pin(pid.0).filter(|_| is_same(pid)) {
                    let _ = pidfd_send_signal(process, signal);
                }
            }
        }
    }

    /// Whether nothing is left of it but the leader.
    pub(super) async fn is_alone(&self) -> bool {
        !TREES.look().await.left.contains_key(&self.id)
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

    fn last(&self) -> MutexGuard<'_, Option<Arc<Look>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut last = self.last();
        if let Some(look) = last.as_ref().filter(|look| look.asked_count > number) {
            return Arc::clone(look);
        }
        let asked_count = self.asked_count.load(Ordering::SeqCst);
        let all = procfs::all();
        // Whoever was being started meanwhile is known behind this line, or is gone.
        drop(self.starting.write().unwrap_or_else(PoisonError::into_inner));
        let mut state = self.state();
        let (due, left) = state.sort(&all);
        drop(state);
        let out_of_reach: Vec<i32> =
            due.into_iter().filter(|member| !kill(*member)).map(|(pid, _)| pid).collect();
        if !out_of_reach.is_empty() {
            tracing::warn!(?out_of_reach, "processes of ended attempts belong to another user now and go on");
            self.state().give_up(&out_of_reach);
        }
        let look = Arc::new(Look { asked_count, all, left });
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
                && (known.is_out_of_reach || known.owners.iter().any(|id| self.phase(*id) == Some(Phase::Running)))
        };
        !self.is_orphan(pid, &stat) || (stat.is_alive() && self.known.get(&pid).is_some_and(is_known))
    }

    /// Whether a child is one that lost its parent.
    fn is_orphan(&self, pid: i32, stat: &Stat) -> bool {
        let member = (pid, stat.start_ticks);
        !self.before.contains(&member) && !self.growing.values().any(|tree| tree.leader == member)
    }

    fn phase(&self, id: u64) -> Option<Phase> {
        self.growing.get(&id).map(|tree| tree.phase)
    }

    /// Reaps orphans that have ended. Gives the members that must be killed, and those that are left of trees that
    /// stop or end.
    fn sort(&mut self, all: &[(i32, Stat)]) -> (Vec<(i32, u64)>, HashMap<u64, Vec<i32>>) {
        let mut left: HashMap<u64, Vec<i32>> = HashMap::new();
        for (id, tree) in self.growing.iter().filter(|(_, tree)| tree.phase == Phase::Stopping) {
            let is_member = |(pid, stat): &&(i32, Stat)| {
                stat.group == tree.leader.0 && *pid != tree.leader.0 && stat.is_alive()
            };
            left.entry(*id).or_default().extend(all.iter().filter(is_member).map(|(pid, _)| *pid));
        }
        if self.adopts {
            let present: HashMap<i32, u64> = all.iter().map(|(pid, stat)| (*pid, stat.start_ticks)).collect();
            self.known.retain(|pid, known| present.get(pid) == Some(&known.stat.start_ticks));
        }
        let mut due = Vec::new();
        let own = getpid().as_raw_nonzero().get();
        let children = all.iter().filter(|(_, stat)| self.adopts && stat.parent == own);
        let (living, dead): (Vec<(i32, Stat)>, Vec<_>) = children.partition(|(_, stat)| stat.is_alive());
        for (pid, stat) in dead.into_iter().filter(|(pid, stat)| self.is_orphan(*pid, stat)) {
            reap((pid, stat.start_ticks));
        }
        let orphans: Vec<_> = living.into_iter().filter(|(pid, stat)| self.is_orphan(*pid, stat)).collect();
        if orphans.is_empty() {
            left.retain(|_, pids| !pids.is_empty());
            return (due, left);
        }
        let below = Below::new(all);
        for (pid, stat) in orphans {
            let known = self.know(pid, &stat);
            if known.is_out_of_reach {
                continue;
            }
            let phases: Vec<_> =
                known.owners.iter().filter_map(|id| Some((*id, self.phase(*id)?))).collect();
            if phases.iter().any(|(_, phase)| *phase == Phase::Running) {
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
        left.retain(|_, pids| !pids.is_empty());
        (due, left)
    }

    /// What is known of an orphan; looks who it is when nothing is.
    fn know(&mut self, pid: i32, stat: &Stat) -> Known {
        if let Some(known) = self.known.get(&pid).filter(|known| known.stat.start_ticks == stat.start_ticks) {
            return known.clone();
        }
        let mut environ = Vec::new();
        procfs::read_environ(pid, &mut environ);
        let owner = self.owner(stat, procfs::value_in(&environ, COOKIE_VARIABLE), own_places());
        // The first process of a container also gets orphans of whoever entered it: none of our business.
        let is_out_of_reach = owner.is_none() && std::process::id() == 1;
        let owners = owner.map_or_else(|| self.suspects(stat), |id| vec![id]);
        let known = Known { stat: *stat, owners, is_out_of_reach };
        self.known.insert(pid, known.clone());
        known
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

    /// The trees that an orphan may belong to when nothing tells: all that began before it.
    fn suspects(&self, stat: &Stat) -> Vec<u64> {
        let began_before = |(_, tree): &(&u64, &Growing)| tree.leader.1 <= stat.start_ticks;
        self.growing.iter().filter(began_before).map(|(id, _)| *id).collect()
    }

    /// Remembers the members of a tree outside of its group: those below its leader and its own orphans. Gives them.
    fn note_members(&mut self, id: u64, all: &[(i32, Stat)]) -> Vec<(i32, u64)> {
        let Some(leader) = self.growing.get(&id).map(|tree| tree.leader) else { return Vec::new() };
        let below = Below::new(all);
        let is_own = |pid: &i32| self.known.get(pid).is_some_and(|known| known.owners == [id]);
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

/// Who stands below whom.
struct Below {
    stats: HashMap<i32, Stat>,
    children: HashMap<i32, Vec<i32>>,
}

impl Below {
    fn new(all: &[(i32, Stat)]) -> Below {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for (pid, stat) in all {
            children.entry(stat.parent).or_default().push(*pid);
        }
        Below { stats: all.iter().copied().collect(), children }
    }

    fn stat(&self, pid: i32) -> Option<Stat> {
        self.stats.get(&pid).copied()
    }

    /// The process and all that live below it.
    fn branch(&self, top: (i32, u64)) -> Vec<(i32, u64)> {
        let (mut branch, mut at) = (vec![top], 0);
        let mut seen = HashSet::from([top.0]);
        while let Some((pid, _)) = branch.get(at) {
            for child in self.children.get(pid).into_iter().flatten() {
                // A pid that was used again while we looked must not lead us round in a circle.
                if let Some(stat) = self.stat(*child).filter(|stat| stat.is_alive() && seen.insert(*child)) {
                    branch.push((*child, stat.start_ticks));
                }
            }
            at += 1;
        }
        branch
    }
}

/// Our own group and session.
fn own_places() -> (i32, i32) {
    (getpgrp().as_raw_nonzero().get(), getsid(None).map_or(0, |session| session.as_raw_nonzero().get()))
}

fn is_same((pid, start_ticks): (i32, u64)) -> bool {
    procfs::stat(pid).is_some_and(|stat| stat.start_ticks == start_ticks)
}

/// Kills the very process that was seen. False when the system does not let us.
fn kill(member: (i32, u64)) -> bool {
    pin(member.0).filter(|_| is_same(member)).is_none_or(|process| send_kill(&process))
}

/// Takes the status of an orphan that has ended.
fn reap(member: (i32, u64)) {
    if let Some(pid) = Pid::from_raw(member.0).filter(|_| is_same(member)) {
        // ECHILD: whoever started it took it.
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// Whether the calling thread has children, living or dead. Those that other threads started are not among them.
fn has_children_of_this_thread() -> bool {
    let of_this_thread = WaitIdOptions::from_bits_retain(libc::__WNOTHREAD.cast_unsigned());
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT | of_this_thread;
    !matches!(waitid(WaitId::All, options), Err(rustix::io::Errno::CHILD))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(parent: i32, group: i32, session: i32, start_ticks: u64) -> Stat {
        Stat { state: b'S', parent, group, session, start_ticks }
    }

    fn growing(leader: (i32, u64), phase: Phase) -> Growing {
        Growing { leader, cookie: format!("cookie {}", leader.0), phase }
    }

    /// Two trees: 100, which began at 1,000, and 200, which began at 2,000.
    fn two() -> State {
        let trees = [(1, growing((100, 1_000), Phase::Running)), (2, growing((200, 2_000), Phase::Stopping))];
        State { adopts: true, growing: trees.into(), ..State::default() }
    }

    #[test]
    fn an_orphan_is_known_by_cookie_group_session_or_time() {
        let mut state = two();
        let own = (50, 50);
        let owner = |state: &State, stat: Stat, cookie: Option<&str>| {
            state.owner(&stat, cookie.map(str::as_bytes), own)
        };
        assert_eq!(owner(&state, stat(7, 300, 300, 3_000), Some("cookie 200")), Some(2));
        assert_eq!(owner(&state, stat(7, 100, 50, 3_000), None), Some(1));
        assert_eq!(owner(&state, stat(7, 200, 50, 1_500), None), None, "200 began later: another group");
        assert_eq!(owner(&state, stat(7, 300, 300, 3_000), Some("of another daemon")), None);
        assert_eq!(state.suspects(&stat(7, 300, 300, 3_000)), [1, 2]);
        assert_eq!(state.suspects(&stat(7, 300, 300, 1_500)), [1]);
        assert_eq!(state.suspects(&stat(7, 300, 300, 500)), Vec::<u64>::new(), "older than all that run");
        let known = Known { stat: stat(7, 300, 300, 3_000), owners: vec![2], is_out_of_reach: false };
        state.known.insert(300, known);
        assert_eq!(owner(&state, stat(7, 301, 300, 3_000), None), Some(2), "of the same session");
        assert_eq!(owner(&state, stat(7, 50, 50, 3_000), None), None, "our own places tell nothing");
    }

    #[test]
    fn only_what_no_running_attempt_may_own_is_due() {
        let own = getpid().as_raw_nonzero().get();
        let mut state = two();
        state.before.insert((400, 1));
        let all = [
            (100, stat(own, 100, 50, 1_000)),
            (200, stat(own, 200, 50, 2_000)),
            (201, stat(200, 200, 50, 2_001)),
            (400, stat(own, 400, 400, 1)),
            // Pids that no process has: nothing is read of them, and nothing sent to them.
            (i32::MAX - 1, stat(own, 300, 300, 3_000)),
            (i32::MAX - 2, stat(i32::MAX - 1, 300, 300, 3_001)),
        ];
        let (due, left) = state.sort(&all);
        assert_eq!((due, left), (Vec::new(), HashMap::from([(2, vec![201])])));
        state.growing.remove(&1);
        let (due, left) = state.sort(&all);
        assert_eq!(due, Vec::new());
        assert_eq!(left, HashMap::from([(2, vec![201, i32::MAX - 1, i32::MAX - 2])]));
        state.growing.remove(&2);
        let all = &all[2..];
        let (due, left) = state.sort(all);
        assert_eq!(due, [(i32::MAX - 1, 3_000), (i32::MAX - 2, 3_001)]);
        assert_eq!(left, HashMap::new());
    }

    #[test]
    fn members_below_a_leader_are_remembered_when_they_are_asked_to_end() {
        let mut state = two();
        let all = [
            (100, stat(7, 100, 50, 1_000)),
            (101, stat(100, 100, 50, 1_001)),
            (102, stat(101, 102, 102, 1_002)),
            (200, stat(7, 200, 50, 2_000)),
            (202, stat(200, 202, 202, 2_002)),
        ];
        assert_eq!(state.note_members(1, &all), [(102, 1_002)]);
        assert_eq!(state.owner(&stat(7, 102, 102, 1_003), None, (50, 50)), Some(1));
    }
}
