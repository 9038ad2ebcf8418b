//! Owns the token rows: digests of secrets, never the secrets.

use super::Reader;
use super::db::{Kind, Sql};
use super::fault::{Fault, Result};
use super::ids::Numbered;
use super::jobs::text;
use super::writer::{Batch, Change, Outcome};
use crate::args;
use crate::base::clock::Timestamp;
use crate::domain::access::{Grant, Viewer};
use crate::domain::id::TokenId;

const PUT: Sql = Sql::both(
    "INSERT INTO tokens (id, name, digest, grants, created_at_us) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, grants = excluded.grants, revoked_at_us = NULL",
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

const BY_DIGEST: Sql = Sql::both(
    "SELECT id, name, grants FROM tokens
     WHERE digest = $1 AND revoked_at_us IS NULL AND (expires_at_us IS NULL OR expires_at_us > $2)",
    &[Kind::Text, Kind::Int],
);

impl Reader {
    /// Who holds the secret with this digest, if it is valid now. The look-up is by digest, so its time tells
    /// nothing of the secret.
    pub async fn viewer(&self, digest: &str, now: Timestamp) -> Result<Option<Viewer>> {
        let Some(row) = self.db.optional(&BY_DIGEST, &args![digest, now.0]).await? else { return Ok(None) };
        let id: i64 = row.get(0)?;
        let grants: String = row.get(2)?;
        Ok(Some(Viewer {
            token_id: TokenId(id),
            token_name: row.get(1)?,
            grants: serde_json::from_str(&grants)
                .map_err(|_| Fault::unreadable("the grants", TokenId(id)))?,
        }))
    }
}

/// Every statement of this file, for the test that prepares them all.
pub(super) const STATEMENTS: &[&Sql] = &[&PUT, &BY_DIGEST];
