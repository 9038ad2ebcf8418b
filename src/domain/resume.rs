//! Owns the place where an interrupted stream goes on. It never looks inside a cursor.

/// What a client that reconnects to an event stream says it saw last (the `Last-Event-ID` header).
/// The door hands it to the resolvers as request data; an `after` argument wins over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastEventId(pub String);
