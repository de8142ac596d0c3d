-- $1: JSON array of [rule, customer, step, reason, at, occasion].
INSERT INTO refusals (rule, subject, customer, step, reason, n, first_at, last_at, last_occasion)
SELECT value ->> 0, unhex(value ->> 1), unhex(value ->> 1), value ->> 2, value ->> 3, 1, value ->> 4, value ->> 4,
       value ->> 5
FROM json_each($1) WHERE true
ON CONFLICT (rule, subject, step, reason) DO UPDATE
SET n = n + (last_occasion <> excluded.last_occasion), last_at = excluded.last_at,
    last_occasion = excluded.last_occasion
