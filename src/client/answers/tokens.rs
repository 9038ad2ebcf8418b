//! Owns the shapes of tokens in answers.

use super::answers;
use serde::Deserialize;

answers! {
    /// Who calls.
    Viewer {
        /// The token's name.
        token_name: String,
    }
    /// One thing that a token may do.
    Grant {
        /// `READ`, ...
        verb: String,
        /// Globs of task names; none is all.
        tasks: Option<Vec<String>>,
        /// Whether only for jobs that the token made.
        own_jobs_only: bool,
    }
    /// A token in a list, or after a mutation.
    TokenRow {
        /// The global id.
        id: String,
        /// Its name.
        name: String,
        /// What it may do.
        grants: Vec<Grant>,
        /// RFC 3339.
        #[serde(default)]
        created_at: Option<String>,
        /// The token that made it.
        #[serde(default)]
        created_by: Option<String>,
        /// RFC 3339.
        #[serde(default)]
        expires_at: Option<String>,
        /// RFC 3339.
        #[serde(default)]
        last_used_at: Option<String>,
        /// RFC 3339.
        #[serde(default)]
        revoked_at: Option<String>,
    }
    /// The payload of `tokenCreate`.
    CreatedToken {
        /// After the commit.
        token: TokenRow,
        /// What its holder presents; shown this once.
        secret: String,
    }
    /// The payload of `tokenRevoke`.
    WithToken {
        /// After the commit.
        token: TokenRow,
    }
}
