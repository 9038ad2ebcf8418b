//! Owns the ids: small integers, one type per noun, written with the noun's prefix (`job_1234`).

use std::fmt;

use async_graphql::{ID, InputType, InputValueError, InputValueResult, Value};

/// What every id type can do.
pub trait GlobalId: Copy {
    /// The noun before the underscore.
    const PREFIX: &'static str;
    /// From the number in the store.
    fn from_number(number: i64) -> Self;
    /// The number in the store.
    fn number(self) -> i64;

    /// Reads `job_1234` or `1234`; `None` for anything else.
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(Self::PREFIX).and_then(|rest| rest.strip_prefix('_')).unwrap_or(text);
        if digits.is_empty() || digits.len() > 18 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok().filter(|number| *number > 0).map(Self::from_number)
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl GlobalId for $name {
            const PREFIX: &'static str = $prefix;
            fn from_number(number: i64) -> Self { $name(number) }
            fn number(self) -> i64 { self.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl InputType for $name {
            type RawValueType = Self;
            fn type_name() -> std::borrow::Cow<'static, str> { <ID as InputType>::type_name() }
            fn create_type_info(registry: &mut async_graphql::registry::Registry) -> String {
                <ID as InputType>::create_type_info(registry)
            }
            fn parse(value: Option<Value>) -> InputValueResult<Self> {
                let text = <ID as InputType>::parse(value).map_err(InputValueError::propagate)?;
                // An id of another noun finds nothing: zero is never given to a row.
                Ok(<Self as GlobalId>::parse(&text).unwrap_or($name(0)))
            }
            fn to_value(&self) -> Value { Value::String(self.to_string()) }
            fn as_raw_value(&self) -> Option<&Self> { Some(self) }
        }
    )*};
}

ids! {
    /// A durable request to run something.
    JobId = "job";
    /// One execution of a job.
    AttemptId = "attempt";
    /// A named definition of what to run.
    TaskId = "task";
    /// A rule that makes jobs of a task.
    ScheduleId = "schedule";
    /// A named lane.
    QueueId = "queue";
    /// One daemon process that runs jobs.
    WorkerId = "worker";
    /// A credential.
    TokenId = "token";
    /// Failures with the same fingerprint.
    IncidentId = "incident";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_with_or_without_its_own_prefix_only() {
        assert_eq!(<JobId as GlobalId>::parse("job_12"), Some(JobId(12)));
        assert_eq!(<JobId as GlobalId>::parse("12"), Some(JobId(12)));
        for bad in
            ["", "job_", "task_12", "job_-1", "job_1x", "0", "job_0", "1234567890123456789", "job_job_1"]
        {
            assert_eq!(<JobId as GlobalId>::parse(bad), None, "{bad}");
        }
        assert_eq!(TaskId(7).to_string(), "task_7");
    }
}
