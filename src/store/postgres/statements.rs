//! Everything that is said to the server. Each change is one statement, and so one transaction and
//! one round trip. Rows that a question finds first are named in an array: how many they are cannot be
//! guessed wrong then, and no plan, however old, reads a whole table.

/// The columns that a record is read from, in the order of `row::record`.
macro_rules! record_columns {
    () => {
        "id, key_id, account, created_at, expires_at, hostname, bound, policy, limits"
    };
}

pub(super) const CREATE: &str = "
    WITH made AS (
        INSERT INTO tokens
            (id, key_id, account, created_at, expires_at, hostname, bound, policy, limits, agents)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        RETURNING id, account, expires_at, key_id, agents
    )
    INSERT INTO token_agents (agent, account, id, expires_at, key_id)
    SELECT DISTINCT unnest(agents), account, id, expires_at, key_id FROM made";

pub(super) const GET: &str = concat!("SELECT ", record_columns!(), " FROM tokens WHERE id = $1");

pub(super) const RECORDS: &str =
    concat!("SELECT ", record_columns!(), " FROM tokens WHERE id = ANY($1)");

/// The ids are found in an index alone, so that an offset skips rows without reading them.
pub(super) const LIST_ACCOUNT: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM tokens WHERE id = ANY(ARRAY(
         SELECT id FROM tokens
         WHERE account = $1 AND id < $6 AND expires_at > $2 AND key_id = ANY($3)
         ORDER BY id DESC LIMIT $4 OFFSET $5))
     ORDER BY id DESC"
);

pub(super) const LIST_AGENT: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM tokens WHERE id = ANY(ARRAY(
         SELECT id FROM token_agents
         WHERE agent = $7 AND account = $1 AND id < $6 AND expires_at > $2
               AND key_id = ANY($3)
         ORDER BY id DESC LIMIT $4 OFFSET $5))
     ORDER BY id DESC"
);

/// The record, what finds it by its agents, what is counted of it, and its place in the feed: all of
/// it or nothing. How many records went.
pub(super) const DELETE: &str = "
    WITH gone AS (
        DELETE FROM tokens WHERE id = $1 AND account = $2
        RETURNING id, account, expires_at, agents
    ), unlisted AS (
        DELETE FROM token_agents
        WHERE (agent, account, id) IN (SELECT unnest(agents), account, id FROM gone)
    ), uncounted AS (
        DELETE FROM token_usage WHERE id = $1 AND EXISTS (SELECT 1 FROM gone)
    ), fed AS (
        INSERT INTO deletions (id, transaction, account, expires_at, deleted_at)
        SELECT id, pg_current_xact_id()::text::bigint, account, greatest(expires_at, $3::bigint),
               $4::bigint
        FROM gone
        ON CONFLICT (id) DO UPDATE SET transaction = excluded.transaction
    )
    SELECT count(*), count(CASE WHEN $5::boolean THEN pg_notify('ckgate', '')::text END) FROM gone";

pub(super) const OWNER: &str = "SELECT account FROM tokens WHERE id = $1
     UNION ALL SELECT account FROM deletions WHERE id = $1";

/// Two gates that sweep at once take different rows.
pub(super) const SWEEP_RECORDS: &str = "
    WITH gone AS (
        DELETE FROM tokens WHERE id = ANY(ARRAY(
            SELECT id FROM tokens WHERE expires_at <= $1
            ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))
        RETURNING id, account, agents
    ), unlisted AS (
        DELETE FROM token_agents
        WHERE (agent, account, id) IN (SELECT unnest(agents), account, id FROM gone)
    )
    SELECT count(*) FROM gone";

pub(super) const SWEEP_DELETIONS: &str = "DELETE FROM deletions WHERE id = ANY(ARRAY(
    SELECT id FROM deletions WHERE expires_at <= $1
    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

pub(super) const SWEEP_USAGE: &str = "DELETE FROM token_usage WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM token_usage WHERE expires_at <= $1
    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

/// What names this history of the data: the cluster, and its timeline, which moves when a standby
/// takes over or a backup is put back. Transaction numbers mean something only within one of them.
macro_rules! history {
    () => {
        "(SELECT system_identifier FROM pg_control_system()) AS cluster,
         pg_walfile_name(pg_current_wal_lsn()) AS wal_file"
    };
}

/// The oldest transaction still open: everything below it is over, and visible if it was committed.
macro_rules! horizon {
    () => {
        "pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon"
    };
}

pub(super) const FEED_END: &str = concat!("SELECT ", history!(), ", ", horizon!());

/// The horizon is that of the very snapshot in which the rows are read.
pub(super) const FEED_PAGE: &str = concat!(
    "SELECT ",
    history!(),
    ", ",
    horizon!(),
    ", entry.transaction, entry.id
     FROM (SELECT 1) AS one LEFT JOIN
         (SELECT transaction, id FROM deletions WHERE transaction >= $1
          ORDER BY transaction, id LIMIT $2) AS entry ON true
     ORDER BY entry.transaction, entry.id"
);

pub(super) const FEED_TRANSACTION: &str = "SELECT id FROM deletions WHERE transaction = $1";

/// The last to expire of each host decides, and the index names it.
pub(super) const HOST_IS_BOUND: &str = "
    SELECT EXISTS (SELECT 1 FROM unnest($1::text[]) AS host
                   WHERE (SELECT max(expires_at) FROM tokens WHERE bound = host) > $2)";

/// In the order of the key, so that two gates never wait for each other in a circle.
pub(super) const ADD_USAGE: &str = "
    INSERT INTO token_usage AS held (id, permission, requests, last_used_at, expires_at)
    SELECT counted.id, counted.permission, counted.requests, counted.last_used_at, tokens.expires_at
    FROM unnest($1::bytea[], $2::smallint[], $3::bigint[], $4::bigint[])
             AS counted (id, permission, requests, last_used_at)
         JOIN tokens ON tokens.id = counted.id
    ORDER BY counted.id, counted.permission
    ON CONFLICT (id, permission) DO UPDATE SET
        requests = held.requests + excluded.requests,
        last_used_at = greatest(held.last_used_at, excluded.last_used_at)";

pub(super) const USAGE: &str =
    "SELECT id, permission, requests, last_used_at FROM token_usage WHERE id = ANY($1)";

/// Says that this gate runs, forgets those that have been silent for long, and counts the others.
pub(super) const GATES: &str = "
    WITH told AS (
        INSERT INTO gates (id, seen_at) VALUES ($1, now())
        ON CONFLICT (id) DO UPDATE SET seen_at = now()
    ), forgotten AS (
        DELETE FROM gates WHERE seen_at < now() - interval '1 hour'
    )
    SELECT 1 + count(*) FROM gates WHERE id <> $1 AND seen_at > now() - interval '10 seconds'";

pub(super) const LISTEN: &str = "LISTEN ckgate";
