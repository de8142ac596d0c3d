-- The newest of each kind by then; SQLite takes the other columns from the row of the maximum.
SELECT kind, max(fitted_at) AS fitted_at, version, fitted, card FROM models WHERE fitted_at <= $1 GROUP BY kind ORDER BY kind
