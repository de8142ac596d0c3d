INSERT INTO judgements (customer, scores, segments) VALUES ($1, $2, $3)
ON CONFLICT (customer) DO UPDATE SET scores = excluded.scores, segments = excluded.segments
