-- What is going on: for `reconciler status`.

-- name: runs_under_way
SELECT r.run_id, r.run_key, r.trigger, r.reason, r.dry_run, r.started_at,
       count(u.*) AS accounts, count(u.*) FILTER (WHERE u.state <> 'todo') AS accounts_done,
       pg_try_advisory_xact_lock_shared(hashtextextended('reconciler:run:' || r.run_id, 0)) AS abandoned
FROM reconciler.runs r
LEFT JOIN reconciler.run_units u ON u.run_id = r.run_id
WHERE r.status = 'running'
GROUP BY r.run_id
ORDER BY r.started_at;

-- name: due
SELECT count(DISTINCT e.account_id) AS accounts, count(*) AS events, min(e.starts_at) AS soonest
-- include: due
;

-- name: open_notices
SELECT kind, count(*) AS notices, sum(events_affected) AS events
FROM reconciler.notices WHERE status <> 'resolved' GROUP BY kind ORDER BY kind;

-- name: open_incidents
SELECT provider_name, opened_at FROM reconciler.incidents WHERE closed_at IS NULL ORDER BY opened_at;

-- name: last_finished
SELECT run_id, run_key, status, started_at, finished_at FROM reconciler.runs
WHERE finished_at IS NOT NULL AND NOT dry_run ORDER BY finished_at DESC LIMIT 1;

-- name: budget
SELECT pace, greatest(0, hold_until - extract(epoch FROM clock_timestamp()))::float8 AS held_for_seconds,
       greatest(0, minute_free - extract(epoch FROM clock_timestamp()))::float8 AS minute_backlog_seconds
FROM reconciler.request_budget WHERE client_key = $1;

-- name: event
-- Also one that the application no longer holds: its story stays on record.
SELECT k.calendar_id, k.event_id, coalesce(e.account_id, s.account_id) AS account_id, e.starts_at, e.profile_id,
       e.written_at, e.cancelled_at, e.event_id IS NULL AS dropped,
       s.conferencing, s.cause, s.remedy, s.read_at, s.next_read_at, s.settled_at, s.repairs, s.repaired_at,
       s.intended_at, a.name, a.customer
FROM (SELECT $1::text AS calendar_id, $2::text AS event_id) k
LEFT JOIN reconciler.events e ON e.calendar_id = k.calendar_id AND e.event_id = k.event_id
LEFT JOIN reconciler.event_states s ON s.calendar_id = k.calendar_id AND s.event_id = k.event_id
LEFT JOIN reconciler.accounts a ON a.account_id = coalesce(e.account_id, s.account_id)
WHERE e.event_id IS NOT NULL OR s.event_id IS NOT NULL;
