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
