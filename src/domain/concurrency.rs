//! Owns the keys that jobs share a limit by: a key of their own, their task, or their schedule.

use std::fmt;

use super::id::{ScheduleId, TaskId};
use super::task::Task;

/// What jobs share a limit by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// The key that they were given, of the whole store.
    Key(String),
    /// Their task.
    Task(TaskId),
    /// The schedule that makes them one after another.
    Schedule(ScheduleId),
}

impl fmt::Display for LimitKey {
    /// As it stands in the store.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LimitKey::Key(key) => write!(f, "key:{key}"),
            LimitKey::Task(id) => write!(f, "task:{}", id.0),
            LimitKey::Schedule(id) => write!(f, "schedule:{}", id.0),
        }
    }
}

impl LimitKey {
    /// Reads what stands in the store.
    pub fn parse(text: &str) -> Option<LimitKey> {
        match text.split_once(':')? {
            ("key", key) => Some(LimitKey::Key(key.to_owned())),
            ("task", id) => id.parse().ok().map(|id| LimitKey::Task(TaskId(id))),
            ("schedule", id) => id.parse().ok().map(|id| LimitKey::Schedule(ScheduleId(id))),
            _ => None,
        }
    }

    /// The key by the caller's own word.
    pub fn given(&self) -> Option<&str> {
        match self {
            LimitKey::Key(key) => Some(key),
            LimitKey::Task(_) | LimitKey::Schedule(_) => None,
        }
    }
}

/// A key with how many jobs that share it may run at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLimit {
    /// What they share.
    pub key: LimitKey,
    /// Jobs that may run at once, 1 or more.
    pub limit: i32,
}

impl KeyLimit {
    /// What a job shares its limit by: its own key, one at a time unless its task says how many, else its task, where
    /// that has a limit.
    pub fn of(key: Option<String>, task: Option<&Task>) -> Option<KeyLimit> {
        let of_task = task.and_then(|task| task.definition.concurrency_limit);
        match (key, task) {
            (Some(key), _) => Some(KeyLimit { key: LimitKey::Key(key), limit: of_task.unwrap_or(1) }),
            (None, Some(task)) => of_task.map(|limit| KeyLimit { key: LimitKey::Task(task.id), limit }),
            (None, None) => None,
        }
    }

    /// What a job that is made anew shares its limit by: the same key, with what its task says of it now.
    pub fn again(key: LimitKey, task: Option<&Task>) -> KeyLimit {
        let of_task = task.and_then(|task| task.definition.concurrency_limit);
        let limit = match &key {
            // A task that has no limit any more limits nothing.
            LimitKey::Task(_) => of_task.unwrap_or(i32::MAX),
            LimitKey::Key(_) => of_task.unwrap_or(1),
            LimitKey::Schedule(_) => 1,
        };
        KeyLimit { key, limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_made_anew_keeps_its_key_whatever_became_of_its_task() {
        let (id, key) = (TaskId(7), || "k".to_owned());
        for (key, limit) in [
            (LimitKey::Task(id), i32::MAX),
            (LimitKey::Key(key()), 1),
            (LimitKey::Schedule(ScheduleId(1)), 1),
        ] {
            assert_eq!(KeyLimit::again(key.clone(), None), KeyLimit { key, limit });
        }
        assert_eq!(KeyLimit::of(Some(key()), None), Some(KeyLimit { key: LimitKey::Key(key()), limit: 1 }));
        assert_eq!(KeyLimit::of(None, None), None);
    }

    #[test]
    fn a_key_reads_back_whatever_it_holds() {
        for key in [
            LimitKey::Key("a:b".to_owned()),
            LimitKey::Key(String::new()),
            LimitKey::Task(TaskId(7)),
            LimitKey::Schedule(ScheduleId(7)),
        ] {
            assert_eq!(LimitKey::parse(&key.to_string()), Some(key));
        }
        for bad in ["", "key", "task:x", "schedule:", "other:1"] {
            assert_eq!(LimitKey::parse(bad), None, "{bad}");
        }
    }
}
