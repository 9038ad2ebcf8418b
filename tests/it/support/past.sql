-- {count} jobs that have ended, the last one at {end_us}, one each {step_us}: of twenty tasks and ad hoc, in four queues,
-- with labels, failures, attempts and events. Ids begin at 1; no job may exist.
CREATE TEMP TABLE past AS
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}),
named AS (
    SELECT i,
           CASE WHEN i % 50000 = 7 THEN 21 WHEN i % 5 = 0 THEN NULL ELSE i % 20 + 1 END AS task,
           CASE WHEN i % 20000 = 3 THEN 'rare' WHEN i % 10 < 7 THEN 'default' WHEN i % 10 < 9 THEN 'mail' ELSE 'reports' END AS queue,
           CASE WHEN i % 10000 = 11 THEN 'EXPIRED' WHEN i % 5000 = 17 THEN 'SKIPPED' WHEN i % 100 = 19 THEN 'CANCELLED'
                WHEN i % 100 < 3 THEN 'FAILED' ELSE 'SUCCEEDED' END AS state,
           {end_us} - ({count} - i) * {step_us} - 30000000 AS made_us
    FROM n)
SELECT i, task, queue, state, made_us, made_us + 5000 AS begun_us, made_us + 5000 + (i * 7919) % 20000000 AS ended_us,
       CASE WHEN i % 100 = 1 THEN 2 ELSE 1 END AS attempt_count,
       (i * 31) % 7 - 3 AS priority,
       CASE WHEN task IS NULL THEN 'rsync --archive /srv/data/part-' || (i % 1000) ELSE 'work --task ' || task || ' --item ' || i END AS words,
       CASE WHEN i % 100000 = 5 THEN 'T-1' ELSE NULL END AS ticket
FROM named;

INSERT INTO jobs (id, state, task_id, task_name, task_revision, command, search_text, queue, priority, rank_us, labels, origin,
                  requested_by, retry_policy, kill_grace_ms, restartable, failure, retry_of, schedule_id, attempt_count, try_count,
                  created_at_us, run_at_us, started_at_us, finished_at_us, token_id)
SELECT i, state, task, 'task-' || task, CASE WHEN task IS NULL THEN NULL ELSE 1 END,
       '{"argv":["sh","-c","' || words || '"],"script":null,"shell":null,"working_directory":null,"environment":[],"inherit_environment":[]}',
       words, queue, priority, made_us - priority * 60000000,
       '[{"key":"customer","value":"c' || (i % 5000) || '"},{"key":"team","value":"' || CASE i % 3 WHEN 0 THEN 'web' WHEN 1 THEN 'data' ELSE 'ops' END || '"}]',
       CASE WHEN i % 1000 = 2 THEN 'RETRY' WHEN task < 6 THEN 'SCHEDULE' ELSE 'API' END, 'admin',
       '{"max_attempts":1,"initial_delay":5000,"max_delay":600000,"factor":2.0,"retry_on":null,"exit_codes":null,"signals":null,"retries_temporary_failure":false}',
       10000, 0,
       CASE WHEN state = 'FAILED' THEN '{"outcome":"EXITED","message":"exit code 3","exit_code":3,"signal":null,"error_line":"cannot reach host-' || (i % 50) || '","is_retryable":true}' END,
       CASE WHEN i % 1000 = 2 THEN i - 1 END, CASE WHEN task < 6 THEN task END,
       CASE WHEN state IN ('EXPIRED', 'SKIPPED') THEN 0 ELSE attempt_count END,
       CASE WHEN state IN ('EXPIRED', 'SKIPPED') THEN 0 ELSE attempt_count END,
       made_us, made_us, CASE WHEN state IN ('EXPIRED', 'SKIPPED') THEN NULL ELSE begun_us END, ended_us,
       CASE WHEN i % 1000 = 3 THEN 2 ELSE 1 END
FROM past;

INSERT INTO job_labels (job_id, label_key, label_value)
SELECT i, 'customer', 'c' || (i % 5000) FROM past
UNION ALL SELECT i, 'team', CASE i % 3 WHEN 0 THEN 'web' WHEN 1 THEN 'data' ELSE 'ops' END FROM past
UNION ALL SELECT i, 'ticket', ticket FROM past WHERE ticket IS NOT NULL;

INSERT INTO attempts (id, job_id, attempt_number, worker_id, cookie, outcome, failure, exit_code, started_at_us, finished_at_us,
                      user_us, system_us, log_bytes, dropped_log_bytes, incident_id)
SELECT i * 2 + tries.number, i, tries.number, 1, hex(i), CASE WHEN fails THEN 'EXITED' ELSE 'SUCCEEDED' END,
       CASE WHEN fails THEN '{"outcome":"EXITED","message":"exit code 3","exit_code":3,"signal":null,"error_line":"cannot reach host-' || (i % 50) || '","is_retryable":true}' END,
       CASE WHEN fails THEN 3 ELSE 0 END, begun_us, ended_us, 600, 100, 0, 0, CASE WHEN fails THEN i % 50 + 1 END
FROM (SELECT past.*, column1 AS number, state = 'FAILED' OR column1 < attempt_count AS fails
      FROM past JOIN (VALUES (1), (2)) ON column1 <= attempt_count
      WHERE state NOT IN ('EXPIRED', 'SKIPPED')) AS tries;

INSERT INTO events (seq, kind, at_us, actor, subject, job_id, task_name, queue, data)
SELECT i * 3 + 100, 'JOB_CREATED', made_us, 'admin', 'job_' || i, i, 'task-' || task, queue, '{"state":"QUEUED"}' FROM past
UNION ALL
SELECT i * 3 + 101, 'JOB_STATE_CHANGED', begun_us, 'worker_1', 'job_' || i, i, 'task-' || task, queue, '{"attempt":1,"from":"QUEUED","to":"RUNNING"}' FROM past
UNION ALL
SELECT i * 3 + 102, 'JOB_STATE_CHANGED', ended_us, 'worker_1', 'job_' || i, i, 'task-' || task, queue,
       '{"attempt":1,"from":"RUNNING","to":"' || state || '"}' FROM past
ORDER BY 1;

INSERT INTO incidents (id, fingerprint, status, title, outcome, error_line, occurrence_count, first_seen_at_us, last_seen_at_us,
                       sample_job_id, count_before, alerted_count)
SELECT attempts.incident_id, 'history-' || attempts.incident_id, 'OPEN', 'sh: cannot reach host-<n>', 'EXITED', max(jobs.failure), count(*),
       min(attempts.finished_at_us), max(attempts.finished_at_us), max(attempts.job_id), 0, 1
FROM attempts JOIN jobs ON jobs.id = attempts.job_id
WHERE attempts.incident_id IS NOT NULL
GROUP BY attempts.incident_id;

INSERT INTO tasks (id, name, revision, queue, definition, search_text, created_at_us, updated_at_us)
SELECT DISTINCT task, 'task-' || task, 1, 'default',
       '{"description":null,"command":{"argv":["true"],"script":null,"shell":null,"working_directory":null,"environment":[],"inherit_environment":[]},"queue_name":"default","priority":0,"timeout":null,"idle_timeout":null,"kill_grace":10000,"retry_policy":{"max_attempts":1,"initial_delay":5000,"max_delay":600000,"factor":2.0,"retry_on":null,"exit_codes":null,"signals":null,"retries_temporary_failure":false},"is_restartable":false}',
       'task-' || task, 0, 0 FROM past WHERE task IS NOT NULL;

INSERT INTO queues (id, name, created_at_us)
SELECT column1, column2, 0 FROM (VALUES (101, 'mail'), (102, 'reports'), (103, 'rare')) WHERE TRUE
ON CONFLICT (name) DO NOTHING;

INSERT INTO job_counts (queue, state, job_count)
SELECT queue, state, count(*) FROM past WHERE TRUE GROUP BY queue, state
ON CONFLICT (queue, state) DO UPDATE SET job_count = job_count + excluded.job_count;

INSERT INTO counters (name, value)
SELECT column1, column2
FROM (VALUES ('job', {count}), ('attempt', {count} * 2 + 2), ('event', {count} * 3 + 102), ('task', 21), ('queue', 103), ('incident', 50))
WHERE TRUE
ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value);
DROP TABLE past;
