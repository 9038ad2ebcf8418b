//! Owns the one table that says which grant each root field needs. A test refuses a field that is not listed.

use async_graphql::ComplexObject;

use crate::domain::access::{GrantVerb, Viewer};
use crate::domain::command::EnvironmentVariable;

/// The grant that a root field needs; `None` for a field that does not exist.
pub fn grant_for(field: &str) -> Option<GrantVerb> {
    Some(match field {
        "viewer" | "node" | "daemon" | "health" | "eventCursor" | "job" | "jobs" | "jobCounts" | "task"
        | "tasks" | "schedule" | "schedules" | "schedulePreview" | "queue" | "queues" | "workers"
        | "events" | "jobFollow" | "jobLog" => GrantVerb::Read,
        "jobEnqueue" | "jobEnqueueMany" | "jobRetry" | "jobBulkRetry" => GrantVerb::Enqueue,
        "jobCancel" | "jobBulkCancel" => GrantVerb::Cancel,
        "jobHold" | "jobRelease" | "jobUpdate" | "taskPut" | "taskArchive" | "schedulePut"
        | "schedulePause" | "scheduleResume" | "scheduleTrigger" | "scheduleDelete" | "queuePut"
        | "queuePause" | "queueResume" => GrantVerb::Operate,
        _ => return None,
    })
}

/// Whether the viewer may use all of these root fields; else which grant is missing.
pub fn permit(viewer: &Viewer, fields: &[&str]) -> Result<(), String> {
    for field in fields {
        // A field that does not exist is the validator's to refuse; a test holds the table against the schema.
        let Some(verb) = grant_for(field) else { continue };
        if !viewer.may(verb) {
            return Err(format!(
                "{field} needs the grant {verb:?}, which the token {} lacks",
                viewer.token_name
            ));
        }
        // A definition holds a command line, so whoever writes one must be allowed to run any.
        if *field == "taskPut" && !viewer.may(GrantVerb::Command) {
            return Err(format!(
                "taskPut needs the grant Command, which the token {} lacks",
                viewer.token_name
            ));
        }
    }
    Ok(())
}

#[ComplexObject]
impl EnvironmentVariable {
    /// The value; null when it is a secret.
    async fn value(&self) -> Option<&str> {
        (!self.is_secret).then_some(self.value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::Grant;
    use crate::domain::id::TokenId;

    fn viewer(verbs: &[GrantVerb]) -> Viewer {
        let grants =
            verbs.iter().map(|verb| Grant { verb: *verb, tasks: None, own_jobs_only: false }).collect();
        Viewer { token_id: TokenId(1), token_name: "t".to_owned(), grants }
    }

    #[test]
    fn every_root_field_of_the_schema_needs_a_grant() {
        let sdl = crate::graphql::sdl();
        let document = async_graphql::parser::parse_schema(sdl).unwrap();
        let mut count = 0;
        for definition in document.definitions {
            let async_graphql::parser::types::TypeSystemDefinition::Type(kind) = definition else { continue };
            let name = kind.node.name.node.to_string();
            let async_graphql::parser::types::TypeKind::Object(object) = kind.node.kind else { continue };
            if !["Query", "Mutation", "Subscription"].contains(&name.as_str()) {
                continue;
            }
            for field in object.fields {
                count += 1;
                let field = field.node.name.node.to_string();
                assert!(grant_for(&field).is_some(), "{name}.{field} needs no grant");
                assert!(
                    permit(&viewer(&[]), &[&field]).is_err(),
                    "{name}.{field} is open to a token without grants"
                );
            }
        }
        assert!(count > 30);
    }

    #[test]
    fn a_token_for_jobs_cannot_write_command_lines() {
        assert!(permit(&viewer(&[GrantVerb::Operate]), &["taskPut"]).is_err());
        assert!(permit(&viewer(&[GrantVerb::Operate, GrantVerb::Command]), &["taskPut"]).is_ok());
        assert!(permit(&viewer(&[GrantVerb::Admin]), &["taskPut", "jobEnqueue"]).is_ok());
    }
}
