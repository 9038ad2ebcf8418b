//! Owns what administrators may do to tokens, and what the daemon remembers of them: who was used when, and that
//! one was revoked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::{Engine, others};
use crate::base::clock::Timestamp;
use crate::base::points;
use crate::base::random::hex;
use crate::base::task;
use crate::domain::access::Viewer;
use crate::domain::event::EventCursor;
use crate::domain::id::TokenId;
use crate::domain::limits::TOKENS_MAX;
use crate::domain::token::TokenCreateInput;
use crate::store::Fault;
use crate::store::tokens::{CreateToken, NoteTokenUse, RevokeToken};
use crate::store::writer::Outcome;

/// Bytes of a token's secret.
pub const SECRET_BYTES: usize = 32;
/// For so long a token that was found is known without another look at the store, unless one was revoked since. What
/// another daemon on the same database revokes is heard of, and seen at the next poll where it is not.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// Tokens that are known at once.
const KNOWN_MAX: usize = 1_024;
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
    /// Tokens that were revoked when the store was last looked at.
    revoked_count: AtomicI64,
    noted: Mutex<HashMap<TokenId, Timestamp>>,
    /// By digest.
    known: Mutex<HashMap<String, Known>>,
}

/// A token that was found in the store.
#[derive(Debug)]
struct Known {
    viewer: Viewer,
    looked_at: Instant,
    /// How many had been revoked before the look.
    revocations: u64,
}

impl TokenBoard {
    /// Changes whenever a token was revoked: look your own up again.
    pub fn revocations(&self) -> watch::Receiver<u64> {
        self.revocations.subscribe()
    }

    /// A token was revoked: from now on each is looked up again.
    pub fn doubt(&self) {
        self.revocations.send_modify(|count| *count += 1);
    }

    /// So many tokens are revoked in the store, whoever did it.
    pub fn saw_revoked(&self, count: i64) {
        if self.revoked_count.swap(count, Ordering::Relaxed) != count {
            self.doubt();
        }
    }

    /// Who holds the secret with this digest, if the store said so a moment ago and nothing speaks against it.
    fn known(&self, digest: &str, now: Timestamp, moment: Instant) -> Option<Viewer> {
        let revocations = *self.revocations.borrow();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(digest)?;
        let is_fresh = known.revocations == revocations
            && moment.saturating_duration_since(known.looked_at) < KNOWN_FOR
            && known.viewer.expires_at.is_none_or(|end| end > now);
        is_fresh.then(|| known.viewer.clone())
    }

    fn remember(&self, digest: &str, found: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX && !known.contains_key(digest) {
            known.retain(|_, old| found.looked_at.saturating_duration_since(old.looked_at) < KNOWN_FOR);
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
        }
        known.insert(digest.to_owned(), found);
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
        self.tokens.doubt();
        others::tell_of_revocation(self, committed.cursor.seq).await;
        Ok(committed.cursor)
    }

    /// Who holds the secret with this digest, if it is valid now.
    pub async fn recognise(&self, digest: &str) -> Result<Option<Viewer>, Fault> {
        let (now, moment) = (self.clock.now(), self.clock.monotonic());
        // Before the look: a token that is revoked during it is not known.
        let revocations = *self.tokens.revocations.borrow();
        if let Some(viewer) = self.tokens.known(digest, now, moment) {
            return Ok(Some(viewer));
        }
        let found = self.own.viewer(digest, now).await?;
        if let Some(viewer) = &found {
            self.tokens.remember(digest, Known { viewer: viewer.clone(), looked_at: moment, revocations });
        }
        Ok(found)
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
    use crate::base::clock::{Clock as _, SystemClock};

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
    fn a_token_is_known_for_a_moment_until_one_is_revoked_or_it_expires() {
        let (board, begin) = (TokenBoard::default(), SystemClock.monotonic());
        let now = Timestamp(1_700_000_000_000_000);
        let viewer = |expires_at| Viewer {
            token_id: TokenId(1),
            token_name: "one".to_owned(),
            grants: Vec::new(),
            expires_at,
        };
        let remember = |expires_at| {
            let revocations = *board.revocations.borrow();
            board.remember("d", Known { viewer: viewer(expires_at), looked_at: begin, revocations });
        };
        let is_known = |millis, at| board.known("d", at, begin + Duration::from_millis(millis)).is_some();
        assert!(!is_known(0, now));
        remember(None);
        assert!(is_known(0, now) && is_known(999, now) && !is_known(1_000, now));
        assert!(board.known("e", now, begin).is_none());
        board.doubt();
        assert!(!is_known(0, now));
        remember(None);
        board.saw_revoked(1);
        assert!(!is_known(0, now));
        remember(None);
        board.saw_revoked(1);
        assert!(is_known(0, now));
        remember(Some(now.plus_millis(500)));
        assert!(is_known(0, now) && !is_known(0, now.plus_millis(500)));
        for n in 0..2 * KNOWN_MAX {
            let found = Known { viewer: viewer(None), looked_at: begin, revocations: 1 };
            board.remember(&n.to_string(), found);
        }
        assert!(board.known.lock().unwrap().len() <= KNOWN_MAX);
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
