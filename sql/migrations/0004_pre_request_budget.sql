-- The request allowance that all processes share: one row per Cronofy application, one call per request.
--
-- Arithmetic (GCRA, one arrival time per window): within any window of length w at most burst + w/interval requests
-- start; the caller chooses both so that this stays within the allowance. The clock is the database's. The caller
-- sleeps for the answer with no connection held. After a 429 (`hold_requests`) the pace halves and comes back slowly:
-- doubling in a minute, so that a pace far below the allowance is not overrun again at once.

CREATE TABLE reconciler.request_budget (
    client_key    text PRIMARY KEY,
    second_free   double precision NOT NULL DEFAULT 0,
    minute_free   double precision NOT NULL DEFAULT 0,
    hold_until    double precision NOT NULL DEFAULT 0,
    pace          double precision NOT NULL DEFAULT 1,
    pace_at       double precision NOT NULL DEFAULT 0,
    holds         integer NOT NULL DEFAULT 0,
    seen_at       double precision NOT NULL DEFAULT 0
);

CREATE FUNCTION reconciler.lock_request_budget(p_client text) RETURNS reconciler.request_budget
LANGUAGE plpgsql AS $$
DECLARE
    b reconciler.request_budget;
    moment double precision;
    back double precision;
BEGIN
    SELECT * INTO b FROM reconciler.request_budget WHERE client_key = p_client FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO reconciler.request_budget (client_key) VALUES (p_client) ON CONFLICT DO NOTHING;
        SELECT * INTO b FROM reconciler.request_budget WHERE client_key = p_client FOR UPDATE;
    END IF;
    moment := extract(epoch FROM clock_timestamp());
    IF moment < b.seen_at - 1 THEN  -- the clock was set back: so is everything that was told by it
        back := b.seen_at - moment;
        b.second_free := b.second_free - back;
        b.minute_free := b.minute_free - back;
        b.hold_until := b.hold_until - back;
        b.pace_at := b.pace_at - back;
    END IF;
    b.seen_at := moment;
    RETURN b;
END
$$;

CREATE FUNCTION reconciler.request_pace(b reconciler.request_budget) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
    SELECT least(1, b.pace * power(2, least(600, greatest(0, b.seen_at - greatest(b.pace_at, b.hold_until))) / 60))
$$;

CREATE FUNCTION reconciler.reserve_requests(
    p_client text, p_cost integer,
    p_second_interval double precision, p_second_burst double precision,
    p_minute_interval double precision, p_minute_burst double precision
) RETURNS double precision LANGUAGE plpgsql AS $$
DECLARE
    b reconciler.request_budget;
    start double precision;
    speed double precision;
    second_interval double precision;
    minute_interval double precision;
    minute_burst double precision;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    b := reconciler.lock_request_budget(p_client);
    speed := reconciler.request_pace(b);
    second_interval := p_second_interval / speed;
    minute_interval := p_minute_interval / speed;
    minute_burst := greatest(1, p_minute_burst * speed);
    -- nothing is saved up while all keep still: a burst at the end of a pause would meet the next 429
    b.minute_free := greatest(b.minute_free, b.hold_until + (minute_burst - 1) * minute_interval);
    start := greatest(
        b.seen_at, b.hold_until,
        b.second_free + (p_cost - p_second_burst) * second_interval,
        b.minute_free + (p_cost - minute_burst) * minute_interval);
    UPDATE reconciler.request_budget
    SET second_free = greatest(b.second_free, start) + p_cost * second_interval,
        minute_free = greatest(b.minute_free, start) + p_cost * minute_interval,
        hold_until = b.hold_until,
        pace_at = b.pace_at,
        seen_at = b.seen_at
    WHERE client_key = p_client;
    RETURN start - b.seen_at;
END
$$;

CREATE FUNCTION reconciler.hold_requests(p_client text, p_seconds double precision) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    b reconciler.request_budget;
BEGIN
    b := reconciler.lock_request_budget(p_client);
    -- Answers to requests that were already under way say nothing new: one step down per hold. And a 429 soon after the
    -- last one says less that the pace is too high than that the window is still full: a smaller step.
    UPDATE reconciler.request_budget
    SET second_free = b.second_free,
        minute_free = b.minute_free,
        pace = CASE WHEN b.hold_until > b.seen_at THEN b.pace
                    ELSE greatest(0.02, reconciler.request_pace(b)
                                        * CASE WHEN b.seen_at - b.pace_at < 15 THEN 0.7 ELSE 0.5 END) END,
        pace_at = b.seen_at,
        hold_until = greatest(b.hold_until, b.seen_at + p_seconds),
        holds = b.holds + 1,
        seen_at = b.seen_at
    WHERE client_key = p_client;
    PERFORM pg_notify('reconciler_hold', p_client);  -- who sleeps towards a place within the pause takes another
END
$$;
