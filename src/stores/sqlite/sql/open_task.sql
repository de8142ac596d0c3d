INSERT INTO tasks (delivery, customer, rule, title, details, created_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (delivery) DO NOTHING
