-- Advisory locks.

-- name: locks
-- Advisory locks, asked for together and answered in order.
SELECT CASE k.verb
         WHEN 'take' THEN pg_try_advisory_lock(hashtextextended(k.name, 0))
         WHEN 'release' THEN pg_advisory_unlock(hashtextextended(k.name, 0))
         WHEN 'join' THEN pg_try_advisory_lock_shared(hashtextextended(k.name, 0))
         WHEN 'leave' THEN pg_advisory_unlock_shared(hashtextextended(k.name, 0))
       END AS granted
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (verb, name, place)
ORDER BY k.place;

-- name: holder
-- Who holds an advisory lock beside this session: first of all whoever may be one of our processes. The numbers of locks are no
-- secret, and any login may take any: what its login may do, and whether it has a run in hand, tells ours from others.
SELECT l.pid, a.usename AS login, a.application_name AS application, f.fellow,
       f.fellow AND EXISTS (
           SELECT FROM pg_locks h JOIN reconciler.runs r
             ON (h.classid::bigint << 32 | h.objid::bigint) = hashtextextended('reconciler:run:' || r.run_id, 0)
           WHERE h.locktype = 'advisory' AND h.granted AND h.objsubid = 1 AND h.pid = l.pid AND h.database = l.database
             AND r.status = 'running') AS run
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
CROSS JOIN LATERAL (
    SELECT coalesce(has_any_column_privilege(a.usesysid, 'reconciler.runs', 'UPDATE'), false) AS fellow) f
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended($1, 0)
ORDER BY f.fellow DESC, l.pid
LIMIT 1;

-- name: taken_within
-- Whether the session that has taken one advisory lock also holds a second one, alone or shared.
SELECT EXISTS (
    SELECT FROM pg_locks a
    JOIN pg_locks b ON b.pid = a.pid AND b.locktype = 'advisory' AND b.database = a.database AND b.granted
    WHERE a.locktype = 'advisory' AND a.granted AND a.objsubid = 1 AND b.objsubid = 1
      AND a.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (a.classid::bigint << 32 | a.objid::bigint) = hashtextextended($1, 0)
      AND (b.classid::bigint << 32 | b.objid::bigint) = hashtextextended($2, 0)
);
