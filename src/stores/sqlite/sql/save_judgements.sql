-- $1: JSON array of [customer, scores, segments].
INSERT INTO judgements (customer, scores, segments)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2 FROM json_each($1) WHERE true
ON CONFLICT (customer) DO UPDATE SET scores = excluded.scores, segments = excluded.segments
