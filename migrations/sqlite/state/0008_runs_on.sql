-- Labels of workers, and jobs that run only on workers with certain labels.

-- The last column of `jobs` stays the long one: what is long is only read when it is asked for.
ALTER TABLE jobs RENAME COLUMN output TO old_output;
-- The labels that a worker must have, as one text, `gpu=a100,os=linux`, in the order of their bytes; null for any worker.
ALTER TABLE jobs ADD COLUMN runs_on TEXT;
ALTER TABLE jobs ADD COLUMN output TEXT;
UPDATE jobs SET output = old_output WHERE old_output IS NOT NULL;
ALTER TABLE jobs DROP COLUMN old_output;

-- A list of keys with values, JSON.
ALTER TABLE workers ADD COLUMN labels TEXT NOT NULL DEFAULT '[]';

-- The claim: of each queue the lowest rank first, of what any worker may run.
DROP INDEX jobs_queued;
CREATE INDEX jobs_queued ON jobs (queue, rank_us, id)
    WHERE state = 'QUEUED' AND gated_at_us IS NULL AND runs_on IS NULL;
-- The same of what asks for labels, each selector by itself: what no worker fits stands in nobody's way.
CREATE INDEX jobs_placed ON jobs (runs_on, queue, rank_us, id)
    WHERE state = 'QUEUED' AND gated_at_us IS NULL AND runs_on IS NOT NULL;
