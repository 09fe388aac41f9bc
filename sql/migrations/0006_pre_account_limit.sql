-- The limit on one account's repairs: counted over the run, whatever the number of processes, and which limit held back.
ALTER TABLE reconciler.run_units
    ADD COLUMN repairs integer NOT NULL DEFAULT 0,
    ADD COLUMN refusal text;
