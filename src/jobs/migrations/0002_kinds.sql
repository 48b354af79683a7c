-- Jobs of every kind: what lists show of one and what its worker is given are its kind's own.

ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'finetune';
ALTER TABLE jobs ADD COLUMN subject TEXT NOT NULL DEFAULT '{}';
ALTER TABLE jobs ADD COLUMN plan TEXT NOT NULL DEFAULT '{}';

UPDATE jobs SET
    subject = json_object('name', name, 'dataset', dataset, 'base', json_object('model', base_model, 'version', base_version)),
    plan = json_object('recipe', json(recipe), 'estimates', json(estimates));

-- What unfinished jobs need: it may not be removed.
CREATE TABLE uses (
    resource TEXT NOT NULL,
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    PRIMARY KEY (resource, job)
) STRICT, WITHOUT ROWID;

CREATE INDEX uses_by_job ON uses (job);

INSERT INTO uses (resource, job)
    SELECT 'dataset/' || dataset, seq FROM jobs WHERE finished IS NULL
    UNION SELECT 'version/' || base_model || '@' || base_version, seq FROM jobs WHERE finished IS NULL;

ALTER TABLE jobs DROP COLUMN name;
ALTER TABLE jobs DROP COLUMN dataset;
ALTER TABLE jobs DROP COLUMN base_model;
ALTER TABLE jobs DROP COLUMN base_version;
ALTER TABLE jobs DROP COLUMN recipe;
ALTER TABLE jobs DROP COLUMN estimates;

-- What is being removed, or was a short while ago: no job that was planned with it is accepted.
CREATE TABLE removals (
    resource TEXT PRIMARY KEY,
    -- Who removes it: what a process that died was about to remove may be there still.
    process TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
