CROSS JOIN LATERAL (
    SELECT count(DISTINCT l.pid) AS processes FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('reconciler:run:' || r.run_id, 0)
) p
