-- Whoever may connect to the database may take any advisory lock, and see which are held. A lock that is held by nobody but
-- logins that may not write the books of runs says nothing of what our processes do: it is passed over.
CREATE FUNCTION reconciler.lock_among_ours(p_name text, p_shared boolean) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    number bigint := hashtextextended('reconciler:' || p_name, 0);
    ours boolean;
BEGIN
    IF (CASE WHEN p_shared THEN pg_try_advisory_xact_lock_shared(number) ELSE pg_try_advisory_xact_lock(number) END) THEN
        RETURN;
    END IF;
    SELECT bool_or(coalesce(has_any_column_privilege(a.usesysid, 'reconciler.runs', 'UPDATE'), false)) INTO ours
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid <> pg_backend_pid()
      AND (l.mode = 'ExclusiveLock' OR NOT p_shared)
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32 | l.objid::bigint) = number;
    IF NOT ours THEN
        RETURN;
    ELSIF p_shared THEN
        PERFORM pg_advisory_xact_lock_shared(number);
    ELSE
        PERFORM pg_advisory_xact_lock(number);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION reconciler.session_holds(p_session integer, p_name text) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT reconciler.lock_among_ours('writes:' || p_name, true);
    SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid = p_session
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (classid::bigint << 32 | objid::bigint) = hashtextextended('reconciler:' || p_name, 0))
$$;
