-- Runs, their units and counters, incidents.

-- name: start
INSERT INTO reconciler.runs (run_id, run_key, trigger, reason, scope, dry_run, started_at, policy)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (run_key) DO NOTHING
RETURNING true;

-- name: of_key
SELECT run_id, run_key, trigger, reason, scope, dry_run, started_at, policy, status
FROM reconciler.runs WHERE run_key = $1;

-- name: under_way
SELECT run_id, run_key, trigger, reason, scope, dry_run, started_at, policy
FROM reconciler.runs WHERE status = 'running' ORDER BY started_at;

-- name: resume
-- Accounts that somebody kept from it are tried again.
WITH again AS (
    UPDATE reconciler.run_units SET state = 'todo', error_kind = NULL, error_message = NULL
    WHERE run_id = $1 AND state = 'skipped' AND error_kind IS NOT NULL
)
UPDATE reconciler.runs SET status = 'running', finished_at = NULL WHERE run_id = $1;

-- name: ended
SELECT status, summary FROM reconciler.runs WHERE run_id = $1 AND status <> 'running';

-- name: refuse
UPDATE reconciler.runs SET refusal = $2 WHERE run_id = $1 AND refusal IS NULL;

-- name: refusal
SELECT refusal FROM reconciler.runs WHERE run_id = $1;

-- name: held_back
-- The limit that held back everybody, and those of accounts: the soonest one in full, the others counted.
SELECT nullif(concat_ws('; ', r.refusal, u.soonest, CASE WHEN u.others > 0 THEN 'so it is with ' || u.others || ' more' END), '')
FROM reconciler.runs r
CROSS JOIN (
    SELECT (array_agg(refusal ORDER BY deadline, account_id))[1] AS soonest, count(*) - 1 AS others
    FROM reconciler.run_units WHERE run_id = $1 AND refusal IS NOT NULL
) u
WHERE r.run_id = $1;

-- name: plan_units
INSERT INTO reconciler.run_units (run_id, account_id, deadline, events_due)
-- include: all_states
SELECT $17,
-- include: unit_of
       , coalesce(min(e.starts_at)
-- include: usable_starts
       , $1::timestamptz + $2::interval), count(*)
-- include: due
GROUP BY 2
ON CONFLICT (run_id, account_id) DO NOTHING;

-- name: planned
UPDATE reconciler.runs SET planned_at = now() WHERE run_id = $1;

-- name: one_plans
-- Any number of processes may plan a run at once, one of them does. No row is locked for it: whoever queues units waits for
-- those who complete them, and these for the run's counters. With this memory a million states are hashed without files.
SELECT reconciler.lock_among_ours('plan:' || $1::uuid, false),
       set_config('work_mem', greatest(65536, setting::int) || 'kB', true)
FROM pg_settings WHERE name = 'work_mem';

-- name: is_planned
SELECT planned_at IS NOT NULL FROM reconciler.runs WHERE run_id = $1;

-- name: units
SELECT account_id, deadline, attempt, weighed
FROM reconciler.run_units
WHERE run_id = $1 AND state = 'todo' AND (deadline, account_id) > ($2, $3)
ORDER BY deadline, account_id
LIMIT $4;

-- name: totals
SELECT count(*) AS units, coalesce(sum(events_due), 0) AS events,
       count(*) FILTER (WHERE state = 'done' AND NOT parked) AS done,
       count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE error_kind IS NOT NULL) AS errors,
       count(*) FILTER (WHERE parked) AS parked,
       count(*) FILTER (WHERE state IN ('todo', 'waiting', 'skipped')) AS remaining,
       count(*) FILTER (WHERE state = 'todo') AS todo,
       coalesce(sum(events_read), 0) AS read
FROM reconciler.run_units
WHERE run_id = $1;

-- name: counts
SELECT g.key AS grp, n.key AS name, sum(n.value::bigint)::bigint AS number
FROM reconciler.run_units u, jsonb_each(u.counts) g, jsonb_each_text(g.value) n
WHERE u.run_id = $1
GROUP BY g.key, n.key;

-- name: errors
SELECT u.account_id, e.error ->> 0 AS kind, e.error ->> 1 AS message
FROM reconciler.run_units u
CROSS JOIN LATERAL jsonb_array_elements(jsonb_build_array(jsonb_build_array(u.error_kind, u.error_message)) || u.more_errors)
    WITH ORDINALITY AS e (error, place)
WHERE u.run_id = $1 AND u.error_kind IS NOT NULL
ORDER BY u.deadline, u.account_id, e.place
LIMIT 100;

-- name: still_ours
-- First in every transaction that writes for a run: the session that holds this process's locks is still there.
SELECT reconciler.session_holds($2, 'run:' || $1::uuid);

-- name: wait_for_writers
-- As long as a transaction may stand idle, and 5 s more, in milliseconds: after that somebody hangs for whom there is no limit.
SELECT set_config('lock_timeout', (setting::int + 5000)::text, true)
FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout';

-- name: no_more_writes
-- First of all in the transaction that closes a run's books: waits for whatever is being written for it.
SELECT reconciler.lock_among_ours('writes:run:' || $1::uuid, false);

-- name: finish
-- What is still held back stays due; evidence that is old by the time the run is resumed must decide nothing.
WITH released AS (DELETE FROM reconciler.run_held WHERE run_id = $1)
UPDATE reconciler.runs SET status = $2, finished_at = $3, summary = $4 WHERE run_id = $1;

-- name: skip_unit
UPDATE reconciler.run_units SET state = 'skipped', error_kind = $3, error_message = $4
WHERE run_id = $1 AND account_id = $2 AND state = 'todo';

-- name: begun_unit
SELECT counts FROM reconciler.run_units WHERE run_id = $1 AND account_id = $2 FOR UPDATE;

-- name: put_spent
-- Whoever works the unit after this adds to what it counts: another attempt.
UPDATE reconciler.run_units SET counts = $3, attempt = attempt + 1 WHERE run_id = $1 AND account_id = $2;

-- name: reopen_repaired
-- Where repairs await confirmation.
UPDATE reconciler.run_units u
SET state = 'todo', attempt = attempt + 1
WHERE u.run_id = $1 AND u.state = 'done'
  AND EXISTS (SELECT FROM reconciler.event_states s
              WHERE s.account_id = u.account_id AND s.run_id = $1 AND s.repaired_at IS NOT NULL
                AND s.confirmed_at IS NULL AND s.settled_at IS NULL)
RETURNING u.account_id;

-- name: reopen_waiting
-- What had to wait until all accounts were through, and is not kept for anybody's word then.
WITH again AS (
    UPDATE reconciler.run_units SET state = 'todo', attempt = attempt + 1, weighed = true
    WHERE run_id = $1 AND state = 'waiting'
    RETURNING account_id
), unplanned AS (
    DELETE FROM reconciler.plan_items i USING reconciler.plans p
    WHERE p.run_id = $1 AND i.plan_id = p.plan_id AND i.account_id IN (SELECT account_id FROM again)
)
SELECT account_id FROM again;

-- name: lost_rosters
-- Of the accounts whose roster could be compared with one on record: how many, how many lost every profile, and how many
-- accounts are to come. Counted only if there is such a one, on record or in hand ($2).
SELECT count(*) FILTER (WHERE roster_compared) AS compared, count(*) FILTER (WHERE roster_lost) AS lost,
       count(*) FILTER (WHERE state = 'todo') AS to_come
FROM reconciler.run_units
WHERE run_id = $1 AND ($2 OR EXISTS (SELECT FROM reconciler.run_units WHERE run_id = $1 AND roster_lost));

-- name: lost_access
-- Of the accounts that answered, or were refused: how many, how many were refused, and how many are to come.
SELECT count(*) FILTER (WHERE access_lost OR state IN ('done', 'waiting')) AS compared,
       count(*) FILTER (WHERE access_lost) AS lost, count(*) FILTER (WHERE state = 'todo') AS to_come
FROM reconciler.run_units
WHERE run_id = $1 AND ($2 OR EXISTS (SELECT FROM reconciler.run_units WHERE run_id = $1 AND access_lost));

-- name: providers_in_trouble
-- Per service, over the future events written within the look-back that it should serve: those this run read, and
-- those settled with a link by an earlier one. `waiting` are those that an earlier run left to an outage; `told` those
-- of which Cronofy has pushed that their provider fails.
SELECT p.provider_name,
       sum(p.overdue)::bigint AS overdue, sum(p.total)::bigint AS total, sum(p.waiting)::bigint AS waiting,
       sum(p.told)::bigint AS told,
       count(DISTINCT p.account_id) FILTER (WHERE p.overdue > 0) AS accounts,
       count(DISTINCT p.account_id) FILTER (WHERE p.told > 0) AS told_accounts,
       count(DISTINCT coalesce('customer ' || nullif(a.customer, ''), 'account ' || p.account_id))
           FILTER (WHERE p.overdue > 0) AS customers
FROM (
    SELECT u.account_id, o.key AS provider_name, (o.value ->> 'overdue')::int AS overdue,
           (o.value ->> 'total')::int AS total, 0 AS waiting, coalesce((o.value ->> 'told')::int, 0) AS told
    FROM reconciler.run_units u, jsonb_each(u.observed) o
    WHERE u.run_id = $1
    UNION ALL
    SELECT s.account_id, coalesce(s.asked_provider, s.provider_name), 0,
           (s.conferencing = 'assigned')::int, (s.conferencing <> 'assigned')::int, 0
    FROM reconciler.event_states s
    JOIN reconciler.events e ON e.calendar_id = s.calendar_id AND e.event_id = s.event_id
    WHERE s.run_id IS DISTINCT FROM $1
      AND (s.conferencing = 'assigned' AND e.written_at >= $3
           OR s.cause = 'provider_outage' AND s.settled_at IS NULL)
      AND coalesce(s.asked_provider, s.provider_name) = ANY ($4)
      AND e.starts_at > $2 AND e.cancelled_at IS NULL
) p
LEFT JOIN reconciler.accounts a ON a.account_id = p.account_id
WHERE p.provider_name = ANY ($4)
GROUP BY p.provider_name;

-- name: observed_providers
SELECT DISTINCT o.key FROM reconciler.run_units u, jsonb_each(u.observed) o WHERE u.run_id = $1;

-- name: open_incidents
SELECT provider_name, opened_at FROM reconciler.incidents WHERE closed_at IS NULL ORDER BY provider_name;

-- name: open_incident
INSERT INTO reconciler.incidents (provider_name, opened_at, evidence, run_id)
VALUES ($1, $2, $3, $4)
ON CONFLICT (provider_name) WHERE closed_at IS NULL DO NOTHING
RETURNING incident_id;

-- name: close_incident
UPDATE reconciler.incidents SET closed_at = $2, evidence = evidence || $3
WHERE provider_name = $1 AND closed_at IS NULL
RETURNING incident_id;

-- name: spent_notices
-- Accounts with notices that nobody waits for any more: every event of theirs has started, or the application deleted it.
SELECT DISTINCT n.account_id
FROM reconciler.notices n
WHERE n.account_id > $2
-- include: spent
ORDER BY n.account_id LIMIT 100;

-- name: resolve_spent_notices
UPDATE reconciler.notices n
SET status = 'resolved', resolved_at = $1, updated_at = $1
WHERE n.account_id = ANY ($2::text[])
-- include: spent
RETURNING n.account_id, n.kind, n.profile_id;
