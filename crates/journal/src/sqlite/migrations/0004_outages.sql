-- Runners whose probe got no answer, for the processes that would wait for it next.

CREATE TABLE outages (
    runner  TEXT PRIMARY KEY,
    server  TEXT NOT NULL,
    message TEXT NOT NULL,
    since   INTEGER NOT NULL,
    until   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
