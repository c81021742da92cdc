-- The same columns as before, in tables with row ids. Without row ids, a long row lies in the tree of its
-- key, where each comparison reads all of it: a look-up read several rows of other jobs.
--
-- The statements that write labels and runners replace the triggers that did: SQLite translated them
-- again in each process.

CREATE TABLE new_jobs (
    id              TEXT NOT NULL PRIMARY KEY,
    idempotency_key TEXT,
    installation    TEXT NOT NULL,
    name            TEXT,
    spec            TEXT NOT NULL,
    spec_digest     TEXT NOT NULL,
    detached        INTEGER NOT NULL CHECK (detached IN (0, 1)),
    runners         TEXT NOT NULL,
    submitted_at    INTEGER NOT NULL,
    result          TEXT,
    ended_at        INTEGER,
    removed_at      INTEGER,
    runner          TEXT,
    relaunch        TEXT,
    CHECK ((result IS NULL) = (ended_at IS NULL)),
    CHECK (removed_at IS NULL OR result IS NOT NULL)
) STRICT;

INSERT INTO new_jobs
SELECT id, idempotency_key, installation, name, spec, spec_digest, detached, runners, submitted_at,
       result, ended_at, removed_at, runner, relaunch
FROM jobs ORDER BY submitted_at, id;

CREATE TABLE new_attempts (
    job         TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL CHECK (number >= 1),
    runner      TEXT NOT NULL,
    handle      TEXT NOT NULL,
    pull_policy TEXT NOT NULL,
    intent_at   INTEGER NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('intent', 'started', 'refused', 'ended')),
    started_at  INTEGER,
    image       TEXT,
    kind        TEXT,
    message     TEXT,
    CHECK ((state = 'refused') = (kind IS NOT NULL AND message IS NOT NULL)),
    PRIMARY KEY (job, number)
) STRICT;

INSERT INTO new_attempts SELECT * FROM attempts ORDER BY intent_at;

-- With their indexes and triggers.
DROP TABLE attempts;
DROP TABLE jobs;
ALTER TABLE new_jobs RENAME TO jobs;
ALTER TABLE new_attempts RENAME TO attempts;

-- A job without a key has no entry.
CREATE UNIQUE INDEX jobs_by_idempotency_key ON jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_by_time ON jobs (submitted_at, id);
CREATE INDEX jobs_unfinished ON jobs (submitted_at, id) WHERE removed_at IS NULL;
CREATE INDEX jobs_finished ON jobs (ended_at, id) WHERE removed_at IS NOT NULL;
CREATE INDEX jobs_by_runner ON jobs (runner, submitted_at, id) WHERE runner IS NOT NULL;
CREATE INDEX jobs_by_name ON jobs (name, submitted_at, id) WHERE name IS NOT NULL;
CREATE INDEX jobs_open ON jobs (submitted_at, id) WHERE result IS NULL;

CREATE TRIGGER one_outcome BEFORE UPDATE OF result ON jobs
WHEN OLD.result IS NOT NULL AND NEW.result IS NOT OLD.result
BEGIN
    SELECT raise(ABORT, 'the job has an outcome');
END;

CREATE UNIQUE INDEX attempts_committed ON attempts (job) WHERE state <> 'refused';
