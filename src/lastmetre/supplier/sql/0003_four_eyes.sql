-- Who ordered and who approved, as the supplier's own gateway names them.

ALTER TABLE supplier.orders
    ADD COLUMN ordered_by text NOT NULL DEFAULT '',
    ADD COLUMN approved_by text NOT NULL DEFAULT '';
