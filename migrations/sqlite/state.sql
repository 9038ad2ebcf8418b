-- The whole state, as its migrations make it step by step. A new file is made by this at once, in a tenth of their time;
-- one that is there goes the steps. The test `tidy::migrations` compares both.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

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
    revoked_at_us INTEGER,
    last_used_at_us INTEGER,
    created_by TEXT
) STRICT;

CREATE TABLE queues (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    paused_at_us INTEGER,
    pause_reason TEXT,
    paused_by TEXT,
    concurrency_limit INTEGER CHECK (concurrency_limit >= 0),
    created_at_us INTEGER NOT NULL,
    rate_starts INTEGER CHECK (rate_starts >= 1),
    rate_per_ms INTEGER CHECK ((rate_per_ms IS NULL) = (rate_starts IS NULL))
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
    updated_at_us INTEGER NOT NULL,
    paused_by TEXT
) STRICT;
CREATE INDEX schedules_task ON schedules (task_id);

CREATE TABLE ticks (
    schedule_id INTEGER NOT NULL,
    due_at_us INTEGER NOT NULL,
    outcome TEXT NOT NULL
        CHECK (outcome = 'STARTED' OR outcome = 'CAUGHT_UP' OR outcome = 'TRIGGERED' OR outcome = 'SKIPPED_OVERLAP'
               OR outcome = 'SKIPPED_PAUSED' OR outcome = 'DROPPED_MISFIRE'),
    job_id INTEGER,
    due_count INTEGER NOT NULL CHECK (due_count >= 1),
    recorded_at_us INTEGER NOT NULL,
    first_due_us INTEGER CHECK (first_due_us < due_at_us),
    PRIMARY KEY (schedule_id, due_at_us)
) STRICT;
CREATE INDEX ticks_age ON ticks (recorded_at_us);

CREATE TABLE workers (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    slots INTEGER NOT NULL,
    started_at_us INTEGER NOT NULL,
    stopped_at_us INTEGER,
    seen_at_us INTEGER,
    lease_until_us INTEGER,
    draining_at_us INTEGER,
    labels TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE INDEX workers_here ON workers (id) WHERE stopped_at_us IS NULL;

CREATE TABLE jobs (
    id INTEGER NOT NULL PRIMARY KEY,
    state TEXT NOT NULL
        CHECK (state = 'QUEUED' OR state = 'RUNNING' OR state = 'SUCCEEDED' OR state = 'FAILED' OR state = 'SCHEDULED'
               OR state = 'RETRYING' OR state = 'CANCELLED' OR state = 'HELD' OR state = 'BLOCKED' OR state = 'EXPIRED'
               OR state = 'SKIPPED'),
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
    origin TEXT NOT NULL CHECK (origin = 'API' OR origin = 'SCHEDULE' OR origin = 'RETRY'),
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
    parameters TEXT,
    token_id INTEGER,
    held_by TEXT,
    limit_key TEXT,
    gated_at_us INTEGER CHECK (gated_at_us IS NULL OR (state = 'QUEUED' AND limit_key IS NOT NULL)),
    on_dependency_failure TEXT CHECK (on_dependency_failure IN ('SKIP', 'RUN')),
    merge_output INTEGER NOT NULL DEFAULT 0 CHECK (merge_output IN (0, 1)),
    timeout_max_ms INTEGER,
    runs_on TEXT,
    -- The last column: what is long is only read when it is asked for.
    output TEXT,
    CHECK ((state = 'RUNNING') = (worker_id IS NOT NULL)),
    CHECK ((state = 'SUCCEEDED' OR state = 'FAILED' OR state = 'CANCELLED' OR state = 'EXPIRED' OR state = 'SKIPPED')
           = (finished_at_us IS NOT NULL)),
    CHECK (state <> 'RUNNING' OR started_at_us IS NOT NULL),
    CHECK (state <> 'SUCCEEDED' OR failure IS NULL),
    CHECK (try_count <= attempt_count)
) STRICT;
CREATE INDEX jobs_waiting ON jobs (run_at_us, id) WHERE state IN ('SCHEDULED', 'RETRYING');
CREATE UNIQUE INDEX jobs_unique_key ON jobs (unique_key) WHERE unique_key IS NOT NULL AND finished_at_us IS NULL;
CREATE INDEX jobs_start_by ON jobs (start_by_us, id)
    WHERE start_by_us IS NOT NULL AND started_at_us IS NULL AND state IN ('SCHEDULED', 'QUEUED');
CREATE INDEX jobs_running ON jobs (queue, id) WHERE state = 'RUNNING';
CREATE INDEX jobs_task ON jobs (task_id, id) WHERE task_id IS NOT NULL;
CREATE INDEX jobs_schedule ON jobs (schedule_id, id) WHERE schedule_id IS NOT NULL;
CREATE INDEX jobs_schedule_open ON jobs (schedule_id) WHERE schedule_id IS NOT NULL AND finished_at_us IS NULL;
CREATE INDEX jobs_keyed ON jobs (limit_key, rank_us, id) WHERE state = 'QUEUED' AND limit_key IS NOT NULL;
CREATE INDEX jobs_key_open ON jobs (limit_key)
    WHERE state = 'QUEUED' AND limit_key IS NOT NULL AND gated_at_us IS NULL;
CREATE INDEX jobs_key_running ON jobs (limit_key, id) WHERE state = 'RUNNING' AND limit_key IS NOT NULL;
CREATE INDEX jobs_key_alive ON jobs (limit_key) WHERE limit_key IS NOT NULL AND finished_at_us IS NULL;
CREATE INDEX jobs_token ON jobs (token_id, id) WHERE token_id IS NOT NULL;
CREATE INDEX jobs_retry_of ON jobs (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX jobs_created ON jobs (created_at_us, id);
CREATE INDEX jobs_open_run_at ON jobs (run_at_us, id, finished_at_us) WHERE finished_at_us IS NULL;
CREATE INDEX jobs_open_priority ON jobs (priority, id, finished_at_us) WHERE finished_at_us IS NULL;
CREATE INDEX jobs_kept ON jobs (state, id) WHERE state IN ('HELD', 'BLOCKED');
CREATE INDEX jobs_ended ON jobs (queue, state, id)
    WHERE state = 'SUCCEEDED' OR state = 'FAILED' OR state = 'CANCELLED' OR state = 'EXPIRED' OR state = 'SKIPPED';
CREATE INDEX jobs_finished ON jobs (state, finished_at_us, id) WHERE finished_at_us IS NOT NULL;
CREATE INDEX jobs_queued ON jobs (queue, rank_us, id)
    WHERE state = 'QUEUED' AND gated_at_us IS NULL AND runs_on IS NULL;
CREATE INDEX jobs_placed ON jobs (runs_on, queue, rank_us, id)
    WHERE state = 'QUEUED' AND gated_at_us IS NULL AND runs_on IS NOT NULL;

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
        CHECK (outcome = 'SUCCEEDED' OR outcome = 'EXITED' OR outcome = 'SIGNALED' OR outcome = 'TIMED_OUT'
               OR outcome = 'OUT_OF_MEMORY' OR outcome = 'SPAWN_FAILED' OR outcome = 'PANICKED'
               OR outcome = 'CANCELLED' OR outcome = 'LOST' OR outcome = 'INTERRUPTED'),
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
    incident_id INTEGER,
    ran TEXT,
    UNIQUE (job_id, attempt_number),
    CHECK ((outcome IS NULL) = (finished_at_us IS NULL))
) STRICT;
CREATE INDEX attempts_open ON attempts (id) WHERE outcome IS NULL;
CREATE INDEX attempts_incident ON attempts (incident_id, job_id) WHERE incident_id IS NOT NULL;

CREATE TABLE events (
    seq INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT,
    job_id INTEGER,
    task_name TEXT,
    queue TEXT,
    data TEXT NOT NULL,
    peer TEXT
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

CREATE TABLE queue_starts (
    attempt_id INTEGER NOT NULL PRIMARY KEY,
    queue TEXT NOT NULL,
    started_at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX queue_starts_latest ON queue_starts (queue, started_at_us);

CREATE TABLE dependency_ends (
    job_id INTEGER NOT NULL PRIMARY KEY,
    after_id INTEGER NOT NULL
) STRICT;

CREATE TABLE incidents (
    id INTEGER NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL
        CHECK (status = 'OPEN' OR status = 'ACKNOWLEDGED' OR status = 'RESOLVED' OR status = 'IGNORED'),
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
CREATE INDEX incidents_ignored ON incidents (ignored_until_us, id)
    WHERE status = 'IGNORED' AND ignored_until_us IS NOT NULL;
CREATE INDEX incidents_resolved ON incidents (last_seen_at_us, id) WHERE status = 'RESOLVED';

CREATE TABLE incident_minutes (
    incident_id INTEGER NOT NULL,
    minute_us INTEGER NOT NULL,
    occurrence_count INTEGER NOT NULL,
    PRIMARY KEY (incident_id, minute_us)
) STRICT;
CREATE INDEX incident_minutes_age ON incident_minutes (minute_us);

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
    retired_at_us INTEGER,
    worker_id INTEGER
) STRICT;

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

CREATE TABLE job_traces (
    job_id INTEGER NOT NULL PRIMARY KEY,
    trace TEXT NOT NULL
) STRICT;
