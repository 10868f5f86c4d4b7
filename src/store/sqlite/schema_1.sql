-- Names of apps, also of those that are gone, and the number of each one's newest rejection.
CREATE TABLE names (
    key INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    rejections INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What the daemon knows of each provisioned app.
CREATE TABLE apps (
    app INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- Accepted calls with rows that are not settled. The record is here, or in the segments of its stage.
--
-- Without a due time, a batch is in the fresh lane, read by id; with one, in the due lane, read by (due, id). Due times
-- are by the wall clock. One that is more than an hour ahead when the store is opened is brought back to an hour ahead:
-- no retry waits so long, so the clock was set back meanwhile.
CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    app INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    due INTEGER,
    tries INTEGER NOT NULL,
    stage INTEGER,
    record BLOB
) STRICT;
-- Both lanes in their order. With rows and accepted_at, backlogs are summed up without reading the records.
CREATE INDEX batches_by_lane ON batches (app, due, id, rows, accepted_at);
CREATE INDEX batches_staged ON batches (stage) WHERE stage IS NOT NULL;

-- Which rows of a batch are settled, for batches where some are: one bit a row, lowest bit first.
CREATE TABLE progress (
    batch INTEGER PRIMARY KEY,
    settled INTEGER NOT NULL,
    bits BLOB NOT NULL
) STRICT;

-- Parts of large records.
CREATE TABLE segments (
    stage INTEGER NOT NULL,
    number INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (stage, number)
) STRICT;

CREATE TABLE rejections (
    app INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kept_at INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    reason TEXT NOT NULL,
    status INTEGER,
    token BLOB NOT NULL,
    batch INTEGER NOT NULL,
    row INTEGER NOT NULL,
    PRIMARY KEY (app, number)
) STRICT, WITHOUT ROWID;

-- Feedback by environment and topic, the number of each one's newest entry, and how far apps have read it.
CREATE TABLE sources (
    key INTEGER PRIMARY KEY,
    environment TEXT NOT NULL,
    topic TEXT NOT NULL,
    newest INTEGER NOT NULL DEFAULT 0,
    UNIQUE (environment, topic)
) STRICT;
CREATE TABLE feedback (
    source INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kept_at INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    token BLOB NOT NULL,
    PRIMARY KEY (source, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE cursors (
    app INTEGER NOT NULL,
    source INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    PRIMARY KEY (app, source)
) STRICT, WITHOUT ROWID;

-- Calls that named themselves, in two generations of which one is present.
CREATE TABLE generations (
    present INTEGER NOT NULL,
    began INTEGER NOT NULL
) STRICT;
INSERT INTO generations VALUES (0, 0);
CREATE TABLE requests_0 (
    app INTEGER NOT NULL,
    id BLOB NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (app, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE requests_1 (
    app INTEGER NOT NULL,
    id BLOB NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (app, id)
) STRICT, WITHOUT ROWID;
