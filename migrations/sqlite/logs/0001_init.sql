-- Output, apart from the state so that a flood of it never slows a commit of state.
-- A row holds some lines of one attempt, compressed; `dropped_before` counts the bytes that stood
-- between this chunk and the one before it and were not kept.

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

-- Attempts whose output is all here: lines in all, and bytes dropped behind the last kept line.
CREATE TABLE log_ends (
    attempt_id INTEGER NOT NULL PRIMARY KEY,
    line_count INTEGER NOT NULL,
    byte_count INTEGER NOT NULL,
    dropped_bytes INTEGER NOT NULL
) STRICT;
