//! The program's client, connected to the world: every request of the program goes through
//! here, and everything that can happen to a request, or between two of them, happens here.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use harbormaster::reservations::controller;
use http::{Request as HttpRequest, Response, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use jiff::SignedDuration;
use kube::client::Body;

use crate::{
    api_server::{Answer, NAMESPACE, Request},
    coverage::Fault,
    world::{Actor, World},
};

/// The world, and the replicas that live in it.
pub(crate) struct Shared {
    world: Mutex<World>,
    /// The replicas' controllers.
    pub(crate) leaders: OnceLock<[controller::Context; 2]>,
}

impl Shared {
    pub(crate) fn new(world: World) -> Arc<Self> {
        Arc::new(Self {
            world: Mutex::new(world),
            leaders: OnceLock::new(),
        })
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// One pass of one replica. Dying in the midst of it is an outcome like any other.
    pub(crate) fn pass<'a>(self: &'a Arc<Self>, leader: usize, name: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let Some(leaders) = self.leaders.get() else {
                return;
            };
            let (begun, requests, writes) = {
                let mut world = self.world();
                world.due.remove(name);
                world.dead[leader] = false;
                world.at_work[leader] = Some(name.to_owned());
                world.coverage.passes += 1;
                let now = world.now;
                world.pace.pass(now);
                (now, world.coverage.requests, world.coverage.writes)
            };
            let again = Box::pin(controller::pass(name, &leaders[leader])).await;
            let mut world = self.world();
            let world = &mut *world;
            if world.coverage.writes > writes {
                world.coverage.busy += world.coverage.requests - requests;
            }
            if again.is_ok() {
                world.looks.entry(name.to_owned()).or_default().push(begun);
            }
            let wait = match again {
                Ok(Some(wait)) => wait,
                Ok(None) => return,
                Err(error) => {
                    world.note(|| format!("replica {leader} failed over {name}: {error}"));
                    RETRY
                }
            };
            world.due.set_by(name, world.now + wait);
        }
        .boxed()
    }

    /// A replica is stopped in the midst of a pass over this Reservation, and goes on with what it
    /// has read long after the other one, and the operator, have done what there was to do: the
    /// host may be the next one's by then.
    async fn go_on_without(self: &Arc<Self>, leader: usize, name: &str, stopped: SignedDuration) {
        for _ in 0..STEPS {
            let mut names = vec![name.to_owned()];
            {
                let mut world = self.world();
                world.now += stopped / STEPS;
                let others = world.due.due(world.now).into_iter();
                let others = others.filter(|other| *other != name);
                names.extend(others.take(MOST_OTHERS).map(str::to_owned));
            }
            for name in names {
                // The status, and what follows from it.
                self.pass(leader, &name).await;
                self.pass(leader, &name).await;
            }
            let mut world = self.world();
            let machines = world.machines.due(world.now).into_iter();
            let machines: Vec<_> = machines.map(str::to_owned).collect();
            for machine in machines {
                world.operate(&machine);
            }
        }
    }

    /// What others do while a replica waits for an answer.
    async fn meanwhile(self: &Arc<Self>, actor: Actor) {
        let (host, machine, rival) = {
            let mut world = self.world();
            let often = if world.is_crowded { 400 } else { 60 };
            if world.depth > 0 || !world.goes_wrong(Fault::WriterBetween, often) {
                return;
            }
            let hosts = world.host_names();
            let machine = (!hosts.is_empty()).then(|| {
                let n = world.rng.usize(0..hosts.len());
                hosts[n].clone()
            });
            let count = world.due.len();
            let rival = match actor {
                Actor::Leader(leader) if world.are_two_leading && count > 0 => {
                    let n = world.rng.usize(0..count);
                    let name = world.due.nth(n).map(str::to_owned);
                    name.map(|name| (1 - leader, name))
                }
                _ => None,
            };
            let is_disturbed = world.others.bool();
            let host = machine.clone().filter(|_| is_disturbed);
            (host, machine, rival)
        };
        if let Some(host) = host {
            self.world().disturb(&host);
        }
        if let Some((leader, name)) = rival {
            self.world().depth += 1;
            let stalled = self.world().stalls(1 - leader);
            match stalled {
                Some((name, stopped)) => self.go_on_without(leader, &name, stopped).await,
                None => self.pass(leader, &name).await,
            }
            self.world().depth -= 1;
        }
        if let Some(name) = machine {
            self.world().operate(&name);
        }
    }
}

/// A client through which this actor's requests come.
pub(crate) fn client(shared: &Arc<Shared>, actor: Actor) -> kube::Client {
    // Not for ever: the controllers that hold it are held by the world.
    let shared = Arc::downgrade(shared);
    let service = tower::service_fn(move |request: HttpRequest<Body>| {
        let shared = shared.clone();
        async move {
            let shared = shared.upgrade().ok_or(Lost)?;
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
            let content_type = head.headers.get(CONTENT_TYPE);
            let content_type = content_type.and_then(|it| it.to_str().ok());
            let content_type = content_type.unwrap_or_default();
            let request = Request::read(&head.method, &head.uri, content_type, &body)
                .unwrap_or_else(|| unreachable!("{} {}", head.method, head.uri));
            shared.meanwhile(actor).await;
            let answer = answer(&mut shared.world(), actor, &request)?;
            let body = Body::from(Bytes::from(answer.body.to_string()));
            let answer = Response::builder().status(answer.code).body(body);
            Ok::<_, Lost>(answer.expect("a code and a body make an answer"))
        }
    });
    kube::Client::new(service, NAMESPACE)
}

fn answer(world: &mut World, actor: Actor, request: &Request) -> Result<Answer, Lost> {
    world.coverage.ask(request);
    if let Actor::Leader(leader) = actor {
        // The dead ask nothing: whatever the rest of the pass tries comes to nothing.
        if world.dead[leader] {
            return Err(Lost);
        }
        if request.verb.is_write() && world.goes_wrong(Fault::Crash, 20) {
            world.dead[leader] = true;
            return Err(Lost);
        }
    }
    if world.goes_wrong(Fault::ServerError, 10) {
        return Ok(Answer {
            code: 500,
            body: serde_json::json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "etcdserver: leader changed", "reason": "InternalError", "code": 500,
            }),
        });
    }
    let answer = world.request_of_ours(actor, request);
    if request.verb.is_write() && world.goes_wrong(Fault::AnswerLost, 20) {
        return Err(Lost);
    }
    Ok(answer)
}

/// No answer came.
#[derive(Debug)]
struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection was lost")
    }
}

impl std::error::Error for Lost {}

/// In how many parts a stop goes by.
const STEPS: i32 = 12;

/// How many others have their turn in each.
const MOST_OTHERS: usize = 3;

const RETRY: std::time::Duration = std::time::Duration::from_secs(5);
