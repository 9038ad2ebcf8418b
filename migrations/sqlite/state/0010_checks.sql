-- What is said of a row is looked at in each write of one.

-- SQLite builds a table for a list of more than two words, and throws it away with the statement: half of the time that a
-- job's rows took. Word by word the same costs nothing. The rows stay as they are, so only what is said of them is written
-- anew.
-- sqlite only
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'state IN (''HELD'', ''BLOCKED'', ''SCHEDULED'', ''QUEUED'', ''RUNNING'', ''RETRYING'',
                         ''SUCCEEDED'', ''FAILED'', ''CANCELLED'', ''EXPIRED'', ''SKIPPED'')',
    'state = ''QUEUED'' OR state = ''RUNNING'' OR state = ''SUCCEEDED'' OR state = ''FAILED'' OR state = ''SCHEDULED''
               OR state = ''RETRYING'' OR state = ''CANCELLED'' OR state = ''HELD'' OR state = ''BLOCKED'' OR state = ''EXPIRED''
               OR state = ''SKIPPED''')
    WHERE name = 'jobs';
UPDATE sqlite_schema SET sql = replace(sql, 'state IN (''SUCCEEDED'', ''FAILED'', ''CANCELLED'', ''EXPIRED'', ''SKIPPED'')',
    'state = ''SUCCEEDED'' OR state = ''FAILED'' OR state = ''CANCELLED'' OR state = ''EXPIRED'' OR state = ''SKIPPED''')
    WHERE name IN ('jobs', 'jobs_ended');
UPDATE sqlite_schema SET sql = replace(sql, 'origin IN (''API'', ''SCHEDULE'', ''RETRY'')',
    'origin = ''API'' OR origin = ''SCHEDULE'' OR origin = ''RETRY''')
    WHERE name = 'jobs';
UPDATE sqlite_schema SET sql = replace(sql, 'outcome IN (''SUCCEEDED'', ''EXITED'', ''SIGNALED'', ''TIMED_OUT'', ''OUT_OF_MEMORY'', ''SPAWN_FAILED'',
                           ''PANICKED'', ''CANCELLED'', ''LOST'', ''INTERRUPTED'')',
    'outcome = ''SUCCEEDED'' OR outcome = ''EXITED'' OR outcome = ''SIGNALED'' OR outcome = ''TIMED_OUT''
               OR outcome = ''OUT_OF_MEMORY'' OR outcome = ''SPAWN_FAILED'' OR outcome = ''PANICKED''
               OR outcome = ''CANCELLED'' OR outcome = ''LOST'' OR outcome = ''INTERRUPTED''')
    WHERE name = 'attempts';
UPDATE sqlite_schema SET sql = replace(sql, 'outcome IN (''STARTED'', ''CAUGHT_UP'', ''TRIGGERED'', ''SKIPPED_OVERLAP'', ''SKIPPED_PAUSED'', ''DROPPED_MISFIRE'')',
    'outcome = ''STARTED'' OR outcome = ''CAUGHT_UP'' OR outcome = ''TRIGGERED'' OR outcome = ''SKIPPED_OVERLAP''
               OR outcome = ''SKIPPED_PAUSED'' OR outcome = ''DROPPED_MISFIRE''')
    WHERE name = 'ticks';
UPDATE sqlite_schema SET sql = replace(sql, 'status IN (''OPEN'', ''ACKNOWLEDGED'', ''RESOLVED'', ''IGNORED'')',
    'status = ''OPEN'' OR status = ''ACKNOWLEDGED'' OR status = ''RESOLVED'' OR status = ''IGNORED''')
    WHERE name = 'incidents';
PRAGMA writable_schema = RESET;
-- A new table tells the other connections that what they know is old.
CREATE TABLE written_anew (id INTEGER);
DROP TABLE written_anew;
-- end
