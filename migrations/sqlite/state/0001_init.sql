-- The state of the daemon: everything but output. Instants are microseconds UTC, spans milliseconds,
-- enums TEXT with CHECK, JSON is TEXT that SQL opens only to unpack a batch or a list.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Numbers that are never given twice: the last one drawn, by name.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

CREATE TABLE tokens (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL UNIQUE,
    grants TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    expires_at_us INTEGER,
    revoked_at_us INTEGER
) STRICT;

CREATE TABLE queues (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    paused_at_us INTEGER,
    pause_reason TEXT,
    paused_by TEXT,
    concurrency_limit INTEGER CHECK (concurrency_limit >= 0),
    created_at_us INTEGER NOT NULL
) STRICT;

CREATE TABLE tasks (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL CHECK (revision >= 1),
    queue TEXT NOT NULL,
    definition TEXT NOT NULL,
    search_text TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    archived_at_us INTEGER
) STRICT;

CREATE TABLE task_revisions (
    task_id INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    definition TEXT NOT NULL,
    actor TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    PRIMARY KEY (task_id, revision)
) STRICT;

CREATE TABLE schedules (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    task_id INTEGER NOT NULL REFERENCES tasks (id),
    definition TEXT NOT NULL,
    paused_at_us INTEGER,
    pause_reason TEXT,
    paused_until_us INTEGER,
    next_due_us INTEGER,
    settled_until_us INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL
) STRICT;

CREATE INDEX schedules_task ON schedules (task_id);

-- A tick's identity is (schedule, due time): no clock step and no second worker can double it.
CREATE TABLE ticks (
    schedule_id INTEGER NOT NULL,
    due_at_us INTEGER NOT NULL,
    outcome TEXT NOT NULL
        CHECK (outcome IN ('STARTED', 'CAUGHT_UP', 'TRIGGERED', 'SKIPPED_OVERLAP', 'SKIPPED_PAUSED', 'DROPPED_MISFIRE')),
    job_id INTEGER,
    due_count INTEGER NOT NULL CHECK (due_count >= 1),
    recorded_at_us INTEGER NOT NULL,
    PRIMARY KEY (schedule_id, due_at_us)
) STRICT;

CREATE INDEX ticks_age ON ticks (recorded_at_us);

CREATE TABLE workers (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    slots INTEGER NOT NULL,
    started_at_us INTEGER NOT NULL,
    stopped_at_us INTEGER
) STRICT;

CREATE TABLE jobs (
    id INTEGER NOT NULL PRIMARY KEY,
    state TEXT NOT NULL
        CHECK (state IN ('HELD', 'BLOCKED', 'SCHEDULED', 'QUEUED', 'RUNNING', 'RETRYING',
                         'SUCCEEDED', 'FAILED', 'CANCELLED', 'EXPIRED', 'SKIPPED')),
    task_id INTEGER,
    task_name TEXT,
    task_revision INTEGER,
    command TEXT NOT NULL,
    -- What a search by text may look at, in lower case: never the value of a variable.
    search_text TEXT NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL CHECK (priority BETWEEN -100 AND 100),
    rank_us INTEGER NOT NULL,
    labels TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('API', 'SCHEDULE', 'RETRY')),
    requested_by TEXT NOT NULL,
    retry_policy TEXT NOT NULL,
    timeout_ms INTEGER,
    kill_grace_ms INTEGER NOT NULL,
    restartable INTEGER NOT NULL CHECK (restartable IN (0, 1)),
    failure TEXT,
    retry_of INTEGER,
    schedule_id INTEGER,
    worker_id INTEGER,
    attempt_count INTEGER NOT NULL,
    try_count INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    run_at_us INTEGER NOT NULL,
    started_at_us INTEGER,
    finished_at_us INTEGER,
    stop_requested_at_us INTEGER,
    start_by_us INTEGER,
    idle_timeout_ms INTEGER,
    unique_key TEXT,
    progress TEXT,
    -- The last column: what is long is only read when it is asked for.
    output TEXT,
    CHECK ((state = 'RUNNING') = (worker_id IS NOT NULL)),
    CHECK ((state IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'EXPIRED', 'SKIPPED')) = (finished_at_us IS NOT NULL)),
    CHECK (state <> 'RUNNING' OR started_at_us IS NOT NULL),
    CHECK (state <> 'SUCCEEDED' OR failure IS NULL),
    CHECK (try_count <= attempt_count)
) STRICT;

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
    queue TEXT NOT NULL,
    state TEXT NOT NULL,
    job_count INTEGER NOT NULL CHECK (job_count >= 0),
    PRIMARY KEY (queue, state)
) STRICT;

CREATE TABLE job_labels (
    job_id INTEGER NOT NULL,
    label_key TEXT NOT NULL,
    label_value TEXT NOT NULL,
    PRIMARY KEY (job_id, label_key)
) STRICT;

CREATE INDEX job_labels_value ON job_labels (label_key, label_value, job_id);

CREATE TABLE attempts (
    id INTEGER NOT NULL PRIMARY KEY,
    job_id INTEGER NOT NULL,
    attempt_number INTEGER NOT NULL CHECK (attempt_number >= 1),
    worker_id INTEGER NOT NULL,
    cookie TEXT NOT NULL,
    outcome TEXT
        CHECK (outcome IN ('SUCCEEDED', 'EXITED', 'SIGNALED', 'TIMED_OUT', 'OUT_OF_MEMORY', 'SPAWN_FAILED',
                           'PANICKED', 'CANCELLED', 'LOST', 'INTERRUPTED')),
    failure TEXT,
    pid INTEGER,
    start_ticks INTEGER,
    boot_id TEXT,
    exit_code INTEGER,
    signal TEXT,
    started_at_us INTEGER NOT NULL,
    finished_at_us INTEGER,
    user_us INTEGER,
    system_us INTEGER,
    peak_memory_bytes INTEGER,
    log_bytes INTEGER NOT NULL,
    dropped_log_bytes INTEGER NOT NULL,
    UNIQUE (job_id, attempt_number),
    CHECK ((outcome IS NULL) = (finished_at_us IS NULL))
) STRICT;

CREATE INDEX attempts_open ON attempts (id) WHERE outcome IS NULL;

CREATE TABLE events (
    seq INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT,
    job_id INTEGER,
    task_name TEXT,
    queue TEXT,
    data TEXT NOT NULL
) STRICT;

CREATE INDEX events_job ON events (job_id, seq) WHERE job_id IS NOT NULL;

CREATE TABLE idempotency_keys (
    token_id INTEGER NOT NULL,
    idempotency_key TEXT NOT NULL,
    digest TEXT NOT NULL,
    job_id INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    PRIMARY KEY (token_id, idempotency_key)
) STRICT;

CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at_us);
