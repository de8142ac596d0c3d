-- The log is an inbox: appended to, read in order by one reader, cut off behind it. No index but the position, because
-- every index costs the acknowledgement time. AUTOINCREMENT keeps positions from being used again after a cut.
CREATE TABLE inbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    fact     TEXT NOT NULL
) STRICT;

-- How far each connector has come; moved in the commit that holds what it handed over.
CREATE TABLE cursors (
    source   TEXT PRIMARY KEY,
    cursor   TEXT NOT NULL,
    moved_at INTEGER NOT NULL
) STRICT;

-- What could not be used. The key is a hash of source, reason and record, so reading a file twice puts a row aside once.
CREATE TABLE quarantine (
    key     BLOB PRIMARY KEY,
    source  TEXT NOT NULL,
    locator TEXT NOT NULL,
    reason  TEXT NOT NULL,
    message TEXT NOT NULL,
    record  TEXT NOT NULL,
    at      INTEGER NOT NULL
) STRICT;
