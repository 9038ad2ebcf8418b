//! The public API: the domain's structs with their relations, mutations and subscriptions.
//! It reads through `store::Reader`, writes through `engine` only, and must never hold a rule of its own.

pub mod access;
pub mod attempts;
pub mod blockers;
pub mod bulk;
pub mod columns;
pub mod context;
pub mod errors;
pub mod estimates;
pub mod events;
pub mod incidents;
mod job_lists;
pub mod jobs;
pub mod judge;
pub mod loaders;
pub mod logs;
pub mod node;
pub mod pages;
pub mod payloads;
pub mod queues;
pub mod rows;
pub mod schedules;
pub mod sinks;
pub mod subscriptions;
pub mod system;
pub mod tasks;
pub mod tokens;
pub mod topics;
pub mod waiting;
pub mod workers;

use async_graphql::{MergedObject, SDLExportOptions, Schema, SchemaBuilder, ValidationMode};

use crate::engine::Engine;

/// The whole schema.
pub type ApiSchema = Schema<Query, Mutation, subscriptions::Subscription>;

/// Reading.
#[derive(Debug, Default, MergedObject)]
pub struct Query(
    node::NodeQuery,
    system::SystemQuery,
    events::EventQuery,
    jobs::JobQuery,
    tasks::TaskQuery,
    schedules::ScheduleQuery,
    queues::QueueQuery,
    workers::WorkerQuery,
    tokens::TokenQuery,
    incidents::IncidentQuery,
    sinks::SinkQuery,
);

/// Changing. Each field answers after its commit.
#[derive(Debug, Default, MergedObject)]
pub struct Mutation(
    jobs::JobMutation,
    bulk::BulkMutation,
    waiting::WaitingMutation,
    tasks::TaskMutation,
    schedules::ScheduleMutation,
    queues::QueueMutation,
    tokens::TokenMutation,
    incidents::IncidentMutation,
    sinks::SinkMutation,
);

/// Levels of selection in one document.
pub const DEPTH_MAX: usize = 16;
/// Cost of one document: a field costs one, a list its fields for each ten rows asked for.
pub const COMPLEXITY_MAX: usize = 1_000;
/// Directives on one field.
const DIRECTIVES_MAX: usize = 8;
/// Levels of fragments inside fragments.
const RECURSION_MAX: usize = 32;

fn builder() -> SchemaBuilder<Query, Mutation, subscriptions::Subscription> {
    Schema::build(Query::default(), Mutation::default(), subscriptions::Subscription)
        .register_output_type::<node::Node>()
        .limit_depth(DEPTH_MAX)
        .limit_complexity(COMPLEXITY_MAX)
        .limit_directives(DIRECTIVES_MAX)
        .limit_recursive_depth(RECURSION_MAX)
        .disable_suggestions()
}

/// The schema that serves. It runs documents that the judge found good and checks again only what depends on variables;
/// their values must have been checked against their definitions.
pub fn schema(engine: Engine) -> ApiSchema {
    let builder = builder().validation_mode(ValidationMode::Fast);
    builder.data(loaders::Loaders::new(&engine)).data(engine).finish()
}

/// The schema that judges documents by every rule and runs none.
pub fn judge() -> ApiSchema {
    builder().validation_mode(ValidationMode::Strict).extension(judge::Judge).finish()
}

/// The schema as text: what `schema.graphql` holds.
pub fn sdl() -> String {
    sdl_of(&builder().finish())
}

/// A schema as text.
pub fn sdl_of(schema: &ApiSchema) -> String {
    schema.sdl_with_options(SDLExportOptions::new().include_specified_by())
}

/// What a list of `first` rows costs, where each row costs `child`.
pub(crate) fn list_cost(first: i32, child: usize) -> usize {
    let tens = usize::try_from(first).unwrap_or(0).div_ceil(10).max(1);
    child.saturating_mul(tens).saturating_add(1)
}
