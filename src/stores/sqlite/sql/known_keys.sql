-- $1: JSON array of keys in hexadecimal. By the unique index on key.
SELECT key, body_hash FROM events WHERE key IN (SELECT unhex(value) FROM json_each($1))
