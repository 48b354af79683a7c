-- API keys: what is stored is the SHA-256 of the whole key, which holds 192 random bits. Revoked keys stay, without it: that there
-- were keys keeps a server closed.
CREATE TABLE keys (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The public part of the key.
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    digest BLOB,
    scope TEXT NOT NULL CHECK (scope IN ('predict', 'train', 'admin')),
    images_per_second INTEGER CHECK (images_per_second > 0),
    burst INTEGER CHECK (burst > 0),
    in_flight INTEGER CHECK (in_flight > 0),
    created INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER,
    CHECK ((digest IS NULL) = (revoked IS NOT NULL)),
    CHECK (digest IS NULL OR length(digest) = 32)
) STRICT;

CREATE UNIQUE INDEX keys_by_name ON keys (name) WHERE revoked IS NULL;
