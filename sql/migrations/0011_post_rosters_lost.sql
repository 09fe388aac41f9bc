-- Counted from the units now.
ALTER TABLE reconciler.runs DROP COLUMN rosters_lost;
