-- $1: JSON array of [id, firing, rule, customer, occasion, step, channel, action, class, topic, state, decided_at, due_at,
-- expires_at, reason]. One occasion, one key: a second delivery under the same key is never written.
INSERT INTO deliveries (id, firing, rule, subject, customer, occasion, step, channel, action, class, topic, state,
                        decided_at, due_at, expires_at, reason)
SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, unhex(value ->> 3), unhex(value ->> 3), value ->> 4,
       value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12,
       value ->> 13, value ->> 14
FROM json_each($1)
WHERE EXISTS (SELECT 1 FROM firings WHERE id = unhex(value ->> 1))
ON CONFLICT (rule, subject, occasion, step) DO NOTHING
