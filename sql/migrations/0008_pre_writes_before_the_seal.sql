-- Asking whether the locks still stand also says, to the end of the transaction, that something is being written under them.
-- Whoever closes a run's books takes that lock alone first: what was begun before is sealed with the rest, and what comes
-- after finds the locks gone.
CREATE OR REPLACE FUNCTION reconciler.session_holds(p_session integer, p_name text) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT pg_advisory_xact_lock_shared(hashtextextended('reconciler:writes:' || p_name, 0));
    SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid = p_session
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (classid::bigint << 32 | objid::bigint) = hashtextextended('reconciler:' || p_name, 0))
$$;
