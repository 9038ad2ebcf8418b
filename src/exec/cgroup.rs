//! Owns the control groups of attempts, where the system has given us a part of its tree: one leaf for each attempt, which
//! nothing leaves, with its limits and its account. It must never touch a group that is not below our own, nor go in
//! where nothing says that we may.
//!
//! Below the group that we were started in stands one of our own, `beadle-` and the data directory's mark; in it
//! `daemon` for this process, since a group with limits for others may hold none itself, and a leaf for each attempt.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, access, getxattr};
use rustix::process::geteuid;

use crate::base::clock::{Clock, pause};

/// What may be limited.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];
/// How long what a dead daemon left in its leaves may take to die.
const CLEAR_MAX: Duration = Duration::from_secs(5);
/// Pause between two looks at that.
const CLEAR_PAUSE: Duration = Duration::from_millis(10);
/// The group of this process itself.
const OWN_LEAF: &str = "daemon";

/// The most that one attempt may use, all its processes together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttemptLimits {
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub processes_count: Option<u64>,
}

/// Our part of the tree.
#[derive(Debug)]
pub struct Cgroup {
    place: PathBuf,
    limits: AttemptLimits,
}

/// The group of one attempt. Dropping it kills what is in it and removes it.
#[derive(Debug)]
pub struct Leaf {
    path: PathBuf,
}

/// What the processes of a leaf used together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LeafAccount {
    /// CPU time in their own code and in the kernel.
    pub(super) cpu: Option<(Duration, Duration)>,
    pub(super) peak_memory_bytes: Option<u64>,
    /// Processes that were killed for want of memory.
    pub(super) out_of_memory_count: u64,
}

impl Cgroup {
    /// Goes into our part of the tree, if there is one: moves this process, clears what a daemon of the same `mark` left,
    /// and offers what can be limited to the leaves. Gives words for what cannot be done.
    pub fn enter(mark: &str, limits: AttemptLimits, clock: &dyn Clock) -> Result<Arc<Cgroup>, String> {
        let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
        let own = own_group(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
            .ok_or("no tree of control groups of version 2 holds this process")?;
        may_use(&own)?;
        let place = own.directory.join(format!("beadle-{mark}"));
        Cgroup::settle(&own.directory, place, limits, clock).map_err(|error| error.to_string())
    }

    fn settle(
        own: &Path,
        place: PathBuf,
        limits: AttemptLimits,
        clock: &dyn Clock,
    ) -> io::Result<Arc<Cgroup>> {
        let leaf = place.join(OWN_LEAF);
        fs::create_dir_all(&leaf)?;
        fs::write(leaf.join("cgroup.procs"), std::process::id().to_string())?;
        let cgroup = Cgroup { place, limits };
        let killed = cgroup.clear(clock)?;
        if killed > 0 {
            tracing::warn!(killed, "control groups of a dead daemon were cleared");
        }
        for controller in CONTROLLERS {
            for group in [own, &cgroup.place] {
                // EBUSY: others stand in the group that we were started in. ENOENT: it was not given to us.
                if let Err(error) = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"))
                {
                    tracing::debug!(controller, "not to be had in {}: {error}", group.display());
                }
            }
        }
        Ok(Arc::new(cgroup))
    }

    /// What was asked for and cannot be kept, in words.
    pub fn missing_limits(&self) -> Vec<String> {
        let given = fs::read_to_string(self.place.join("cgroup.subtree_control")).unwrap_or_default();
        let has = |controller: &str| given.split_ascii_whitespace().any(|word| word == controller);
        let asked = [
            ("job.memory_max", "memory", self.limits.memory_bytes.is_some()),
            ("job.processes_max", "pids", self.limits.processes_count.is_some()),
        ];
        let missing = asked.into_iter().filter(|(_, controller, is_asked)| *is_asked && !has(controller));
        missing.map(|(name, controller, _)| format!("`{name}` needs the controller {controller}")).collect()
    }

    /// A new leaf with the limits.
    pub fn leaf(&self, name: &str) -> io::Result<Leaf> {
        let leaf = Leaf { path: self.place.join(name) };
        fs::create_dir(&leaf.path)?;
        // That a limit cannot be kept was said at the start.
        if let Some(bytes) = self.limits.memory_bytes {
            let _ = leaf.put("memory.max", &bytes.to_string());
            let _ = leaf.put("memory.swap.max", "0");
            // The kernel ends all of it, not the largest alone: half a job is no job.
            let _ = leaf.put("memory.oom.group", "1");
        }
        if let Some(count) = self.limits.processes_count {
            let _ = leaf.put("pids.max", &count.to_string());
        }
        Ok(leaf)
    }

    /// Kills and removes leaves that a dead daemon left; gives how many held living processes.
    fn clear(&self, clock: &dyn Clock) -> io::Result<usize> {
        let mut left = Vec::new();
        for entry in fs::read_dir(&self.place)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && entry.file_name() != OWN_LEAF {
                left.push(Leaf { path: entry.path() });
            }
        }
        let alive = left.iter().filter(|leaf| leaf.is_populated()).count();
        left.iter().for_each(Leaf::kill);
        let until = clock.monotonic() + CLEAR_MAX;
        while left.iter().any(Leaf::is_populated) && clock.monotonic() < until {
            pause(CLEAR_PAUSE);
        }
        Ok(alive)
    }
}

impl Leaf {
    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a process that has just begun, and the children that it may have had meanwhile. Whoever slips through is
    /// held by its group and cookie all the same.
    pub(super) fn take(&self, pid: i32) -> io::Result<()> {
        self.put("cgroup.procs", &pid.to_string())?;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_ascii_whitespace() {
            // ESRCH: it has ended.
            let _ = self.put("cgroup.procs", child);
        }
        Ok(())
    }

    /// Kills all that is in it at once.
    pub(super) fn kill(&self) {
        if let Err(error) = self.put("cgroup.kill", "1") {
            tracing::warn!("{} cannot be killed: {error}", self.path.display());
        }
    }

    /// The processes in it.
    pub(super) fn pids(&self) -> Vec<i32> {
        let text = self.read("cgroup.procs").unwrap_or_default();
        text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Whether anything in it or below it is alive.
    pub(super) fn is_populated(&self) -> bool {
        self.read("cgroup.events").is_some_and(|text| number(&text, "populated") == Some(1))
    }

    pub(super) fn account(&self) -> LeafAccount {
        let stat = self.read("cpu.stat").unwrap_or_default();
        let time = |name: &str| number(&stat, name).map(Duration::from_micros);
        LeafAccount {
            cpu: time("user_usec").zip(time("system_usec")),
            peak_memory_bytes: self.read("memory.peak").and_then(|text| text.trim().parse().ok()),
            out_of_memory_count: self
                .read("memory.events")
                .and_then(|text| number(&text, "oom_kill"))
                .unwrap_or(0),
        }
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.path.join(file)).ok()
    }

    fn put(&self, file: &str, text: &str) -> io::Result<()> {
        // Never made: a file that the kernel does not offer is an error.
        fs::OpenOptions::new()
            .write(true)
            .open(self.path.join(file))
            .and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()))
    }

    /// Removes it with what the attempt made below it.
    fn remove(path: &Path) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                Leaf::remove(&entry.path());
            }
        }
        // EBUSY: something in it does not die; the next start clears it.
        let _ = fs::remove_dir(path);
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        if self.is_populated() {
            self.kill();
        }
        Leaf::remove(&self.path);
    }
}

/// The group that this process was started in.
#[derive(Debug, PartialEq, Eq)]
struct OwnGroup {
    directory: PathBuf,
    /// Whether it is the top of what we can see.
    is_top: bool,
}

fn own_group(mounts: &str, groups: &str) -> Option<OwnGroup> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let mut fields = mount.split(' ');
    let (root, at) = (fields.nth(3)?, fields.next()?);
    // A mount of a part of the tree, as in a container that shares the machine's view.
    let path = path.strip_prefix(root.trim_start_matches('/'))?.trim_start_matches('/');
    let directory = if path.is_empty() { PathBuf::from(at) } else { Path::new(at).join(path) };
    Some(OwnGroup { directory, is_top: path.is_empty() })
}

/// Whether it was given to us: to the container as its top, by ownership, or by the mark of the service manager.
fn may_use(own: &OwnGroup) -> Result<(), String> {
    let directory = &own.directory;
    if !directory.join("cgroup.events").exists() {
        return Err("this process stands in the root of the machine's control groups".to_owned());
    }
    if !directory.join("cgroup.kill").exists() {
        return Err("the kernel is older than 5.14: a control group cannot be killed".to_owned());
    }
    let is_writable = |file: &str| access(directory.join(file), Access::WRITE_OK).is_ok();
    if !["", "cgroup.procs", "cgroup.subtree_control"].into_iter().all(is_writable) {
        return Err(format!("{} may not be changed by us", directory.display()));
    }
    let uid = |path: &Path| fs::metadata(path).map_or(0, |found| found.uid());
    let us = geteuid().as_raw();
    let is_border =
        us != 0 && uid(directory) == us && directory.parent().is_some_and(|above| uid(above) != us);
    let has_mark = ["user.delegate", "trusted.delegate"].into_iter().any(|name| {
        let mut value = [0_u8; 1];
        getxattr(directory, name, &mut value[..]).is_ok_and(|length| length == 1) && value == *b"1"
    });
    if own.is_top || is_border || has_mark {
        return Ok(());
    }
    Err(format!("{} is not delegated to us (Delegate=yes)", directory.display()))
}

/// The number behind a name, in a file of names and numbers.
fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::SystemClock;

    #[test]
    fn the_own_group_is_found_whatever_is_mounted() {
        let hybrid = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let pure = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let part = "30 23 0:26 /pod/a /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let at = |directory: &str, is_top| Some(OwnGroup { directory: directory.into(), is_top });
        assert_eq!(own_group(hybrid, "4:memory:/x\n0::/\n"), at("/sys/fs/cgroup/unified", true));
        assert_eq!(
            own_group(pure, "0::/system.slice/beadle.service\n"),
            at("/sys/fs/cgroup/system.slice/beadle.service", false)
        );
        assert_eq!(own_group(part, "0::/pod/a\n"), at("/sys/fs/cgroup", true));
        assert_eq!(own_group(part, "0::/elsewhere\n"), None);
        assert_eq!(own_group("", "0::/\n"), None);
        assert_eq!(own_group(pure, "4:memory:/x\n"), None);
    }

    #[test]
    fn limits_and_accounts_are_the_kernel_s_files() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("beadle-x");
        fs::create_dir(&place).unwrap();
        let limits = AttemptLimits { memory_bytes: Some(64 << 20), processes_count: Some(9) };
        let cgroup = Cgroup { place: place.clone(), limits };
        fs::write(place.join("cgroup.subtree_control"), "pids\n").unwrap();
        assert_eq!(cgroup.missing_limits(), ["`job.memory_max` needs the controller memory"]);
        // The kernel makes these files with the directory; here nobody does, and none is made by us.
        let bare = cgroup.leaf("attempt_1").unwrap();
        assert_eq!(fs::read_dir(bare.path()).unwrap().count(), 0);
        assert_eq!(bare.account(), LeafAccount::default());
        fs::write(bare.path().join("cpu.stat"), "usage_usec 30\nuser_usec 20\nsystem_usec 10\n").unwrap();
        fs::write(bare.path().join("memory.peak"), "4096\n").unwrap();
        fs::write(bare.path().join("memory.events"), "low 0\noom 2\noom_kill 1\noom_group_kill 1\n").unwrap();
        fs::write(bare.path().join("memory.max"), "").unwrap();
        bare.put("memory.max", "77").unwrap();
        assert_eq!(fs::read_to_string(bare.path().join("memory.max")).unwrap(), "77");
        let cpu = Some((Duration::from_micros(20), Duration::from_micros(10)));
        let expected = LeafAccount { cpu, peak_memory_bytes: Some(4_096), out_of_memory_count: 1 };
        assert_eq!(bare.account(), expected);
        assert!(!bare.is_populated());
        fs::write(bare.path().join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        assert!(bare.is_populated());
        fs::remove_file(bare.path().join("cgroup.events")).unwrap();
        assert_eq!(cgroup.clear(&SystemClock).unwrap(), 0);
    }
}
