-- What is going on: for `reconciler status`.

-- name: runs_under_way
-- `processes` hold the run's lock: none means abandoned. The pace is that of the last five minutes. As in the summary, an
-- account that is left to another run counts as left, but it is no work to do any more.
SELECT r.run_id, r.run_key, r.trigger, r.reason, r.dry_run, r.started_at, r.planned_at IS NOT NULL AS planned,
       r.refusal, u.accounts, u.accounts - u.remaining AS accounts_done, u.remaining AS accounts_left, u.todo, u.recent,
       u.recent_since,
       (SELECT count(*) FROM reconciler.run_held h WHERE h.run_id = r.run_id) AS held,
       p.processes, p.processes = 0 AS abandoned
FROM reconciler.runs r
CROSS JOIN LATERAL (
    SELECT count(*) AS accounts, count(*) FILTER (WHERE state = 'todo') AS todo,
           count(*) FILTER (WHERE state IN ('todo', 'waiting', 'skipped')) AS remaining,
           count(*) FILTER (WHERE finished_at > $1::timestamptz - interval '5 minutes') AS recent,
           greatest(r.started_at, r.planned_at, $1::timestamptz - interval '5 minutes',
                    min(finished_at) FILTER (WHERE finished_at > $1::timestamptz - interval '5 minutes') - interval '1 second')
               AS recent_since
    FROM reconciler.run_units WHERE run_id = r.run_id
) u
-- include: run_processes
WHERE r.status = 'running'
ORDER BY r.started_at;

-- name: waiting_sessions
-- Sessions of ours that wait for a lock in the database, and the one that has kept them waiting longest.
SELECT count(*)::int AS sessions, max(extract(epoch FROM clock_timestamp() - a.query_start))::float8 AS seconds
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.application_name LIKE 'reconciler%' AND a.wait_event_type = 'Lock'
  AND a.pid <> pg_backend_pid();

-- name: due
-- include: all_states
SELECT count(DISTINCT e.account_id) AS accounts, count(*) AS events, min(e.starts_at)
-- include: usable_starts
       AS soonest
-- include: due
;

-- name: open_notices
SELECT kind, count(*) AS notices, sum(events_affected) AS events
FROM reconciler.notices WHERE status <> 'resolved' GROUP BY kind ORDER BY kind;

-- name: open_incidents
SELECT provider_name, opened_at FROM reconciler.incidents WHERE closed_at IS NULL ORDER BY opened_at;

-- name: last_finished
-- With the plan of what it held back, while that can be applied.
SELECT r.run_id, r.run_key, r.status, r.started_at, r.finished_at, r.summary -> 'requests' AS requests, p.plan_id,
       (SELECT count(*) FROM reconciler.plan_items i WHERE i.plan_id = p.plan_id) AS kept
FROM reconciler.runs r
LEFT JOIN reconciler.plans p ON p.run_id = r.run_id AND p.digest IS NOT NULL AND p.expires_at > now()
WHERE r.finished_at IS NOT NULL AND NOT r.dry_run ORDER BY r.finished_at DESC LIMIT 1;

-- name: trouble
-- The accounts that a run could not read or write: all of them counted, the soonest in full.
SELECT account_id, error_kind AS kind, error_message AS message, count(*) OVER () AS accounts
FROM reconciler.run_units
WHERE run_id = $1 AND error_kind IS NOT NULL
ORDER BY deadline, account_id
LIMIT 5;

-- name: budget
-- As the next request would find it: the pace comes back with time. An application that never asked has all of it.
SELECT coalesce(reconciler.request_pace(jsonb_populate_record(b, jsonb_build_object('seen_at', n.moment))), 1) AS pace,
       greatest(0, b.hold_until - n.moment)::float8 AS held_for_seconds,
       greatest(0, b.minute_free - n.moment)::float8 AS minute_backlog_seconds,
       (SELECT count(*) FROM reconciler.request_slots s
        WHERE s.client_key = $1 AND s.starts_at > n.moment - 60)::int AS taken
FROM (SELECT extract(epoch FROM clock_timestamp()) AS moment) n
LEFT JOIN reconciler.request_budget b ON b.client_key = $1;

-- name: unlisted_providers
-- Names that no roster on record holds, and that are none of those that need no roster.
SELECT p.name
FROM unnest($1::text[]) WITH ORDINALITY AS p (name, place)
WHERE p.name NOT IN ('8x8', 'google_meet', 'ms_teams_for_business')
  AND NOT EXISTS (SELECT FROM reconciler.known_profiles k WHERE k.kind = 'conferencing' AND k.provider_name = p.name)
ORDER BY p.place;

-- name: event
-- Also one that the application no longer holds: its story stays on record. `left_*`: why the latest run that had its account
-- in hand could not read or write it. `planned`: what a run worked out and did not carry out, in the newest plan that still
-- holds; null if a look or an entry is newer than that plan.
SELECT k.calendar_id, k.event_id, coalesce(e.account_id, s.account_id) AS account_id, e.starts_at, e.ends_at, e.profile_id,
       e.written_at, e.cancelled_at, e.event_id IS NULL AS dropped,
       (SELECT count(DISTINCT (x.account_id, x.starts_at, x.ends_at, x.profile_id, x.written_at, x.cancelled_at))
        FROM reconciler.events x WHERE x.calendar_id = k.calendar_id AND x.event_id = k.event_id) AS copies,
       a.account_id IS NOT NULL AS account_known, a.token_expires_at, a.updated_at,
       (SELECT count(*) FROM reconciler.accounts x WHERE x.account_id = e.account_id) AS account_rows,
       s.conferencing, s.cause, s.remedy, s.read_at, s.next_read_at, s.settled_at, s.repairs, s.repaired_at,
       s.intended_at, a.name, a.customer, a.state AS account_state, a.parked_reason,
       now() AS now, u.error_kind AS left_kind, u.error_message AS left_why, u.finished_at AS left_at,
       p.planned
FROM (SELECT $1::text AS calendar_id, $2::text AS event_id) k
LEFT JOIN reconciler.events e ON e.calendar_id = k.calendar_id AND e.event_id = k.event_id
LEFT JOIN reconciler.event_states s ON s.calendar_id = k.calendar_id AND s.event_id = k.event_id
      AND (e.event_id IS NULL OR s.account_id = e.account_id)
LEFT JOIN reconciler.accounts a ON a.account_id = coalesce(e.account_id, s.account_id)
LEFT JOIN LATERAL (
    SELECT u.error_kind, u.error_message, u.finished_at
    FROM reconciler.runs r
    JOIN reconciler.run_units u ON u.run_id = r.run_id AND u.account_id = coalesce(e.account_id, s.account_id)
    WHERE NOT r.dry_run AND u.finished_at IS NOT NULL
    ORDER BY r.started_at DESC LIMIT 1
) u ON u.error_kind IS NOT NULL
LEFT JOIN LATERAL (
    SELECT jsonb_build_object(
               'plan_id', p.plan_id, 'run_id', p.run_id, 'dry_run', r.dry_run, 'closed', p.digest IS NOT NULL,
               'expires_at', p.expires_at, 'cause', i.cause, 'remedy', i.remedy, 'detail', i.detail,
               'held_back', coalesce(w.refusal, r.refusal)) AS planned
    FROM reconciler.plans p
    JOIN reconciler.plan_items i ON i.plan_id = p.plan_id AND i.calendar_id = k.calendar_id AND i.event_id = k.event_id
    JOIN reconciler.runs r ON r.run_id = p.run_id
    LEFT JOIN reconciler.run_units w ON w.run_id = p.run_id AND w.account_id = i.account_id
    WHERE p.expires_at > now() AND (s.read_at IS NULL OR s.read_at < p.created_at)
      AND NOT EXISTS (SELECT FROM reconciler.audit_entries t
                      WHERE t.calendar_id = k.calendar_id AND t.event_id = k.event_id AND t.at >= p.created_at)
    ORDER BY p.created_at DESC LIMIT 1
) p ON true
WHERE e.event_id IS NOT NULL OR s.event_id IS NOT NULL;

-- name: may_read_bodies
-- Readers may not.
SELECT has_column_privilege('reconciler.events', 'body', 'SELECT');

-- name: body_state
SELECT CASE WHEN pg_column_size(body) > 1048576 OR octet_length(body::text) > 1048576 THEN 'too_large'
            WHEN jsonb_typeof(body) <> 'object' THEN 'not_an_object' END
FROM reconciler.events WHERE calendar_id = $1 AND event_id = $2;
