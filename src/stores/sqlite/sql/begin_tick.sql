INSERT INTO ticks (schedule, at, position, done_at) VALUES ($1, $2, $3, $4) ON CONFLICT (schedule, at) DO NOTHING
