-- Who may use this relay: users, organizations, devices, invitations, API keys
-- and what they used.
--
-- Every time is an INTEGER of unix milliseconds, written by the caller and
-- never by SQLite's clock. Names are stored as text and parsed again on every
-- read. Secrets are stored only as HMAC-SHA-256 under the relay's pepper.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT;

-- `id` is the user's name, the one that certificates carry.
CREATE TABLE users (
    id            TEXT PRIMARY KEY NOT NULL,
    email         TEXT UNIQUE,
    password_hash TEXT,
    created_at    INTEGER NOT NULL,
    last_login    INTEGER
) STRICT;

CREATE TABLE organizations (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    slug       TEXT UNIQUE NOT NULL,
    tier       TEXT NOT NULL DEFAULT 'free',
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE organization_members (
    organization_id TEXT NOT NULL REFERENCES organizations(id),
    user_id         TEXT NOT NULL REFERENCES users(id),
    role            TEXT NOT NULL DEFAULT 'member',
    PRIMARY KEY (organization_id, user_id)
) STRICT;

-- One row for each device name ever issued. Rows are never deleted, so that a
-- revoked name stays refused.
CREATE TABLE devices (
    name            TEXT PRIMARY KEY NOT NULL,
    user_id         TEXT NOT NULL REFERENCES users(id),
    serial          BLOB NOT NULL,     -- of the newest certificate
    public_key_hash BLOB NOT NULL CHECK (length(public_key_hash) = 32),
    not_after       INTEGER NOT NULL,  -- of the newest certificate
    created_at      INTEGER NOT NULL,
    joined_at       INTEGER NOT NULL,  -- when the newest certificate was issued
    last_seen       INTEGER,
    revoked_at      INTEGER
) STRICT;

CREATE INDEX idx_devices_user ON devices(user_id);

-- One-time invitations. `certificate` answers a repeat of the same request
-- after a lost answer.
CREATE TABLE join_codes (
    id             TEXT PRIMARY KEY NOT NULL,
    user_id        TEXT NOT NULL REFERENCES users(id),
    device_name    TEXT,               -- NULL: the device chooses
    secret_hmac    BLOB NOT NULL CHECK (length(secret_hmac) = 32),
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    used_at        INTEGER,
    used_by_device TEXT REFERENCES devices(name),
    used_key_hash  BLOB CHECK (length(used_key_hash) = 32),
    used_serial    BLOB,               -- of `certificate`
    certificate    BLOB,
    CHECK ((used_at IS NULL) = (used_by_device IS NULL)
       AND (used_at IS NULL) = (used_key_hash IS NULL)
       AND (used_at IS NULL) = (used_serial IS NULL)
       AND (used_at IS NULL) = (certificate IS NULL))
) STRICT;

CREATE INDEX idx_join_codes_expires ON join_codes(expires_at);

-- `key_hash` is lower-case hex, `scopes` a JSON array of texts.
CREATE TABLE api_keys (
    id          TEXT PRIMARY KEY NOT NULL,
    user_id     TEXT NOT NULL REFERENCES users(id),
    key_hash    TEXT NOT NULL,
    name        TEXT,
    scopes      TEXT NOT NULL CHECK (json_valid(scopes)),
    created_at  INTEGER NOT NULL,
    last_used   INTEGER,
    expires_at  INTEGER,
    environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    revoked_at  INTEGER
) STRICT;

CREATE INDEX idx_api_keys_user ON api_keys(user_id);

-- `tokens` is the sum of input and output tokens where they are known.
CREATE TABLE usage_events (
    id              TEXT PRIMARY KEY NOT NULL,
    user_id         TEXT NOT NULL REFERENCES users(id),
    organization_id TEXT REFERENCES organizations(id),
    event_type      TEXT NOT NULL CHECK (event_type IN ('forward', 'upstream')),
    tokens          INTEGER,
    cost_cents      INTEGER,
    model           TEXT,
    created_at      INTEGER NOT NULL,
    device_name     TEXT NOT NULL,
    upstream        TEXT,
    requests        INTEGER NOT NULL,
    bytes_in        INTEGER NOT NULL,
    bytes_out       INTEGER NOT NULL,
    input_tokens    INTEGER NOT NULL,
    output_tokens   INTEGER NOT NULL,
    CHECK ((event_type = 'upstream') = (upstream IS NOT NULL))
) STRICT;

CREATE INDEX idx_usage_user ON usage_events(user_id, created_at);
CREATE INDEX idx_usage_org ON usage_events(organization_id, created_at);
