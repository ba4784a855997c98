//! Making and migrating the tables.

use refinery::{Migration, Runner};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::fault::Fault;
use super::{PostgresError, connect, connect::Connector};

/// The schema this version reads and writes: that of the last migration.
const SCHEMA_VERSION: i32 = 1;
/// Every step of the schema, oldest first. A step that was released is never edited.
const MIGRATIONS: [(&str, &str); 1] = [("V1__tokens", include_str!("migrations/V1__tokens.sql"))];
/// Only one gate at a time migrates: the number of the lock, which is that of nobody else.
const LOCK: i64 = 0x636b_6774;

/// Brings the tables to this version's schema. A role that may not make tables can only be used
/// with a schema that is up to date.
pub(super) async fn migrate(connector: &Connector) -> Result<(), PostgresError> {
    let (mut client, connection) = connector.connect().await.map_err(PostgresError::connect)?;
    let task = tokio::spawn(connection.drive(|| {}));
    let outcome = migrate_over(&mut client).await;
    drop(client);
    task.abort();
    outcome
}

async fn migrate_over(client: &mut Client) -> Result<(), PostgresError> {
    let failed =
        |error: tokio_postgres::Error| PostgresError::Migration(Box::new(Fault::Engine(error)));
    connect::prepare(client).await.map_err(failed)?;
    match version(client).await.map_err(failed)? {
        SCHEMA_VERSION => return Ok(()),
        found if found > SCHEMA_VERSION => {
            return Err(PostgresError::Newer { found, known: SCHEMA_VERSION });
        }
        _ => {}
    }
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(failed)?;
    let steps = MIGRATIONS.iter().map(|(name, sql)| Migration::unapplied(name, sql));
    let steps = steps
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| PostgresError::Migration(Box::new(error)))?;
    let outcome = Runner::new(&steps).set_grouped(true).run_async(client).await;
    // The lock goes with the session, too.
    drop(client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await);
    outcome.map(drop).map_err(|error| PostgresError::Migration(Box::new(error)))
}

/// The last migration applied; 0 before the first.
async fn version(client: &Client) -> Result<i32, tokio_postgres::Error> {
    let asked = client
        .query_one("SELECT coalesce(max(version), 0)::int FROM refinery_schema_history", &[])
        .await;
    match asked {
        Ok(row) => row.try_get(0),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(0),
        Err(error) => Err(error),
    }
}
