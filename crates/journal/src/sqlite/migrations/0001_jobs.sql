-- Times are microseconds since 1970, UTC. Bodies are JSON of the types of the crate longshore-core.

-- Values that belong to this state directory as a whole.
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    id              TEXT PRIMARY KEY,
    idempotency_key TEXT UNIQUE,
    installation    TEXT NOT NULL,
    name            TEXT,
    -- As submitted: where secrets come from, never what they are.
    spec            TEXT NOT NULL,
    spec_digest     TEXT NOT NULL,
    detached        INTEGER NOT NULL CHECK (detached IN (0, 1)),
    runners         TEXT NOT NULL,
    submitted_at    INTEGER NOT NULL,
    -- How it ended; written once.
    result          TEXT,
    ended_at        INTEGER,
    -- When nothing of it was left on any backend.
    removed_at      INTEGER,
    CHECK ((result IS NULL) = (ended_at IS NULL)),
    CHECK (removed_at IS NULL OR result IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_by_time ON jobs (submitted_at, id);
CREATE INDEX jobs_unfinished ON jobs (submitted_at, id) WHERE removed_at IS NULL;
CREATE INDEX jobs_finished ON jobs (ended_at) WHERE removed_at IS NOT NULL;

-- The first outcome stays, regardless of the code.
CREATE TRIGGER one_outcome BEFORE UPDATE OF result ON jobs
WHEN OLD.result IS NOT NULL AND NEW.result IS NOT OLD.result
BEGIN
    SELECT raise(ABORT, 'the job has an outcome');
END;

CREATE TABLE attempts (
    job         TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL CHECK (number >= 1),
    runner      TEXT NOT NULL,
    handle      TEXT NOT NULL,
    pull_policy TEXT NOT NULL,
    intent_at   INTEGER NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('intent', 'started', 'refused', 'ended')),
    -- By the backend's clock.
    started_at  INTEGER,
    image       TEXT,
    -- Why it was refused.
    kind        TEXT,
    message     TEXT,
    CHECK ((state = 'refused') = (kind IS NOT NULL AND message IS NOT NULL)),
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

-- At most one attempt of a job is open or has run.
CREATE UNIQUE INDEX attempts_committed ON attempts (job) WHERE state <> 'refused';

CREATE TABLE passed_over (
    job      TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    runner   TEXT NOT NULL,
    kind     TEXT NOT NULL,
    message  TEXT NOT NULL,
    PRIMARY KEY (job, position)
) STRICT, WITHOUT ROWID;

-- The numbers never repeat, so that a reader that knows the last number it saw finds all later ones.
CREATE TABLE cancels (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    job      TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    asked_at INTEGER NOT NULL,
    grace_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX cancels_by_job ON cancels (job, grace_ms);
