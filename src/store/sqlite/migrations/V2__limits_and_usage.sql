-- Limits of a token's own: NULL = none, else {"requests_per_minute": …, "concurrent_streams": …,
-- "stream_seconds": …}, each of them optional.
ALTER TABLE tokens ADD COLUMN limits TEXT;

-- How often each permission of a token was used, and when last. Removed together with the token;
-- what is counted a moment later goes with its expiry.
CREATE TABLE token_usage (
    id           BLOB    NOT NULL CHECK (length(id) = 16),
    permission   INTEGER NOT NULL, -- 0 read_messages, 1 write_messages, 2 read_agent, 3 write_agent
    requests     INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    PRIMARY KEY (id, permission)
) STRICT, WITHOUT ROWID;
CREATE INDEX token_usage_by_expiry ON token_usage (expires_at);
