-- A process whose locks went with their connection may not know it yet: what it writes asks for them.
CREATE FUNCTION reconciler.session_holds(p_session integer, p_name text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid = p_session
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (classid::bigint << 32 | objid::bigint) = hashtextextended('reconciler:' || p_name, 0))
$$;
