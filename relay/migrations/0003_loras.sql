-- Adapters: what people look for them by. Their bytes, and all of this but
-- downloads and ratings, are in the bucket, from which rows can be made again.

CREATE TABLE loras (
    id          TEXT PRIMARY KEY NOT NULL,
    owner_id    TEXT NOT NULL REFERENCES users(id),
    name        TEXT NOT NULL,
    description TEXT,
    domain      TEXT NOT NULL,
    base_model  TEXT NOT NULL,
    r2_key      TEXT NOT NULL,          -- of the adapter, in the bucket
    version     TEXT NOT NULL,
    is_public   INTEGER NOT NULL DEFAULT 0 CHECK (is_public IN (0, 1)),
    price_cents INTEGER NOT NULL DEFAULT 0 CHECK (price_cents >= 0),
    downloads   INTEGER NOT NULL DEFAULT 0,
    rating_avg  REAL,                   -- 1 to 5; NULL while nobody has rated it
    created_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX idx_loras_domain ON loras(domain);
CREATE INDEX idx_loras_public ON loras(is_public);

-- A device that pulls the same bytes twice has one copy.
CREATE TABLE lora_downloads (
    lora_id     TEXT NOT NULL,
    device_name TEXT NOT NULL,
    blob        BLOB NOT NULL CHECK (length(blob) = 32),
    PRIMARY KEY (lora_id, device_name, blob)
) STRICT, WITHOUT ROWID;

CREATE TABLE lora_ratings (
    lora_id TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users(id),
    stars   INTEGER NOT NULL CHECK (stars BETWEEN 1 AND 5),
    PRIMARY KEY (lora_id, user_id)
) STRICT, WITHOUT ROWID;
