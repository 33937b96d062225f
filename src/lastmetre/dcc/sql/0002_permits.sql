-- Relay permits: a serial is given once, a permit is kept for ever as it was made.

CREATE TABLE dcc.permit_hubs (
    hub_id              bytea PRIMARY KEY CHECK (length(hub_id) = 8),
    last_serial         bigint NOT NULL CHECK (last_serial >= 0),
    void_below          bigint NOT NULL CHECK (void_below >= 0)   -- every serial below it is dead
);

CREATE TABLE dcc.permits (
    serial              bigint NOT NULL,
    hub_id              bytea NOT NULL,
    request_id          text NOT NULL,
    user_id             bytea NOT NULL,
    carrier_id          bytea NOT NULL,
    digest              bytea NOT NULL,
    issued_at           bigint NOT NULL,
    not_after           bigint NOT NULL,
    permit              bytea NOT NULL,
    PRIMARY KEY (hub_id, serial)
);
CREATE INDEX permits_of_request ON dcc.permits (request_id, issued_at);

CREATE FUNCTION dcc.serials_only_rise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.last_serial < OLD.last_serial OR NEW.void_below < OLD.void_below THEN
        RAISE EXCEPTION 'serials only rise: % to %', OLD.last_serial, NEW.last_serial;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_rise BEFORE UPDATE ON dcc.permit_hubs
    FOR EACH ROW EXECUTE FUNCTION dcc.serials_only_rise();

GRANT SELECT, INSERT ON dcc.permit_hubs, dcc.permits TO {application_role};
GRANT UPDATE (last_serial, void_below) ON dcc.permit_hubs TO {application_role};
