-- Who was joined into whom, by which event: what undoing a merge goes by. Merges of before this migration have no row here;
-- `rekindle rebuild` derives them from the events again.
CREATE TABLE merges (
    absorbed BLOB PRIMARY KEY,
    survivor BLOB NOT NULL,                   -- as it was then; it may have been absorbed itself since
    position INTEGER NOT NULL                 -- of the event that joined them, in events
) STRICT, WITHOUT ROWID;
CREATE INDEX merges_by_survivor ON merges (survivor);

-- Two customers that are not one person, by an operator's word. A row whose two are one today, by a later word, rests.
CREATE TABLE separations (
    first        BLOB NOT NULL,               -- as stated; never changes
    second       BLOB NOT NULL,
    first_today  BLOB NOT NULL,               -- after merges
    second_today BLOB NOT NULL,
    position     INTEGER NOT NULL,            -- from this event on
    PRIMARY KEY (first, second)
) STRICT, WITHOUT ROWID;
CREATE INDEX separations_by_first ON separations (first_today);
CREATE INDEX separations_by_second ON separations (second_today);

-- What belongs to a customer follows merges and goes back when one is undone, so every row keeps whose it was at first.
ALTER TABLE signals ADD COLUMN subject BLOB;
UPDATE signals SET subject = customer;

CREATE TABLE refusals_of_subjects (
    rule          TEXT NOT NULL,
    subject       BLOB NOT NULL,
    customer      BLOB NOT NULL,
    step          INTEGER NOT NULL,
    reason        TEXT NOT NULL,
    n             INTEGER NOT NULL,
    first_at      INTEGER NOT NULL,
    last_at       INTEGER NOT NULL,
    last_occasion TEXT NOT NULL,
    PRIMARY KEY (rule, subject, step, reason)
) STRICT, WITHOUT ROWID;
INSERT INTO refusals_of_subjects
SELECT rule, customer, customer, step, reason, n, first_at, last_at, last_occasion FROM refusals;
DROP TABLE refusals;
ALTER TABLE refusals_of_subjects RENAME TO refusals;
CREATE INDEX refusals_of_customer ON refusals (customer);
