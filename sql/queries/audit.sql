-- The audit trail: appended to chain by chain, and read back for proof.

-- name: head
SELECT seq, hash FROM reconciler.audit_entries WHERE chain = $1 ORDER BY seq DESC LIMIT 1;

-- name: append
-- include: append
FROM jsonb_populate_recordset(NULL::reconciler.audit_entries, $1)
ORDER BY chain, seq;

-- name: in_chains
SELECT entry_id, run_id, at, tag, account_id, calendar_id, event_id, cause, remedy, outcome, evidence, before, after,
       prev_hash, hash, chain, seq
FROM reconciler.audit_entries
ORDER BY chain, seq;

-- name: judged
SELECT entry_id, run_id, at, tag, account_id, calendar_id, event_id, cause, remedy, outcome, evidence, before, after,
       prev_hash, hash, chain, seq
FROM reconciler.audit_entries
WHERE evidence IS NOT NULL AND cause IS NOT NULL AND NOT after ?| ARRAY['undoes', 'restores'] AND ($1::uuid IS NULL OR run_id = $1)
ORDER BY entry_id;

-- name: unsaid
-- Runs by the books of which the trail says nothing: that they began, or that they ended.
SELECT r.run_id, t.tag
FROM reconciler.runs r
CROSS JOIN (VALUES ('run:started'), ('run:finished')) AS t (tag)
WHERE (t.tag = 'run:started' OR r.status <> 'running')
  AND (r.run_id, t.tag) NOT IN (SELECT run_id, tag FROM reconciler.audit_entries WHERE chain = 'runs' AND run_id IS NOT NULL)
ORDER BY r.started_at, t.tag DESC;

-- name: of_event
SELECT entry_id, run_id, at, tag, account_id, calendar_id, event_id, cause, remedy, outcome, evidence, before, after,
       prev_hash, hash, chain, seq
FROM reconciler.audit_entries
WHERE calendar_id = $1 AND event_id = $2
ORDER BY entry_id;

-- name: seal
-- What a run wrote before an entry (null: all of it): how many entries, and a digest over the last one in each chain,
-- which through its chain stands for all before it.
SELECT coalesce(sum(h.entries), 0)::bigint AS entries,
       encode(sha256(convert_to(coalesce(string_agg(h.hash, '' ORDER BY h.chain COLLATE "C"), ''), 'UTF8')), 'hex') AS digest
FROM (
    SELECT chain, count(*) AS entries, (array_agg(hash ORDER BY seq DESC))[1] AS hash
    FROM reconciler.audit_entries
    WHERE run_id = $1 AND ($2::bigint IS NULL OR entry_id < $2)
    GROUP BY chain
) h;
