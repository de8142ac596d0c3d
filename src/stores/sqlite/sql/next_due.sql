-- From one channel to the next, and of each its first: by deliveries_waiting, without walking through all that wait.
WITH RECURSIVE channels (channel) AS (
    SELECT min(channel) FROM deliveries WHERE state IN ('due', 'held')
    UNION ALL
    SELECT (SELECT min(d.channel) FROM deliveries AS d WHERE d.state IN ('due', 'held') AND d.channel > channels.channel)
    FROM channels WHERE channels.channel IS NOT NULL
)
SELECT min((SELECT min(d.due_at) FROM deliveries AS d WHERE d.state IN ('due', 'held') AND d.channel = channels.channel))
FROM channels WHERE channels.channel IS NOT NULL
