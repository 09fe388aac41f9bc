ON CONFLICT (calendar_id, event_id) DO UPDATE SET
    account_id = excluded.account_id, conferencing = excluded.conferencing, cause = excluded.cause,
    remedy = excluded.remedy, join_url = excluded.join_url, provider_name = excluded.provider_name,
    asked_provider = excluded.asked_provider, read_at = excluded.read_at, pending_since = excluded.pending_since,
    next_read_at = excluded.next_read_at, settled_at = excluded.settled_at, linked_at = excluded.linked_at,
    repairs = excluded.repairs, repaired_at = excluded.repaired_at, confirmed_at = excluded.confirmed_at, intended_at = excluded.intended_at,
    intended_profile = excluded.intended_profile, misses = excluded.misses,
    unchanged_looks = excluded.unchanged_looks, seen_written_at = excluded.seen_written_at,
    rejections = excluded.rejections, uncorrected_profile = excluded.uncorrected_profile,
    uncorrected_reason = excluded.uncorrected_reason, stamped_from = excluded.stamped_from, run_id = excluded.run_id
