-- An entry as anybody may have written it: a time that Python has no word for is null, and JSON is text.
SELECT entry_id, run_id, CASE WHEN at >= '0001-01-02 00:00:00+00' AND at < '9999-12-31 00:00:00+00' THEN at END AS at, tag,
       account_id, calendar_id, event_id, cause, remedy, outcome, evidence::text AS evidence, before::text AS before,
       after::text AS after, prev_hash, hash, chain, seq
FROM reconciler.audit_entries
