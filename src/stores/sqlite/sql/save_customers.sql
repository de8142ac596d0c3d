-- $1: JSON array of [id, created_at, profile].
INSERT INTO customers (id, created_at, profile)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2 FROM json_each($1) WHERE true
ON CONFLICT (id) DO UPDATE SET profile = excluded.profile
