-- Usage by the hour instead of by the request, so that it grows with what is
-- used and not with how often.
--
-- `hour` is the beginning of the hour, unix milliseconds. `model` is '' where
-- it is not known, since NULLs do not meet in a unique index.

CREATE TABLE usage_hours (
    user_id       TEXT NOT NULL REFERENCES users(id),
    hour          INTEGER NOT NULL CHECK (hour % 3600000 = 0),
    device_name   TEXT NOT NULL,
    upstream      TEXT NOT NULL,
    model         TEXT NOT NULL,
    requests      INTEGER NOT NULL,
    bytes_in      INTEGER NOT NULL,
    bytes_out     INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    PRIMARY KEY (user_id, hour, device_name, upstream, model)
) STRICT;

-- For what is old enough to go.
CREATE INDEX idx_usage_hours_hour ON usage_hours(hour);

INSERT INTO usage_hours
SELECT user_id, created_at - created_at % 3600000, device_name, upstream, coalesce(model, ''),
       sum(requests), sum(bytes_in), sum(bytes_out), sum(input_tokens), sum(output_tokens)
FROM usage_events
WHERE event_type = 'upstream'
GROUP BY 1, 2, 3, 4, 5;

DROP TABLE usage_events;
