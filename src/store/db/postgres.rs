//! Owns what the seam can do on PostgreSQL only. It must never be asked on the way of a job.

use super::{Tx, refuse_failed};
use crate::store::fault::{Fault, Result};

impl Tx {
    /// Sends lines to a `COPY .. FROM STDIN` and gives the number of rows. It spoils the transaction as any statement
    /// that fails.
    pub(in crate::store) async fn copy_in(&mut self, statement: &'static str, lines: Vec<u8>) -> Result<u64> {
        let Tx::Postgres { transaction, failed } = self else {
            return Err(Fault::bug("rows are copied into PostgreSQL only"));
        };
        refuse_failed(*failed)?;
        *failed = true;
        let mut copy = transaction.copy_in_raw(statement).await?;
        copy.send(lines).await?;
        let count = copy.finish().await?;
        *failed = false;
        Ok(count)
    }
}
