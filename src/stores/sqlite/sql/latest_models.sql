SELECT kind, max(fitted_at) AS fitted_at, version, fitted, card FROM models GROUP BY kind ORDER BY kind
