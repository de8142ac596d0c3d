-- $1: JSON array of [id, customer, segment, transition, at, cause].
INSERT OR IGNORE INTO signals (id, subject, customer, segment, transition, at, cause)
SELECT unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4,
       unhex(value ->> 5)
FROM json_each($1)
