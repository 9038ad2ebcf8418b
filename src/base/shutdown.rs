//! Owns the two-step stop: soft (finish what runs), then hard (stop at once).

use tokio_util::sync::CancellationToken;

/// Told to every actor. Soft comes first; hard implies soft.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Shutdown {
    /// Asks for an orderly stop: claim nothing more, finish what runs.
    pub fn begin(&self) {
        self.soft.cancel();
    }

    /// Asks to stop at once.
    pub fn force(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Whether an orderly stop was asked for.
    pub fn is_begun(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Whether a stop at once was asked for.
    pub fn is_forced(&self) -> bool {
        self.hard.is_cancelled()
    }

    /// Resolves when an orderly stop is asked for.
    pub async fn begun(&self) {
        self.soft.cancelled().await;
    }

    /// Resolves when a stop at once is asked for.
    pub async fn forced(&self) {
        self.hard.cancelled().await;
    }
}
