-- A campaign falls due in one instant, the end of the quiet hours, so the id belongs to the order: without it every claim of
-- a few reads and sorts all that wait.
DROP INDEX deliveries_waiting;
CREATE INDEX deliveries_waiting ON deliveries (channel, due_at, id) WHERE state IN ('due', 'held');
