//! Owns whether parameters fit their task's schema, and the command that they make of it. A schema is compiled once
//! for all jobs of a request; it is never looked for anywhere but in the task, and its patterns take linear time.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::domain::command::Command;
use crate::domain::parameters::{complete, fill, refused};
use crate::domain::parameters_schema;
use crate::domain::rejection::Rejection;
use crate::domain::scalars::Json;
use crate::domain::task::Task;

/// Bytes that one compiled pattern may take, and the cache that it is matched with.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// Errors that one refusal names.
const ERRORS_MAX: usize = 3;
/// Bytes of each.
const ERROR_BYTES_MAX: usize = 200;
/// Values of a schema times bytes of parameters: beyond this nobody looks for each error, there may be as many.
const DETAIL_MAX: usize = 4 * 1024 * 1024;

/// A task that jobs are made of.
#[derive(Debug)]
pub struct RunnableTask {
    /// The task.
    pub task: Task,
    schema: Option<Schema>,
}

#[derive(Debug)]
struct Schema {
    validator: Validator,
    parts: usize,
}

impl RunnableTask {
    /// The task with its schema compiled.
    pub fn new(task: Task) -> Result<RunnableTask, Rejection> {
        let schema = task.definition.parameters_schema.as_ref().map(compile).transpose()?;
        Ok(RunnableTask { task, schema })
    }

    /// What a job of it runs and is told: `given` with the schema's defaults, checked, and put into the command.
    pub fn resolve(&self, given: Option<Json>) -> Result<(Command, Option<Json>), Rejection> {
        let definition = &self.task.definition;
        let is_told = given.is_some() || self.schema.is_some();
        let parameters = complete(definition.parameters_schema.as_ref(), given)?;
        let Some(schema) = &self.schema else {
            return Ok((definition.command.clone(), is_told.then_some(Json(Value::Object(parameters)))));
        };
        let parameters = Value::Object(parameters);
        if !schema.validator.is_valid(&parameters) {
            return Err(schema.refusal(&parameters));
        }
        let Value::Object(parameters) = parameters else { unreachable!("an object was put in") };
        Ok((fill(&definition.command, &parameters)?, Some(Json(Value::Object(parameters)))))
    }
}

/// Parameters of a command that is no task's: an object, within bounds.
pub fn free(given: Option<Json>) -> Result<Option<Json>, Rejection> {
    let is_told = given.is_some();
    let parameters = complete(None, given)?;
    Ok(is_told.then_some(Json(Value::Object(parameters))))
}

/// A schema that jobs can be checked by, else a refusal of it.
pub fn check_schema(schema: &Json) -> Result<(), Rejection> {
    compile(schema).map(|_| ())
}

fn compile(schema: &Json) -> Result<Schema, Rejection> {
    let mut plain = schema.0.clone();
    if let Value::Object(fields) = &mut plain {
        // Nothing leads to its name: what leads into it begins with `#`.
        fields.remove("$id");
    }
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    let validator = jsonschema::options().offline().with_pattern_options(patterns).build(&plain);
    let validator = validator.map_err(|error| {
        let at = error.instance_path().as_str();
        let place = if at.is_empty() { "its top" } else { at };
        let message = format!("is no JSON Schema: {} (at {place})", cut(&error.to_string()));
        Rejection::invalid("parametersSchema", message)
    })?;
    Ok(Schema { validator, parts: parameters_schema::parts(schema) })
}

impl Schema {
    /// What is wrong, by JSON pointer; a value that does not fit is never repeated, it may be a secret.
    fn refusal(&self, parameters: &Value) -> Rejection {
        if self.parts.saturating_mul(parameters.to_string().len()) > DETAIL_MAX {
            return refused(&[], "do not fit the schema of the task; they are too many to say where");
        }
        let errors: Vec<_> = self.validator.iter_errors(parameters).take(ERRORS_MAX).map(place).collect();
        let told: Vec<_> = errors.iter().map(|(pointer, what)| format!("{pointer} {what}")).collect();
        let steps: Vec<_> = errors.first().map(|(pointer, _)| steps(pointer)).unwrap_or_default();
        let steps: Vec<_> = steps.iter().map(String::as_str).collect();
        refused(&steps, told.join("; "))
    }
}

/// The pointer of an error, down to a name that is missing or not expected, and what is wrong there.
fn place(error: ValidationError<'_>) -> (String, String) {
    let pointer = error.instance_path().as_str().to_owned();
    let below = |name: &str| format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
    match error.kind() {
        ValidationErrorKind::Required { property: Value::String(name) } => {
            (cut(&below(name)), "is required".to_owned())
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected }
            if let Some(name) = unexpected.first() =>
        {
            (cut(&below(name)), "is not expected".to_owned())
        }
        _ => {
            let what = cut(&error.masked_with("this").to_string());
            let pointer = if pointer.is_empty() { "the whole object".to_owned() } else { cut(&pointer) };
            (pointer, format!("does not fit: {what}"))
        }
    }
}

/// The steps of a pointer; what is no pointer has none.
fn steps(pointer: &str) -> Vec<String> {
    let Some(steps) = pointer.strip_prefix('/') else { return Vec::new() };
    steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(ERROR_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if end < text.len() { format!("{}..", &text[..end]) } else { text.to_owned() }
}

#[cfg(test)]
mod tests;
