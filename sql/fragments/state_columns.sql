       s.calendar_id IS NOT NULL AS known, s.conferencing, s.cause, s.remedy, s.join_url, s.provider_name,
       s.asked_provider, s.read_at, s.pending_since, s.next_read_at, s.settled_at, s.linked_at, s.repairs, s.repaired_at,
       s.confirmed_at, s.intended_at, s.intended_profile, s.misses, s.unchanged_looks, s.seen_written_at, s.rejections,
       s.uncorrected_profile, s.uncorrected_reason, s.stamped_from,
-- What came of our writes of the event since the application last wrote it, the last ten: moment, profile, outcome, keys.
CASE WHEN s.repaired_at IS NOT NULL OR s.repairs > 0 OR s.rejections <> '[]' THEN (
    SELECT jsonb_agg(jsonb_build_array(w.at, w.after ->> 'profile_id', w.outcome, w.after -> 'keys') ORDER BY w.entry_id)
    FROM (
        SELECT t.entry_id, t.at, t.outcome, t.after
        FROM (SELECT coalesce(s.stamped_from, s.seen_written_at) AT TIME ZONE 'UTC' AS moment) w, reconciler.audit_entries t
        WHERE t.calendar_id = s.calendar_id AND t.event_id = s.event_id
          AND t.tag IN ('repair:applied', 'repair:rejected', 'repair:in_doubt', 'repair:unsent')
          AND t.before ->> 'written_at' IN (  -- in either spelling, and never cast: an entry may hold any text there
              to_char(w.moment, 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
              to_char(w.moment, 'YYYY-MM-DD"T"HH24:MI:SS') ||
                  CASE WHEN w.moment = date_trunc('second', w.moment) THEN '+00:00' END)
        ORDER BY t.entry_id DESC LIMIT 10
    ) w
) END AS tried,
-- The times that our latest writes gave it, start and end each: those it had in the calendar, or those of the body.
CASE WHEN s.settled_at IS NULL AND (s.intended_at IS NOT NULL OR s.repaired_at IS NOT NULL) THEN (
    SELECT jsonb_agg(jsonb_build_array(w.times -> 'start', w.times -> 'end'))
    FROM (
        SELECT CASE WHEN coalesce(t.after ? 'restores' AND NOT t.after ? 'drift', false) THEN t.evidence -> 'body'
                    ELSE t.evidence -> 'read_back' END AS times
        FROM reconciler.audit_entries t
        WHERE t.calendar_id = s.calendar_id AND t.event_id = s.event_id AND t.tag = 'repair:intended'
        ORDER BY t.entry_id DESC LIMIT 5
    ) w
) END AS sent
