-- All that due.sql may see of event_states.
WITH states AS (
    SELECT s.*, n.event_id IS NOT NULL OR (s.settled_at IS NULL AND s.account_id IN (
               SELECT account_id FROM reconciler.notifications
               WHERE looked_at IS NULL AND event_id IS NULL AND account_id IS NOT NULL
                 AND type IN ('conferencing_profile_disconnected', 'profile_disconnected'))) AS named
    FROM reconciler.event_states s
    LEFT JOIN (
        SELECT DISTINCT calendar_id, event_id FROM reconciler.notifications WHERE looked_at IS NULL
    ) n ON n.calendar_id = s.calendar_id AND n.event_id = s.event_id
)
