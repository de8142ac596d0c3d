-- $1: as clear_members. Only those segments that the customer is in.
INSERT INTO members (segment, customer)
SELECT s.key, unhex(c.value ->> 0) FROM json_each($1) AS c, json_each(c.value -> 1) AS s WHERE s.value
