//! Owns the operations over tokens.

use serde_json::{Value, json};

use super::super::answers::{Answer, CreatedToken, Outcome, Page, TokenRow, Viewer, WithToken};
use super::super::inputs::TokenCreate;
use super::super::{Client, ClientError};
use super::{PageOf, TOKEN_CREATE, TOKEN_REVOKE, TOKENS, VIEWER, list, mutate, one};

/// Makes a token.
pub fn token_create(
    client: &Client,
    input: &TokenCreate,
) -> Result<Answer<Outcome<CreatedToken>>, ClientError> {
    mutate(client, TOKEN_CREATE, "tokenCreate", input)
}

/// Makes a token invalid for good.
pub fn token_revoke(client: &Client, id: &str) -> Result<Answer<Outcome<WithToken>>, ClientError> {
    mutate(client, TOKEN_REVOKE, "tokenRevoke", &json!({ "id": id }))
}

/// A page of tokens.
pub fn tokens(client: &Client, page: &PageOf<()>) -> Result<Answer<Page<TokenRow>>, ClientError> {
    list(client, TOKENS, "tokens", page)
}

/// Who we are there.
pub fn viewer(client: &Client) -> Result<Answer<Viewer>, ClientError> {
    one(client, VIEWER, "viewer", Value::Null, "the holder of this token")
}
