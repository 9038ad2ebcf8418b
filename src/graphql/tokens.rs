//! Owns the token in the API. A secret is shown once, in the answer to its making, and never again.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object, SimpleObject};

use super::context::ApiContext;
use super::errors::fault;
use super::list_cost;
use super::pages::{TokenConnection, name_position, page_size};
use super::payloads::{TokenRevokePayload, split, told};
use crate::domain::event::EventCursor;
use crate::domain::id::TokenId;
use crate::domain::rejection::Rejection;
use crate::domain::token::{Token, TokenCreateInput};

#[ComplexObject]
impl Token {
    /// The global id.
    pub async fn id(&self) -> ID {
        self.id.into()
    }
}

/// Reading tokens.
#[derive(Debug, Default)]
pub struct TokenQuery;

#[Object]
impl TokenQuery {
    /// Tokens by name, revoked and expired ones too.
    #[graphql(complexity = "list_cost(first, child_complexity)")]
    async fn tokens(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 50, desc = "How many, at most 200.")] first: i32,
        #[graphql(desc = "Behind this position.")] after: Option<String>,
    ) -> async_graphql::Result<TokenConnection> {
        let position = name_position(after.as_ref())?;
        TokenConnection::of(ctx.reader().tokens(position, page_size(first)?).await, after.as_ref())
    }
}

/// A token to be revoked.
#[derive(Debug, InputObject)]
pub struct TokenRevokeInput {
    /// The token.
    id: TokenId,
}

/// What `tokenCreate` answers.
#[derive(Clone, SimpleObject)]
pub struct TokenCreatePayload {
    /// The token.
    token: Option<Token>,
    /// What its holder presents. The secret is shown this once.
    secret: Option<String>,
    /// Behind the events of this change: subscribe after it and miss nothing.
    cursor: Option<EventCursor>,
    /// Expected refusals; empty when it was done.
    user_errors: Vec<Rejection>,
}

/// Changing tokens.
#[derive(Debug, Default)]
pub struct TokenMutation;

#[Object]
impl TokenMutation {
    /// Makes a token.
    async fn token_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token.")] input: TokenCreateInput,
    ) -> async_graphql::Result<TokenCreatePayload> {
        Ok(match split(ctx.engine().create_token(ctx.viewer()?, input).await)? {
            Ok(created) => TokenCreatePayload {
                token: ctx.reader().token(created.id).await.map_err(fault)?,
                secret: Some(created.secret),
                cursor: Some(created.cursor),
                user_errors: Vec::new(),
            },
            Err(refusals) => {
                TokenCreatePayload { token: None, secret: None, cursor: None, user_errors: told(refusals) }
            }
        })
    }

    /// Makes a token invalid for good, and closes whatever it holds open.
    async fn token_revoke(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token.")] input: TokenRevokeInput,
    ) -> async_graphql::Result<TokenRevokePayload> {
        let id = input.id;
        Ok(match split(ctx.engine().revoke_token(ctx.viewer()?, id).await)? {
            Ok(cursor) => TokenRevokePayload::done(ctx.reader().token(id).await.map_err(fault)?, cursor),
            Err(refusals) => TokenRevokePayload::refused(refusals),
        })
    }
}
