-- A process may hold its locks and still come too late: stopped over a result, or frozen before a second look at what others
-- of its run have concluded since. Asked after the wait, so that books which were being closed meanwhile are seen closed.
CREATE FUNCTION reconciler.may_write(p_session integer, p_run uuid) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT reconciler.session_holds(p_session, 'run:' || p_run);
    SELECT reconciler.session_holds(p_session, 'run:' || p_run)
       AND EXISTS (SELECT FROM reconciler.runs WHERE run_id = p_run AND status = 'running')
$$;
