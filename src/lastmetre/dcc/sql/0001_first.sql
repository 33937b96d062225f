-- The DSP's store, first version. Run by the owner; the application's role gets what it needs and no more: what is an
-- answer, a Pre-Command, an Alert, a returned Response or a used counter it can add, never change and never delete.

CREATE TABLE dcc.replies (
    request_id          text NOT NULL,
    stage               text NOT NULL CHECK (stage IN ('transform', 'command')),
    digest              bytea NOT NULL,                           -- SHA-256 of the document that was answered
    reply               bytea NOT NULL,
    PRIMARY KEY (request_id, stage)
);

CREATE TABLE dcc.lanes (
    originator_id       bytea NOT NULL CHECK (length(originator_id) = 8),
    target_id           bytea NOT NULL CHECK (length(target_id) = 8),
    lane                text NOT NULL,
    seen                numeric(20, 0) NOT NULL,                  -- 64 bits without sign on the wire; -1: none yet
    sealed              numeric(20, 0) NOT NULL,
    PRIMARY KEY (originator_id, target_id, lane)
);

CREATE TABLE dcc.pre_commands (
    request_id          text PRIMARY KEY,
    service_reference_variant text NOT NULL,
    pre_command         bytea NOT NULL,
    breach              text,
    effect              text NOT NULL
);

CREATE TABLE dcc.broker_counters (
    target_id           bytea PRIMARY KEY CHECK (length(target_id) = 8),
    counter             bigint NOT NULL CHECK (counter > 0)
);

CREATE TABLE dcc.commands (
    request_id          text PRIMARY KEY,
    user_id             bytea NOT NULL,
    service_reference   text NOT NULL,
    service_reference_variant text NOT NULL,
    target_id           bytea NOT NULL CHECK (length(target_id) = 8),
    hub_id              bytea NOT NULL CHECK (length(hub_id) = 8),
    originator_id       bytea NOT NULL CHECK (length(originator_id) = 8),
    counter             numeric(20, 0) NOT NULL CHECK (counter >= 0),
    command             bytea NOT NULL,
    route               text NOT NULL CHECK (route IN ('wan', 'local', 'both')),
    sealed_at           bigint NOT NULL,                          -- UTC seconds, as every *_at
    sent_at             bigint,
    answered_at         bigint,
    given_up_at         bigint,
    tries               integer NOT NULL,
    tried_at            bigint,
    succeeded           boolean,
    dsp_schedule_id     bigint,
    effect              text NOT NULL,
    UNIQUE (target_id, originator_id, counter)                    -- one counter, one message, for ever
);
CREATE INDEX unanswered ON dcc.commands (sent_at)
    WHERE sent_at IS NOT NULL AND answered_at IS NULL AND given_up_at IS NULL;

CREATE TABLE dcc.outbox (
    number              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind                text NOT NULL CHECK (kind IN ('wan', 'push')),
    to_id               bytea NOT NULL,
    body                bytea NOT NULL,
    request_id          text,
    put_at              bigint NOT NULL
);

CREATE TABLE dcc.alerts (
    device_id           bytea NOT NULL,
    counter             numeric(20, 0) NOT NULL,
    PRIMARY KEY (device_id, counter)
);

CREATE TABLE dcc.local_responses (
    number              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    returned_by         text NOT NULL,
    original_request_id text,
    device_id           bytea NOT NULL,
    counter             numeric(20, 0) NOT NULL,
    message             bytea NOT NULL,
    verdict             text NOT NULL,
    at                  bigint NOT NULL
);

CREATE TABLE dcc.held (
    number              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind                text NOT NULL CHECK (kind IN ('later', 'sequence', 'quarantine', 'schedule')),
    request_id          text NOT NULL UNIQUE,
    stage               text NOT NULL,
    service             text NOT NULL,
    user_id             bytea NOT NULL,
    target_id           bytea NOT NULL,
    service_reference_variant text NOT NULL,
    document            bytea NOT NULL,
    at                  bigint NOT NULL,
    due_at              bigint,
    after_request_id    text,
    reason              text NOT NULL
);
CREATE INDEX held_due ON dcc.held (due_at, number) WHERE due_at IS NOT NULL;

CREATE TABLE dcc.failed (
    request_id          text PRIMARY KEY,
    at                  bigint NOT NULL
);

CREATE TABLE dcc.uses (
    user_id             bytea NOT NULL,
    service_reference_variant text NOT NULL,
    at                  bigint NOT NULL
);
CREATE INDEX uses_of_user ON dcc.uses (user_id, at);

CREATE TABLE dcc.decisions (
    number              bigint PRIMARY KEY,                       -- of the request that was held
    release             boolean NOT NULL,
    person              text NOT NULL,
    reason              text NOT NULL,
    at                  bigint NOT NULL,
    request_id          text,
    done_at             bigint,
    written_as          bigint GENERATED ALWAYS AS IDENTITY       -- the order in which they were written
);
CREATE INDEX undone_decisions ON dcc.decisions (written_as) WHERE done_at IS NULL;

CREATE TABLE dcc.top_ups (
    originator_id       bytea NOT NULL CHECK (length(originator_id) = 8),
    target_id           bytea NOT NULL CHECK (length(target_id) = 8),
    counter             bigint NOT NULL CHECK (counter BETWEEN 0 AND 4294967295),
    PRIMARY KEY (originator_id, target_id, counter)
);

CREATE TABLE dcc.devices (
    device_id           bytea PRIMARY KEY CHECK (length(device_id) = 8),
    body                text NOT NULL
);

CREATE TABLE dcc.absences (
    hub_id              bytea PRIMARY KEY CHECK (length(hub_id) = 8),
    since_at            bigint NOT NULL,
    told_at             bigint
);

CREATE TABLE dcc.blocks (
    number              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transfer            bytea NOT NULL,
    block_digest        bytea NOT NULL,                           -- a block may be larger than an index entry
    block               bytea NOT NULL,
    at                  bigint NOT NULL,
    UNIQUE (transfer, block_digest)
);

CREATE FUNCTION dcc.only_rises() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.counter <= OLD.counter OR NEW.target_id <> OLD.target_id THEN
        RAISE EXCEPTION 'a counter only rises: % to %', OLD.counter, NEW.counter;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_rises BEFORE UPDATE ON dcc.broker_counters
    FOR EACH ROW EXECUTE FUNCTION dcc.only_rises();

GRANT USAGE ON SCHEMA dcc TO {application_role};
GRANT SELECT ON ALL TABLES IN SCHEMA dcc TO {application_role};
GRANT INSERT ON dcc.replies, dcc.lanes, dcc.pre_commands, dcc.broker_counters, dcc.commands, dcc.outbox, dcc.alerts,
    dcc.local_responses, dcc.held, dcc.failed, dcc.uses, dcc.decisions, dcc.top_ups, dcc.devices, dcc.absences,
    dcc.blocks TO {application_role};
-- What was asked and sealed never changes; only how far it got does.
GRANT UPDATE (seen, sealed) ON dcc.lanes TO {application_role};
GRANT UPDATE (counter) ON dcc.broker_counters TO {application_role};
GRANT UPDATE (sent_at, answered_at, given_up_at, tries, tried_at, succeeded) ON dcc.commands TO {application_role};
GRANT UPDATE (due_at) ON dcc.held TO {application_role};
GRANT UPDATE (request_id, done_at) ON dcc.decisions TO {application_role};
GRANT UPDATE (body) ON dcc.devices TO {application_role};
GRANT UPDATE (told_at) ON dcc.absences TO {application_role};
-- Only what is waiting can go: it has left, was let go, or counts no more.
GRANT DELETE ON dcc.outbox, dcc.held, dcc.uses, dcc.absences, dcc.blocks TO {application_role};
