-- What reports for account managers are made of. Every null filter does not limit. No join or relink link is read.

-- name: now
SELECT now();

-- name: run
-- `abandoned`: its books are open, but no process holds its lock. `todo`: accounts that it did not look at, and left to nobody.
-- `not_read`: of what was due, by why: events and their accounts.
SELECT r.run_id, r.status, r.dry_run, r.started_at, r.finished_at, r.reason, r.summary, r.scope <> '{}' AS scoped,
       EXISTS (SELECT FROM reconciler.runs l
               WHERE l.started_at > r.started_at AND l.run_id <> r.run_id AND NOT l.dry_run) AS overtaken,
       (SELECT jsonb_object_agg(n.name, n.number)
        FROM (SELECT c.key AS name, sum(c.value::int) AS number
              FROM reconciler.run_units u, jsonb_each_text(u.counts -> 'outage') c
              WHERE u.run_id = r.run_id GROUP BY c.key) n) AS outage,
       r.status = 'running' AND p.processes = 0 AS abandoned,
       (SELECT count(*) FROM reconciler.run_units u WHERE u.run_id = r.run_id AND u.state = 'todo') AS todo,
       (SELECT count(*) FROM reconciler.run_units u WHERE u.run_id = r.run_id AND u.events_read > 0) AS accounts_read,
       (SELECT jsonb_agg(jsonb_build_array(n.why, n.events, n.accounts) ORDER BY n.why)
        FROM (SELECT CASE WHEN u.state = 'failed' THEN 'failed' WHEN u.parked THEN 'parked' ELSE 'left' END AS why,
                     sum(u.events_due - u.events_read) AS events, count(*) AS accounts
              FROM reconciler.run_units u
              WHERE u.run_id = r.run_id AND u.events_read < u.events_due AND (u.state <> 'done' OR u.parked)
              GROUP BY 1) n) AS not_read
FROM reconciler.runs r
-- include: run_processes
WHERE r.run_id = $1;

-- name: seal
-- The last seal of a run; where none is named, that of the trail.
SELECT hash FROM reconciler.audit_entries
WHERE chain = 'runs' AND tag = 'run:finished' AND ($1::uuid IS NULL OR run_id = $1)
ORDER BY seq DESC LIMIT 1;

-- name: at_risk_of_run
-- The future events without a link that a run touched, as they stand now. What it only worked out (in a dry run, or
-- held back by a limit) is in its plan, and counts until a later look.
WITH planned AS (
    SELECT i.calendar_id, i.event_id, i.cause, i.remedy
    FROM reconciler.plans p
    JOIN reconciler.plan_items i ON i.plan_id = p.plan_id
    JOIN reconciler.runs r ON r.run_id = p.run_id
    LEFT JOIN reconciler.event_states s ON s.calendar_id = i.calendar_id AND s.event_id = i.event_id
    WHERE p.run_id = $1 AND (s.read_at IS NULL OR s.read_at < r.started_at)
), open AS (
    SELECT calendar_id, event_id, cause, remedy, true AS planned FROM planned WHERE cause <> ALL ($4)
    UNION ALL
    SELECT s.calendar_id, s.event_id, s.cause, s.remedy, false
    FROM reconciler.event_states s
    WHERE s.settled_at IS NULL
      AND (s.run_id = $1
           OR EXISTS (SELECT FROM reconciler.audit_entries t
                      WHERE t.calendar_id = s.calendar_id AND t.event_id = s.event_id AND t.run_id = $1)
           OR EXISTS (SELECT FROM reconciler.plans p JOIN reconciler.plan_items i ON i.plan_id = p.plan_id
                      WHERE p.run_id = $1 AND i.calendar_id = s.calendar_id AND i.event_id = s.event_id))
      AND NOT EXISTS (SELECT FROM planned p WHERE p.calendar_id = s.calendar_id AND p.event_id = s.event_id)
)
SELECT e.calendar_id, e.event_id, e.account_id, e.starts_at, o.cause, o.remedy, o.planned,
       coalesce(s.repaired_at IS NOT NULL AND s.confirmed_at IS NULL, false) AS corrected,
       coalesce(s.misses = 1, false) AS unlisted,
       coalesce(s.rejections @> '[{"about_profile": false}]', false) AS refused,
       o.cause IN ('conferencing_absent', 'unexplained') AND coalesce((
           SELECT t.evidence #> '{body,location}' = 'true' FROM reconciler.audit_entries t
           WHERE t.calendar_id = e.calendar_id AND t.event_id = e.event_id AND t.evidence IS NOT NULL
           ORDER BY t.entry_id DESC LIMIT 1), false) AS located,
       a.name, a.email, a.customer, a.account_manager
FROM open o
JOIN reconciler.events e ON e.calendar_id = o.calendar_id AND e.event_id = o.event_id
LEFT JOIN reconciler.event_states s ON s.calendar_id = o.calendar_id AND s.event_id = o.event_id
LEFT JOIN reconciler.accounts a ON a.account_id = e.account_id
WHERE e.starts_at > now() AND e.cancelled_at IS NULL
  AND e.profile_id IS NOT NULL AND e.profile_id NOT IN ('none', 'explicit')
  AND ($2::text[] IS NULL OR a.account_manager = ANY ($2))
  AND ($3::text[] IS NULL OR a.customer = ANY ($3));

-- name: at_risk_now
SELECT e.calendar_id, e.event_id, e.account_id, e.starts_at, s.cause, s.remedy, false AS planned,
       s.repaired_at IS NOT NULL AND s.confirmed_at IS NULL AS corrected, s.misses = 1 AS unlisted,
       s.rejections @> '[{"about_profile": false}]' AS refused,
       s.cause IN ('conferencing_absent', 'unexplained') AND coalesce((
           SELECT t.evidence #> '{body,location}' = 'true' FROM reconciler.audit_entries t
           WHERE t.calendar_id = e.calendar_id AND t.event_id = e.event_id AND t.evidence IS NOT NULL
           ORDER BY t.entry_id DESC LIMIT 1), false) AS located,
       a.name, a.email, a.customer, a.account_manager
FROM reconciler.event_states s
JOIN reconciler.events e ON e.calendar_id = s.calendar_id AND e.event_id = s.event_id
LEFT JOIN reconciler.accounts a ON a.account_id = e.account_id
WHERE s.settled_at IS NULL AND e.starts_at > now() AND e.cancelled_at IS NULL
  AND e.profile_id IS NOT NULL AND e.profile_id NOT IN ('none', 'explicit')
  AND ($1::text[] IS NULL OR a.account_manager = ANY ($1))
  AND ($2::text[] IS NULL OR a.customer = ANY ($2));

-- name: at_risk_elsewhere
-- How many of those at risk now the run did not touch.
SELECT count(*)
FROM reconciler.event_states s
JOIN reconciler.events e ON e.calendar_id = s.calendar_id AND e.event_id = s.event_id
LEFT JOIN reconciler.accounts a ON a.account_id = e.account_id
WHERE s.settled_at IS NULL AND e.starts_at > now() AND e.cancelled_at IS NULL
  AND e.profile_id IS NOT NULL AND e.profile_id NOT IN ('none', 'explicit')
  AND s.run_id IS DISTINCT FROM $1
  AND NOT EXISTS (SELECT FROM reconciler.audit_entries t
                  WHERE t.run_id = $1 AND t.calendar_id = s.calendar_id AND t.event_id = s.event_id)
  AND NOT EXISTS (SELECT FROM reconciler.plans p JOIN reconciler.plan_items i ON i.plan_id = p.plan_id
                  WHERE p.run_id = $1 AND i.calendar_id = s.calendar_id AND i.event_id = s.event_id)
  AND ($2::text[] IS NULL OR a.account_manager = ANY ($2))
  AND ($3::text[] IS NULL OR a.customer = ANY ($3));

-- name: linked_of_run
-- The events a run touched that are at risk no more: those with a link, and those that need none any more.
WITH touched AS (
    SELECT calendar_id, event_id, account_id, conferencing, settled_at
    FROM reconciler.event_states
    WHERE run_id = $1
    UNION
    SELECT s.calendar_id, s.event_id, s.account_id, s.conferencing, s.settled_at
    FROM reconciler.audit_entries t
    JOIN reconciler.event_states s ON s.calendar_id = t.calendar_id AND s.event_id = t.event_id
    WHERE t.run_id = $1
), closed AS (
    SELECT t.account_id, t.conferencing = 'assigned' AND t.settled_at IS NOT NULL AS linked
    FROM touched t
    LEFT JOIN reconciler.events e ON e.calendar_id = t.calendar_id AND e.event_id = t.event_id
    WHERE t.settled_at IS NOT NULL OR e.event_id IS NULL OR e.starts_at <= now() OR e.cancelled_at IS NOT NULL
       OR e.profile_id IS NULL OR e.profile_id IN ('none', 'explicit')
)
SELECT a.account_manager, a.customer, count(*) FILTER (WHERE c.linked) AS events,
       count(*) FILTER (WHERE NOT c.linked) AS over
FROM closed c
LEFT JOIN reconciler.accounts a ON a.account_id = c.account_id
WHERE ($2::text[] IS NULL OR a.account_manager = ANY ($2))
  AND ($3::text[] IS NULL OR a.customer = ANY ($3))
GROUP BY a.account_manager, a.customer;

-- name: linked_in_period
SELECT a.account_manager, a.customer, count(*) FILTER (WHERE s.conferencing = 'assigned') AS events,
       count(*) FILTER (WHERE s.conferencing <> 'assigned') AS over
FROM reconciler.event_states s
LEFT JOIN reconciler.accounts a ON a.account_id = s.account_id
WHERE s.settled_at IS NOT NULL
  AND ($1::timestamptz IS NULL OR s.settled_at >= $1) AND s.settled_at < $2
  AND ($3::text[] IS NULL OR a.account_manager = ANY ($3))
  AND ($4::text[] IS NULL OR a.customer = ANY ($4))
GROUP BY a.account_manager, a.customer;

-- name: waiting
-- Open notices, those of a scoped run's accounts alone ($1 is null for all). A notice whose every event has started is
-- spent, unless it is about the account itself.
SELECT n.kind, n.account_id, n.provider_name, n.created_at, n.status, ahead.events, ahead.first_event_at, a.name, a.email,
       CASE WHEN a.account_id IS NULL THEN n.customer ELSE a.customer END AS customer,
       CASE WHEN a.account_id IS NULL THEN n.account_manager ELSE a.account_manager END AS account_manager
FROM reconciler.notices n
LEFT JOIN reconciler.accounts a ON a.account_id = n.account_id
CROSS JOIN LATERAL (
    SELECT count(*) AS events, min(w.starts_at) AS first_event_at
    FROM jsonb_to_recordset(n.events) AS w (starts_at timestamptz)
    WHERE w.starts_at > now()
) ahead
WHERE n.status <> 'resolved'
  AND (n.kind = 'reauthorize_account' OR n.last_event_at IS NULL OR n.last_event_at > now())
  AND ($1::uuid IS NULL OR n.account_id IN (SELECT u.account_id FROM reconciler.run_units u WHERE u.run_id = $1))
  AND ($2::text[] IS NULL
       OR CASE WHEN a.account_id IS NULL THEN n.account_manager ELSE a.account_manager END = ANY ($2))
  AND ($3::text[] IS NULL OR CASE WHEN a.account_id IS NULL THEN n.customer ELSE a.customer END = ANY ($3));

-- name: repaired
-- Accepted repairs of a run or of a period. What came of one is its event's next word on the matter; where the answer
-- to the write was lost at first, what was asked for before stands in the intent.
SELECT r.calendar_id, r.event_id, r.account_id, r.at,
       coalesce(r.before ->> 'profile_id', i.before ->> 'profile_id') AS old_profile,
       coalesce(r.after ->> 'profile_id', i.after ->> 'profile_id') AS new_profile,
       coalesce(r.after ->> 'provider_name', i.after ->> 'provider_name', new.provider_name) AS new_provider,
       coalesce(r.after ->> 'provider_change', i.after ->> 'provider_change') AS provider_change,
       old.provider_name AS old_provider,
       coalesce(r.after ? 'undoes', false) OR coalesce(i.after ? 'undoes', false) AS undo,
       coalesce(c.tag = 'repair:applied', false) AS repeated, coalesce(c.after ? 'undoes', false) AS undone, e.starts_at,
       coalesce(c.tag = 'event:confirmed' OR (c.tag IS NULL AND s.confirmed_at >= r.at), false) AS confirmed,
       e.event_id IS NULL OR e.starts_at <= now() OR e.cancelled_at IS NOT NULL
           OR coalesce(s.settled_at >= r.at, false) AS closed,
       a.name, a.email, a.customer, a.account_manager
FROM reconciler.audit_entries r
LEFT JOIN LATERAL (
    SELECT n.tag, n.after FROM reconciler.audit_entries n
    WHERE n.calendar_id = r.calendar_id AND n.event_id = r.event_id AND n.entry_id > r.entry_id
      AND n.tag IN ('event:confirmed', 'repair:applied')
    ORDER BY n.entry_id LIMIT 1
) c ON true
LEFT JOIN LATERAL (
    SELECT n.before, n.after FROM reconciler.audit_entries n
    WHERE n.calendar_id = r.calendar_id AND n.event_id = r.event_id AND n.entry_id < r.entry_id
      AND n.tag = 'repair:intended' AND r.before ->> 'profile_id' IS NULL
    ORDER BY n.entry_id DESC LIMIT 1
) i ON true
LEFT JOIN reconciler.events e ON e.calendar_id = r.calendar_id AND e.event_id = r.event_id
LEFT JOIN reconciler.event_states s ON s.calendar_id = r.calendar_id AND s.event_id = r.event_id
LEFT JOIN reconciler.accounts a ON a.account_id = r.account_id
LEFT JOIN reconciler.known_profiles old
       ON old.account_id = r.account_id AND old.kind = 'conferencing'
      AND old.profile_id = coalesce(r.before ->> 'profile_id', i.before ->> 'profile_id')
LEFT JOIN reconciler.known_profiles new
       ON new.account_id = r.account_id AND new.kind = 'conferencing'
      AND new.profile_id = coalesce(r.after ->> 'profile_id', i.after ->> 'profile_id')
WHERE r.tag = 'repair:applied' AND r.event_id IS NOT NULL AND r.calendar_id IS NOT NULL
  AND r.at >= '0001-01-02 00:00:00+00' AND r.at < '9999-12-31 00:00:00+00'
  AND ($1::uuid IS NULL OR r.run_id = $1)
  AND ($2::timestamptz IS NULL OR r.at >= $2) AND ($3::timestamptz IS NULL OR r.at < $3)
  AND ($4::text[] IS NULL OR a.account_manager = ANY ($4))
  AND ($5::text[] IS NULL OR a.customer = ANY ($5));

-- name: unread
-- The accounts that a run failed to read or write; of a period, those whose last look in it failed.
-- Where an error is of single events, the others were read.
SELECT u.account_id, u.error_kind, greatest(1, u.events_due - u.events_read) AS events_due, u.deadline, a.name, a.email, a.customer, a.account_manager
FROM (
    SELECT DISTINCT ON (w.account_id) w.account_id, w.error_kind, w.events_due, w.events_read, w.deadline
    FROM reconciler.run_units w
    JOIN reconciler.runs r ON r.run_id = w.run_id
    WHERE w.state IN ('done', 'failed')
      AND CASE WHEN $1::uuid IS NULL
               THEN ($2::timestamptz IS NULL OR r.started_at >= $2) AND r.started_at < $3::timestamptz AND NOT r.dry_run
               ELSE w.run_id = $1 END
    ORDER BY w.account_id, r.started_at DESC
) u
LEFT JOIN reconciler.accounts a ON a.account_id = u.account_id
WHERE u.error_kind IS NOT NULL
  AND ($4::text[] IS NULL OR a.account_manager = ANY ($4))
  AND ($5::text[] IS NULL OR a.customer = ANY ($5));
