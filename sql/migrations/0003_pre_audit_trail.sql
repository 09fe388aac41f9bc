-- The audit trail: append-only, one hash chain per account and one for the runs themselves. A chain per account needs
-- no lock across accounts; the runs' chain seals them (a run's last entry holds a digest over all entries it wrote).

CREATE TABLE reconciler.audit_entries (
    entry_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      uuid,
    at          timestamptz NOT NULL,
    tag         text NOT NULL CHECK (tag IN (
                    'run:started', 'run:finished', 'event:judged', 'event:confirmed', 'event:escalated',
                    'repair:intended', 'repair:applied', 'repair:unneeded', 'repair:rejected', 'repair:in_doubt',
                    'repair:unsent', 'repair:overtaken', 'plan:drifted', 'notice:queued', 'notice:updated', 'notice:resolved', 'account:parked',
                    'incident:opened', 'incident:closed')),
    account_id  text,
    calendar_id text,
    event_id    text,
    cause       text,
    remedy      text,
    outcome     text,
    evidence    jsonb,
    before      jsonb,
    after       jsonb,
    prev_hash   text NOT NULL,
    hash        text NOT NULL,
    chain       text NOT NULL,
    seq         bigint NOT NULL,
    UNIQUE (chain, seq)
);
CREATE INDEX audit_entries_by_event ON reconciler.audit_entries (calendar_id, event_id, entry_id)
    WHERE event_id IS NOT NULL;
CREATE INDEX audit_entries_by_run ON reconciler.audit_entries (run_id, entry_id);

CREATE FUNCTION reconciler.refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'reconciler.audit_entries is append-only: % refused', lower(TG_OP)
        USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciler.audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION reconciler.refuse_audit_change();
