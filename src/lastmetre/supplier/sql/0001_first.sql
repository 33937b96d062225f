-- The supplier's store, first version. Run by the owner; the application's role gets what it needs and no more:
-- it deletes nothing, and what is audit or document it cannot change either.

CREATE TABLE supplier.orders (
    order_id            text PRIMARY KEY,
    placed_as           bigint GENERATED ALWAYS AS IDENTITY,      -- the order in which they came
    device_id           bytea NOT NULL CHECK (length(device_id) = 8),
    service             text NOT NULL,
    values_json         text NOT NULL,
    roads               text[] NOT NULL,
    deadline_at         bigint NOT NULL,                          -- UTC seconds, as every *_at
    reason              text NOT NULL,
    idempotency_key     text NOT NULL UNIQUE,
    body_digest         bytea NOT NULL,
    accepted_at         bigint NOT NULL,
    lane                text NOT NULL CHECK (lane IN ('ordinary', 'top-up')),
    state               text NOT NULL CHECK (state IN (
                            'accepted', 'prepared', 'sealed', 'at_large', 'confirmed', 'confirmed_by_dcc',
                            'confirmed_late', 'refused_by_device', 'expired_unsent', 'cancelled',
                            'failed_before_sealing', 'unknown', 'superseding', 'superseded')),
    changed_at          bigint NOT NULL,
    version             bigint NOT NULL,
    lane_held           boolean NOT NULL,
    originator_counter  numeric(20, 0),                           -- 64 bits without sign on the wire
    message_code        integer,
    utrn                text NOT NULL,
    road                text,
    carrier_id          bytea NOT NULL,
    why                 text NOT NULL,
    retry_at            bigint NOT NULL,
    failures            integer NOT NULL,
    command             bytea NOT NULL,
    response            bytea NOT NULL,
    return_state        text NOT NULL CHECK (return_state IN ('not_needed', 'due', 'done', 'given_up')),
    CHECK (NOT lane_held OR state IN ('accepted', 'prepared', 'sealed', 'at_large'))
);

-- One Command in flight per lane: two workers cannot both begin.
CREATE UNIQUE INDEX one_in_flight ON supplier.orders (device_id, lane) WHERE lane_held;
CREATE INDEX lane_queue ON supplier.orders (device_id, lane, placed_as)
    WHERE state IN ('accepted', 'prepared', 'sealed', 'at_large');
-- One counter, one message, for ever.
CREATE UNIQUE INDEX one_message_per_counter ON supplier.orders (device_id, originator_counter)
    WHERE originator_counter IS NOT NULL;
CREATE INDEX still_open ON supplier.orders (placed_as)
    WHERE state IN ('accepted', 'prepared', 'sealed', 'at_large', 'unknown', 'superseding') OR return_state = 'due';
CREATE INDEX with_carrier ON supplier.orders (carrier_id, placed_as) WHERE state IN ('sealed', 'at_large');
CREATE INDEX newest_first ON supplier.orders (placed_as DESC);

CREATE TABLE supplier.attempts (
    order_id            text NOT NULL REFERENCES supplier.orders,
    number              integer NOT NULL,
    road                text NOT NULL,
    carrier_id          bytea NOT NULL,
    state               text NOT NULL CHECK (state IN (
                            'handed_on', 'taken_by_dcc', 'taken_by_agent', 'taken_by_tunnel', 'answered')),
    handed_on_at        bigint NOT NULL,
    changed_at          bigint NOT NULL,
    tries               integer NOT NULL,
    said                text NOT NULL,
    PRIMARY KEY (order_id, number)
);

CREATE TABLE supplier.documents (
    order_id            text NOT NULL,
    number              bigint GENERATED ALWAYS AS IDENTITY,
    name                text NOT NULL,
    at                  bigint NOT NULL,
    content             bytea NOT NULL,
    PRIMARY KEY (order_id, number)
);

CREATE TABLE supplier.counters (
    target_id           bytea NOT NULL CHECK (length(target_id) = 8),
    lane                text NOT NULL CHECK (lane IN ('ordinary', 'top-up')),
    last                bigint NOT NULL,
    PRIMARY KEY (target_id, lane)
);

CREATE TABLE supplier.audit (
    seq                 bigint PRIMARY KEY CHECK (seq > 0),
    order_id            text NOT NULL,
    at                  bigint NOT NULL,
    event               text NOT NULL,
    from_state          text,
    to_state            text,
    detail              text NOT NULL,
    documents           jsonb NOT NULL,                           -- name: SHA-256 in hex
    previous            bytea NOT NULL UNIQUE CHECK (length(previous) = 32),
    hash                bytea NOT NULL CHECK (length(hash) = 32)
);

CREATE FUNCTION supplier.never() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on supplier.% is never allowed: it is kept for ever as written', TG_OP, TG_TABLE_NAME;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON supplier.audit
    FOR EACH STATEMENT EXECUTE FUNCTION supplier.never();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON supplier.documents
    FOR EACH STATEMENT EXECUTE FUNCTION supplier.never();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON supplier.counters
    FOR EACH STATEMENT EXECUTE FUNCTION supplier.never();

CREATE FUNCTION supplier.only_rises() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.last <= OLD.last OR NEW.target_id <> OLD.target_id OR NEW.lane <> OLD.lane THEN
        RAISE EXCEPTION 'a counter only rises: % to %', OLD.last, NEW.last;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_rises BEFORE UPDATE ON supplier.counters
    FOR EACH ROW EXECUTE FUNCTION supplier.only_rises();

GRANT USAGE ON SCHEMA supplier TO {application_role};
GRANT SELECT ON supplier.migrations TO {application_role};
GRANT SELECT, INSERT, UPDATE ON supplier.orders, supplier.attempts, supplier.counters TO {application_role};
GRANT SELECT, INSERT ON supplier.documents, supplier.audit TO {application_role};
