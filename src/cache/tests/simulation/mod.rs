//! The protocol of deletions, played through with everything that can go wrong, thousands of times.
//!
//! Three gates made of the real caches, follower, keeper and decision share a store that is false
//! in every way a network can make it: questions and answers are lost, late, out of order; links are
//! cut; gates crash; clocks are set; another server takes over. Time is tokio's paused clock and
//! everything random comes from the seed, so a seed plays the same way every time.
//!
//! What must hold: no request is admitted by the gate that acknowledged a deletion once it has done
//! so, nor by any other later than the bound; no stream outlives it; and nothing acknowledged is
//! forgotten. A seed that fails is printed; `CKGATE_SIMULATION_SEED=n` plays it alone, and
//! `CKGATE_SIMULATION_SEEDS=n` plays so many.

mod gate;
mod journal;
mod random;
mod world;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use self::gate::{Gate, Ground, SetClock};
use self::journal::{Digest, Journal};
use self::world::World;
use crate::clock::monotonic;
use crate::policy::{AgentId, BoundHost, Grant, Permission, PolicyEntry, RouteTable};
use crate::token::{AccountName, KeyRing, MasterKey, Record, TokenDigits, TokenId, TokenLimits};

const STALENESS_MAX: Duration = Duration::from_secs(3);
const GATES: usize = 3;
/// How long things go wrong. Less than the life of an entry in the cache, whose clock is another.
const TROUBLE: Duration = Duration::from_secs(20);
/// How long everything has to come right again.
const PEACE: Duration = Duration::from_secs(10);
const SEEDS: u64 = 100;
const AGENT: &str = "agent-11111111-1111-4111-8111-111111111111";
const ORIGIN: &str = "https://app.test";

/// Something that is wrong on purpose: the simulation has to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutation {
    None,
    ForgetsDeletionsDuringLookups,
    TrustsStaleKnowledge,
    KeepsNoStreams,
    SkipsGaps,
    LosesTheLastDeletion,
}

/// A token, and what a client has of it.
struct Token {
    record: Record,
    bytes: TokenDigits,
    /// Whether somebody has asked for its deletion, whatever came of it.
    doomed: std::cell::Cell<bool>,
}

fn epoch() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

struct Simulation {
    world: std::sync::Arc<World>,
    journal: Rc<Journal>,
    keys: std::sync::Arc<KeyRing>,
    gates: RefCell<Vec<Rc<Gate>>>,
    tokens: RefCell<Vec<Rc<Token>>>,
    clocks: Vec<std::sync::Arc<SetClock>>,
}

impl Simulation {
    fn new(seed: u64, mutation: Mutation, routes: &Rc<RouteTable>) -> Rc<Self> {
        let world = World::new(seed, mutation);
        let journal = Rc::new(Journal::new(monotonic()));
        let master = MasterKey::parse(&"A".repeat(43)).unwrap();
        let keys = std::sync::Arc::new(KeyRing::new(&[(1, master)]).unwrap());
        let clocks: Vec<_> = (0..GATES).map(|_| SetClock::new()).collect();
        let gate = |(number, clock): (usize, &std::sync::Arc<SetClock>)| {
            Gate::start(Ground {
                number,
                link: world.link(),
                world: std::sync::Arc::clone(&world),
                journal: Rc::clone(&journal),
                keys: std::sync::Arc::clone(&keys),
                routes: Rc::clone(routes),
                clock: std::sync::Arc::clone(clock),
            })
        };
        let gates = RefCell::new(clocks.iter().enumerate().map(gate).collect());
        Rc::new(Self { world, journal, keys, gates, tokens: RefCell::default(), clocks })
    }

    fn gate(&self) -> Rc<Gate> {
        Rc::clone(self.world.random.one_of(&self.gates.borrow()))
    }

    fn token(&self) -> Option<Rc<Token>> {
        let tokens = self.tokens.borrow();
        (!tokens.is_empty()).then(|| Rc::clone(self.world.random.one_of(&tokens)))
    }

    fn new_token(&self) -> Rc<Token> {
        let random = &self.world.random;
        let lifetime = match random.below(4) {
            0 => SignedDuration::from_millis(i64::try_from(3000 + random.below(20_000)).unwrap()),
            _ => SignedDuration::from_hours(2),
        };
        let id = (u128::from(random.next()) << 64) | u128::from(random.next());
        let record = Record {
            id: TokenId::from_bytes(id.to_be_bytes()),
            key_id: 1,
            account: AccountName::parse("default").unwrap(),
            created_at: epoch(),
            hostname: ORIGIN.into(),
            grant: Grant {
                host: BoundHost::parse(ORIGIN).unwrap(),
                expires_at: epoch() + lifetime,
                entries: [PolicyEntry {
                    agent: AgentId::parse(AGENT).unwrap(),
                    access: [Permission::ReadMessages].into_iter().collect(),
                }]
                .into(),
            },
            limits: TokenLimits::NONE,
        };
        let text = self.keys.render(1, record.id, record.grant.expires_at).unwrap();
        let bytes = TokenDigits::of(text.expose().as_bytes()).unwrap();
        Rc::new(Token { record, bytes, doomed: false.into() })
    }

    /// Applications make tokens, and delete some of them.
    async fn applications(self: Rc<Self>) {
        loop {
            sleep(self.world.random.milliseconds(50, 700)).await;
            let simulation = Rc::clone(&self);
            let gate = self.gate();
            let deletes = self.world.random.chance(45);
            let task = async move {
                let gate = simulation.gate();
                if !deletes {
                    let token = simulation.new_token();
                    if gate.create(token.record.clone()).await {
                        simulation.tokens.borrow_mut().push(token);
                    }
                } else if let Some(token) = simulation.token() {
                    token.doomed.set(true);
                    gate.delete(&token).await;
                }
            };
            gate.spawn(task);
        }
    }

    /// End users use them, one more than another.
    async fn users(self: Rc<Self>) {
        loop {
            sleep(self.world.random.milliseconds(1, 60)).await;
            let Some(token) = self.token() else { continue };
            let gate = self.gate();
            for _ in 0..=self.world.random.below(3) {
                gate.spawn(Rc::clone(&gate).request(Rc::clone(&token)));
            }
        }
    }

    /// Everything goes wrong, one thing after another and several at a time.
    async fn trouble(self: Rc<Self>) {
        loop {
            sleep(self.world.random.milliseconds(100, 2500)).await;
            let lasts = self.world.random.milliseconds(10, 8000);
            let gate = self.gate();
            match self.world.random.below(10) {
                0..4 => {
                    gate.link.cut();
                    spawn_local(async move {
                        sleep(lasts).await;
                        gate.link.mend();
                    });
                }
                4 | 5 => self.outage(lasts, false),
                6 => self.outage(lasts, true),
                7 => {
                    let reborn = Gate::start(gate.crash());
                    let number = reborn.number;
                    self.gates.borrow_mut()[number] = reborn;
                }
                8 => {
                    let by = i64::try_from(self.world.random.below(120_000)).unwrap() - 60_000;
                    self.clocks[gate.number].step(SignedDuration::from_millis(by));
                }
                _ => {
                    self.world.slow_down(true);
                    let world = std::sync::Arc::clone(&self.world);
                    spawn_local(async move {
                        sleep(lasts).await;
                        world.slow_down(false);
                    });
                }
            }
        }
    }

    fn outage(&self, lasts: Duration, fails_over: bool) {
        self.world.stop();
        let world = std::sync::Arc::clone(&self.world);
        spawn_local(async move {
            sleep(lasts).await;
            if fails_over {
                world.fail_over();
            }
            world.start();
        });
    }

    /// Nothing that was acknowledged has been forgotten.
    async fn check_what_is_left(&self) {
        let gates = self.gates.borrow().clone();
        let tokens = self.tokens.borrow().clone();
        for token in &tokens {
            for gate in &gates {
                let id = token.record.id;
                let admitted = loop {
                    // A message may still be lost now and then.
                    if let Ok(admitted) = gate.judge(token).await {
                        break admitted.is_some();
                    }
                };
                let lives = token.record.grant.expires_at > epoch() + SignedDuration::from_hours(1);
                if self.journal.is_deleted(id) && admitted {
                    self.journal.violated(format!(
                        "gate {} has forgotten that {id} was deleted",
                        gate.number
                    ));
                }
                if !token.doomed.get() && lives && !admitted {
                    self.journal.violated(format!("gate {} has forgotten {id}", gate.number));
                }
            }
        }
    }
}

/// Plays one seed.
fn play(seed: u64, mutation: Mutation, routes: &Rc<RouteTable>) -> Result<Digest, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let routes = Rc::clone(routes);
    LocalSet::new().block_on(&runtime, async move {
        let simulation = Simulation::new(seed, mutation, &routes);
        let tasks = [
            spawn_local(Rc::clone(&simulation).applications()),
            spawn_local(Rc::clone(&simulation).users()),
            spawn_local(Rc::clone(&simulation).trouble()),
        ];
        sleep(TROUBLE).await;
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        // What is still broken mends itself within the longest of its times.
        sleep(PEACE).await;
        simulation.check_what_is_left().await;
        simulation.journal.verdict()
    })
}

/// Plays these seeds; the first that breaks the promise ends the test.
fn play_all(seeds: &[u64]) -> Digest {
    let routes = built_in();
    let mut total = Digest::default();
    for seed in seeds {
        total.add(play(*seed, Mutation::None, &routes).unwrap_or_else(|violation| {
            panic!("seed {seed}: {violation}; CKGATE_SIMULATION_SEED={seed} plays it again")
        }));
    }
    total
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn built_in() -> Rc<RouteTable> {
    Rc::new(RouteTable::built_in().unwrap())
}

/// C-14.
#[test]
fn no_seed_breaks_the_promise() {
    let seeds = match number("CKGATE_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CKGATE_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let seeds: Vec<u64> = seeds.collect();
    let mut total = Digest::default();
    std::thread::scope(|scope| {
        let parts = seeds.chunks(seeds.len().div_ceil(threads));
        let playing: Vec<_> = parts.map(|part| scope.spawn(move || play_all(part))).collect();
        for part in playing {
            total.add(part.join().unwrap());
        }
    });
    println!("{total:?}");
    // A world in which nothing happens would keep every promise.
    let happened = [total.admitted, total.refused, total.unavailable, total.deleted];
    assert!(happened.iter().all(|count| *count > 0) && total.streams_cut > 0, "{total:?}");
}

#[test]
fn seed_plays_the_same_way_every_time() {
    let routes = built_in();
    for seed in [1, 2, 3] {
        assert_eq!(play(seed, Mutation::None, &routes), play(seed, Mutation::None, &routes));
    }
    assert_ne!(play(1, Mutation::None, &routes), play(2, Mutation::None, &routes));
}

/// A simulation that cannot fail shows nothing.
#[test]
fn each_mistake_is_noticed() {
    let routes = built_in();
    for mutation in [
        Mutation::ForgetsDeletionsDuringLookups,
        Mutation::TrustsStaleKnowledge,
        Mutation::KeepsNoStreams,
        Mutation::SkipsGaps,
        Mutation::LosesTheLastDeletion,
    ] {
        let noticed = (0..1000).find_map(|seed| play(seed, mutation, &routes).err());
        println!("{mutation:?}: {noticed:?}");
        assert!(noticed.is_some(), "{mutation:?} is not noticed in 1000 seeds");
    }
}
