SELECT rule, channel, state AS what, count(*) AS n FROM deliveries GROUP BY rule, channel, state
UNION ALL
SELECT rule, 'refused', reason, sum(n) FROM refusals GROUP BY rule, reason
UNION ALL
SELECT rule, 'held out', 'control group', count(*) FROM firings WHERE held_out GROUP BY rule
ORDER BY 1, 2, 3
