       s.calendar_id IS NOT NULL AS known, s.conferencing, s.cause, s.remedy, s.join_url, s.provider_name,
       s.asked_provider, s.read_at, s.pending_since, s.next_read_at, s.settled_at, s.repairs, s.repaired_at,
       s.confirmed_at, s.intended_at, s.intended_profile, s.misses, s.unchanged_looks, s.seen_written_at, s.rejections
