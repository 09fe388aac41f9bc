-- Entries for the audit trail. What follows says from where, in order of `seq`.
INSERT INTO reconciler.audit_entries (
    run_id, at, tag, account_id, calendar_id, event_id, cause, remedy, outcome, evidence, before, after, prev_hash, hash,
    chain, seq)
SELECT
    run_id, at, tag, account_id, calendar_id, event_id, cause, remedy, outcome, evidence, before, after, prev_hash, hash,
    chain, seq
