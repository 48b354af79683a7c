-- Times are milliseconds since 1970; JSON is text.

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    name TEXT NOT NULL,
    dataset TEXT NOT NULL,
    base_model TEXT NOT NULL,
    base_version INTEGER NOT NULL,
    recipe TEXT NOT NULL,
    estimates TEXT NOT NULL,
    warnings TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    lease_owner TEXT,
    lease_until INTEGER,
    -- Id of the last event.
    events INTEGER NOT NULL DEFAULT 0,
    progress TEXT,
    result TEXT,
    error TEXT,
    created INTEGER NOT NULL,
    started INTEGER,
    finished INTEGER,
    CHECK ((state = 'running') = (lease_owner IS NOT NULL)),
    CHECK ((lease_owner IS NULL) = (lease_until IS NULL)),
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (finished IS NOT NULL))
) STRICT;

CREATE INDEX jobs_by_state ON jobs (state, seq);

CREATE TABLE events (
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    phase INTEGER,
    epoch INTEGER,
    step INTEGER,
    data TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (job, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX events_by_mark ON events (job, kind, phase, epoch, step) WHERE step IS NOT NULL;

CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    -- SHA-256 of the request's body, hexadecimal.
    body TEXT NOT NULL,
    -- Whose request it is, while there is no job.
    token TEXT NOT NULL,
    job INTEGER REFERENCES jobs (seq) ON DELETE CASCADE,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_job ON idempotency (job);
