-- How far each sink has delivered the feed, which is its outbox: what lies behind the position is still to be told.
CREATE TABLE sinks (
    name TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    position INTEGER NOT NULL,
    delivered_count INTEGER NOT NULL,
    -- Events that were gone from the feed before they could be told.
    dropped_count INTEGER NOT NULL,
    failing_since_us INTEGER,
    failure TEXT,
    updated_at_us INTEGER NOT NULL
) STRICT;

-- What a sink would not take, for a person.
CREATE TABLE dead_letters (
    sink TEXT NOT NULL,
    event_seq INTEGER NOT NULL,
    failure TEXT NOT NULL,
    try_count INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (sink, event_seq)
) STRICT;
