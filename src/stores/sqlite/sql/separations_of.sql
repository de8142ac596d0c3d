-- $1: JSON array of living customers. By separations_by_first and separations_by_second.
SELECT s.* FROM json_each($1) AS j JOIN separations AS s ON s.first_today = unhex(j.value)
UNION
SELECT s.* FROM json_each($1) AS j JOIN separations AS s ON s.second_today = unhex(j.value)
