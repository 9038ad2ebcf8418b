-- The state of the daemon: everything but output. Instants are microseconds UTC, spans milliseconds,
-- enums TEXT with CHECK, JSON is TEXT that SQL opens only to unpack a batch or a list.

CREATE TABLE meta (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

-- Numbers that are never given twice: the last one drawn, by name.
CREATE TABLE counters (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE tokens (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    digest TEXT COLLATE "C" NOT NULL UNIQUE,
    grants TEXT COLLATE "C" NOT NULL,
    created_at_us BIGINT NOT NULL,
    expires_at_us BIGINT,
    revoked_at_us BIGINT
);

CREATE TABLE queues (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    paused_at_us BIGINT,
    pause_reason TEXT COLLATE "C",
    paused_by TEXT COLLATE "C",
    concurrency_limit BIGINT CHECK (concurrency_limit >= 0),
    created_at_us BIGINT NOT NULL
);

CREATE TABLE tasks (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    revision BIGINT NOT NULL CHECK (revision >= 1),
    queue TEXT COLLATE "C" NOT NULL,
    definition TEXT COLLATE "C" NOT NULL,
    search_text TEXT COLLATE "C" NOT NULL,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    archived_at_us BIGINT
);

CREATE TABLE task_revisions (
    task_id BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    definition TEXT COLLATE "C" NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    created_at_us BIGINT NOT NULL,
    PRIMARY KEY (task_id, revision)
);

CREATE TABLE schedules (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    task_id BIGINT NOT NULL REFERENCES tasks (id),
    definition TEXT COLLATE "C" NOT NULL,
    paused_at_us BIGINT,
    pause_reason TEXT COLLATE "C",
    paused_until_us BIGINT,
    next_due_us BIGINT,
    settled_until_us BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL
);

CREATE INDEX schedules_task ON schedules (task_id);

-- A tick's identity is (schedule, due time): no clock step and no second worker can double it.
CREATE TABLE ticks (
    schedule_id BIGINT NOT NULL,
    due_at_us BIGINT NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL
        CHECK (outcome IN ('STARTED', 'CAUGHT_UP', 'TRIGGERED', 'SKIPPED_OVERLAP', 'SKIPPED_PAUSED', 'DROPPED_MISFIRE')),
    job_id BIGINT,
    due_count BIGINT NOT NULL CHECK (due_count >= 1),
    recorded_at_us BIGINT NOT NULL,
    PRIMARY KEY (schedule_id, due_at_us)
);

CREATE INDEX ticks_age ON ticks (recorded_at_us);

CREATE TABLE workers (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    slots BIGINT NOT NULL,
    started_at_us BIGINT NOT NULL,
    stopped_at_us BIGINT
);

CREATE TABLE jobs (
    id BIGINT NOT NULL PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL
        CHECK (state IN ('HELD', 'BLOCKED', 'SCHEDULED', 'QUEUED', 'RUNNING', 'RETRYING',
                         'SUCCEEDED', 'FAILED', 'CANCELLED', 'EXPIRED', 'SKIPPED')),
    task_id BIGINT,
    task_name TEXT COLLATE "C",
    task_revision BIGINT,
    command TEXT COLLATE "C" NOT NULL,
    -- What a search by text may look at, in lower case: never the value of a variable.
    search_text TEXT COLLATE "C" NOT NULL,
    queue TEXT COLLATE "C" NOT NULL,
    priority BIGINT NOT NULL CHECK (priority BETWEEN -100 AND 100),
    rank_us BIGINT NOT NULL,
    labels TEXT COLLATE "C" NOT NULL,
    origin TEXT COLLATE "C" NOT NULL CHECK (origin IN ('API', 'SCHEDULE', 'RETRY')),
    requested_by TEXT COLLATE "C" NOT NULL,
    retry_policy TEXT COLLATE "C" NOT NULL,
    timeout_ms BIGINT,
    kill_grace_ms BIGINT NOT NULL,
    restartable BIGINT NOT NULL CHECK (restartable IN (0, 1)),
    failure TEXT COLLATE "C",
    retry_of BIGINT,
    schedule_id BIGINT,
    worker_id BIGINT,
    attempt_count BIGINT NOT NULL,
    try_count BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    run_at_us BIGINT NOT NULL,
    started_at_us BIGINT,
    finished_at_us BIGINT,
    stop_requested_at_us BIGINT,
    start_by_us BIGINT,
    idle_timeout_ms BIGINT,
    unique_key TEXT COLLATE "C",
    progress TEXT COLLATE "C",
    -- The last column: what is long is only read when it is asked for.
    output TEXT COLLATE "C",
    CHECK ((state = 'RUNNING') = (worker_id IS NOT NULL)),
    CHECK ((state IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'EXPIRED', 'SKIPPED')) = (finished_at_us IS NOT NULL)),
    CHECK (state <> 'RUNNING' OR started_at_us IS NOT NULL),
    CHECK (state <> 'SUCCEEDED' OR failure IS NULL),
    CHECK (try_count <= attempt_count)
);

-- The claim: of each queue the lowest rank first. Partial, so that history costs it nothing.
CREATE INDEX jobs_queued ON jobs (queue, rank_us, id) WHERE state = 'QUEUED';
-- The promotion of what has become due, and the next due time.
CREATE INDEX jobs_waiting ON jobs (run_at_us, id) WHERE state IN ('SCHEDULED', 'RETRYING');
-- Among the jobs that are not final each key occurs once.
CREATE UNIQUE INDEX jobs_unique_key ON jobs (unique_key) WHERE unique_key IS NOT NULL AND finished_at_us IS NULL;
-- What must start in time or never.
CREATE INDEX jobs_start_by ON jobs (start_by_us, id)
    WHERE start_by_us IS NOT NULL AND started_at_us IS NULL AND state IN ('SCHEDULED', 'QUEUED');
-- Limits counted from rows, and recovery after a crash.
CREATE INDEX jobs_running ON jobs (queue, id) WHERE state = 'RUNNING';
-- Retention.
CREATE INDEX jobs_finished ON jobs (finished_at_us, id) WHERE finished_at_us IS NOT NULL;
CREATE INDEX jobs_failed ON jobs (id) WHERE state = 'FAILED';
CREATE INDEX jobs_task ON jobs (task_id, id) WHERE task_id IS NOT NULL;
CREATE INDEX jobs_schedule ON jobs (schedule_id, id) WHERE schedule_id IS NOT NULL;
-- The overlap question of a schedule.
CREATE INDEX jobs_schedule_open ON jobs (schedule_id) WHERE schedule_id IS NOT NULL AND finished_at_us IS NULL;

-- How many jobs of a queue stand in a state, kept in each change's own transaction.
CREATE TABLE job_counts (
    queue TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    job_count BIGINT NOT NULL CHECK (job_count >= 0),
    PRIMARY KEY (queue, state)
);

CREATE TABLE job_labels (
    job_id BIGINT NOT NULL,
    label_key TEXT COLLATE "C" NOT NULL,
    label_value TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (job_id, label_key)
);

CREATE INDEX job_labels_value ON job_labels (label_key, label_value, job_id);

CREATE TABLE attempts (
    id BIGINT NOT NULL PRIMARY KEY,
    job_id BIGINT NOT NULL,
    attempt_number BIGINT NOT NULL CHECK (attempt_number >= 1),
    worker_id BIGINT NOT NULL,
    cookie TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C"
        CHECK (outcome IN ('SUCCEEDED', 'EXITED', 'SIGNALED', 'TIMED_OUT', 'OUT_OF_MEMORY', 'SPAWN_FAILED',
                           'PANICKED', 'CANCELLED', 'LOST', 'INTERRUPTED')),
    failure TEXT COLLATE "C",
    pid BIGINT,
    start_ticks BIGINT,
    boot_id TEXT COLLATE "C",
    exit_code BIGINT,
    signal TEXT COLLATE "C",
    started_at_us BIGINT NOT NULL,
    finished_at_us BIGINT,
    user_us BIGINT,
    system_us BIGINT,
    peak_memory_bytes BIGINT,
    log_bytes BIGINT NOT NULL,
    dropped_log_bytes BIGINT NOT NULL,
    UNIQUE (job_id, attempt_number),
    CHECK ((outcome IS NULL) = (finished_at_us IS NULL))
);

CREATE INDEX attempts_open ON attempts (id) WHERE outcome IS NULL;

CREATE TABLE events (
    seq BIGINT NOT NULL PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    at_us BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C",
    job_id BIGINT,
    task_name TEXT COLLATE "C",
    queue TEXT COLLATE "C",
    data TEXT COLLATE "C" NOT NULL
);

CREATE INDEX events_job ON events (job_id, seq) WHERE job_id IS NOT NULL;

CREATE TABLE idempotency_keys (
    token_id BIGINT NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    job_id BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    PRIMARY KEY (token_id, idempotency_key)
);

CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at_us);

-- postgres only
CREATE FUNCTION jsonb_each(doc TEXT) RETURNS TABLE (key BIGINT, value JSONB, atom TEXT)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 100
    AS $$ SELECT e.n - 1, e.v, e.v #>> '{}' FROM jsonb_array_elements(doc::jsonb) WITH ORDINALITY AS e(v, n) $$;
CREATE SEQUENCE job_number INCREMENT BY 100;
CREATE SEQUENCE attempt_number INCREMENT BY 100;
CREATE SEQUENCE task_number;
CREATE SEQUENCE schedule_number;
CREATE SEQUENCE queue_number;
CREATE SEQUENCE worker_number;
CREATE SEQUENCE token_number;
CREATE SEQUENCE event_number;
-- end
