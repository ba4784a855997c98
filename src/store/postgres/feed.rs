//! The feed of deletions: a cursor that no late commit can slip past.
//!
//! A transaction gets its number when it begins to write, and becomes visible when it commits: in
//! any order. So a reader goes on not from the last number it saw but from the oldest transaction
//! that was still open when it looked, if that is lower; what it sees twice does no harm.

use tokio_postgres::Row;

use super::fault::Fault;
use super::row;
use super::session::Session;
use crate::store::{FEED_PAGE_MAX, Feed, FeedCursor, FeedPage};
use crate::token::TokenId;

/// The present end of the feed, for a reader that has cached nothing yet.
pub(super) async fn end(session: &Session) -> Result<Feed, Fault> {
    let row = session.client.query_one(&session.ask.feed_end, &[]).await?;
    Ok(Feed::Deletions { ids: Vec::new(), next: Place::read(&row)?.cursor(), has_next: false })
}

/// The deletions since a cursor.
pub(super) async fn since(session: &Session, since: FeedCursor) -> Result<Feed, Fault> {
    let page_max = i64::try_from(FEED_PAGE_MAX).unwrap_or(i64::MAX);
    let from = since.page.map_or(since.position, |page| page.from);
    let rows = session
        .client
        .query(&session.ask.feed_page, &[&number(from), &page_max.saturating_add(1)])
        .await?;
    let first = rows.first().ok_or(Fault::Damaged("the feed has no horizon"))?;
    let place = Place::read(first)?;
    if since.history != place.history || since.position > place.horizon {
        return Ok(Feed::Gap { next: place.cursor() });
    }
    let mut entries = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some(transaction) = row.try_get::<_, Option<i64>>(3)? else { break };
        entries.push((u64::try_from(transaction).unwrap_or(0), row::id(row, 4)?));
    }
    // Everything below the horizon is over; what is above may still be joined by others. What was
    // read on an earlier page counts as it was then.
    let settled = since.page.map_or(place.horizon, |page| page.settled);
    if entries.len() > FEED_PAGE_MAX {
        let Page { ids, next } = page(session, &entries).await?;
        let page = Some(FeedPage { from: next, settled });
        return Ok(Feed::Deletions { ids, next: FeedCursor { page, ..since }, has_next: true });
    }
    let read_to = entries.last().map_or(from, |(last, _)| last.saturating_add(1));
    let position = settled.min(read_to).max(since.position);
    let ids = entries.into_iter().map(|(_, id)| id).collect();
    let next = FeedCursor { history: place.history, position, page: None };
    Ok(Feed::Deletions { ids, next, has_next: false })
}

struct Page {
    ids: Vec<TokenId>,
    /// The first transaction that is not in it, or not all of it.
    next: u64,
}

/// A page that ends where a transaction ends. One that is larger than a page is read whole.
async fn page(session: &Session, entries: &[(u64, TokenId)]) -> Result<Page, Fault> {
    let last = entries.last().map_or(0, |(transaction, _)| *transaction);
    if entries.first().is_some_and(|(first, _)| *first == last) {
        let rows = session.client.query(&session.ask.feed_transaction, &[&number(last)]).await?;
        let ids = rows.iter().map(|row| row::id(row, 0)).collect::<Result<_, _>>()?;
        return Ok(Page { ids, next: last.saturating_add(1) });
    }
    let whole = entries.iter().filter(|(transaction, _)| *transaction < last);
    Ok(Page { ids: whole.map(|(_, id)| *id).collect(), next: last })
}

/// Where the feed is now.
struct Place {
    history: u64,
    horizon: u64,
}

impl Place {
    fn read(row: &Row) -> Result<Self, Fault> {
        let cluster: i64 = row.try_get(0)?;
        let wal_file: &str = row.try_get(1)?;
        let horizon: i64 = row.try_get(2)?;
        let timeline = wal_file.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let timeline = timeline.ok_or(Fault::Damaged("the name of a log file has no timeline"))?;
        Ok(Self {
            history: cluster.cast_unsigned().rotate_left(32) ^ timeline,
            horizon: u64::try_from(horizon).unwrap_or(0),
        })
    }

    fn cursor(&self) -> FeedCursor {
        FeedCursor { history: self.history, position: self.horizon, page: None }
    }
}

/// As the server counts.
fn number(unsigned: u64) -> i64 {
    i64::try_from(unsigned).unwrap_or(i64::MAX)
}
