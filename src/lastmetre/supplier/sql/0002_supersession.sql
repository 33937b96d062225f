-- Which order makes this one harmless, by a higher counter on the same lane.

ALTER TABLE supplier.orders ADD COLUMN superseded_by text NOT NULL DEFAULT '';
