-- $1: JSON array of schedules. One look at the end of each one's part of the primary key.
SELECT schedule, at FROM (
    SELECT value AS schedule, (SELECT max(at) FROM ticks WHERE ticks.schedule = value) AS at FROM json_each($1)
) WHERE at IS NOT NULL
