-- Failures with the same fingerprint, grouped for a person to review and resolve.
CREATE TABLE incidents (
    id INTEGER NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK (status IN ('OPEN', 'ACKNOWLEDGED', 'RESOLVED', 'IGNORED')),
    title TEXT NOT NULL,
    -- The task whose attempts fail, or the part of the daemon that does; an ad hoc command has neither.
    task_id INTEGER,
    task_name TEXT,
    subsystem TEXT,
    -- How its attempts end; null for a part of the daemon.
    outcome TEXT,
    -- The newest error line, as it was written.
    error_line TEXT,
    occurrence_count INTEGER NOT NULL CHECK (occurrence_count >= 1),
    first_seen_at_us INTEGER NOT NULL,
    last_seen_at_us INTEGER NOT NULL,
    -- When it came back after it was resolved, while it is not resolved again.
    regressed_at_us INTEGER,
    sample_job_id INTEGER,
    assignee TEXT,
    note TEXT,
    -- An ignored one opens again at this instant, or at this count.
    ignored_until_us INTEGER,
    ignored_until_count INTEGER,
    status_by TEXT,
    status_at_us INTEGER,
    -- The count before it opened the last time, and the count at the last alert: the next one comes when it has grown
    -- tenfold in between.
    count_before INTEGER NOT NULL,
    alerted_count INTEGER NOT NULL
) STRICT;

-- What opens again by itself, and what nobody has seen for long.
CREATE INDEX incidents_ignored ON incidents (ignored_until_us, id)
    WHERE status = 'IGNORED' AND ignored_until_us IS NOT NULL;
CREATE INDEX incidents_resolved ON incidents (last_seen_at_us, id) WHERE status = 'RESOLVED';

-- How often in each minute: the histogram.
CREATE TABLE incident_minutes (
    incident_id INTEGER NOT NULL,
    minute_us INTEGER NOT NULL,
    occurrence_count INTEGER NOT NULL,
    PRIMARY KEY (incident_id, minute_us)
) STRICT;

CREATE INDEX incident_minutes_age ON incident_minutes (minute_us);

-- The incident that a failed attempt was counted into.
ALTER TABLE attempts ADD COLUMN incident_id INTEGER;
CREATE INDEX attempts_incident ON attempts (incident_id, job_id) WHERE incident_id IS NOT NULL;
-- Whether a job was made anew.
CREATE INDEX jobs_retry_of ON jobs (retry_of) WHERE retry_of IS NOT NULL;
