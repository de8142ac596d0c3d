-- $1: JSON array of [kind, value, customer].
INSERT INTO identities (kind, value, customer)
SELECT value ->> 0, value ->> 1, unhex(value ->> 2) FROM json_each($1) WHERE true
ON CONFLICT (kind, value) DO UPDATE SET customer = excluded.customer
