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
    updated_at_us INTEGER NOT NULL,
    -- When it was taken out of the settings: from then on the feed keeps nothing for it.
    retired_at_us INTEGER
) STRICT;

-- What a sink would not take, for a person.
CREATE TABLE dead_letters (
    sink TEXT NOT NULL,
    event_seq INTEGER NOT NULL,
    failure TEXT NOT NULL,
    try_count INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    -- When somebody asked to deliver it again, until that was tried.
    redeliver_at_us INTEGER,
    -- The event as JSON: the feed may have forgotten it.
    payload TEXT NOT NULL,
    PRIMARY KEY (sink, event_seq)
) STRICT;

CREATE INDEX dead_letters_again ON dead_letters (sink, event_seq) WHERE redeliver_at_us IS NOT NULL;
