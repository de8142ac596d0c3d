-- $1: JSON array of [position, id, key, body hash, customer or null, name, known_at, fact].
INSERT INTO events (position, id, key, body_hash, customer, arrived_as, name, known_at, fact)
SELECT value ->> 0, unhex(value ->> 1), unhex(value ->> 2), unhex(value ->> 3), unhex(value ->> 4),
       unhex(value ->> 4), value ->> 5, value ->> 6, value ->> 7
FROM json_each($1)
