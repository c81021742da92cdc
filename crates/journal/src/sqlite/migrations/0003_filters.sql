-- What records are found by. Triggers keep it, so that it is right whatever writes a record.

-- The runner that the job may be on or ran on.
ALTER TABLE jobs ADD COLUMN runner TEXT;

UPDATE jobs SET runner =
    (SELECT a.runner FROM attempts a WHERE a.job = jobs.id AND a.state <> 'refused');

CREATE INDEX jobs_by_runner ON jobs (runner, submitted_at, id) WHERE runner IS NOT NULL;
CREATE INDEX jobs_by_name ON jobs (name, submitted_at, id) WHERE name IS NOT NULL;
CREATE INDEX jobs_open ON jobs (submitted_at, id) WHERE result IS NULL;

CREATE TRIGGER runner_of_intent AFTER INSERT ON attempts WHEN NEW.state <> 'refused'
BEGIN
    UPDATE jobs SET runner = NEW.runner WHERE id = NEW.job;
END;

CREATE TRIGGER runner_of_refusal AFTER UPDATE OF state ON attempts
WHEN NEW.state = 'refused' AND OLD.state <> 'refused'
BEGIN
    UPDATE jobs SET runner = NULL WHERE id = NEW.job;
END;

-- The time is that of the job's submission, for the order of a page.
CREATE TABLE labels (
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    time  INTEGER NOT NULL,
    job   TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    PRIMARY KEY (key, value, time, job)
) STRICT, WITHOUT ROWID;

CREATE INDEX labels_by_job ON labels (job);

INSERT INTO labels (key, value, time, job)
SELECT label.key, label.value, jobs.submitted_at, jobs.id
FROM jobs, json_each(jobs.spec, '$.labels') AS label;

CREATE TRIGGER labels_of_job AFTER INSERT ON jobs
BEGIN
    INSERT INTO labels (key, value, time, job)
    SELECT label.key, label.value, NEW.submitted_at, NEW.id
    FROM json_each(NEW.spec, '$.labels') AS label;
END;
