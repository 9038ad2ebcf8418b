//! Owns the channel on which daemons over one PostgreSQL database tell each other that there is something to look at.
//! What is said there may be lost: whoever listens looks by itself now and then.

use sqlx::postgres::PgListener;

use super::Db;
use crate::store::fault::{Fault, Result};

/// What was said on a channel, one word after the other.
pub struct Nudges(PgListener);

impl std::fmt::Debug for Nudges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nudges").finish_non_exhaustive()
    }
}

impl Nudges {
    /// The next word; `None` when the connection was lost and is there again: something may have been missed.
    pub async fn next(&mut self) -> Result<Option<String>> {
        Ok(Box::pin(self.0.try_recv()).await?.map(|heard| heard.payload().to_owned()))
    }
}

impl Db {
    /// Listens to a channel.
    pub async fn listen(&self, channel: &str) -> Result<Nudges> {
        match self {
            Db::Sqlite(_) => Err(Fault::bug("a SQLite file has one daemon, which hears itself")),
            Db::Postgres(database) => Ok(Nudges(Box::pin(database.listen(channel)).await?)),
        }
    }
}
