-- $1: JSON array of [delivery, customer, rule, title, details, created_at].
INSERT INTO tasks (delivery, customer, rule, title, details, created_at)
SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5
FROM json_each($1) WHERE true
ON CONFLICT (delivery) DO NOTHING
