-- By deliveries_under_way. $1 null: all of them (a new process asks, so nobody else can be holding one).
SELECT * FROM deliveries WHERE state IN ('leased', 'committing') AND ($1 IS NULL OR lease_until <= $1)
