-- The oldest item for each destination, without reading what else waits.

CREATE INDEX outbox_by_destination ON dcc.outbox (kind, to_id, number);
