-- Errors of single events beside the first of their account: kind and message each.
ALTER TABLE reconciler.run_units ADD COLUMN more_errors jsonb NOT NULL DEFAULT '[]';

-- Events whose start or deletion is at no time that can be used (BC, after the year 9999, infinite): how every run finds them.
DO $$
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'reconciler.events'::regclass) = 'r' THEN
        CREATE INDEX IF NOT EXISTS events_of_no_time ON reconciler.events (account_id)
            WHERE starts_at IS NULL OR starts_at <= '0001-01-02 00:00:00+00' OR starts_at >= '9999-12-31 00:00:00+00'
               OR cancelled_at <= '0001-01-02 00:00:00+00' OR cancelled_at >= '9999-12-31 00:00:00+00';
    END IF;
END
$$;
