-- $1: JSON array of [id, rule, version, customer, occasion, at, held_out, trace]. An occasion that was decided stays so.
INSERT INTO firings (id, rule, rule_version, subject, customer, occasion, at, held_out, trace)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, unhex(value ->> 3), unhex(value ->> 3), value ->> 4, value ->> 5,
       value ->> 6, value ->> 7
FROM json_each($1) WHERE true
ON CONFLICT (rule, subject, occasion) DO NOTHING
