//! Owns `token`: who may come in, and what they may do.

use crate::client::answers::{Grant, TokenRow};
use crate::client::inputs::{GrantInput, TokenCreate};
use crate::client::operations::{self, PageOf};

use super::outcome::{Stop, accepted, exit};
use super::output::or_dash;
use super::{Context, input, pages};

/// Tokens listed at most.
const TOKENS_MAX: usize = 100_000;
/// The glob that stands for every task, and for ad hoc commands too.
const ALL: &str = "*";

/// `beadle token`.
#[derive(Debug, clap::Subcommand)]
pub enum TokenCommand {
    /// List the tokens, revoked and expired ones too
    Ls,
    /// Make a token and print its secret, which is shown this once
    Create(CreateArgs),
    /// Make a token invalid for good, and close whatever it holds open
    Revoke {
        /// The token: its name, or its id such as `token_7`
        #[arg(value_name = "NAME|ID")]
        token: String,
    },
}

/// `beadle token create`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct CreateArgs {
    /// Its name: the actor of whatever it does
    name: String,
    /// See everything but tokens
    #[arg(long, group = "what")]
    read: bool,
    /// Make jobs of the tasks that GLOB fits; may be repeated; '*' is every task
    #[arg(long, group = "what", value_name = "GLOB")]
    enqueue: Vec<String>,
    /// Cancel jobs of the tasks that GLOB fits; may be repeated; '*' is every job
    #[arg(long, group = "what", value_name = "GLOB")]
    cancel: Vec<String>,
    /// Narrow --read and --cancel to the jobs that the token makes
    #[arg(long)]
    own: bool,
    /// Change tasks, schedules and queues
    #[arg(long, group = "what")]
    operate: bool,
    /// Run any command line (with --enqueue), and write one into a task (with --operate)
    #[arg(long, group = "what")]
    command: bool,
    /// Everything, tokens too
    #[arg(long, group = "what")]
    admin: bool,
    /// How long it is valid [default: until it is revoked]
    #[arg(long, value_name = "LENGTH", value_parser = input::length)]
    expires_in: Option<String>,
}

/// One of the token commands.
pub fn token(context: &mut Context, command: TokenCommand) -> Result<u8, Stop> {
    match command {
        TokenCommand::Ls => list(context),
        TokenCommand::Create(args) => create(context, args),
        TokenCommand::Revoke { token } => revoke(context, &token),
    }
}

fn create(context: &mut Context, args: CreateArgs) -> Result<u8, Stop> {
    if args.own && !args.read && args.cancel.is_empty() {
        return Err(Stop::new(exit::USAGE, "--own narrows --read and --cancel: give one of them"));
    }
    let client = context.client()?;
    let (name, expires_in) = (args.name.clone(), args.expires_in.clone());
    let answer = operations::token_create(&client, &TokenCreate { name, grants: grants(args), expires_in })?;
    context.screen.data(&answer.data)?;
    let created = accepted(answer)?;
    // Alone on its line, so that a script can take it as it is.
    context.screen.line(&created.secret)?;
    Ok(exit::OK)
}

fn grants(args: CreateArgs) -> Vec<GrantInput> {
    let plain = |verb: &str| GrantInput { verb: verb.to_owned(), ..GrantInput::default() };
    let own = args.own.then_some(true);
    let mut grants = Vec::new();
    if args.read {
        grants.push(GrantInput { own_jobs_only: own, ..plain("READ") });
    }
    for (verb, globs, own) in [("ENQUEUE", args.enqueue, None), ("CANCEL", args.cancel, own)] {
        if !globs.is_empty() {
            let tasks = if globs.iter().any(|glob| glob == ALL) { Vec::new() } else { globs };
            grants.push(GrantInput { tasks, own_jobs_only: own, ..plain(verb) });
        }
    }
    for (verb, is_given) in [("OPERATE", args.operate), ("COMMAND", args.command), ("ADMIN", args.admin)] {
        if is_given {
            grants.push(plain(verb));
        }
    }
    grants
}

fn list(context: &mut Context) -> Result<u8, Stop> {
    let client = context.client()?;
    let answer = pages::collect("tokens", TOKENS_MAX, |first, after| {
        operations::tokens(&client, &PageOf { first, after, filter: () })
    })?;
    context.screen.data(&answer.data)?;
    let rows: Vec<_> = answer
        .value
        .iter()
        .map(|token| {
            [
                token.id.clone(),
                token.name.clone(),
                token.grants.iter().map(shown).collect::<Vec<_>>().join(", "),
                or_dash(token.last_used_at.as_ref()),
                or_dash(token.expires_at.as_ref()),
                or_dash(token.revoked_at.as_ref()),
            ]
        })
        .collect();
    context.screen.table(["ID", "NAME", "GRANTS", "LAST USED", "EXPIRES", "REVOKED"], &rows)?;
    Ok(exit::OK)
}

fn shown(grant: &Grant) -> String {
    let tasks = grant.tasks.as_ref().map(|globs| format!(" {}", globs.join(" "))).unwrap_or_default();
    let own = if grant.own_jobs_only { " (own)" } else { "" };
    format!("{}{tasks}{own}", grant.verb)
}

fn revoke(context: &mut Context, token: &str) -> Result<u8, Stop> {
    let client = context.client()?;
    let id = if is_id(token) {
        token.to_owned()
    } else {
        let known = pages::collect("tokens", TOKENS_MAX, |first, after| {
            operations::tokens(&client, &PageOf { first, after, filter: () })
        })?;
        let found = known.value.into_iter().find(|row: &TokenRow| row.name == token);
        found.ok_or_else(|| Stop::new(exit::NOT_FOUND, format!("there is no token {token:?}")))?.id
    };
    let answer = operations::token_revoke(&client, &id)?;
    context.screen.data(&answer.data)?;
    let row = accepted(answer)?.token;
    context.screen.line(&format!("{} {} revoked", row.id, row.name))?;
    Ok(exit::OK)
}

fn is_id(token: &str) -> bool {
    let digits = token.strip_prefix("token_").unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
}
