-- What lists and counts need to stay quick whatever the history is. Those about jobs that are not final are partial, so
-- that history costs them nothing; a start of a job changes none. With the column of the condition in them, SQLite walks
-- them without the jobs.
-- Jobs made in a time.
CREATE INDEX jobs_created ON jobs (created_at_us, id);
-- Jobs that are not final, the next to start first, and the most urgent first.
CREATE INDEX jobs_open_run_at ON jobs (run_at_us, id, finished_at_us) WHERE finished_at_us IS NULL;
CREATE INDEX jobs_open_priority ON jobs (priority, id, finished_at_us) WHERE finished_at_us IS NULL;
-- What somebody, or another job, keeps from its turn.
CREATE INDEX jobs_kept ON jobs (state, id) WHERE state IN ('HELD', 'BLOCKED');
-- Jobs that are final, by queue and state. They stay so, and each is written here once.
CREATE INDEX jobs_ended ON jobs (queue, state, id)
    WHERE state IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'EXPIRED', 'SKIPPED');
DROP INDEX jobs_failed;
-- By state too: what one horizon of retention keeps is not walked for the other, and lists by the end merge a few states.
DROP INDEX jobs_finished;
CREATE INDEX jobs_finished ON jobs (state, finished_at_us, id) WHERE finished_at_us IS NOT NULL;
