-- Workers over one PostgreSQL database: until when each is known to be there, by the database's clock. A worker that
-- shares its store with nobody has no lease.
ALTER TABLE workers ADD COLUMN seen_at_us BIGINT;
ALTER TABLE workers ADD COLUMN lease_until_us BIGINT;
ALTER TABLE workers ADD COLUMN draining_at_us BIGINT;

-- Those that are there: few, whatever the history is.
CREATE INDEX workers_here ON workers (id) WHERE stopped_at_us IS NULL;

-- Who of several workers tells a sink the feed.
ALTER TABLE sinks ADD COLUMN worker_id BIGINT;
