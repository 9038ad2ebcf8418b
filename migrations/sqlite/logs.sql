-- The whole log store, as its migrations make it step by step. A new file is made by this at once; one that is there
-- goes the steps. The test `tidy::migrations` compares both.

CREATE TABLE log_chunks (
    attempt_id INTEGER NOT NULL,
    first_line INTEGER NOT NULL,
    line_count INTEGER NOT NULL CHECK (line_count >= 1),
    byte_count INTEGER NOT NULL,
    dropped_before INTEGER NOT NULL,
    written_at_us INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (attempt_id, first_line)
) STRICT;
CREATE INDEX log_chunks_age ON log_chunks (written_at_us);

CREATE TABLE log_ends (
    attempt_id INTEGER NOT NULL PRIMARY KEY,
    line_count INTEGER NOT NULL,
    byte_count INTEGER NOT NULL,
    dropped_bytes INTEGER NOT NULL,
    forgotten_at_us INTEGER
) STRICT;
CREATE INDEX log_ends_kept ON log_ends (attempt_id) WHERE forgotten_at_us IS NULL AND line_count > 0;
