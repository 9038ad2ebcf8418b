-- Failures with the same fingerprint, grouped for a person to review and resolve.
CREATE TABLE incidents (
    id BIGINT NOT NULL PRIMARY KEY,
    fingerprint TEXT COLLATE "C" NOT NULL UNIQUE,
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('OPEN', 'ACKNOWLEDGED', 'RESOLVED', 'IGNORED')),
    title TEXT COLLATE "C" NOT NULL,
    -- The task whose attempts fail, or the part of the daemon that does; an ad hoc command has neither.
    task_id BIGINT,
    task_name TEXT COLLATE "C",
    subsystem TEXT COLLATE "C",
    -- How its attempts end; null for a part of the daemon.
    outcome TEXT COLLATE "C",
    -- The newest error line, as it was written.
    error_line TEXT COLLATE "C",
    occurrence_count BIGINT NOT NULL CHECK (occurrence_count >= 1),
    first_seen_at_us BIGINT NOT NULL,
    last_seen_at_us BIGINT NOT NULL,
    -- When it came back after it was resolved, while it is not resolved again.
    regressed_at_us BIGINT,
    sample_job_id BIGINT,
    assignee TEXT COLLATE "C",
    note TEXT COLLATE "C",
    -- An ignored one opens again at this instant, or at this count.
    ignored_until_us BIGINT,
    ignored_until_count BIGINT,
    status_by TEXT COLLATE "C",
    status_at_us BIGINT,
    -- The count before it opened the last time, and the count at the last alert: the next one comes when it has grown
    -- tenfold in between.
    count_before BIGINT NOT NULL,
    alerted_count BIGINT NOT NULL
);

-- What opens again by itself, and what nobody has seen for long.
CREATE INDEX incidents_ignored ON incidents (ignored_until_us, id)
    WHERE status = 'IGNORED' AND ignored_until_us IS NOT NULL;
CREATE INDEX incidents_resolved ON incidents (last_seen_at_us, id) WHERE status = 'RESOLVED';

-- How often in each minute: the histogram.
CREATE TABLE incident_minutes (
    incident_id BIGINT NOT NULL,
    minute_us BIGINT NOT NULL,
    occurrence_count BIGINT NOT NULL,
    PRIMARY KEY (incident_id, minute_us)
);

CREATE INDEX incident_minutes_age ON incident_minutes (minute_us);

-- The incident that a failed attempt was counted into.
ALTER TABLE attempts ADD COLUMN incident_id BIGINT;
CREATE INDEX attempts_incident ON attempts (incident_id, job_id) WHERE incident_id IS NOT NULL;
-- Whether a job was made anew.
CREATE INDEX jobs_retry_of ON jobs (retry_of) WHERE retry_of IS NOT NULL;

-- postgres only
CREATE SEQUENCE incident_number;
-- end
