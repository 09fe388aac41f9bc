-- The minute's allowance, exactly: the k-th request may start a minute after the (k − most)-th one, so that a quiet minute
-- may be used at the pace of the second. Requests are numbered per application; a ring keeps when each of the last ones may
-- start. Within the second they keep their distance. After a 429, and until the pace is back, the minute is smoothed as well:
-- whoever is refused has shown that the window is not ours alone.

ALTER TABLE reconciler.request_budget ADD COLUMN slots bigint NOT NULL DEFAULT 0;

CREATE TABLE reconciler.request_slots (
    client_key text NOT NULL,
    place      integer NOT NULL,           -- number modulo the ring's size
    number     bigint NOT NULL,
    starts_at  double precision NOT NULL,  -- in seconds since 1970, by the database's clock
    PRIMARY KEY (client_key, place)
) WITH (fillfactor = 50);

CREATE FUNCTION reconciler.reserve_slots(
    p_client text, p_costs integer[], p_interval double precision, p_most integer, p_minute double precision
) RETURNS SETOF double precision LANGUAGE plpgsql AS $$
-- For each cost in turn, the seconds to wait before so many requests may start at once. p_interval: seconds between two
-- requests; p_most: requests in p_minute seconds.
DECLARE
    ring CONSTANT integer := 65536;
    b reconciler.request_budget;
    speed double precision;
    gap double precision;
    most bigint;
    cost integer;
    last_of_before bigint;
    start double precision;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    b := reconciler.lock_request_budget(p_client);
    speed := reconciler.request_pace(b);
    most := greatest(1, least(ring, floor(p_most * speed)));
    gap := p_interval / speed;
    IF speed < 1 THEN
        gap := greatest(gap, p_minute / (p_most * speed));
    END IF;
    IF b.slots = 0 AND b.minute_free > b.seen_at - 60 THEN  -- what went before is not numbered: take it for a full minute
        b.second_free := greatest(b.second_free, b.minute_free + p_minute);
    END IF;
    FOREACH cost IN ARRAY p_costs LOOP
        last_of_before := least(b.slots, b.slots + cost - most);
        start := greatest(b.seen_at, b.hold_until, b.second_free + (cost - 1) * gap, (
            SELECT s.starts_at + p_minute FROM reconciler.request_slots s
            WHERE s.client_key = p_client AND s.place = last_of_before % ring AND s.number = last_of_before));
        INSERT INTO reconciler.request_slots AS s (client_key, place, number, starts_at)
        SELECT p_client, n % ring, n, start FROM generate_series(b.slots + 1, b.slots + cost) n
        ON CONFLICT (client_key, place) DO UPDATE SET number = excluded.number, starts_at = excluded.starts_at;
        b.slots := b.slots + cost;
        b.second_free := start + cost * gap;
        RETURN NEXT start - b.seen_at;
    END LOOP;
    UPDATE reconciler.request_budget
    SET slots = b.slots, second_free = b.second_free, minute_free = start, hold_until = b.hold_until, pace_at = b.pace_at,
        seen_at = b.seen_at
    WHERE client_key = p_client;
END
$$;

-- The functions before know no slots. Processes that still call them share the same ring.
CREATE OR REPLACE FUNCTION reconciler.reserve_requests(
    p_client text, p_cost integer,
    p_second_interval double precision, p_second_burst double precision,
    p_minute_interval double precision, p_minute_burst double precision
) RETURNS double precision LANGUAGE sql AS $$
    SELECT reconciler.reserve_slots(p_client, ARRAY[p_cost], p_second_interval,
                                    floor(60 / p_minute_interval + p_minute_burst - 1)::integer, 60.5)
$$;

CREATE OR REPLACE FUNCTION reconciler.lock_request_budget(p_client text) RETURNS reconciler.request_budget
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
        UPDATE reconciler.request_slots SET starts_at = starts_at - back WHERE client_key = p_client;
    END IF;
    b.seen_at := moment;
    RETURN b;
END
$$;
