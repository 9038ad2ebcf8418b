//! Owns the token as its administrators see it, and what may be asked of a new one. Its secret is never part of it.

use async_graphql::{InputObject, SimpleObject};

use super::access::{Grant, GrantVerb};
use super::duration::Span;
use super::id::TokenId;
use super::limits::{GLOBS_MAX, GRANTS_MAX, NAME_BYTES_MAX, SPAN_MILLIS_MAX};
use super::rejection::{Rejection, check_name, check_text};
use crate::base::clock::Timestamp;

/// Who may come in, and what they may do. The secret itself is not kept.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Token {
    /// Its row.
    #[graphql(skip)]
    pub id: TokenId,
    /// Its name, unique among all: the actor of what it does.
    pub name: String,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The token that made it; null for what the daemon made on its first start.
    pub created_by: Option<String>,
    /// When it stops being valid by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// One thing that a new token may do.
#[derive(Debug, Clone, InputObject)]
pub struct GrantInput {
    /// What.
    pub verb: GrantVerb,
    /// Globs of task names, `*` and `?` (ENQUEUE and CANCEL); null means all.
    pub tasks: Option<Vec<String>>,
    /// Only for jobs that the token made (READ and CANCEL).
    #[graphql(default)]
    pub own_jobs_only: bool,
}

/// A token to be made.
#[derive(Debug, Clone, InputObject)]
pub struct TokenCreateInput {
    /// Its name, unique among all that there ever were.
    pub name: String,
    /// What it may do; nothing else.
    pub grants: Vec<GrantInput>,
    /// How long it is valid; without it until it is revoked.
    pub expires_in: Option<Span>,
}

/// A token that may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// How long it is valid.
    pub expires_in: Option<Span>,
}

impl TokenCreateInput {
    /// The token that is meant, or what is wrong with it.
    pub fn check(self) -> Result<NewToken, Rejection> {
        check_name("name", &self.name)?;
        // Whoever revokes one by name must not mean another one by id.
        let digits = self.name.strip_prefix("token_").unwrap_or_default();
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Rejection::invalid("name", "must not look like an id of a token"));
        }
        if self.grants.is_empty() {
            return Err(Rejection::invalid("grants", "a token without a grant is of no use"));
        }
        if self.grants.len() > GRANTS_MAX {
            return Err(Rejection::invalid("grants", format!("at most {GRANTS_MAX} grants")));
        }
        if let Some(span) = self.expires_in
            && !(1..=SPAN_MILLIS_MAX).contains(&span.millis())
        {
            return Err(Rejection::invalid("expiresIn", "must be positive and at most 366 days"));
        }
        let grants = self.grants.into_iter().enumerate().map(|(at, grant)| grant.check(at));
        Ok(NewToken {
            name: self.name,
            grants: grants.collect::<Result<_, _>>()?,
            expires_in: self.expires_in,
        })
    }
}

impl GrantInput {
    fn check(self, at: usize) -> Result<Grant, Rejection> {
        let GrantInput { verb, tasks, own_jobs_only } = self;
        if tasks.is_some() && !matches!(verb, GrantVerb::Enqueue | GrantVerb::Cancel) {
            let path = format!("grants.{at}.tasks");
            return Err(Rejection::invalid(&path, "globs narrow ENQUEUE and CANCEL only"));
        }
        if own_jobs_only && !matches!(verb, GrantVerb::Read | GrantVerb::Cancel) {
            let path = format!("grants.{at}.ownJobsOnly");
            return Err(Rejection::invalid(&path, "own jobs narrow READ and CANCEL only"));
        }
        let count = tasks.as_ref().map_or(1, Vec::len);
        if !(1..=GLOBS_MAX).contains(&count) {
            let message = format!("give 1 to {GLOBS_MAX} globs, or null for all tasks");
            return Err(Rejection::invalid(&format!("grants.{at}.tasks"), message));
        }
        for (nth, pattern) in tasks.iter().flatten().enumerate() {
            let path = format!("grants.{at}.tasks.{nth}");
            check_text(&path, pattern, NAME_BYTES_MAX)?;
            if pattern.is_empty() {
                return Err(Rejection::invalid(&path, "an empty glob fits no task"));
            }
        }
        Ok(Grant { verb, tasks, own_jobs_only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(verb: GrantVerb) -> GrantInput {
        GrantInput { verb, tasks: None, own_jobs_only: false }
    }

    fn input(grants: Vec<GrantInput>) -> TokenCreateInput {
        TokenCreateInput { name: "ci".to_owned(), grants, expires_in: None }
    }

    fn path(input: TokenCreateInput) -> String {
        input.check().expect_err("it is wrong").path.expect("it has a path").join(".")
    }

    fn globs(verb: GrantVerb, globs: &[&str]) -> GrantInput {
        GrantInput { tasks: Some(globs.iter().map(|&one| one.to_owned()).collect()), ..grant(verb) }
    }

    #[test]
    fn what_is_wrong_with_a_new_token_is_named() {
        let read = || vec![grant(GrantVerb::Read)];
        assert!(input(read()).check().is_ok());
        assert_eq!(path(TokenCreateInput { name: String::new(), ..input(read()) }), "name");
        assert_eq!(path(TokenCreateInput { name: "a\0".to_owned(), ..input(read()) }), "name");
        assert_eq!(path(TokenCreateInput { name: "token_3".to_owned(), ..input(read()) }), "name");
        assert!(TokenCreateInput { name: "token_x".to_owned(), ..input(read()) }.check().is_ok());
        assert_eq!(path(input(Vec::new())), "grants");
        let full: Vec<_> = (0..GRANTS_MAX).map(|_| grant(GrantVerb::Read)).collect();
        assert!(input(full.clone()).check().is_ok());
        assert_eq!(path(input([full, read()].concat())), "grants");
        for millis in [0, -1, SPAN_MILLIS_MAX + 1] {
            let expires_in = Some(Span::from_millis(millis));
            assert_eq!(path(TokenCreateInput { expires_in, ..input(read()) }), "expiresIn");
        }
        let wide = vec!["a"; GLOBS_MAX];
        assert!(input(vec![globs(GrantVerb::Enqueue, &wide)]).check().is_ok());
        for (grants, expected) in [
            (vec![globs(GrantVerb::Enqueue, &[])], "grants.0.tasks"),
            (vec![globs(GrantVerb::Enqueue, &[&wide[..], &["b"]].concat())], "grants.0.tasks"),
            (vec![grant(GrantVerb::Read), globs(GrantVerb::Cancel, &["a", ""])], "grants.1.tasks.1"),
            (vec![globs(GrantVerb::Enqueue, &["a\0"])], "grants.0.tasks.0"),
            (vec![globs(GrantVerb::Enqueue, &[&"a".repeat(NAME_BYTES_MAX + 1)])], "grants.0.tasks.0"),
            (vec![globs(GrantVerb::Read, &["a"])], "grants.0.tasks"),
            (vec![globs(GrantVerb::Admin, &["a"])], "grants.0.tasks"),
            (vec![GrantInput { own_jobs_only: true, ..grant(GrantVerb::Enqueue) }], "grants.0.ownJobsOnly"),
        ] {
            assert_eq!(path(input(grants)), expected);
        }
    }
}
