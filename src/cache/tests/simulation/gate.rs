//! A gate: the real caches, follower, keeper and decision, on a clock that somebody sets.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use super::journal::Journal;
use super::world::{Link, QUERY_TIMEOUT, World};
use super::{AGENT, Mutation, ORIGIN, STALENESS_MAX, Token, epoch};
use crate::cache::tests::no_limits;
use crate::cache::{
    CacheSettings, Cut, Follower, Found, Front, NewStream, NotKnown, OpenStreams, Rates, Records,
    Sources, StreamKeeper,
};
use crate::clock::{Clock, monotonic};
use crate::policy::{
    Asked, Authority, Bounds, CanonicalPath, OriginHeader, Query, RouteTable, Rules, WebOrigin,
    Whence, WithoutOrigin, decide,
};
use crate::store::{DeleteOutcome, Deletion};
use crate::telemetry::Metrics;
use crate::token::{KeyRing, Record, TokenId};

/// A wall clock that runs with the simulation's time and is set now and then.
pub(super) struct SetClock {
    start: Instant,
    offset_ms: AtomicI64,
}

/// One gate between two crashes.
pub(super) struct Gate {
    pub(super) number: usize,
    pub(super) link: Arc<Link>,
    world: Arc<World>,
    journal: Rc<Journal>,
    records: Arc<Records<Link>>,
    streams: Arc<OpenStreams>,
    keys: Arc<KeyRing>,
    routes: Rc<RouteTable>,
    rates: Rates,
    metrics: Arc<Metrics>,
    cores: [RefCell<Front>; 2],
    clock: Arc<SetClock>,
    tasks: RefCell<Vec<JoinHandle<()>>>,
    crashed: Cell<bool>,
    /// What a gate would remember that forgot about deletions during a look-up.
    naive: RefCell<HashMap<TokenId, Rc<Record>>>,
}

/// What outlives a gate's crash.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) number: usize,
    pub(super) link: Arc<Link>,
    pub(super) world: Arc<World>,
    pub(super) journal: Rc<Journal>,
    pub(super) keys: Arc<KeyRing>,
    pub(super) routes: Rc<RouteTable>,
    pub(super) clock: Arc<SetClock>,
}

impl SetClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { start: monotonic(), offset_ms: AtomicI64::new(0) })
    }

    pub(super) fn step(&self, by: SignedDuration) {
        self.offset_ms.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(monotonic() - self.start).unwrap();
        epoch() + passed + SignedDuration::from_millis(self.offset_ms.load(Ordering::SeqCst))
    }
}

impl Gate {
    pub(super) fn start(ground: Ground) -> Rc<Self> {
        let settings = CacheSettings {
            entries_max: 1000,
            // Longer than a world: the shared cache goes by real time, of which hardly any passes.
            lifetime_max: Duration::from_mins(1),
            staleness_max: STALENESS_MAX,
            lookup_timeout: QUERY_TIMEOUT,
            cores: 2,
        };
        let Ground { number, link, world, journal, keys, routes, clock } = ground;
        let metrics = Arc::<Metrics>::default();
        let wall: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let records = Records::new(Arc::clone(&link), wall, settings, Arc::clone(&metrics));
        let gate = Rc::new(Self {
            cores: [records.front(), records.front()].map(RefCell::new),
            number,
            link,
            world,
            journal,
            records: Arc::new(records),
            streams: Arc::new(OpenStreams::new()),
            keys,
            routes,
            rates: Rates::new(no_limits(), HashMap::new(), 1000),
            metrics,
            clock,
            tasks: RefCell::default(),
            crashed: Cell::new(false),
            naive: RefCell::default(),
        });
        gate.run();
        gate
    }

    fn run(self: &Rc<Self>) {
        let mut follower = Follower::new(Arc::clone(&self.records), Arc::clone(&self.streams));
        let mut tasks = vec![spawn_local(async move {
            loop {
                let _ = follower.catch_up().await;
                follower.wait().await;
            }
        })];
        if self.world.mutation != Mutation::KeepsNoStreams {
            let mut keeper =
                StreamKeeper::new(Arc::clone(&self.records), Arc::clone(&self.streams));
            tasks.push(spawn_local(async move {
                loop {
                    keeper.look();
                    sleep(StreamKeeper::<Link>::INTERVAL).await;
                }
            }));
        }
        if self.world.mutation == Mutation::TrustsStaleKnowledge {
            let records = Arc::clone(&self.records);
            tasks.push(spawn_local(async move {
                loop {
                    records.freshness().confirm(monotonic());
                    sleep(Duration::from_millis(100)).await;
                }
            }));
        }
        self.tasks.borrow_mut().extend(tasks);
    }

    /// Everything it knew is gone, and everything it was doing.
    pub(super) fn crash(&self) -> Ground {
        self.crashed.set(true);
        self.tasks.borrow_mut().drain(..).for_each(|task| task.abort());
        self.streams.cut_all(Cut::Shutdown);
        Ground {
            number: self.number,
            link: Arc::clone(&self.link),
            world: Arc::clone(&self.world),
            journal: Rc::clone(&self.journal),
            keys: Arc::clone(&self.keys),
            routes: Rc::clone(&self.routes),
            clock: Arc::clone(&self.clock),
        }
    }

    /// A task that ends with the gate.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.tasks.borrow_mut().push(spawn_local(task));
    }

    pub(super) async fn create(&self, record: Record) -> bool {
        use crate::store::TokenStore as _;
        self.records.store().create(record).await.is_ok()
    }

    /// As the token API does it.
    pub(super) async fn delete(&self, token: &Token) {
        let deletion = Deletion {
            account: token.record.account.clone(),
            id: token.record.id,
            expires_at: token.record.grant.expires_at,
            now: self.clock.now(),
        };
        let outcome = self.records.delete(deletion).await;
        // Carried out, perhaps; but whoever has crashed meanwhile answers nobody.
        if self.crashed.get() {
            return;
        }
        if let Ok(DeleteOutcome::Deleted | DeleteOutcome::AlreadyGone) = outcome {
            self.streams.cut(token.record.id, Cut::TokenRevoked);
            self.naive.borrow_mut().remove(&token.record.id);
            self.journal.acknowledged(token.record.id, self.number, monotonic());
        }
    }

    /// One request from its head to its decision, and perhaps a stream.
    pub(super) async fn request(self: Rc<Self>, token: Rc<Token>) {
        let begun = monotonic();
        match self.judge(&token).await {
            Ok(Some(until)) => {
                self.journal.admitted(token.record.id, self.number, begun, monotonic());
                if self.world.random.chance(20) {
                    self.stream(&token, until).await;
                }
            }
            Ok(None) => self.journal.refused(monotonic()),
            Err(()) => self.journal.unavailable(monotonic()),
        }
    }

    /// Whether a request is admitted, and until when that may be believed; an error where that
    /// cannot be known.
    pub(super) async fn judge(&self, token: &Token) -> Result<Option<Instant>, ()> {
        let Some((record, found)) = self.find(token).await? else { return Ok(None) };
        let method = Method::GET;
        let path = format!("/v1/agents/{AGENT}/messages");
        let asked = Asked {
            method: &method,
            path: CanonicalPath::parse(&path).unwrap(),
            query: Query::parse(None).unwrap(),
            whence: Whence {
                origin: OriginHeader::Web(WebOrigin::parse(ORIGIN.as_bytes()).unwrap()),
                host: Authority::parse(b"gate.test").unwrap(),
                from_browser: true,
            },
        };
        let rules = Rules {
            routes: &self.routes,
            without_origin: WithoutOrigin::Refuse,
            bounds: Bounds::default(),
        };
        if decide(rules, &record.grant, &asked, self.clock.now()).is_err() {
            return Ok(None);
        }
        if self.world.random.chance(10) {
            // A body that takes its time.
            sleep(self.world.random.milliseconds(1, 20_000)).await;
            return self.records.still_exists(record.id, found).await.map_err(|_| ());
        }
        Ok(Some(found.until))
    }

    async fn find(&self, token: &Token) -> Result<Option<(Record, Found)>, ()> {
        if self.world.mutation == Mutation::ForgetsDeletionsDuringLookups {
            let found = self.find_naively(token).await?;
            let generation = self.records.generation();
            let (since, until) = (monotonic(), monotonic());
            return Ok(found.map(|record| (record, Found { since, until, generation })));
        }
        let sources = Sources {
            front: self.world.random.one_of(&self.cores),
            keys: &self.keys,
            records: &self.records,
            rates: &self.rates,
            metrics: &self.metrics,
        };
        match sources.find(&token.bytes, self.clock.now()).await {
            Ok(known) => Ok(Some((Record::clone(&known.record), known.found))),
            Err(NotKnown::Gone | NotKnown::Text(_)) => Ok(None),
            Err(NotKnown::Unavailable(_)) => Err(()),
        }
    }

    /// What a cache does that is emptied at a deletion, and nothing else.
    async fn find_naively(&self, token: &Token) -> Result<Option<Record>, ()> {
        use crate::store::TokenStore as _;
        let id = token.record.id;
        let cached = self.naive.borrow().get(&id).cloned();
        if let Some(record) = cached {
            return Ok(Some(Record::clone(&record)));
        }
        let found = self.link.get(id).await.map_err(|_| ())?;
        if let Some(record) = &found {
            self.naive.borrow_mut().insert(id, Rc::new(record.clone()));
        }
        Ok(found)
    }

    async fn stream(&self, token: &Token, until: Instant) {
        let id = token.record.id;
        let new = NewStream { token: id, until, streams_max: 100 };
        let Ok((_lease, mut told)) = self.streams.open(new) else { return };
        // As the data path does it: a deletion just before found no place to be told to.
        if self.records.deleted().contains(id) {
            return;
        }
        let lasts = self.world.random.milliseconds(10, 9000);
        if tokio::time::timeout(lasts, &mut told).await.is_ok() {
            self.journal.stream_cut(monotonic());
        }
        self.journal.streamed_until(id, self.number, monotonic());
    }
}
