-- Runs that many processes share: who has which unit in hand. PgQueuer's own statements do the claiming and queueing; these
-- stand where it does not ask who the owner is, and where our units and its rows meet. A run is an entrypoint of its own.

-- name: fence
-- First in every transaction that writes for a unit: the claim under which it was worked still stands. Both rows stay locked
-- to the end. A second look at what an application rewrote comes when the unit is done.
SELECT true
FROM reconciler.run_units u
JOIN reconciler_queue.pgqueuer q ON q.id = $3 AND q.status = 'picked' AND q.queue_manager_id = $4
WHERE u.run_id = $1 AND u.account_id = $2
FOR UPDATE OF u, q;

-- name: claimed_unit
SELECT u.deadline, u.attempt, u.weighed
FROM reconciler.run_units u
JOIN reconciler_queue.pgqueuer q ON q.id = $3 AND q.status = 'picked' AND q.queue_manager_id = $4
WHERE u.run_id = $1 AND u.account_id = $2 AND u.state = 'todo';

-- name: claim_stands
SELECT EXISTS (SELECT FROM reconciler_queue.pgqueuer WHERE id = $1 AND status = 'picked' AND queue_manager_id = $2);

-- name: complete
-- Takes finished claims off the queue, but only those that are still their owner's. No traceback is kept: it may quote rows.
WITH gone AS (
    DELETE FROM reconciler_queue.pgqueuer q
    USING unnest($1::bigint[], $2::uuid[], $3::text[]) AS c (id, owner, status)
    WHERE q.id = c.id AND q.status = 'picked' AND q.queue_manager_id = c.owner
    RETURNING q.id, c.status, q.entrypoint, q.priority
)
INSERT INTO reconciler_queue.pgqueuer_log (job_id, status, entrypoint, priority)
SELECT id, status::reconciler_queue.pgqueuer_status, entrypoint, priority FROM gone;

-- name: give_back
UPDATE reconciler_queue.pgqueuer
SET status = 'queued', execute_after = now() + $3::interval, updated = now(), attempts = attempts + 1,
    queue_manager_id = NULL
WHERE id = $1 AND status = 'picked' AND queue_manager_id = $2;

-- name: beat
UPDATE reconciler_queue.pgqueuer SET heartbeat = now()
WHERE id = ANY ($1::bigint[]) AND status = 'picked' AND queue_manager_id = $2;

-- name: progress
-- What the processes of a run look at to know whether they are through.
SELECT r.status = 'running' AS under_way,
       EXISTS (SELECT FROM reconciler_queue.pgqueuer q
               WHERE q.entrypoint = $2 AND q.status IN ('queued', 'picked')) AS claimable,
       EXISTS (SELECT FROM reconciler_queue.pgqueuer_log l
               WHERE l.entrypoint = $2 AND l.status = 'canceled') AS cancelled
FROM reconciler.runs r
WHERE r.run_id = $1;

-- name: forget
-- What is left in the queue of runs that have ended; the log keeps up to three rows a unit.
WITH ended AS (
    SELECT 'run:' || r.run_id AS entrypoint FROM reconciler.runs r
    WHERE r.status <> 'running' AND ($1::uuid IS NULL OR r.run_id = $1)
), rows AS (
    DELETE FROM reconciler_queue.pgqueuer q USING ended e WHERE q.entrypoint = e.entrypoint
), log AS (
    DELETE FROM reconciler_queue.pgqueuer_log l USING ended e WHERE l.entrypoint = e.entrypoint
)
DELETE FROM reconciler_queue.pgqueuer_statistics s USING ended e WHERE s.entrypoint = e.entrypoint;
