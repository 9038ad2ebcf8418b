//! Owns the task rows and their revisions.

use serde_json::json;

use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::ids::Numbered;
use super::jobs::text;
use super::page::{self, Page};
use super::writer::{Batch, Change, Outcome};
use super::{Reader, keys, queues};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::concurrency::LimitKey;
use crate::domain::event::{EventType, NewEvent};
use crate::domain::filter::TaskFilter;
use crate::domain::id::TaskId;
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::task::{Task, TaskPut, TaskRef};

macro_rules! task_columns {
    () => {
        "id, name, revision, definition, created_at_us, updated_at_us, archived_at_us"
    };
}

fn task_from(row: &Row) -> Result<Task> {
    let id: i64 = row.get(0)?;
    let definition: String = row.get(3)?;
    Ok(Task {
        id: TaskId(id),
        name: row.get(1)?,
        revision: i32::try_from(row.get::<i64>(2)?).unwrap_or(i32::MAX),
        definition: serde_json::from_str(&definition)
            .map_err(|_| Fault::unreadable("the definition", TaskId(id)))?,
        created_at: Timestamp(row.get(4)?),
        updated_at: Timestamp(row.get(5)?),
        archived_at: row.get::<Option<i64>>(6)?.map(Timestamp),
    })
}

const FIND: Sql = Sql::each(
    concat!(
        "SELECT ",
        task_columns!(),
        " FROM tasks WHERE ($1 IS NULL OR id = $1) AND ($2 IS NULL OR name = $2)"
    ),
    concat!(
        "SELECT ",
        task_columns!(),
        " FROM tasks
         WHERE ($1 IS NULL OR id = $1) AND ($2 IS NULL OR name = $2) FOR UPDATE"
    ),
    &[Kind::Int, Kind::Text],
);

/// Reads a task for a change.
pub(super) async fn find(batch: &mut Batch<'_>, task: &TaskRef) -> Result<Option<Task>> {
    let (id, name) = match task {
        TaskRef::Id(id) => (Some(id.0), None),
        TaskRef::Name(name) if !page::is_storable(name) => return Ok(None),
        TaskRef::Name(name) => (None, Some(name.clone())),
    };
    batch.tx.optional(&FIND, &args![id, name]).await?.map(|row| task_from(&row)).transpose()
}

const PUT: Sql = Sql::both(
    "INSERT INTO tasks (id, name, revision, queue, definition, search_text, created_at_us, updated_at_us)
     VALUES ($1, $2, $3, $4, $5, $7, $6, $6)
     ON CONFLICT (id) DO UPDATE
     SET revision = excluded.revision, queue = excluded.queue, definition = excluded.definition, search_text = excluded.search_text,
         updated_at_us = excluded.updated_at_us, archived_at_us = NULL",
    &[Kind::Int, Kind::Text, Kind::Int, Kind::Text, Kind::Text, Kind::Int, Kind::Text],
);

const PUT_REVISION: Sql = Sql::both(
    "INSERT INTO task_revisions (task_id, revision, definition, actor, created_at_us) VALUES ($1, $2, $3, $4, $5)",
    &[Kind::Int, Kind::Int, Kind::Text, Kind::Text, Kind::Int],
);

const ARCHIVE: Sql = Sql::both(
    "UPDATE tasks SET archived_at_us = $2, updated_at_us = $2 WHERE id = $1 AND archived_at_us IS NULL",
    &[Kind::Int, Kind::Int],
);

/// Makes a task or gives it a new revision; an equal definition changes nothing.
#[derive(Debug)]
pub struct PutTask {
    /// What it shall be.
    pub task: TaskPut,
    /// Who asks.
    pub actor: String,
}

impl Change for PutTask {
    type Answer = TaskId;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<TaskId> {
        let TaskPut { name, expected_revision, definition } = &self.task;
        let old = find(batch, &TaskRef::Name(name.clone())).await?;
        let stands_at = old.as_ref().map_or(0, |task| task.revision);
        if expected_revision.is_some_and(|expected| expected != stands_at) {
            let message = format!("the task stands at revision {stands_at}");
            return Err(Rejection::at(UserErrorCode::StaleRevision, "expectedRevision", message).into());
        }
        if !queues::exists(batch, &definition.queue_name).await? {
            let message = format!("there is no queue named {}", definition.queue_name);
            return Err(Rejection::at(UserErrorCode::NotFound, "queue", message).into());
        }
        if let Some(task) =
            old.as_ref().filter(|task| task.definition == *definition && task.archived_at.is_none())
        {
            return Ok(task.id);
        }
        let id = match &old {
            Some(task) => task.id,
            None => TaskId(batch.draw(Numbered::Task).await?),
        };
        let revision = stands_at + 1;
        let (body, now) = (text(definition), batch.now.0);
        let description = definition.description.as_deref().unwrap_or_default().to_ascii_lowercase();
        let search = format!("{} {description}", definition.command.search_text(name));
        let values = args![id.0, name, revision, &definition.queue_name, &body, now, search];
        batch.tx.execute(&PUT, &values).await?;
        // At once for the jobs that share the task's limit already.
        let limit = definition.concurrency_limit.unwrap_or(i32::MAX);
        keys::relimit(batch, &LimitKey::Task(id), limit).await?;
        batch.tx.execute(&PUT_REVISION, &args![id.0, revision, body, &self.actor, now]).await?;
        batch.emit(changed(id, name, &self.actor, json!({"action": "PUT", "revision": revision})));
        Ok(id)
    }
}

/// Takes a task out of use: it makes no more jobs, its history stays.
#[derive(Debug)]
pub struct ArchiveTask {
    /// Which task.
    pub task: TaskRef,
    /// Who asks.
    pub actor: String,
}

impl Change for ArchiveTask {
    type Answer = TaskId;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<TaskId> {
        let Some(task) = find(batch, &self.task).await? else {
            return Err(Rejection::at(UserErrorCode::NotFound, "ref", "there is no such task").into());
        };
        let changed_rows = batch.tx.execute(&ARCHIVE, &args![task.id.0, batch.now.0]).await?;
        if changed_rows > 0 {
            batch.emit(changed(task.id, &task.name, &self.actor, json!({"action": "ARCHIVE"})));
        }
        Ok(task.id)
    }
}

fn changed(id: TaskId, name: &str, actor: &str, data: serde_json::Value) -> NewEvent {
    NewEvent {
        kind: EventType::TaskChanged,
        actor: actor.to_owned(),
        subject_id: Some(id.to_string()),
        job_id: None,
        task_name: Some(name.to_owned()),
        queue_name: None,
        data: data.into(),
    }
}

const BY_ID: Sql = Sql::both(
    concat!(
        "SELECT ",
        task_columns!(),
        " FROM tasks
         WHERE id IN (SELECT CAST(atom AS BIGINT) FROM jsonb_each($1))"
    ),
    &[Kind::Text],
);

const BY_NAME: Sql =
    Sql::both(concat!("SELECT ", task_columns!(), " FROM tasks WHERE name = $1"), &[Kind::Text]);

const LIST: Sql = Sql::both(
    concat!(
        "SELECT ",
        task_columns!(),
        " FROM tasks
         WHERE name > $1
           AND ($2 IS NULL OR search_text LIKE $2 ESCAPE '\\')
           AND ($3 IS NULL OR queue IN (SELECT atom FROM jsonb_each($3)))
           AND ($4 = 1 OR archived_at_us IS NULL)
         ORDER BY name
         LIMIT $5"
    ),
    &[Kind::Text, Kind::Text, Kind::Text, Kind::Int, Kind::Int],
);

impl Reader {
    /// The tasks of these ids, in no order; unknown ones are left out.
    pub async fn tasks_by_id(&self, ids: &[TaskId]) -> Result<Vec<Task>> {
        let ids = page::numbers(Some(ids), |id| id.0);
        self.db.rows(&BY_ID, &args![ids]).await?.iter().map(task_from).collect()
    }

    /// The task, if it exists.
    pub async fn task(&self, task: &TaskRef) -> Result<Option<Task>> {
        match task {
            TaskRef::Id(id) => Ok(self.tasks_by_id(&[*id]).await?.pop()),
            TaskRef::Name(name) if !page::is_storable(name) => Ok(None),
            TaskRef::Name(name) => {
                self.db.optional(&BY_NAME, &args![name]).await?.map(|row| task_from(&row)).transpose()
            }
        }
    }

    /// A page of tasks by name, behind the name `after`.
    pub async fn tasks(&self, filter: &TaskFilter, after: &str, limit: usize) -> Result<Page<Task>> {
        let values = args![
            after,
            filter.text.as_deref().map(page::contains),
            page::words(filter.queues.as_deref(), Clone::clone),
            i64::from(filter.include_archived),
            page::one_more(limit),
        ];
        let rows = self.db.rows(&LIST, &values).await?;
        let read = |row: &Row| task_from(row).map(|task| (task.name.clone(), task));
        Ok(Page::cut(rows.iter().map(read).collect::<Result<_>>()?, limit))
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&FIND, &PUT, &PUT_REVISION, &ARCHIVE, &BY_ID, &BY_NAME, &LIST];
