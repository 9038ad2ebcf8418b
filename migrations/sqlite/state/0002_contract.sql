-- What the whole contract needs of the state: keys and rates, dependencies, parameters, tokens' jobs.

-- The last column of `jobs` stays the long one: what is long is only read when it is asked for.
ALTER TABLE jobs RENAME COLUMN output TO old_output;
ALTER TABLE jobs ADD COLUMN parameters TEXT;
-- The token that asked for it; null for what a schedule made.
ALTER TABLE jobs ADD COLUMN token_id INTEGER;
ALTER TABLE jobs ADD COLUMN held_by TEXT;
-- What it shares a limit with: `key:NAME` by its own word, `task:ID` by its task's.
ALTER TABLE jobs ADD COLUMN limit_key TEXT;
-- Since when it stands behind its key: of the queued jobs of a key only as many as may run are not gated.
ALTER TABLE jobs ADD COLUMN gated_at_us INTEGER
    CHECK (gated_at_us IS NULL OR (state = 'QUEUED' AND limit_key IS NOT NULL));
ALTER TABLE jobs ADD COLUMN on_dependency_failure TEXT CHECK (on_dependency_failure IN ('SKIP', 'RUN'));
ALTER TABLE jobs ADD COLUMN merge_output INTEGER NOT NULL DEFAULT 0 CHECK (merge_output IN (0, 1));
-- The longest that an attempt may run with all the time that it asks for.
ALTER TABLE jobs ADD COLUMN timeout_max_ms INTEGER;
ALTER TABLE jobs ADD COLUMN output TEXT;
UPDATE jobs SET output = old_output WHERE old_output IS NOT NULL;
ALTER TABLE jobs DROP COLUMN old_output;

-- The claim: of each queue the lowest rank first, without what stands behind its key.
DROP INDEX jobs_queued;
CREATE INDEX jobs_queued ON jobs (queue, rank_us, id) WHERE state = 'QUEUED' AND gated_at_us IS NULL;
-- Who of a key is next, who of it may be claimed, and who runs.
CREATE INDEX jobs_keyed ON jobs (limit_key, rank_us, id) WHERE state = 'QUEUED' AND limit_key IS NOT NULL;
CREATE INDEX jobs_key_open ON jobs (limit_key)
    WHERE state = 'QUEUED' AND limit_key IS NOT NULL AND gated_at_us IS NULL;
CREATE INDEX jobs_key_running ON jobs (limit_key, id) WHERE state = 'RUNNING' AND limit_key IS NOT NULL;
-- Whether a key is still needed.
CREATE INDEX jobs_key_alive ON jobs (limit_key) WHERE limit_key IS NOT NULL AND finished_at_us IS NULL;
-- What a token that sees its own jobs only may list.
CREATE INDEX jobs_token ON jobs (token_id, id) WHERE token_id IS NOT NULL;

-- How many jobs of a key may run at once, by the word of the newest; a row that several daemons can lock.
CREATE TABLE concurrency_keys (
    name TEXT NOT NULL PRIMARY KEY,
    job_limit INTEGER NOT NULL CHECK (job_limit >= 1)
) STRICT;

CREATE TABLE job_dependencies (
    job_id INTEGER NOT NULL,
    depends_on_id INTEGER NOT NULL,
    PRIMARY KEY (job_id, depends_on_id)
) STRICT;

CREATE INDEX job_dependencies_on ON job_dependencies (depends_on_id, job_id);

ALTER TABLE queues ADD COLUMN rate_starts INTEGER CHECK (rate_starts >= 1);
ALTER TABLE queues ADD COLUMN rate_per_ms INTEGER CHECK ((rate_per_ms IS NULL) = (rate_starts IS NULL));

-- The latest starts of the queues that have a rate: what is older than the rate's period is taken away.
CREATE TABLE queue_starts (
    attempt_id INTEGER NOT NULL PRIMARY KEY,
    queue TEXT NOT NULL,
    started_at_us INTEGER NOT NULL
) STRICT;

CREATE INDEX queue_starts_latest ON queue_starts (queue, started_at_us);

ALTER TABLE tokens ADD COLUMN last_used_at_us INTEGER;
ALTER TABLE tokens ADD COLUMN created_by TEXT;

ALTER TABLE schedules ADD COLUMN paused_by TEXT;

-- Jobs that have ended, of whose dependants those with a higher id are still to be looked at; mostly empty.
CREATE TABLE dependency_ends (
    job_id INTEGER NOT NULL PRIMARY KEY,
    after_id INTEGER NOT NULL
) STRICT;

-- The oldest due time that a row of the ledger stands for; null where it stands for one.
ALTER TABLE ticks ADD COLUMN first_due_us INTEGER CHECK (first_due_us < due_at_us);

-- The address that a change was asked from; null for what the daemon did by itself.
ALTER TABLE events ADD COLUMN peer TEXT;
