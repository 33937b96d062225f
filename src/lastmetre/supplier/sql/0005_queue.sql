-- What workers sweep for, each with an index of its own; and who waits for a superseder.

CREATE INDEX due_by_retry ON supplier.orders (retry_at) WHERE retry_at > 0;
CREATE INDEX due_by_next_road ON supplier.orders (next_road_at)
    WHERE next_road_at > 0 AND state IN ('accepted', 'sealed', 'at_large');
CREATE INDEX waits_for_superseder ON supplier.orders (superseded_by) WHERE state = 'superseding';
