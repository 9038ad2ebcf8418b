-- On PostgreSQL output lies in days, so that the oldest day goes whole: no row of it is deleted, and the disk is given back
-- at once. SQLite has one table, whose pages are given back by the daemon.

-- postgres only
-- What finds no day lies in the rest: no row fails for want of a day.
ALTER TABLE log_chunks RENAME TO log_chunks_rest;
ALTER TABLE log_chunks_rest DROP CONSTRAINT log_chunks_pkey;
DROP INDEX log_chunks_age;

-- By the time of writing, which is known ahead for the next day, as no number of an attempt is. The key leads with the
-- attempt: a look at one is a look into the index of each day.
CREATE TABLE log_chunks (
    attempt_id BIGINT NOT NULL,
    first_line BIGINT NOT NULL,
    line_count BIGINT NOT NULL CONSTRAINT log_chunks_line_count_check CHECK (line_count >= 1),
    byte_count BIGINT NOT NULL,
    dropped_before BIGINT NOT NULL,
    written_at_us BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (attempt_id, first_line, written_at_us)
) PARTITION BY RANGE (written_at_us);
-- The bodies are compressed already.
ALTER TABLE log_chunks ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE log_chunks ATTACH PARTITION log_chunks_rest DEFAULT;

CREATE FUNCTION log_day_name(day BIGINT) RETURNS TEXT LANGUAGE sql STABLE
    AS $$ SELECT 'log_chunks_' || to_char(DATE '1970-01-01' + CAST(day AS INTEGER), 'YYYYMMDD') $$;

-- Makes a day, counted from 1970, of which some rows may lie in the rest; nothing when it is there.
CREATE FUNCTION log_day_make(day BIGINT) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    part TEXT := log_day_name(day);
    begin_us BIGINT := day * 86400000000;
    end_us BIGINT := begin_us + 86400000000;
BEGIN
    IF to_regclass(part) IS NOT NULL THEN
        RETURN 0;
    END IF;
    -- One at a time makes a day or takes one away. Writers and readers take the table before its parts, so nobody waits in
    -- a circle.
    PERFORM pg_advisory_xact_lock(18653495083943175);
    IF to_regclass(part) IS NOT NULL THEN
        RETURN 0;
    END IF;
    LOCK TABLE log_chunks_rest IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE %I (LIKE log_chunks INCLUDING CONSTRAINTS INCLUDING STORAGE)', part);
    EXECUTE format('WITH moved AS (DELETE FROM log_chunks_rest WHERE written_at_us >= $1 AND written_at_us < $2 RETURNING *)
                    INSERT INTO %I SELECT * FROM moved', part) USING begin_us, end_us;
    EXECUTE format('ALTER TABLE log_chunks ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', part, begin_us, end_us);
    RETURN 1;
END $$;

-- Takes a day away with all that is in it; nothing when it is gone.
CREATE FUNCTION log_day_drop(day BIGINT) RETURNS BIGINT LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass(log_day_name(day)) IS NULL THEN
        RETURN 0;
    END IF;
    EXECUTE format('DROP TABLE %I', log_day_name(day));
    RETURN 1;
END $$;
-- end
