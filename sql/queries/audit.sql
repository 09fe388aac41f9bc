-- The audit trail: appended to chain by chain, and read back for proof.

-- name: head
SELECT seq, hash FROM reconciler.audit_entries WHERE chain = $1 ORDER BY seq DESC LIMIT 1;

-- name: append
-- include: append
FROM jsonb_populate_recordset(NULL::reconciler.audit_entries, $1)
ORDER BY chain, seq;

-- name: in_chains
-- include: entry_columns
ORDER BY chain, seq;

-- name: judged
-- What states a verdict ($2), and whatever else holds evidence, but for the tags whose evidence is no event's ($3).
-- include: entry_columns
WHERE (tag = ANY ($2::text[]) OR evidence IS NOT NULL AND tag <> ALL ($3::text[])) AND ($1::uuid IS NULL OR run_id = $1)
ORDER BY entry_id;

-- name: of_event
-- include: entry_columns
WHERE calendar_id = $1 AND event_id = $2
ORDER BY entry_id;

-- name: books
SELECT run_id, status, summary ->> 'seal' AS seal, CASE WHEN finished_at < '9999-12-31 00:00:00+00' THEN finished_at END AS finished_at,
       jsonb_build_object('scope', scope, 'dry_run', dry_run, 'reason', reason, 'policy', policy)::text AS begun
FROM reconciler.runs
ORDER BY started_at, run_id;

-- name: strays
-- Entries of no run, of a run after its seal, or of an account that the run did not work. Whatever the run, it resolves the
-- notices whose events have started.
WITH run AS MATERIALIZED (
-- include: sealed_runs
), stray AS MATERIALIZED (  -- all of them before the first: in the order of entries each would be looked up by itself
    SELECT e.entry_id, e.chain, e.seq, e.run_id,
           CASE WHEN e.run_id IS NULL THEN 'no_run'
                WHEN r.run_id IS NULL THEN 'unknown_run'
                WHEN r.status <> 'running' AND e.entry_id > r.seal_id THEN 'after_seal'
                ELSE 'not_its_account' END AS why
    FROM reconciler.audit_entries e
    LEFT JOIN run r ON r.run_id = e.run_id
    LEFT JOIN reconciler.run_units u ON u.run_id = e.run_id AND u.account_id = e.account_id
    WHERE r.run_id IS NULL
       OR coalesce(r.status <> 'running' AND e.entry_id > r.seal_id, false)
       OR (e.account_id IS NOT NULL AND u.account_id IS NULL
           AND NOT (e.tag = 'notice:resolved'
                    AND EXISTS (SELECT FROM reconciler.notices n WHERE n.account_id = e.account_id)))
)
SELECT entry_id, chain, seq, run_id, why FROM stray ORDER BY entry_id LIMIT 101;

-- name: unsealed
WITH run AS MATERIALIZED (
-- include: sealed_runs
)
SELECT r.run_id, count(*) AS entries
FROM run r
JOIN reconciler.audit_entries e ON e.run_id = r.run_id AND e.entry_id > coalesce(r.seal_id, 0)
WHERE r.status = 'running'
GROUP BY r.run_id
ORDER BY min(e.entry_id);

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
