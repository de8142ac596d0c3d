-- Ground state: events and the ledger (firings, deliveries, attempts). Everything else is derived from them.
-- Times are microseconds since 1970, UTC. Ids are 16 bytes, ordered by time. Money is minor units.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- ---------------------------------------------------------------------------------------------------- ground state

CREATE TABLE events (
    position   INTEGER PRIMARY KEY,          -- where it stood in the log: the order in which everything is derived
    id         BLOB NOT NULL UNIQUE,
    key        BLOB NOT NULL UNIQUE,         -- hash of source and message id: never counted twice
    body_hash  BLOB NOT NULL,                -- the same id with another body is no repetition
    customer   BLOB,                         -- whose it is today
    arrived_as BLOB,                         -- whose it was when it came, before any merge
    name       TEXT NOT NULL,
    known_at   INTEGER NOT NULL,
    fact       TEXT NOT NULL
) STRICT;
CREATE INDEX events_of_customer ON events (customer, position);

CREATE TABLE firings (
    id           BLOB PRIMARY KEY,
    rule         TEXT NOT NULL,
    rule_version TEXT NOT NULL,
    subject      BLOB NOT NULL,              -- the customer as decided; never changes
    customer     BLOB NOT NULL,              -- the customer today, after merges
    occasion     TEXT NOT NULL,
    at           INTEGER NOT NULL,
    held_out     INTEGER NOT NULL,
    trace        TEXT NOT NULL,
    UNIQUE (rule, subject, occasion)
) STRICT;
CREATE INDEX firings_of_customer ON firings (customer, rule, at);

CREATE TABLE deliveries (
    id          BLOB PRIMARY KEY,
    firing      BLOB NOT NULL REFERENCES firings (id),
    rule        TEXT NOT NULL,
    subject     BLOB NOT NULL,
    customer    BLOB NOT NULL,
    occasion    TEXT NOT NULL,
    step        INTEGER NOT NULL,
    channel     TEXT NOT NULL,
    action      TEXT NOT NULL,
    class       TEXT,
    topic       TEXT,
    state       TEXT NOT NULL CHECK (state IN
        ('due', 'held', 'leased', 'committing', 'sent', 'failed', 'unknown', 'expired', 'dropped')),
    decided_at  INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    n_attempts  INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER,
    settled_at  INTEGER,
    reason      TEXT,
    receipt     TEXT,
    UNIQUE (rule, subject, occasion, step)   -- one occasion, one key: the ledger's proof of no double send
) STRICT;
CREATE INDEX deliveries_waiting ON deliveries (channel, due_at) WHERE state IN ('due', 'held');
CREATE INDEX deliveries_under_way ON deliveries (lease_until) WHERE state IN ('leased', 'committing');
CREATE INDEX deliveries_of_customer ON deliveries (customer, decided_at);

CREATE TABLE attempts (
    delivery BLOB NOT NULL REFERENCES deliveries (id),
    n        INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    outcome  TEXT NOT NULL,
    detail   TEXT NOT NULL,
    PRIMARY KEY (delivery, n)
) STRICT, WITHOUT ROWID;

-- Decisions that did not become a firing, counted: one row per rule, customer, step and reason.
CREATE TABLE refusals (
    rule          TEXT NOT NULL,
    customer      BLOB NOT NULL,
    step          INTEGER NOT NULL,
    reason        TEXT NOT NULL,
    n             INTEGER NOT NULL,
    first_at      INTEGER NOT NULL,
    last_at       INTEGER NOT NULL,
    last_occasion TEXT NOT NULL,
    PRIMARY KEY (rule, customer, step, reason)
) STRICT, WITHOUT ROWID;
CREATE INDEX refusals_of_customer ON refusals (customer);

-- The built-in task list; the row's id is the delivery's, so carrying a delivery out twice leaves one task.
CREATE TABLE tasks (
    delivery   BLOB PRIMARY KEY,
    customer   BLOB NOT NULL,
    rule       TEXT NOT NULL,
    title      TEXT NOT NULL,
    details    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    done_at    INTEGER
) STRICT;

-- Which tick of which schedule was swept, and how far.
CREATE TABLE ticks (
    schedule TEXT NOT NULL,
    at       INTEGER NOT NULL,
    position BLOB,                            -- the last customer done; null before the first chunk
    done_at  INTEGER,
    PRIMARY KEY (schedule, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX ticks_open ON ticks (at) WHERE done_at IS NULL;

-- --------------------------------------------------------------------------------------------------------- derived

CREATE TABLE customers (
    id          BLOB PRIMARY KEY,
    created_at  INTEGER NOT NULL,
    merged_into BLOB,
    profile     TEXT                          -- null once merged into another
) STRICT;

-- Apart from the profile, which is large and stays as it is when the daily rescoring changes everybody's scores.
CREATE TABLE judgements (
    customer BLOB PRIMARY KEY,
    scores   TEXT NOT NULL,
    segments TEXT NOT NULL                    -- name -> member or not; a name that is absent was never asked
) STRICT;

-- Who is in which segment now: what a sweep of an audience reads.
CREATE TABLE members (
    segment  TEXT NOT NULL,
    customer BLOB NOT NULL,
    PRIMARY KEY (segment, customer)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_customer ON members (customer);

CREATE TABLE identities (
    kind     TEXT NOT NULL,
    value    TEXT NOT NULL,
    customer BLOB NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX identities_of_customer ON identities (customer);

CREATE TABLE signals (
    id         BLOB PRIMARY KEY,
    customer   BLOB NOT NULL,
    segment    TEXT NOT NULL,
    transition TEXT NOT NULL,
    at         INTEGER NOT NULL,
    cause      BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX signals_of_customer ON signals (customer, at);

CREATE TABLE models (
    kind      TEXT NOT NULL,
    fitted_at INTEGER NOT NULL,
    version   TEXT NOT NULL,
    fitted    TEXT NOT NULL,
    card      TEXT NOT NULL,
    PRIMARY KEY (kind, fitted_at)
) STRICT, WITHOUT ROWID;
