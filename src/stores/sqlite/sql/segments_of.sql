-- $1: JSON array of customer ids in hexadecimal. By primary key.
SELECT j.customer, j.segments FROM json_each($1) AS asked JOIN judgements AS j ON j.customer = unhex(asked.value)
