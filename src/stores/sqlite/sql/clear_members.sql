-- $1: JSON array of customer ids in hexadecimal. By members_by_customer.
DELETE FROM members WHERE customer IN (SELECT unhex(value) FROM json_each($1))
