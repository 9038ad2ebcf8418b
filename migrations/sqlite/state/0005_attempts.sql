-- What really ran: program, directory, names of the environment, limits. JSON.
ALTER TABLE attempts ADD COLUMN ran TEXT;

-- The trace of whoever asked for a job, where one did: a `traceparent`.
CREATE TABLE job_traces (
    job_id INTEGER NOT NULL PRIMARY KEY,
    trace TEXT NOT NULL
) STRICT;
