-- $1: JSON array of [id, created_at, profile, scores, segments].
INSERT INTO customers (id, created_at, profile, scores, segments)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each($1) WHERE true
ON CONFLICT (id) DO UPDATE
SET profile = excluded.profile, scores = excluded.scores, segments = excluded.segments
