//! Owns the two-step stop: soft (finish what runs), then hard (stop at once); and its end, when nothing runs any more.

use tokio_util::sync::CancellationToken;

/// Told to every actor. Soft comes first; hard implies soft.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
    over: CancellationToken,
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

    /// Says that nothing runs any more and every result is stored, as far as that goes.
    pub fn end(&self) {
        self.force();
        self.over.cancel();
    }

    /// Whether the drain is over.
    pub fn is_drained(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Resolves when the drain is over.
    pub async fn drained(&self) {
        self.over.cancelled().await;
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
