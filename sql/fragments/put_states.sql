-- What is on record about events. What follows says from where; its last part is over_states.
INSERT INTO reconciler.event_states (
    calendar_id, event_id, account_id, conferencing, cause, remedy, join_url, provider_name, asked_provider, read_at,
    pending_since, next_read_at, settled_at, linked_at, repairs, repaired_at, confirmed_at, intended_at, intended_profile,
    misses, unchanged_looks, seen_written_at, rejections, uncorrected_profile, uncorrected_reason, stamped_from, run_id)
SELECT
    calendar_id, event_id, account_id, conferencing, cause, remedy, join_url, provider_name, asked_provider, read_at,
    pending_since, next_read_at, settled_at, linked_at, repairs, repaired_at, confirmed_at, intended_at, intended_profile,
    misses, unchanged_looks, seen_written_at, rejections, uncorrected_profile, uncorrected_reason, stamped_from, run_id
