//! Owns what administrators may do to tokens, and what the daemon remembers of them: who was used when, and that
//! one was revoked.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::Engine;
use crate::base::clock::Timestamp;
use crate::base::points;
use crate::base::random::hex;
use crate::base::task;
use crate::domain::access::Viewer;
use crate::domain::event::EventCursor;
use crate::domain::id::TokenId;
use crate::domain::limits::TOKENS_MAX;
use crate::domain::token::TokenCreateInput;
use crate::store::tokens::{CreateToken, NoteTokenUse, RevokeToken};
use crate::store::writer::Outcome;

/// Bytes of a token's secret.
pub const SECRET_BYTES: usize = 32;
/// The last use of a token is written at most this often.
const NOTE_EVERY: Duration = Duration::from_mins(1);

/// A token that was made, with the only copy of its secret.
#[derive(Debug)]
pub struct Created {
    /// The token.
    pub id: TokenId,
    /// What its holder presents.
    pub secret: String,
    /// Behind the events of the change.
    pub cursor: EventCursor,
}

/// What the daemon remembers of tokens while it runs.
#[derive(Debug, Default)]
pub struct TokenBoard {
    revocations: watch::Sender<u64>,
    noted: Mutex<HashMap<TokenId, Timestamp>>,
}

impl TokenBoard {
    /// Changes whenever a token was revoked here: look your own up again.
    pub fn revocations(&self) -> watch::Receiver<u64> {
        self.revocations.subscribe()
    }

    /// Whether this use is to be written: the first one in a while.
    fn is_due(&self, id: TokenId, now: Timestamp) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(&id).is_some_and(|last| now.since(*last) < NOTE_EVERY) {
            return false;
        }
        if i64::try_from(noted.len()).unwrap_or(i64::MAX) >= TOKENS_MAX {
            noted.retain(|_, last| now.since(*last) < NOTE_EVERY);
        }
        noted.insert(id, now);
        true
    }
}

/// SHA-256 of a secret, as the store has it.
pub fn digest(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

impl Engine {
    /// Makes a token.
    pub async fn create_token(&self, viewer: &Viewer, input: TokenCreateInput) -> Outcome<Created> {
        let token = input.check()?;
        let secret = self.random.hex(SECRET_BYTES);
        let change = CreateToken { token, digest: digest(&secret), actor: viewer.token_name.clone() };
        let committed = self.writer.apply(change).await?;
        points::reach("token.committed");
        Ok(Created { id: committed.answer, secret, cursor: committed.cursor })
    }

    /// Makes a token invalid. When this answers, whatever the token holds open is being closed.
    pub async fn revoke_token(&self, viewer: &Viewer, id: TokenId) -> Outcome<EventCursor> {
        let committed = self.writer.apply(RevokeToken { id, actor: viewer.token_name.clone() }).await?;
        self.tokens.revocations.send_modify(|count| *count += 1);
        Ok(committed.cursor)
    }

    /// Notes that a token was used. The write is not waited for, and comes at most once a minute for each token.
    pub fn note_token_use(&self, id: TokenId) {
        let at = self.clock.now();
        if !self.tokens.is_due(id, at) {
            return;
        }
        let writer = self.writer.clone();
        drop(task::spawn(async move {
            // What is lost here is a date for people.
            if writer.apply(NoteTokenUse { id, at }).await.is_err() {
                tracing::debug!(token = %id, "the use of a token could not be noted");
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_written_once_a_minute_for_each_token() {
        let board = TokenBoard::default();
        let at = |seconds: i64| Timestamp(1_700_000_000_000_000 + seconds * 1_000_000);
        let (one, two) = (TokenId(1), TokenId(2));
        assert!(board.is_due(one, at(0)));
        assert!(!board.is_due(one, at(59)));
        assert!(board.is_due(two, at(59)));
        assert!(board.is_due(one, at(60)));
        assert!(!board.is_due(one, at(61)));
    }

    #[test]
    fn what_is_remembered_of_uses_is_bounded() {
        let board = TokenBoard::default();
        let start = 1_700_000_000_000_000;
        for id in 0..TOKENS_MAX {
            board.is_due(TokenId(id), Timestamp(start));
        }
        board.is_due(TokenId(-1), Timestamp(start + 61_000_000));
        assert_eq!(board.noted.lock().unwrap().len(), 1);
    }
}
