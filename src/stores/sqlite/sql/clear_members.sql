-- $1: JSON array of [customer, segments]. By members_by_customer.
DELETE FROM members WHERE customer IN (SELECT unhex(value ->> 0) FROM json_each($1))
