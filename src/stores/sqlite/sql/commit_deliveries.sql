-- $1: JSON array of ids in hexadecimal. By primary key.
UPDATE deliveries SET state = 'committing'
WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND state = 'leased'
RETURNING id
