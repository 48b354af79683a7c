-- Who asked: an address or the name of a key; empty where nobody wrote it down.
ALTER TABLE jobs ADD COLUMN client TEXT NOT NULL DEFAULT '';

-- Idempotency keys belong to the holder of the API key that they came with, and to all together who come without one (empty).
ALTER TABLE idempotency RENAME TO former_idempotency;

CREATE TABLE idempotency (
    client TEXT NOT NULL,
    key TEXT NOT NULL,
    -- SHA-256 of the request's body, hexadecimal.
    body TEXT NOT NULL,
    -- Whose request it is, while there is no job, and in which process.
    token TEXT NOT NULL,
    process TEXT NOT NULL,
    job INTEGER REFERENCES jobs (seq) ON DELETE CASCADE,
    created INTEGER NOT NULL,
    PRIMARY KEY (client, key)
) STRICT, WITHOUT ROWID;

INSERT INTO idempotency (client, key, body, token, process, job, created)
    SELECT '', key, body, token, '', job, created FROM former_idempotency WHERE job IS NOT NULL;
DROP TABLE former_idempotency;

CREATE INDEX idempotency_by_job ON idempotency (job);
