-- $1: a living customer. Everybody who was absorbed into it, directly or on the way.
WITH RECURSIVE group_of (absorbed, survivor, position) AS (
    SELECT absorbed, survivor, position FROM merges WHERE survivor = $1
    UNION
    SELECT m.absorbed, m.survivor, m.position FROM group_of AS g JOIN merges AS m ON m.survivor = g.absorbed
)
SELECT absorbed, survivor, position FROM group_of ORDER BY position, absorbed
