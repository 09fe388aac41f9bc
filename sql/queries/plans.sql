-- Stored plans, and what runs changed.

-- name: plan_of
SELECT plan_id FROM reconciler.plans WHERE run_id = $1;

-- name: plan_items
-- `asked`: what the event asks for now.
SELECT i.calendar_id, i.event_id, i.account_id, i.starts_at, i.cause, i.remedy, i.detail, i.evidence_digest,
       e.profile_id AS asked
FROM reconciler.plan_items i
LEFT JOIN reconciler.events e ON e.calendar_id = i.calendar_id AND e.event_id = i.event_id
WHERE i.plan_id = $1
ORDER BY i.starts_at, i.calendar_id, i.event_id;

-- name: remedies_of
-- What a run worked out and did not carry out, counted by remedy.
SELECT i.detail ->> 'remedy' AS remedy, count(*)::int AS number
FROM reconciler.plans p JOIN reconciler.plan_items i USING (plan_id)
WHERE p.run_id = $1
GROUP BY 1;

-- name: seal_plan
UPDATE reconciler.plans SET digest = $2, summary = $3 WHERE plan_id = $1;

-- name: tell_of_plan
UPDATE reconciler.runs
SET summary = summary || CASE WHEN dry_run THEN $2::jsonb ELSE jsonb_build_object('plan_id', $2::jsonb -> 'plan_id') END
WHERE run_id = $1;

-- name: plan
SELECT plan_id, run_id, digest, created_at, expires_at, expires_at <= now() AS expired
FROM reconciler.plans WHERE plan_id = $1;

-- name: exists
SELECT EXISTS (SELECT FROM reconciler.runs WHERE run_id = $1);

-- name: changes
SELECT DISTINCT ON (calendar_id, event_id) entry_id, calendar_id, event_id, before ->> 'profile_id' AS old_profile,
       after ->> 'profile_id' AS new_profile, before ->> 'written_at' AS written_at
FROM reconciler.audit_entries
WHERE run_id = $1 AND tag = 'repair:applied' AND calendar_id IS NOT NULL AND event_id IS NOT NULL
ORDER BY calendar_id, event_id, entry_id DESC;

-- name: fates
-- What became in a run of each of the events that it was told by name, and by which remedy where it was carried out. What the
-- trail says of a write outweighs the rest: a second look at what was written finds it changed. What was sent because the
-- application had written the event meanwhile is no remedy that was asked for: it has drifted, unless that write failed. Without
-- an entry or a state of this run, the event's account tells.
SELECT fate, remedy, count(*)::int AS number
FROM (
    SELECT CASE
             WHEN w.tag = 'repair:rejected' THEN 'refused'
             WHEN w.tag IN ('repair:intended', 'repair:in_doubt') THEN 'in_doubt'
             WHEN w.tag = 'repair:unsent' OR w.cause IN ('unreadable', 'account_unauthorized') THEN 'failed'
             WHEN w.after ? 'restores' OR w.tag = 'repair:unneeded' THEN 'drifted'
             WHEN w.tag = 'repair:applied' THEN 'carried_out'
             WHEN w.tag = 'plan:drifted' THEN 'drifted'
             WHEN p.event_id IS NOT NULL THEN 'held_back'
             WHEN s.event_id IS NOT NULL THEN 'carried_out'
             WHEN u.state IN ('todo', 'waiting') THEN 'left'
             WHEN u.state = 'skipped' THEN 'elsewhere'
             WHEN u.state = 'failed' OR u.state IS NULL AND a.state <> 'active' THEN 'failed'
             ELSE 'drifted'
           END AS fate,
           CASE WHEN w.tag = 'repair:applied' THEN w.remedy ELSE split_part(s.remedy, ' ', 1) END AS remedy
    FROM unnest($2::text[], $3::text[]) k (calendar_id, event_id)
    LEFT JOIN reconciler.events e ON e.calendar_id = k.calendar_id AND e.event_id = k.event_id
    LEFT JOIN reconciler.accounts a ON a.account_id = e.account_id
    LEFT JOIN reconciler.run_units u ON u.run_id = $1 AND u.account_id =
-- include: unit_of
    LEFT JOIN reconciler.event_states s
           ON s.calendar_id = k.calendar_id AND s.event_id = k.event_id AND s.run_id = $1
    LEFT JOIN (
        SELECT i.calendar_id, i.event_id
        FROM reconciler.plans JOIN reconciler.plan_items i USING (plan_id) WHERE plans.run_id = $1
    ) p ON p.calendar_id = k.calendar_id AND p.event_id = k.event_id
    LEFT JOIN LATERAL (
        SELECT t.tag, t.cause, t.remedy, t.after
        FROM reconciler.audit_entries t
        WHERE t.calendar_id = k.calendar_id AND t.event_id = k.event_id AND t.run_id = $1
          AND (t.tag LIKE 'repair:%' AND t.tag <> 'repair:overtaken' AND t.remedy = 'reupsert' OR t.tag = 'plan:drifted')
        ORDER BY coalesce(t.after ? 'restores', false) DESC,
                 t.tag = 'repair:applied' AND NOT coalesce(t.after ? 'restores', false) DESC, t.entry_id DESC
        LIMIT 1
    ) w ON true
) f
GROUP BY fate, remedy;

-- name: in_hand
-- Whether any process has a run in hand.
SELECT p.processes > 0
FROM reconciler.runs r
-- include: run_processes
WHERE r.run_id = $1;

-- name: left_in_doubt
-- Events whose last write by a run has no outcome on record, or none that is certain.
SELECT count(*) FROM (
    SELECT DISTINCT ON (calendar_id, event_id) tag
    FROM reconciler.audit_entries
    WHERE run_id = $1 AND tag LIKE 'repair:%' AND tag <> 'repair:overtaken' AND remedy = 'reupsert'
    ORDER BY calendar_id, event_id, entry_id DESC
) t
WHERE tag IN ('repair:intended', 'repair:in_doubt');
