-- Whether rosters can be believed is known when all of them are read. What rests on one that lost every profile waits until then.
ALTER TABLE reconciler.run_units ADD COLUMN roster_lost boolean NOT NULL DEFAULT false;
ALTER TABLE reconciler.run_units ADD COLUMN weighed boolean NOT NULL DEFAULT false;
ALTER TABLE reconciler.run_units DROP CONSTRAINT run_units_state_check;
ALTER TABLE reconciler.run_units ADD CONSTRAINT run_units_state_check
    CHECK (state IN ('todo', 'waiting', 'done', 'failed', 'skipped'));
CREATE INDEX run_units_roster_lost ON reconciler.run_units (run_id) WHERE roster_lost;
