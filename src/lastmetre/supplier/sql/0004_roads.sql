-- Roads by policy: which an order took, when the next one is due, what each use cost, and what was seen of each way.

ALTER TABLE supplier.orders
    ADD COLUMN policy text NOT NULL DEFAULT '',
    ADD COLUMN opened text[] NOT NULL DEFAULT '{}',
    ADD COLUMN with_copy boolean NOT NULL DEFAULT false,
    ADD COLUMN next_road_at bigint NOT NULL DEFAULT 0;

-- What was on its way before this version goes on by the road it had.
UPDATE supplier.orders SET opened = ARRAY[road]
    WHERE road IS NOT NULL AND state IN ('accepted', 'prepared', 'sealed', 'at_large', 'unknown', 'superseding');

ALTER TABLE supplier.attempts ADD COLUMN cost bigint NOT NULL DEFAULT 0;      -- thousandths of a penny

CREATE TABLE supplier.road_facts (
    way_id              bytea NOT NULL CHECK (length(way_id) = 8),            -- an agent, or a hub for the WAN
    road                text NOT NULL,
    seen_at             bigint NOT NULL,
    failures            integer NOT NULL,
    failed_at           bigint NOT NULL,
    PRIMARY KEY (way_id, road)
);
GRANT SELECT, INSERT, UPDATE ON supplier.road_facts TO {application_role};

-- Deadlines are swept, not timed.
CREATE INDEX due_by_deadline ON supplier.orders (deadline_at)
    WHERE state IN ('accepted', 'prepared', 'sealed', 'at_large');
