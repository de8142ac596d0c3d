-- $1: as save_judgements. By members_by_customer.
DELETE FROM members WHERE customer IN (SELECT unhex(value ->> 0) FROM json_each($1))
