-- What the store keeps of each token. Ids only: nothing here can be turned into a usable token
-- without the key, which lives elsewhere. Times are milliseconds since the epoch, UTC.
CREATE TABLE tokens (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16), -- begins with the creation time
    key_id     INTEGER NOT NULL,
    account    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    hostname   TEXT    NOT NULL, -- as the caller sent it
    bound      TEXT    NOT NULL, -- the same, normalised: what requests are compared with
    policy     TEXT    NOT NULL  -- [{"agent": "agent-…", "access": ["read_messages", …]}, …]
) STRICT, WITHOUT ROWID;

-- Newest first within an account; the last two columns let paging skip rows without reading them.
CREATE INDEX tokens_by_account ON tokens (account, id, expires_at, key_id);
CREATE INDEX tokens_by_bound ON tokens (bound, expires_at);
CREATE INDEX tokens_by_expiry ON tokens (expires_at);

-- Which tokens name which agent; written and removed together with the token.
CREATE TABLE token_agents (
    agent      BLOB    NOT NULL CHECK (length(agent) = 16), -- the UUID of the agent's id
    account    TEXT    NOT NULL,
    id         BLOB    NOT NULL,
    expires_at INTEGER NOT NULL,
    key_id     INTEGER NOT NULL,
    PRIMARY KEY (agent, account, id)
) STRICT, WITHOUT ROWID;

-- The feed of deletions. AUTOINCREMENT: a number is never used twice, whatever has been pruned.
CREATE TABLE deletions (
    sequence   INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id         BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    account    TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    deleted_at INTEGER NOT NULL
) STRICT;
CREATE INDEX deletions_by_expiry ON deletions (expires_at);
