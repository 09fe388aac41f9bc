-- When a profile was first seen disconnected, and an event's link first seen: a `default` that got its link since then does
-- not stand for that profile. Which accounts Cronofy refused in a run: so many at once are not believed.
ALTER TABLE reconciler.known_profiles ADD COLUMN disconnected_at timestamptz;
UPDATE reconciler.known_profiles SET disconnected_at = seen_at WHERE NOT connected;
ALTER TABLE reconciler.event_states ADD COLUMN linked_at timestamptz;
ALTER TABLE reconciler.run_units ADD COLUMN access_lost boolean NOT NULL DEFAULT false;
CREATE INDEX run_units_access_lost ON reconciler.run_units (run_id) WHERE access_lost;
