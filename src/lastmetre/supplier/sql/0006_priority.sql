-- Of two orders that wait for one lane, the higher goes first.

ALTER TABLE supplier.orders ADD COLUMN priority smallint NOT NULL DEFAULT 0 CHECK (priority BETWEEN 0 AND 9);
