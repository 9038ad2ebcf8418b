//! Owns the admin token of a data directory: made on the first start, and known to the store from then on.

use std::path::Path;

use super::{Lasts, refusal, write_private};
use crate::base::points;
use crate::domain::access::{Grant, GrantVerb};
use crate::domain::token::NewToken;
use crate::engine::Engine;
use crate::engine::tokens::{SECRET_BYTES, digest};
use crate::store::Refusal;
use crate::store::tokens::{CreateToken, PutToken};

/// Characters of a digest that tell the admin tokens of two data directories on one machine apart.
const NAME_MARK_LENGTH: usize = 6;

/// The token in the data directory.
pub(super) struct AdminToken {
    pub(super) secret: String,
    pub(super) is_revoked: bool,
}

impl std::fmt::Debug for AdminToken {
    /// Never shows the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminToken").field("is_revoked", &self.is_revoked).finish_non_exhaustive()
    }
}

/// Makes the admin token on the first start, and makes sure that the store knows the one in the file.
pub(super) async fn admin_token(data_dir: &Path, engine: &Engine) -> Result<AdminToken, String> {
    let path = data_dir.join("admin.token");
    let secret = match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        Ok(_) => return Err(format!("{} is empty; remove it to get a new token", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = engine.random.hex(SECRET_BYTES);
            write_private(&path, &format!("{secret}\n"), Lasts::Always)?;
            points::reach("start.token_written");
            secret
        }
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
    };
    let digest = digest(&secret);
    let asked = |fault: crate::store::Fault| fault.to_string();
    let mut is_revoked = false;
    // One that was revoked stays so: only a file that is gone makes a new token.
    if engine.reader.knows_token(&digest).await.map_err(asked)? {
        is_revoked = engine.reader.viewer(&digest, engine.clock.now()).await.map_err(asked)?.is_none();
        if is_revoked {
            let file = path.display();
            tracing::warn!(
                "the token in {file} was revoked; remove the file and start again to get a new one"
            );
        }
    } else {
        list_admin(data_dir, engine, digest).await?;
    }
    Ok(AdminToken { secret, is_revoked })
}

/// Makes the store know the token. Where workers share it the first one's is `admin`, and each other has a name of its own.
async fn list_admin(data_dir: &Path, engine: &Engine, digest: String) -> Result<(), String> {
    let grants = vec![Grant::of(GrantVerb::Admin)];
    let mut name = "admin".to_owned();
    if engine.sharing.is_some() {
        let token = NewToken { name: name.clone(), grants: grants.clone(), expires_in: None };
        let create = CreateToken { token, digest: digest.clone(), actor: name };
        match engine.writer.apply(create).await {
            Ok(_) => return Ok(()),
            Err(Refusal::Fault(fault)) => return Err(fault.to_string()),
            // It belongs to another data directory.
            Err(Refusal::Rejected(_)) => name = own_name(data_dir, &engine.host),
        }
    }
    engine.writer.apply(PutToken { name, digest, grants }).await.map(drop).map_err(refusal)
}

fn own_name(data_dir: &Path, host: &str) -> String {
    let place = std::fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let mark = digest(&format!("{host}:{}", place.display()));
    format!("admin@{host}:{}", &mark[..NAME_MARK_LENGTH])
}
