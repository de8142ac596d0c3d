INSERT INTO customers (id, created_at, profile) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE SET profile = excluded.profile
