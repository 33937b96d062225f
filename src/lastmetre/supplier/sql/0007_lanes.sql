-- All orders of a lane, for reading a meter's log back.

CREATE INDEX of_a_lane ON supplier.orders (device_id, lane, placed_as);
