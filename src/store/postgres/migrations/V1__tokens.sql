-- What the store keeps of each token. Ids only: nothing here can be turned into a usable token
-- without the key, which lives elsewhere. Times are milliseconds since the epoch, UTC.
CREATE TABLE tokens (
    id         bytea    NOT NULL PRIMARY KEY CHECK (length(id) = 16), -- begins with the creation time
    key_id     smallint NOT NULL,
    account    text     NOT NULL,
    created_at bigint   NOT NULL,
    expires_at bigint   NOT NULL,
    hostname   text     NOT NULL, -- as the caller sent it
    bound      text     NOT NULL, -- the same, normalised: what requests are compared with
    policy     text     NOT NULL, -- [{"agent": "agent-…", "access": ["read_messages", …]}, …]
    limits     text,              -- NULL, or {"requests_per_minute": …, …}
    agents     bytea[]  NOT NULL  -- the UUIDs of the policy's agents
);

-- Newest first within an account; the last two columns let paging skip rows without reading them.
CREATE INDEX tokens_by_account ON tokens (account, id, expires_at, key_id);
CREATE INDEX tokens_by_bound ON tokens (bound, expires_at);
CREATE INDEX tokens_by_expiry ON tokens (expires_at);

-- Which tokens name which agent; written and removed together with the token.
CREATE TABLE token_agents (
    agent      bytea    NOT NULL CHECK (length(agent) = 16), -- the UUID of the agent's id
    account    text     NOT NULL,
    id         bytea    NOT NULL,
    expires_at bigint   NOT NULL,
    key_id     smallint NOT NULL,
    PRIMARY KEY (agent, account, id)
);

-- The feed of deletions, in the order of the transactions that wrote them. A reader that knows
-- everything below the oldest transaction still open has missed nothing, however late it commits.
CREATE TABLE deletions (
    id          bytea  NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    transaction bigint NOT NULL,
    account     text   NOT NULL,
    expires_at  bigint NOT NULL,
    deleted_at  bigint NOT NULL
);
CREATE INDEX deletions_by_transaction ON deletions (transaction, id);
CREATE INDEX deletions_by_expiry ON deletions (expires_at);

-- How often each permission of a token was used, and when last. Removed together with the token;
-- what is counted a moment later goes with its expiry.
CREATE TABLE token_usage (
    id           bytea    NOT NULL CHECK (length(id) = 16),
    permission   smallint NOT NULL, -- 0 read_messages, 1 write_messages, 2 read_agent, 3 write_agent
    requests     bigint   NOT NULL,
    last_used_at bigint   NOT NULL,
    expires_at   bigint   NOT NULL,
    PRIMARY KEY (id, permission)
);
CREATE INDEX token_usage_by_expiry ON token_usage (expires_at);

-- The gates that share this store, each with the moment it last said so, by the server's clock.
CREATE TABLE gates (
    id      bytea       NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    seen_at timestamptz NOT NULL
);
