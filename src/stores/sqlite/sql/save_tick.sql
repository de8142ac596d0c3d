INSERT INTO ticks (schedule, at, position, done_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (schedule, at) DO UPDATE SET position = excluded.position, done_at = excluded.done_at
