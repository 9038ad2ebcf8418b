//! Owns the token rows: digests of secrets, never the secrets.

use serde_json::{Value, json};

use super::Reader;
use super::db::{Kind, Row, Sql};
use super::fault::{Fault, Result};
use super::ids::Numbered;
use super::jobs::text;
use super::page::{self, Page};
use super::writer::{Batch, Change, Outcome};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::access::{Grant, Viewer};
use crate::domain::event::{EventType, NewEvent};
use crate::domain::id::TokenId;
use crate::domain::limits::TOKENS_MAX;
use crate::domain::rejection::{Rejection, UserErrorCode};
use crate::domain::token::{NewToken, Token};

const PUT: Sql = Sql::both(
    "INSERT INTO tokens (id, name, digest, grants, created_at_us) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (name) DO UPDATE
     SET digest = excluded.digest, grants = excluded.grants, revoked_at_us = NULL, expires_at_us = NULL",
    &[Kind::Int, Kind::Text, Kind::Text, Kind::Text, Kind::Int],
);

/// Makes a token, or gives the one of this name another secret.
#[derive(Debug)]
pub struct PutToken {
    /// The token's name.
    pub name: String,
    /// SHA-256 of the secret, as hex.
    pub digest: String,
    /// What it may do.
    pub grants: Vec<Grant>,
}

impl Change for PutToken {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        let id = batch.draw(Numbered::Token).await?;
        let values = args![id, &self.name, &self.digest, text(&self.grants), batch.now.0];
        batch.tx.execute(&PUT, &values).await?;
        Ok(())
    }
}

const NAMED: Sql = Sql::both("SELECT id FROM tokens WHERE name = $1", &[Kind::Text]);

const COUNT_VALID: Sql = Sql::both(
    "SELECT count(*) FROM tokens
     WHERE revoked_at_us IS NULL AND (expires_at_us IS NULL OR expires_at_us > $1)",
    &[Kind::Int],
);

const INSERT: Sql = Sql::both(
    "INSERT INTO tokens (id, name, digest, grants, created_at_us, created_by, expires_at_us)
     VALUES ($1, $2, $3, $4, $5, $6, $7)",
    &[Kind::Int, Kind::Text, Kind::Text, Kind::Text, Kind::Int, Kind::Text, Kind::Int],
);

/// Makes a token.
#[derive(Debug)]
pub struct CreateToken {
    /// What it is.
    pub token: NewToken,
    /// SHA-256 of its secret, as hex.
    pub digest: String,
    /// Who asks.
    pub actor: String,
}

impl Change for CreateToken {
    type Answer = TokenId;

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<TokenId> {
        let NewToken { name, grants, expires_in } = &self.token;
        if batch.tx.optional(&NAMED, &args![name]).await?.is_some() {
            let message = format!("there is a token named {name} already, or there was one");
            return Err(Rejection::at(UserErrorCode::AlreadyExists, "name", message).into());
        }
        let now = batch.now;
        let valid: i64 = page::one(batch.tx.optional(&COUNT_VALID, &args![now.0]).await?)?.get(0)?;
        if valid >= TOKENS_MAX {
            let message = format!("{TOKENS_MAX} tokens are valid already: revoke one first");
            return Err(Rejection::new(UserErrorCode::Conflict, message).into());
        }
        let id = TokenId(batch.draw(Numbered::Token).await?);
        let expires_at = expires_in.map(|span| now.plus_millis(span.millis()));
        let grants_text = text(grants);
        let ends = expires_at.map(|at| at.0);
        let values = args![id.0, name, &self.digest, grants_text, now.0, &self.actor, ends];
        batch.tx.execute(&INSERT, &values).await?;
        let expires_at = expires_at.map(|at| at.to_string());
        let data = json!({"action": "CREATE", "token": name, "grants": grants, "expiresAt": expires_at});
        batch.emit(changed(id, &self.actor, data));
        Ok(id)
    }
}

const LOCK: Sql = Sql::each(
    "SELECT name, revoked_at_us FROM tokens WHERE id = $1",
    "SELECT name, revoked_at_us FROM tokens WHERE id = $1 FOR UPDATE",
    &[Kind::Int],
);

// Locked in one order, so that two daemons cannot each take the other's last administrator away.
const ADMINS: Sql = Sql::each(
    "SELECT id FROM tokens
     WHERE revoked_at_us IS NULL AND (expires_at_us IS NULL OR expires_at_us > $1)
       AND EXISTS (SELECT 1 FROM jsonb_each(tokens.grants) AS g WHERE g.value ->> 'verb' = 'ADMIN')
     ORDER BY id",
    "SELECT id FROM tokens
     WHERE revoked_at_us IS NULL AND (expires_at_us IS NULL OR expires_at_us > $1)
       AND EXISTS (SELECT 1 FROM jsonb_each(tokens.grants) AS g WHERE g.value ->> 'verb' = 'ADMIN')
     ORDER BY id
     FOR UPDATE",
    &[Kind::Int],
);

const REVOKE: Sql = Sql::both(
    "UPDATE tokens SET revoked_at_us = $2 WHERE id = $1 AND revoked_at_us IS NULL",
    &[Kind::Int, Kind::Int],
);

/// Makes a token invalid for good. One that is revoked already stays as it is.
#[derive(Debug)]
pub struct RevokeToken {
    /// The token.
    pub id: TokenId,
    /// Who asks.
    pub actor: String,
}

impl Change for RevokeToken {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        let now = batch.now.0;
        let admins = batch.tx.rows(&ADMINS, &args![now]).await?;
        let Some(row) = batch.tx.optional(&LOCK, &args![self.id.0]).await? else {
            let message = format!("there is no token {}", self.id);
            return Err(Rejection::at(UserErrorCode::NotFound, "id", message).into());
        };
        let name: String = row.get(0)?;
        if row.get::<Option<i64>>(1)?.is_some() {
            return Ok(());
        }
        let admins = admins.iter().map(|row| row.get::<i64>(0)).collect::<Result<Vec<_>>>()?;
        if admins == [self.id.0] {
            let message =
                format!("{name} is the last valid token with the ADMIN grant: make another one first");
            return Err(Rejection::at(UserErrorCode::Conflict, "id", message).into());
        }
        batch.tx.execute(&REVOKE, &args![self.id.0, now]).await?;
        batch.emit(changed(self.id, &self.actor, json!({"action": "REVOKE", "token": name})));
        Ok(())
    }
}

fn changed(id: TokenId, actor: &str, data: Value) -> NewEvent {
    NewEvent {
        kind: EventType::TokenChanged,
        actor: actor.to_owned(),
        subject_id: Some(id.to_string()),
        job_id: None,
        task_name: None,
        queue_name: None,
        data: data.into(),
    }
}

const USED: Sql = Sql::both("UPDATE tokens SET last_used_at_us = $2 WHERE id = $1", &[Kind::Int, Kind::Int]);

/// Notes when a token was last used.
#[derive(Debug)]
pub struct NoteTokenUse {
    /// The token.
    pub id: TokenId,
    /// When.
    pub at: Timestamp,
}

impl Change for NoteTokenUse {
    type Answer = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Outcome<()> {
        batch.tx.execute(&USED, &args![self.id.0, self.at.0]).await?;
        Ok(())
    }
}

macro_rules! token_columns {
    () => {
        "id, name, grants, created_at_us, created_by, expires_at_us, last_used_at_us, revoked_at_us"
    };
}

fn token_from(row: &Row) -> Result<Token> {
    let id = TokenId(row.get(0)?);
    let instant = |at: usize| Ok::<_, Fault>(row.get::<Option<i64>>(at)?.map(Timestamp));
    Ok(Token {
        id,
        name: row.get(1)?,
        grants: grants(&row.get::<String>(2)?, id)?,
        created_at: Timestamp(row.get(3)?),
        created_by: row.get(4)?,
        expires_at: instant(5)?,
        last_used_at: instant(6)?,
        revoked_at: instant(7)?,
    })
}

fn grants(text: &str, id: TokenId) -> Result<Vec<Grant>> {
    serde_json::from_str(text).map_err(|_| Fault::unreadable("the grants", id))
}

const BY_DIGEST: Sql = Sql::both(
    "SELECT id, name, grants, expires_at_us FROM tokens
     WHERE digest = $1 AND revoked_at_us IS NULL AND (expires_at_us IS NULL OR expires_at_us > $2)",
    &[Kind::Text, Kind::Int],
);

const KNOWN: Sql = Sql::both("SELECT count(*) FROM tokens WHERE digest = $1", &[Kind::Text]);

const COUNT_REVOKED: Sql = Sql::both("SELECT count(*) FROM tokens WHERE revoked_at_us IS NOT NULL", &[]);

const BY_ID: Sql =
    Sql::both(concat!("SELECT ", token_columns!(), " FROM tokens WHERE id = $1"), &[Kind::Int]);

const LIST: Sql = Sql::both(
    concat!("SELECT ", token_columns!(), " FROM tokens WHERE name > $1 ORDER BY name LIMIT $2"),
    &[Kind::Text, Kind::Int],
);

impl Reader {
    /// Who holds the secret with this digest, if it is valid now. The look-up is by digest, so its time tells
    /// nothing of the secret.
    pub async fn viewer(&self, digest: &str, now: Timestamp) -> Result<Option<Viewer>> {
        let Some(row) = self.db.optional(&BY_DIGEST, &args![digest, now.0]).await? else { return Ok(None) };
        let id = TokenId(row.get(0)?);
        Ok(Some(Viewer {
            token_id: id,
            token_name: row.get(1)?,
            grants: grants(&row.get::<String>(2)?, id)?,
            expires_at: row.get::<Option<i64>>(3)?.map(Timestamp),
        }))
    }

    /// Whether there is or was a token with this digest, valid or not.
    pub async fn knows_token(&self, digest: &str) -> Result<bool> {
        Ok(page::one(self.db.optional(&KNOWN, &args![digest]).await?)?.get::<i64>(0)? > 0)
    }

    /// How many tokens were revoked.
    pub async fn revoked_tokens(&self) -> Result<i64> {
        page::one(self.db.optional(&COUNT_REVOKED, &[]).await?)?.get(0)
    }

    /// The token of this id.
    pub async fn token(&self, id: TokenId) -> Result<Option<Token>> {
        self.db.optional(&BY_ID, &args![id.0]).await?.map(|row| token_from(&row)).transpose()
    }

    /// A page of tokens by name, behind the name `after`; revoked and expired ones too.
    pub async fn tokens(&self, after: &str, limit: usize) -> Result<Page<Token>> {
        let rows = self.db.rows(&LIST, &args![after, page::one_more(limit)]).await?;
        let read = |row: &Row| token_from(row).map(|token| (token.name.clone(), token));
        Ok(Page::cut(rows.iter().map(read).collect::<Result<_>>()?, limit))
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[
    &PUT,
    &NAMED,
    &COUNT_VALID,
    &INSERT,
    &LOCK,
    &ADMINS,
    &REVOKE,
    &USED,
    &BY_DIGEST,
    &KNOWN,
    &COUNT_REVOKED,
    &BY_ID,
    &LIST,
];
