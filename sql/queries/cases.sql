-- One account's events with what is on record, and the transaction that records what was decided.

-- name: load
-- A unit's due events, soonest first. The first row also tells of their account, and where between the first due event and
-- the last there are more than one page holds ($18), how many start on each day, calendar by calendar.
WITH states AS MATERIALIZED (  -- the account's by its index: hundreds of single look-ups would cost several times as much
    SELECT calendar_id, event_id, account_id, conferencing, cause, next_read_at, settled_at, seen_written_at,
           EXISTS (SELECT FROM reconciler.notifications n
                   WHERE n.looked_at IS NULL AND n.calendar_id = s.calendar_id AND n.event_id = s.event_id)
           OR (settled_at IS NULL AND EXISTS (
                   SELECT FROM reconciler.notifications n
                   WHERE n.looked_at IS NULL AND n.event_id IS NULL AND n.account_id = $17
                     AND n.type IN ('conferencing_profile_disconnected', 'profile_disconnected'))) AS named
    FROM reconciler.event_states s WHERE account_id = $17
), due AS (
SELECT e.calendar_id, e.event_id, e.account_id, e.starts_at, e.ends_at, e.profile_id, e.written_at, e.cancelled_at,
-- include: needed_body
       , a.account_id IS NOT NULL AS account_known,
       row_number() OVER (ORDER BY e.starts_at, e.calendar_id, e.event_id) AS place
-- include: due
AND e.account_id = $17
), span AS (
    SELECT min(e.starts_at)
-- include: usable_starts
           - interval '1 day' AS since, max(e.starts_at)
-- include: usable_starts
           + interval '1 day' AS until
    FROM due e HAVING count(*) > 1
), density AS (
    SELECT e.calendar_id, (e.starts_at AT TIME ZONE 'UTC')::date AS day, count(*) AS events
    FROM span, reconciler.events e
    WHERE e.account_id = $17 AND e.starts_at >= date_trunc('day', span.since) AND e.starts_at < date_trunc('day', span.until) + interval '1 day'
    GROUP BY e.calendar_id, day
)
SELECT d.*,
-- include: state_columns
       , (SELECT jsonb_agg(jsonb_build_array(w.type, w.subtype, w.received_at) ORDER BY w.received_at, w.notification_id)
        FROM (
            -- the newest of each subtype decides; of subtypes without end, twenty
            SELECT n.type, left(n.subtype, 100) AS subtype, max(n.received_at) AS received_at,
                   max(n.notification_id) AS notification_id
            FROM reconciler.notifications n
            WHERE n.calendar_id = d.calendar_id AND n.event_id = d.event_id AND n.type = 'conferencing_failing'
            GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20
        ) w) AS notified,
       -- a thousand at a look: of more, the next look has the others
       (SELECT array_agg(w.notification_id) FROM (
            SELECT n.notification_id FROM reconciler.notifications n
            WHERE n.calendar_id = d.calendar_id AND n.event_id = d.event_id AND n.looked_at IS NULL
            LIMIT 1000) w) AS to_look_at,
       (SELECT jsonb_build_array(n.received_at, n.payload::text) FROM reconciler.notifications n
        WHERE n.calendar_id = d.calendar_id AND n.event_id = d.event_id AND n.looked_at IS NULL
          AND n.type = 'conferencing_assigned' AND octet_length(n.payload::text) <= 65536
          AND n.received_at > '0001-01-02 00:00:00+00' AND n.received_at < '9999-12-31 00:00:00+00'
        ORDER BY n.received_at DESC LIMIT 1) AS pushed,
       EXISTS (SELECT FROM reconciler.notifications n
               WHERE n.calendar_id = d.calendar_id AND n.event_id = d.event_id
                 AND (n.received_at <= '0001-01-02 00:00:00+00' OR n.received_at >= '9999-12-31 00:00:00+00'))
           AS pushed_at_no_time,
       CASE WHEN d.place = 1 AND d.account_known THEN (
-- include: account
       FROM (SELECT $17::text AS account_id) w) END AS account,
       CASE WHEN d.place = 1 AND (SELECT sum(events) FROM density) > $18 THEN (
           SELECT jsonb_agg(jsonb_build_array(calendar_id, day, events)) FROM density) END AS density
FROM due d
LEFT JOIN reconciler.event_states s
       ON s.calendar_id = d.calendar_id AND s.event_id = d.event_id AND s.account_id = d.account_id
ORDER BY d.place;

-- name: load_nobodys
-- The due events whose account_id our tables cannot hold.
-- include: all_states
SELECT e.calendar_id, e.event_id, e.account_id, e.starts_at, e.ends_at, e.profile_id, e.written_at, e.cancelled_at
-- include: due
AND
-- include: unit_of
= ''
ORDER BY e.starts_at, e.calendar_id, e.event_id
LIMIT 100;

-- name: unit_counts
SELECT account_id, counts FROM reconciler.run_units WHERE run_id = $1 AND account_id = ANY ($2) ORDER BY account_id FOR UPDATE;

-- name: put_unit_counts
UPDATE reconciler.run_units u SET counts = c.counts, refusal = coalesce(u.refusal, c.refusal)
FROM unnest($2::text[], $3::jsonb[], $4::text[]) AS c (account_id, counts, refusal)
WHERE u.run_id = $1 AND u.account_id = c.account_id;

-- name: rows_to_correct
-- The application's rows of accepted repairs as they stand, nobody else's to change until the transaction ends.
SELECT e.calendar_id, e.event_id, e.written_at, e.cancelled_at, e.profile_id, jsonb_typeof(e.body) = 'object' AS usable,
       CASE WHEN jsonb_typeof(e.body -> 'conferencing') = 'object' THEN e.body -> 'conferencing' ->> 'profile_id' END AS asked
FROM reconciler.events e
JOIN unnest($1::text[], $2::text[]) AS k (calendar_id, event_id)
  ON e.calendar_id = k.calendar_id AND e.event_id = k.event_id
ORDER BY e.calendar_id, e.event_id
FOR NO KEY UPDATE OF e;

-- name: patience
-- How long a correction waits for a row that somebody else has locked.
SELECT set_config('lock_timeout', $1::text, true);

-- name: check_now
-- What the application's database puts off to the end of a transaction is said now, while it costs a correction alone.
SET CONSTRAINTS ALL IMMEDIATE;

-- name: correct
UPDATE reconciler.events e
SET profile_id = c.profile_id,
    body = jsonb_set(
        CASE WHEN jsonb_typeof(e.body -> 'conferencing') = 'object' THEN e.body
             ELSE jsonb_set(e.body, '{conferencing}', '{}') END,
        '{conferencing,profile_id}', to_jsonb(c.profile_id))
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS c (calendar_id, event_id, profile_id, written_at)
WHERE e.calendar_id = c.calendar_id AND e.event_id = c.event_id AND e.written_at = c.written_at
  AND e.cancelled_at IS NULL
  AND jsonb_typeof(e.body) = 'object';

-- name: mark_corrected
-- What came of corrections: where one was refused the profile that Cronofy was given and why; where a trigger gave the row
-- another time, that is not the application's.
UPDATE reconciler.event_states s
SET uncorrected_profile = k.profile_id, uncorrected_reason = k.reason,
    stamped_from = CASE WHEN k.stamp IS NULL THEN s.stamped_from ELSE coalesce(s.stamped_from, s.seen_written_at) END,
    seen_written_at = coalesce(k.stamp, s.seen_written_at)
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
    AS k (calendar_id, event_id, profile_id, reason, stamp)
WHERE s.calendar_id = k.calendar_id AND s.event_id = k.event_id;

-- name: queue_notice
INSERT INTO reconciler.notices (
    kind, account_id, profile_id, provider_name, relink_url, recipient, customer, account_manager, events,
    events_affected, first_event_at, last_event_at, created_at, updated_at, run_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14)
ON CONFLICT (account_id, kind, coalesce(profile_id, '')) WHERE status <> 'resolved' DO UPDATE SET
    provider_name = excluded.provider_name, relink_url = excluded.relink_url, recipient = excluded.recipient,
    customer = excluded.customer, account_manager = excluded.account_manager, events = excluded.events,
    events_affected = excluded.events_affected, first_event_at = excluded.first_event_at,
    last_event_at = excluded.last_event_at, updated_at = excluded.updated_at, run_id = excluded.run_id;

-- name: resolve_notice
UPDATE reconciler.notices
SET status = 'resolved', resolved_at = $4, updated_at = $4, run_id = $5
WHERE account_id = $1 AND kind = $2 AND coalesce(profile_id, '') = coalesce($3, '') AND status <> 'resolved';

-- name: park
UPDATE reconciler.accounts
SET state = 'parked', parked_reason = $2, updated_at = now()
WHERE account_id = $1 AND state = 'active';

-- name: still_active
SELECT EXISTS (SELECT FROM reconciler.accounts WHERE account_id = $1 AND state = 'active');

-- name: held_accounts
SELECT DISTINCT h.account_id
FROM reconciler.run_held h
JOIN reconciler.accounts a ON a.account_id = h.account_id
JOIN reconciler.events e ON e.calendar_id = h.calendar_id AND e.event_id = h.event_id AND e.account_id = h.account_id
WHERE h.run_id = $1 AND h.account_id > $2
ORDER BY h.account_id LIMIT 100;

-- name: held
-- What is held of some accounts; the first row of each also tells of the account.
SELECT h.calendar_id, h.event_id, h.evidence, h.account_id, e.starts_at, e.ends_at, e.profile_id, e.written_at,
       e.cancelled_at,
-- include: needed_body
       ,
-- include: state_columns
       , CASE WHEN row_number() OVER (PARTITION BY h.account_id ORDER BY e.starts_at, h.calendar_id, h.event_id) = 1 THEN (
-- include: account
       FROM (SELECT h.account_id) w) END AS account
FROM reconciler.run_held h
JOIN reconciler.events e ON e.calendar_id = h.calendar_id AND e.event_id = h.event_id AND e.account_id = h.account_id
LEFT JOIN reconciler.event_states s
       ON s.calendar_id = h.calendar_id AND s.event_id = h.event_id AND s.account_id = h.account_id
WHERE h.run_id = $1 AND h.account_id = ANY ($2)
ORDER BY h.account_id, e.starts_at, h.calendar_id, h.event_id;

-- name: release_held
DELETE FROM reconciler.run_held WHERE run_id = $1 AND account_id = ANY ($2);

-- name: lock_counters
-- First of all: who waits here sees, in its next statement, what the one before it counted.
SELECT repairs FROM reconciler.runs WHERE run_id = $1 FOR NO KEY UPDATE;

-- name: count_reads
UPDATE reconciler.run_units SET events_read = greatest(events_read, $3) WHERE run_id = $1 AND account_id = $2;

-- name: charge_account
-- Counted first and compared by the caller, whose transaction is rolled back where it is too many.
UPDATE reconciler.run_units SET repairs = repairs + $3 WHERE run_id = $1 AND account_id = $2 RETURNING repairs;

-- name: charge_repairs
UPDATE reconciler.runs
SET repairs = repairs + $2
WHERE run_id = $1
  AND repairs + $2 <= $3
  AND (repairs + $2 < 20
       OR repairs + $2 <= $4::float8 * (SELECT sum(events_read) FROM reconciler.run_units WHERE run_id = $1))
RETURNING repairs;

-- name: repair_counters
SELECT r.repairs, (SELECT sum(u.events_read) FROM reconciler.run_units u WHERE u.run_id = r.run_id)::int AS events_read
FROM reconciler.runs r WHERE r.run_id = $1;

-- name: still_writable
-- Every row of the events, so that one that stands twice is seen to.
SELECT e.calendar_id, e.event_id,
       coalesce(e.written_at = k.written_at AND e.cancelled_at IS NULL AND e.body IS NOT NULL, false) AS writable,
-- include: body_text
FROM reconciler.events e
JOIN unnest($1::text[], $2::text[], $3::timestamptz[]) AS k (calendar_id, event_id, written_at)
  ON e.calendar_id = k.calendar_id AND e.event_id = k.event_id
FOR SHARE OF e;

-- name: unchanged
SELECT e.calendar_id, e.event_id
FROM reconciler.events e
JOIN unnest($1::text[], $2::text[], $3::timestamptz[]) AS k (calendar_id, event_id, written_at)
  ON e.calendar_id = k.calendar_id AND e.event_id = k.event_id
WHERE $5::int IS NULL OR (SELECT reconciler.may_write($5, $4))
GROUP BY e.calendar_id, e.event_id
HAVING bool_and(e.written_at = k.written_at AND e.cancelled_at IS NULL);

-- name: forget_other_accounts
-- What is on record of events that were another account's when it was.
DELETE FROM reconciler.event_states s USING unnest($2::text[], $3::text[]) AS k (calendar_id, event_id)
WHERE s.calendar_id = k.calendar_id AND s.event_id = k.event_id AND s.account_id <> $1;

-- name: mark_intended
INSERT INTO reconciler.event_states
    (calendar_id, event_id, account_id, intended_at, intended_profile, next_read_at, seen_written_at)
SELECT k.calendar_id, k.event_id, $1, $2, k.profile_id, $2, k.written_at
FROM unnest($3::text[], $4::text[], $5::text[], $6::timestamptz[])
    AS k (calendar_id, event_id, profile_id, written_at)
ON CONFLICT (calendar_id, event_id) DO UPDATE SET
    intended_at = excluded.intended_at, intended_profile = excluded.intended_profile,
    next_read_at = excluded.next_read_at,
    -- what restores a newer body is not over before it is answered: until then the state speaks of the older one
    seen_written_at = CASE WHEN $7 THEN event_states.seen_written_at ELSE excluded.seen_written_at END,
    uncorrected_profile = CASE WHEN $7 OR event_states.seen_written_at = excluded.seen_written_at
                               THEN event_states.uncorrected_profile END,
    uncorrected_reason = CASE WHEN $7 OR event_states.seen_written_at = excluded.seen_written_at
                              THEN event_states.uncorrected_reason END,
    stamped_from = CASE WHEN $7 OR event_states.seen_written_at = excluded.seen_written_at
                        THEN event_states.stamped_from END;

-- name: mark_overtaken
UPDATE reconciler.event_states s
SET intended_at = $1, intended_profile = NULL, next_read_at = $1
FROM unnest($2::text[], $3::text[]) AS k (calendar_id, event_id)
WHERE s.calendar_id = k.calendar_id AND s.event_id = k.event_id;

-- name: add_unit_error
UPDATE reconciler.run_units
SET state = 'failed', error_kind = coalesce(error_kind, $3), error_message = coalesce(error_message, $4),
    more_errors = CASE WHEN error_kind IS NULL THEN $5 ELSE more_errors || jsonb_build_array(jsonb_build_array($3::text, $4::text)) || $5 END
WHERE run_id = $1 AND account_id = $2;

-- name: add_refusal
-- What the application's database refused costs no more than that: the unit is done.
UPDATE reconciler.run_units
SET error_kind = coalesce(error_kind, $3::text), error_message = coalesce(error_message, $4::text),
    more_errors = CASE WHEN error_kind IS NULL THEN more_errors
                       ELSE more_errors || jsonb_build_array(jsonb_build_array($3::text, $4::text)) END
WHERE run_id = $1 AND account_id = $2;

-- name: open_plan
INSERT INTO reconciler.plans (plan_id, run_id, expires_at)
VALUES (gen_random_uuid(), $1, now() + interval '24 hours')
ON CONFLICT (run_id) DO NOTHING;

-- name: put_plan_items
INSERT INTO reconciler.plan_items
    (plan_id, calendar_id, event_id, account_id, starts_at, cause, remedy, detail, evidence_digest)
SELECT p.plan_id, i.calendar_id, i.event_id, $2, i.starts_at, i.cause, i.remedy, i.detail, i.evidence_digest
FROM reconciler.plans p,
     unnest($3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::jsonb[], $9::text[])
     AS i (calendar_id, event_id, starts_at, cause, remedy, detail, evidence_digest)
WHERE p.run_id = $1
ON CONFLICT (plan_id, calendar_id, event_id) DO NOTHING;

-- name: may_write
SELECT reconciler.may_write($2, $1);

-- name: record
-- Units' results in one statement, each once: nothing of a unit is written unless it was still to do, and this process's,
-- and the run's books are open.
-- $1 the run, $2 the accounts; rows of run_units ($3), event_states ($4), run_held ($5) and audit_entries ($6); the accounts
-- whose roster was read ($7) and what it listed, as rows of known_profiles ($8); the session that holds the run's lock, null:
-- none does ($9); the notifications that were taken into account ($11), each with its unit's account ($10).
WITH unit AS (
    UPDATE reconciler.run_units u
    SET state = n.state, counts = n.counts, observed = n.observed, error_kind = n.error_kind,
        error_message = n.error_message, more_errors = coalesce(n.more_errors, '[]'), parked = n.parked, refusal = coalesce(n.refusal, u.refusal),
        events_read = greatest(u.events_read, n.events_read), roster_compared = n.roster_compared,
        roster_lost = n.roster_lost, access_lost = n.access_lost, finished_at = now()
    FROM jsonb_populate_recordset(NULL::reconciler.run_units, $3) n
    WHERE u.run_id = $1 AND u.account_id = ANY ($2::text[]) AND u.account_id = n.account_id AND u.state = 'todo'
      AND ($9::int IS NULL OR (SELECT reconciler.may_write($9, $1)))
    RETURNING u.account_id
), states AS (
-- include: put_states
    FROM jsonb_populate_recordset(NULL::reconciler.event_states, $4)
    WHERE account_id IN (SELECT account_id FROM unit)
-- include: over_states
), held AS (
    INSERT INTO reconciler.run_held (run_id, account_id, calendar_id, event_id, evidence)
    SELECT $1, account_id, calendar_id, event_id, evidence
    FROM jsonb_populate_recordset(NULL::reconciler.run_held, $5)
    WHERE account_id IN (SELECT account_id FROM unit)
    ON CONFLICT (run_id, account_id, calendar_id, event_id) DO UPDATE SET evidence = excluded.evidence
), entries AS (
-- include: append
    FROM jsonb_populate_recordset(NULL::reconciler.audit_entries, $6)
    WHERE chain IN (SELECT account_id FROM unit)
    ORDER BY chain, seq
), looked_at AS (
    UPDATE reconciler.notifications n SET looked_at = now()
    FROM unnest($10::text[], $11::bigint[]) AS k (account_id, notification_id) JOIN unit USING (account_id)
    WHERE n.notification_id = k.notification_id
), listing AS (
    SELECT p.* FROM jsonb_populate_recordset(NULL::reconciler.known_profiles, $8) p JOIN unit USING (account_id)
), unlisted AS (
    UPDATE reconciler.known_profiles k SET listed = false
    WHERE k.account_id = ANY ($7::text[]) AND k.listed AND k.account_id IN (SELECT account_id FROM unit)
      AND NOT EXISTS (SELECT FROM listing p
                      WHERE p.account_id = k.account_id AND p.profile_id = k.profile_id AND p.kind = k.kind)
), listed AS (
    INSERT INTO reconciler.known_profiles
        (account_id, profile_id, kind, provider_name, profile_name, connected, listed, seen_at, disconnected_at)
    SELECT account_id, profile_id, kind, provider_name, profile_name, connected, true, seen_at,
           CASE WHEN NOT connected THEN seen_at END
    FROM listing
    ON CONFLICT (account_id, profile_id, kind) DO UPDATE SET
        provider_name = excluded.provider_name, profile_name = excluded.profile_name, connected = excluded.connected,
        listed = true, seen_at = excluded.seen_at,
        disconnected_at = CASE WHEN NOT excluded.connected
                               THEN coalesce(CASE WHEN NOT known_profiles.connected THEN known_profiles.disconnected_at END,
                                             excluded.seen_at) END
)
SELECT account_id FROM unit;

-- name: put_states
-- include: put_states
FROM jsonb_populate_recordset(NULL::reconciler.event_states, $1)
-- include: over_states
;
