//! Owns lists that write themselves: a page of rows becomes JSON in one pass over the selection, without a value, a map
//! entry and a future for each field. Introspection sees an ordinary list. What has no column is resolved as ever, all
//! rows at once, so that loaders still read many in one. Whatever is unusual goes the ordinary way as a whole. It must
//! never write for somebody who did not say that ready JSON is understood.

use std::borrow::Cow;

use async_graphql::parser::types::{Field, Selection, SelectionSet};
use async_graphql::registry::Registry;
use async_graphql::resolver_utils::resolve_list;
use async_graphql::{ContainerType, ContextSelectionSet, OutputType, Positioned, ServerResult, Value};
use futures_util::future::try_join_all;

use crate::domain::encode;

/// In the data of a request: its answer is written by [`encode`], and none of its selections are joined under one key.
#[derive(Debug, Clone, Copy)]
pub struct ReadyJson;

/// Writes one plain field of a row.
pub type Column<T> = fn(&T, &mut String);

/// A type whose plain fields write themselves.
pub trait Row: ContainerType + Sized {
    /// The column of a field; `None` for one that is resolved as ever. A field with a guard must have none: guards are
    /// not asked here.
    fn column(field: &str) -> Option<Column<Self>>;
}

/// A list of rows.
#[derive(Debug)]
pub struct RowRefs<'a, T>(Vec<&'a T>);

/// One row inside another.
#[derive(Debug, Clone)]
pub struct OneRow<T>(pub T);

impl<'a, T> FromIterator<&'a T> for RowRefs<'a, T> {
    fn from_iter<I: IntoIterator<Item = &'a T>>(rows: I) -> RowRefs<'a, T> {
        RowRefs(rows.into_iter().collect())
    }
}

impl<T: Row> OutputType for RowRefs<'_, T> {
    fn type_name() -> Cow<'static, str> {
        <Vec<T> as OutputType>::type_name()
    }

    fn qualified_type_name() -> String {
        <Vec<T> as OutputType>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <Vec<T> as OutputType>::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        write_list(ctx, field, &self.0).await
    }
}

impl<T: Row> OutputType for OneRow<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn qualified_type_name() -> String {
        T::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let Some(plan) = Plan::of(ctx) else { return self.0.resolve(ctx, field).await };
        let values = plan.resolve(ctx, &self.0).await?;
        let mut json = String::with_capacity(plan.bytes());
        plan.write(&self.0, values, &mut json);
        Ok(Value::Binary(json.into()))
    }
}

async fn write_list<T: Row>(
    ctx: &ContextSelectionSet<'_>,
    field: &Positioned<Field>,
    rows: &[&T],
) -> ServerResult<Value> {
    let Some(plan) = Plan::<T>::of(ctx) else {
        return resolve_list(ctx, field, rows.iter().copied(), Some(rows.len())).await;
    };
    // Before anything is written, so that they are all under way at the same time.
    let values = if plan.resolves() {
        let plan = &plan;
        let each = rows.iter().enumerate().map(|(index, row)| async move {
            let ctx = ctx.with_index(index);
            plan.resolve(&ctx, row).await.map_err(|error| ctx.set_error_path(error))
        });
        try_join_all(each).await?
    } else {
        Vec::new()
    };
    let mut json = String::with_capacity(2 + rows.len() * plan.bytes());
    let mut values = values.into_iter();
    json.push('[');
    for row in rows {
        plan.write(row, values.next().unwrap_or_default(), &mut json);
        json.push(',');
    }
    encode::close(&mut json, ']');
    Ok(Value::Binary(json.into()))
}

/// What is written for each row, in order.
struct Plan<'a, T> {
    parts: Vec<Part<'a, T>>,
}

struct Part<'a, T> {
    field: &'a Positioned<Field>,
    /// The key as it is written.
    lead: String,
    way: Way<T>,
}

enum Way<T> {
    Column(Column<T>),
    TypeName,
    Resolved,
}

/// Bytes that a field takes, for a first guess.
const FIELD_BYTES: usize = 32;

impl<'a, T: Row> Plan<'a, T> {
    /// `None` when the rows have to go the ordinary way.
    fn of(ctx: &ContextSelectionSet<'a>) -> Option<Plan<'a, T>> {
        ctx.data_opt::<ReadyJson>()?;
        let mut plan = Plan { parts: Vec::new() };
        plan.add(ctx, &ctx.item.node)?;
        Some(plan)
    }

    fn add(&mut self, ctx: &ContextSelectionSet<'a>, set: &'a SelectionSet) -> Option<()> {
        let applies = |condition: &str| T::type_name() == condition;
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => self.add_field(field)?,
                Selection::InlineFragment(inline) => {
                    if let Some(condition) = &inline.node.type_condition
                        && !applies(&condition.node.on.node)
                    {
                        return None;
                    }
                    self.add(ctx, &inline.node.selection_set.node)?;
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = ctx.query_env.fragments.get(&spread.node.fragment_name.node)?;
                    if !applies(&fragment.node.type_condition.node.on.node) {
                        return None;
                    }
                    self.add(ctx, &fragment.node.selection_set.node)?;
                }
            }
        }
        Some(())
    }

    fn add_field(&mut self, field: &'a Positioned<Field>) -> Option<()> {
        // `@skip` and `@include` have been obeyed and taken away before.
        if !field.node.directives.is_empty() {
            return None;
        }
        let key = &field.node.response_key().node;
        let has_selections = |field: &Positioned<Field>| !field.node.selection_set.node.items.is_empty();
        if let Some(same) = self.parts.iter().find(|part| part.field.node.response_key().node == *key) {
            // Plain fields of one key are the same field.
            return (!has_selections(field) && !has_selections(same.field)).then_some(());
        }
        let name = field.node.name.node.as_str();
        let way = match T::column(name) {
            _ if name == "__typename" => Way::TypeName,
            Some(column) => Way::Column(column),
            None => Way::Resolved,
        };
        self.parts.push(Part { field, lead: format!("\"{key}\":"), way });
        Some(())
    }

    fn resolves(&self) -> bool {
        self.parts.iter().any(|part| matches!(part.way, Way::Resolved))
    }

    fn bytes(&self) -> usize {
        2 + self.parts.iter().map(|part| part.lead.len() + FIELD_BYTES).sum::<usize>()
    }

    /// The values of the fields that have no column.
    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, row: &T) -> ServerResult<Vec<Value>> {
        let resolved = self.parts.iter().filter(|part| matches!(part.way, Way::Resolved)).map(|part| async {
            let ctx = ctx.with_field(part.field);
            Ok(row.resolve_field(&ctx).await?.unwrap_or_default())
        });
        try_join_all(resolved).await
    }

    fn write(&self, row: &T, values: Vec<Value>, json: &mut String) {
        let mut values = values.into_iter();
        json.push('{');
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                json.push(',');
            }
            json.push_str(&part.lead);
            match part.way {
                Way::Column(write) => write(row, json),
                Way::TypeName => encode::text(&T::type_name(), json),
                Way::Resolved => encode::value(&values.next().unwrap_or_default(), json),
            }
        }
        json.push('}');
    }
}
