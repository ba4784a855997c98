//! Sessions with the server, and the pool that lends them.

use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, RecycleError, RecycleResult};
use tokio_postgres::{Client, Statement};

use super::connect::{self, Connector};
use super::fault::Fault;
use super::statements as sql;

/// A connection with everything that is ever asked over it prepared.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) ask: Prepared,
}

impl Session {
    async fn start(connector: &Connector) -> Result<Self, Fault> {
        let (client, connection) = connector.connect().await?;
        tokio::spawn(connection.drive(|| {}));
        connect::prepare(&client).await?;
        let ask = Box::pin(Prepared::on(&client)).await?;
        Ok(Self { client, ask })
    }
}

macro_rules! prepared {
    ($($name:ident = $sql:expr),* $(,)?) => {
        /// The statements of a session.
        pub(super) struct Prepared {
            $(pub(super) $name: Statement),*
        }

        impl Prepared {
            async fn on(client: &Client) -> Result<Self, tokio_postgres::Error> {
                // Sent at once, in one round trip.
                let ($($name),*) = tokio::try_join!($(client.prepare($sql)),*)?;
                Ok(Self { $($name),* })
            }
        }
    };
}

prepared! {
    create = sql::CREATE,
    get = sql::GET,
    list_account = sql::LIST_ACCOUNT,
    list_agent = sql::LIST_AGENT,
    delete = sql::DELETE,
    owner = sql::OWNER,
    sweep_records = sql::SWEEP_RECORDS,
    sweep_deletions = sql::SWEEP_DELETIONS,
    sweep_usage = sql::SWEEP_USAGE,
    feed_end = sql::FEED_END,
    feed_page = sql::FEED_PAGE,
    feed_transaction = sql::FEED_TRANSACTION,
    host_is_bound = sql::HOST_IS_BOUND,
    add_usage = sql::ADD_USAGE,
    usage = sql::USAGE,
    gates = sql::GATES,
}

/// Makes sessions for the pool.
pub(super) struct Manager {
    pub(super) connector: Connector,
}

impl managed::Manager for Manager {
    type Type = Session;
    type Error = Fault;

    async fn create(&self) -> Result<Session, Fault> {
        // Large, and rarely needed: not a part of every question.
        Box::pin(Session::start(&self.connector)).await
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<Fault> {
        if session.client.is_closed() {
            return Err(RecycleError::message("the connection is closed"));
        }
        Ok(())
    }
}

/// A borrowed session and how long an answer may take.
pub(super) struct Link {
    pub(super) session: Object<Manager>,
    pub(super) patience: Duration,
}

impl Link {
    /// What `asked` comes to within the time it has.
    pub(super) async fn bounded<T, E: Into<Fault>>(
        &self,
        asked: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Fault> {
        match tokio::time::timeout(self.patience, asked).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(Fault::Late),
        }
    }

    /// Gives the session back, or up: one that failed in an unclear way is never lent again.
    pub(super) fn settle<T>(self, answer: Result<T, Fault>) -> Result<T, Fault> {
        if answer.as_ref().is_err_and(Fault::spoils_session) {
            drop(Object::take(self.session));
        }
        answer
    }
}
