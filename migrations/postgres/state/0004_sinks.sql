-- How far each sink has delivered the feed, which is its outbox: what lies behind the position is still to be told.
CREATE TABLE sinks (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    delivered_count BIGINT NOT NULL,
    -- Events that were gone from the feed before they could be told.
    dropped_count BIGINT NOT NULL,
    failing_since_us BIGINT,
    failure TEXT COLLATE "C",
    updated_at_us BIGINT NOT NULL,
    -- When it was taken out of the settings: from then on the feed keeps nothing for it.
    retired_at_us BIGINT
);

-- What a sink would not take, for a person.
CREATE TABLE dead_letters (
    sink TEXT COLLATE "C" NOT NULL,
    event_seq BIGINT NOT NULL,
    failure TEXT COLLATE "C" NOT NULL,
    try_count BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    -- When somebody asked to deliver it again, until that was tried.
    redeliver_at_us BIGINT,
    -- The event as JSON: the feed may have forgotten it.
    payload TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (sink, event_seq)
);

CREATE INDEX dead_letters_again ON dead_letters (sink, event_seq) WHERE redeliver_at_us IS NOT NULL;
