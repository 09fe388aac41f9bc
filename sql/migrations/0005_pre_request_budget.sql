-- The request allowance that all processes share: one row per Cronofy application, one call per request.
--
-- Arithmetic (GCRA, one arrival time per window): within any window of length w at most burst + w/interval requests
-- start; the caller chooses both so that this stays within the allowance. The clock is the database's. The caller
-- sleeps for the answer with no connection held. After a 429 (`hold_requests`) the pace halves and comes back slowly.

CREATE TABLE reconciler.request_budget (
    client_key    text PRIMARY KEY,
    second_free   double precision NOT NULL DEFAULT 0,
    minute_free   double precision NOT NULL DEFAULT 0,
    hold_until    double precision NOT NULL DEFAULT 0,
    pace          double precision NOT NULL DEFAULT 1,
    pace_at       double precision NOT NULL DEFAULT 0,
    holds         integer NOT NULL DEFAULT 0
);

CREATE FUNCTION reconciler.reserve_requests(
    p_client text, p_cost integer,
    p_second_interval double precision, p_second_burst double precision,
    p_minute_interval double precision, p_minute_burst double precision
) RETURNS double precision LANGUAGE plpgsql AS $$
DECLARE
    b reconciler.request_budget;
    moment double precision;
    start double precision;
    speed double precision;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT * INTO b FROM reconciler.request_budget WHERE client_key = p_client FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO reconciler.request_budget (client_key) VALUES (p_client) ON CONFLICT DO NOTHING;
        SELECT * INTO b FROM reconciler.request_budget WHERE client_key = p_client FOR UPDATE;
    END IF;
    moment := extract(epoch FROM clock_timestamp());
    speed := least(1, b.pace + greatest(0, moment - greatest(b.pace_at, b.hold_until)) / 120);
    start := greatest(
        moment, b.hold_until,
        b.second_free + (p_cost - p_second_burst) * p_second_interval / speed,
        b.minute_free + (p_cost - p_minute_burst) * p_minute_interval / speed);
    UPDATE reconciler.request_budget
    SET second_free = greatest(b.second_free, start) + p_cost * p_second_interval / speed,
        minute_free = greatest(b.minute_free, start) + p_cost * p_minute_interval / speed
    WHERE client_key = p_client;
    RETURN start - moment;
END
$$;

CREATE FUNCTION reconciler.hold_requests(p_client text, p_seconds double precision) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    moment double precision;
BEGIN
    INSERT INTO reconciler.request_budget (client_key) VALUES (p_client) ON CONFLICT DO NOTHING;
    PERFORM FROM reconciler.request_budget WHERE client_key = p_client FOR UPDATE;
    moment := extract(epoch FROM clock_timestamp());
    -- answers to requests that were already under way say nothing new: one step down per hold
    UPDATE reconciler.request_budget
    SET pace = CASE WHEN hold_until > moment THEN pace
                    ELSE greatest(0.02, least(1, pace + greatest(0, moment - greatest(pace_at, hold_until)) / 120) / 2) END,
        pace_at = moment,
        hold_until = greatest(hold_until, moment + p_seconds),
        holds = holds + 1
    WHERE client_key = p_client;
    PERFORM pg_notify('reconciler_hold', p_client);  -- who sleeps towards a place within the pause takes another
END
$$;
