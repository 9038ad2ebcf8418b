//! Owns the reading of lists in pages, so that no request asks for more than the daemon gives at once.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::client::ClientError;
use crate::client::answers::{Answer, Page};

/// Rows of one request.
const PAGE: usize = 50;

/// Up to `limit` rows. The data is that of one answer which held them all.
pub fn collect<T: DeserializeOwned>(
    field: &str,
    limit: usize,
    mut fetch: impl FnMut(usize, Option<String>) -> Result<Answer<Page<T>>, ClientError>,
) -> Result<Answer<Vec<T>>, ClientError> {
    let (mut rows, mut nodes, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let mut answer = fetch(PAGE.min(limit - rows.len()), after.clone())?;
        if let Value::Array(more) = answer.data[field]["nodes"].take() {
            nodes.extend(more);
        }
        rows.extend(answer.value.nodes);
        let page = answer.value.page_info;
        // A page may be empty and go on behind it; one that comes no further would never end.
        let is_standing = page.end_cursor.is_none() || page.end_cursor == after;
        if rows.len() >= limit || is_standing || !page.has_next_page {
            answer.data[field]["nodes"] = json!(nodes);
            return Ok(Answer { data: answer.data, value: rows });
        }
        after = page.end_cursor;
    }
}
