-- Each removal has a note of its own: two of one resource at once, of which one fails, must not end each other's.
ALTER TABLE removals RENAME TO former_removals;

CREATE TABLE removals (
    token TEXT PRIMARY KEY,
    resource TEXT NOT NULL,
    -- Who removes it: what a process that died was about to remove may be there still.
    process TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX removals_by_resource ON removals (resource);

INSERT INTO removals (token, resource, process, at) SELECT resource, resource, process, at FROM former_removals;
DROP TABLE former_removals;
