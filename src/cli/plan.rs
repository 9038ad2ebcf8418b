//! Owns `plan` and `apply`: what a definition file would change in the daemon, and doing it.
//! A second `apply` of the same file changes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::client::answers::{Answer, Page};
use crate::client::inputs::{Ref, Referred};
use crate::client::operations::{self, PageOf};
use crate::client::{Client, ClientError};

use super::outcome::{Stop, accepted, exit};
use super::site::{self, Action, Change, Noun, Present, Site};
use super::{Context, pages};

/// Things of one kind that are compared at most.
const THINGS_MAX: usize = 100_000;

/// `beadle plan` and `beadle apply`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// Files (*.toml, *.yaml, *.yml), folders of them, or - for TOML from stdin
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Also archive the tasks and remove the schedules that no file names; queues always stay
    #[arg(long)]
    prune: bool,
}

/// Shows what `apply` would change.
pub fn plan(context: &mut Context, args: &PlanArgs) -> Result<u8, Stop> {
    let site = site::load(&args.paths)?;
    let changes = compare(&context.client()?, site, args.prune)?;
    let data: Vec<_> = changes.iter().map(Change::json).collect();
    context.screen.data(&json!({ "changes": data }))?;
    for change in &changes {
        show(context, change)?;
        if change.action == Action::Keep && has_secrets(change) {
            context.screen.line("    values of secrets are not compared; apply sends them")?;
        }
    }
    context.screen.line(&sum(&changes, "to do"))?;
    Ok(exit::OK)
}

/// Makes the daemon be as the files say.
pub fn apply(context: &mut Context, args: &PlanArgs) -> Result<u8, Stop> {
    let site = site::load(&args.paths)?;
    apply_site(context, site, args.prune)
}

/// The same with what was read already.
pub fn apply_site(context: &mut Context, site: Site, prune: bool) -> Result<u8, Stop> {
    let missing: Vec<_> = site
        .values()
        .flat_map(|definition| definition.secrets().map(move |name| (name, &definition.place)))
        .filter(|(name, _)| secret(context, name).is_none())
        .map(|(name, place)| {
            format!("{place}: the variable {name} is not set here, and a task takes its value")
        })
        .collect();
    if !missing.is_empty() {
        return Err(Stop::new(exit::USAGE, missing.join("\n")));
    }
    let client = context.client()?;
    let mut changes = compare(&client, site, prune)?;
    let mut done = Vec::new();
    let mut failed = None;
    for change in &mut changes {
        if let Err(stop) = carry_out(context, &client, change) {
            failed = Some(Stop::new(
                stop.code,
                format!("{} {}: {}", change.noun.word(), change.name, stop.message),
            ));
            break;
        }
        show(context, change)?;
        done.push(change.json());
    }
    context.screen.data(&json!({ "changes": done, "isWhole": failed.is_none() }))?;
    let Some(stop) = failed else {
        context.screen.line(&sum(&changes, "done"))?;
        return Ok(exit::OK);
    };
    let left = changes[done.len()..].iter().filter(|change| change.is_needed()).count();
    let advice = format!("what stands above is done, {left} left; mend it and apply again");
    Err(Stop::new(stop.code, format!("{}\n{advice}", stop.message)))
}

fn secret(context: &Context, name: &str) -> Option<String> {
    let found = context.environment.iter().find(|(other, _)| other == name);
    found.map(|(_, value)| value.clone())
}

fn has_secrets(change: &Change) -> bool {
    change.definition.as_ref().is_some_and(|definition| definition.secrets().next().is_some())
}

fn compare(client: &Client, site: Site, prune: bool) -> Result<Vec<Change>, Stop> {
    let mut present = BTreeMap::new();
    for noun in Noun::ALL {
        // What nobody names needs no look, unless it is to go.
        if prune || site.keys().any(|(other, _)| *other == noun) {
            let rows = pages::collect(noun.section(), THINGS_MAX, |first, after| {
                page(client, noun, &PageOf { first, after, filter: () })
            })?;
            present.extend(rows.value.iter().map(|row| {
                let name = row["name"].as_str().unwrap_or_default().to_owned();
                ((noun, name), Present::of_answer(noun, row))
            }));
        }
    }
    Ok(site::changes(site, &present, prune))
}

fn page(client: &Client, noun: Noun, page: &PageOf<()>) -> Result<Answer<Page<Value>>, ClientError> {
    match noun {
        Noun::Queue => operations::plan_queues(client, page),
        Noun::Task => operations::plan_tasks(client, page),
        Noun::Schedule => operations::plan_schedules(client, page),
    }
}

/// Does one change. Of a task that keeps all we can compare, secrets are sent all the same: the daemon knows whether
/// they differ.
fn carry_out(context: &Context, client: &Client, change: &mut Change) -> Result<(), Stop> {
    let Some(definition) = &change.definition else {
        return remove(client, change);
    };
    if !change.is_needed() && !has_secrets(change) {
        return Ok(());
    }
    let value_of = |name: &str| secret(context, name).unwrap_or_default();
    let mut input = site::input(&definition.values, change.noun.keys(), definition.command_kind(), &value_of);
    input["name"] = json!(change.name);
    match change.noun {
        Noun::Queue => accepted(operations::define_queue(client, &input)?).map(|_| ()),
        Noun::Schedule => accepted(operations::define_schedule(client, &input)?).map(|_| ()),
        Noun::Task => {
            // What was compared is what is replaced: a change in between is refused.
            input["expectedRevision"] = json!(change.revision);
            let task = accepted(operations::define_task(client, &input)?)?.task;
            if task.revision != change.revision && change.action == Action::Keep {
                change.action = Action::Change;
            }
            Ok(())
        }
    }
}

fn remove(client: &Client, change: &Change) -> Result<(), Stop> {
    let input = Referred { r#ref: Ref::name(&change.name) };
    match change.noun {
        Noun::Schedule => accepted(operations::schedule_delete(client, &input)?).map(|_| ()),
        Noun::Task => accepted(operations::task_archive(client, &input)?).map(|_| ()),
        Noun::Queue => Ok(()),
    }
}

fn show(context: &mut Context, change: &Change) -> Result<(), Stop> {
    for line in change.lines() {
        context.screen.line(&line)?;
    }
    Ok(())
}

/// `1 to make, 2 to change, 3 as they are`, in words that fit before and after.
fn sum(changes: &[Change], when: &str) -> String {
    let count = |action: Action| changes.iter().filter(|change| change.action == action).count();
    let parts = [
        (count(Action::Create), "new"),
        (count(Action::Change), "changed"),
        (count(Action::Remove), "removed"),
        (count(Action::Keep), "unchanged"),
    ];
    let parts: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let head = if changes.iter().any(Change::is_needed) { when } else { "nothing to do" };
    if parts.is_empty() { head.to_owned() } else { format!("{head}: {}", parts.join(", ")) }
}
