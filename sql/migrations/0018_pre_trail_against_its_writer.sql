-- Whoever may append to the trail may append nonsense. What can be refused is refused here; what cannot, `audit verify` finds.
-- Older entries are left as they are (NOT VALID): they are proven by their hashes.
ALTER TABLE reconciler.audit_entries
    ADD CONSTRAINT audit_entries_of_a_run CHECK (run_id IS NOT NULL) NOT VALID,
    ADD CONSTRAINT audit_entries_at_check
        CHECK (at >= '2000-01-01 00:00:00+00' AND at < '9999-01-01 00:00:00+00') NOT VALID,
    ADD CONSTRAINT audit_entries_cause_check CHECK (cause IN (
        'unreadable', 'account_unauthorized', 'event_deleted', 'event_past', 'assigned', 'event_missing',
        'calendar_unavailable', 'calendar_disconnected', 'settling', 'provider_retired', 'profile_removed',
        'profile_disconnected', 'integrated_unavailable', 'missing_meeting_url', 'provider_outage',
        'conferencing_absent', 'unexplained')) NOT VALID,
    ADD CONSTRAINT audit_entries_remedy_check CHECK (remedy IN (
        'leave', 'settle', 'wait', 'reupsert', 'notify', 'park', 'report', 'escalate')) NOT VALID,
    ADD CONSTRAINT audit_entries_outcome_check CHECK (outcome IN (
        'applied', 'unneeded', 'rejected', 'in_doubt', 'unsent',
        'completed', 'partial', 'stopped', 'refused', 'failed')) NOT VALID,
    ADD CONSTRAINT audit_entries_chain_check CHECK (
        chain = coalesce(account_id, 'runs')
        AND (split_part(tag, ':', 1) IN ('run', 'incident')) = (account_id IS NULL)
        AND account_id IS DISTINCT FROM 'runs') NOT VALID,
    ADD CONSTRAINT audit_entries_event_check CHECK ((calendar_id IS NULL) = (event_id IS NULL)) NOT VALID,
    ADD CONSTRAINT audit_entries_json_check CHECK (
        coalesce(jsonb_typeof(evidence), 'object') = 'object'
        AND coalesce(jsonb_typeof(before), 'object') = 'object'
        AND coalesce(jsonb_typeof(after), 'object') = 'object') NOT VALID,
    ADD CONSTRAINT audit_entries_hash_check CHECK (
        seq > 0 AND prev_hash ~ '^[0-9a-f]{64}$' AND hash ~ '^[0-9a-f]{64}$') NOT VALID;

-- An entry takes the place after the last one of its chain. A place far ahead would leave the next run none.
CREATE FUNCTION reconciler.refuse_audit_gap() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM appended a
        WHERE NOT CASE WHEN a.seq = 1 THEN a.prev_hash = repeat('0', 64) ELSE EXISTS (
            SELECT FROM reconciler.audit_entries p
            WHERE p.chain = a.chain AND p.seq = a.seq - 1 AND p.hash = a.prev_hash) END
    ) THEN
        RAISE EXCEPTION 'an entry of reconciler.audit_entries must follow the last one of its chain'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_entries_no_gap';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER audit_entries_no_gap AFTER INSERT ON reconciler.audit_entries
    REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION reconciler.refuse_audit_gap();
