-- What is not final, and what is unknown, by channel and state. The partial indexes hold the first two parts, however long
-- the ledger has become.
SELECT channel, state, count(*) AS n FROM deliveries WHERE state IN ('due', 'held') GROUP BY channel, state
UNION ALL
SELECT channel, state, count(*) FROM deliveries WHERE state IN ('leased', 'committing') GROUP BY channel, state
UNION ALL
SELECT channel, state, count(*) FROM deliveries WHERE state = 'unknown' GROUP BY channel, state
ORDER BY 1, 2
