//! The wiring, last of all: builds the parts, runs them, and takes them down in order.
//!
//! Each task is joined; one that ends before its time ends the program, since half a
//! Harbormaster (hooks without a controller, a door without a recorder) looks healthy and
//! isn't.

mod api_server;
mod identity;
mod readiness;
mod registration;
mod stop;

use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use axum::Router;
use futures::{
    FutureExt,
    future::{BoxFuture, OptionFuture},
};
use k8s_openapi::api::{authentication::v1::SelfSubjectReview, core::v1::Namespace};
use kube::{Api, CustomResourceExt};
use kube_webhook::{Metrics, Server, TlsIdentity, certs::ClientCas};
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};

pub(crate) use self::api_server::client;
use self::{
    api_server::{account_namespace, cluster_uid, introduce},
    identity::{client_cas, events_identity, identity},
    readiness::{caches, senders, trust},
    registration::{installation, roots, server_name},
    stop::Stop,
};
use crate::{
    admin::{self, Admin},
    api::v1::Reservation,
    callbacks::{Callbacks, Portal},
    certificates::{self, Places, Rotator, SelfManaged, Trusted},
    clock::Clock,
    config::{Config, TlsMode},
    events::{
        intake::{Door, routes},
        metrics::EventMetrics,
        record::Recorder,
        secrets::SecretsDir,
        signature::Secrets,
        spool::{Spool, Writer},
    },
    manifests::service_names,
    registration::Registrar,
    reservations::{
        caches::{Caches, Feeds},
        controller,
        election::{Election, LEASE},
        lookup,
        metrics::ControllerMetrics,
        user_data::Template,
    },
    webhooks::{
        self, OwnUser, authorizer::Authorizer, break_glass::BreakGlass, host_guard::HostGuard,
        reservation_guard::ReservationGuard,
    },
};

/// The program, bound to its ports and ready to run.
#[derive(Debug)]
pub struct App {
    tls: Server,
    identity: TlsIdentity,
    events_identity: Option<TlsIdentity>,
    client_cas: Option<ClientCas>,
    secrets: Secrets,
    secrets_dir: Option<SecretsDir>,
    admin: TcpListener,
    registry: Registry,
    pages: Router,
    events: Option<Server>,
    controller: controller::Context,
    callbacks: Callbacks,
    election: Election,
    namespaces: Api<Namespace>,
    self_reviews: Api<SelfSubjectReview>,
    own_user: OwnUser,
    recorder: Recorder,
    spool: Option<(Spool, Writer)>,
    feeds: Feeds,
    places: Places,
    rotator: Option<Rotator>,
    registrar: Option<Registrar>,
    certificates: certificates::Secrets,
    caches: Caches,
    drain_delay: Duration,
}

/// The addresses that are listened on.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// TLS: events and hooks.
    pub tls: SocketAddr,
    /// Plain: probes.
    pub admin: SocketAddr,
    /// Plain: events.
    pub events: Option<SocketAddr>,
}

impl App {
    /// Binds the ports. Asks the API server nothing: events are taken while it is away.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let client = client(config.kubeconfig.as_ref()).await?;
        let own_user = OwnUser::default();
        if config.has_placeholder_image() {
            warn!("PROVISION_IMAGE is not set: the placeholder will be refused by the operator");
        }
        let secrets_dir = match config.secrets_dir {
            Some(folder) => Some(SecretsDir::open(folder).await),
            None => None,
        };
        let secrets = match &secrets_dir {
            Some(folder) => config.secrets.and_folder(folder),
            None => config.secrets,
        };
        if secrets.is_unsigned_mode() {
            warn!("WEBHOOK_SECRET is not set: anybody who reaches /webhook can book a host");
        }

        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let (caches, feeds) = Caches::new(client.clone(), &config.namespace, &config.hosts);
        let (known, looked_at) = (caches.clone(), caches.clone());
        let controller_metrics = ControllerMetrics::register(&mut registry, caches.clone());
        let glass = BreakGlass::new(Authorizer::new(client.clone()));
        let clock = Clock::system();
        let pages = admin::calendar::routes(caches.clone(), clock.clone(), config.show_users);
        let guard = HostGuard::new(own_user.clone(), config.operator_users.clone()).knowing(
            caches.clone(),
            glass,
            clock.clone(),
        );
        let event_metrics = EventMetrics::register(&mut registry);
        event_metrics.unsigned_mode(secrets.is_unsigned_mode());
        let reservation_guard = ReservationGuard::new(
            own_user.clone(),
            &config.event_provider,
            Authorizer::new(client.clone()),
            caches,
            clock.clone(),
        );
        let registered =
            webhooks::register(&config.hosts, guard, reservation_guard, metrics.clone())?;
        let reservations: Api<Reservation> = Api::namespaced(client.clone(), &config.namespace);
        let portal = Portal::new(config.callbacks, secrets.clone())?;
        let callbacks = Callbacks::new(client.clone(), &config.namespace, portal, clock.clone());
        let mut recorder = Recorder::new(reservations, config.event_provider)
            .asking(move |resource| lookup::holder(resource, &known.hosts()));
        let spool = spool(config.spool_dir, config.spool_limit).await;
        if let Some((spool, _)) = &spool {
            registry.register_collector(Box::new(spool.clone()));
            recorder = recorder.spooling(spool.clone());
        }
        let door = Door {
            secrets: secrets.clone(),
            filters: config.filters,
            recorder: recorder.clone(),
            metrics: event_metrics,
            clock: clock.clone(),
        };
        let client_cas = client_cas(config.client_ca).await?;
        let hooks = match &client_cas {
            Some(cas) => registered.router_for(cas),
            None => registered.router(),
        };
        let router = routes(door.clone())
            .merge(hooks)
            .fallback(kube_webhook::not_found);

        let own_namespace = config.pod_namespace.or_else(account_namespace);
        let own_namespace = own_namespace.as_ref().unwrap_or(&config.namespace);
        let certificates = certificates::Secrets::new(&client, own_namespace);
        let places = Places::new(&client, &registered, &[Reservation::crd_name()]);
        let called = config
            .registration
            .as_ref()
            .map(|registration| server_name(registration, own_namespace));
        let rotator = match &config.tls {
            TlsMode::SelfManaged { names, timing } => {
                let service = service_names(own_namespace);
                let settings = SelfManaged {
                    names: names
                        .iter()
                        .chain(&service)
                        .chain(&called)
                        .cloned()
                        .collect(),
                    timing: *timing,
                };
                Some(Rotator::new(places.clone(), certificates.clone(), settings))
            }
            TlsMode::Files { .. } | TlsMode::Ephemeral { .. } => None,
        };
        let (identity, made_up) = identity(&config.tls, called.as_ref()).await?;
        let registrar = config
            .registration
            .zip(called)
            .map(|(this, server_name)| Registrar {
                client: client.clone(),
                installation: installation(&this, own_namespace, &config.namespace, &config.hosts),
                server_name,
                operator_users: config.operator_users.clone(),
                own_user: own_user.clone(),
                roots: roots(&this, &config.tls, made_up, &certificates),
                caches: looked_at.clone(),
                places: places.clone(),
            });
        let tls = Server::bind(config.tls_address, identity.clone(), router)
            .with_context(|| format!("PORT: can't listen on {}", config.tls_address))?
            .metrics(metrics)
            .parting(config.drain_delay);
        let events_identity = match config.events_tls {
            Some(files) => Some(events_identity(&files).await?),
            None => None,
        };
        let tls = match &events_identity {
            Some(identity) => tls.presenting_also(identity.clone()),
            None => tls,
        };
        let tls = match &client_cas {
            Some(_) => tls.asking_for_client_certificates(),
            None => tls,
        };
        let admin = TcpListener::bind(config.admin_address)
            .with_context(|| format!("ADMIN_PORT: can't listen on {}", config.admin_address))?;
        let events = match config.events_address {
            Some(address) => Some(
                Server::bind_plain(address, routes(door))
                    .with_context(|| format!("EVENTS_HTTP_PORT: can't listen on {address}"))?
                    .parting(config.drain_delay),
            ),
            None => None,
        };
        let leases = Api::namespaced(client.clone(), own_namespace);
        let election = Election::new(leases, LEASE, identity_of_replica());
        let template = config.user_data_template.map(Template::new);
        if let Some(template) = &template
            && let Err(error) = template.try_out().await
        {
            warn!("USER_DATA_TEMPLATE makes no user data, so no host is imaged: {error}");
        }
        let controller = controller::Context::new(
            client.clone(),
            &config.namespace,
            config.hosts,
            config.policy,
            clock,
        )
        .counting(controller_metrics)
        .templated(template);
        Ok(Self {
            tls,
            identity,
            events_identity,
            client_cas,
            secrets,
            secrets_dir,
            admin,
            registry,
            pages,
            events,
            controller,
            callbacks,
            election,
            namespaces: Api::all(client.clone()),
            self_reviews: Api::all(client),
            own_user,
            recorder,
            spool,
            feeds,
            places,
            rotator,
            registrar,
            certificates,
            caches: looked_at,
            drain_delay: config.drain_delay,
        })
    }

    /// The addresses that are listened on, with the ports that 0 became.
    ///
    /// # Errors
    ///
    /// If the system doesn't know them.
    pub fn addresses(&self) -> anyhow::Result<Addresses> {
        Ok(Addresses {
            tls: self.tls.local_addr(),
            admin: self.admin.local_addr()?,
            events: self.events.as_ref().map(Server::local_addr),
        })
    }

    /// Runs until `shutdown`, then lets what is under way finish.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let addresses = self.addresses()?;
        info!(tls = %addresses.tls, admin = %addresses.admin, "listening");
        if let Some(events) = addresses.events {
            info!(%events, "listening for events over plain HTTP");
        }

        let stop = Stop::new();
        let trusted = Trusted::default();
        let checks = vec![
            senders(self.secrets),
            trust(trusted.clone()),
            caches(self.caches),
        ];
        let admin = Admin::serve(self.admin, self.registry, checks, self.pages, stop.is_on())?;
        let mut tasks = JoinSet::new();
        let servers = [Some(self.tls), self.events];
        for server in servers.into_iter().flatten() {
            let stopped = stop.wait();
            tasks.spawn(async move {
                let served = server.serve(stopped).await;
                served.context("a listener failed")
            });
        }
        if self.rotator.is_some() {
            let follow =
                certificates::follow(self.certificates, self.identity.clone(), stop.wait());
            tasks.spawn(follow.map(Ok));
        }
        let (identity, places) = (self.identity.clone(), self.places.clone());
        let watch = trusted.watch(places, identity, addresses.tls, stop.wait());
        tasks.spawn(watch.map(Ok));
        let renewed = certificates::take_up(self.identity, self.places, stop.wait());
        tasks.spawn(renewed.map(Ok));
        // Other callers' trust is nothing that could be asked about.
        if let Some(identity) = self.events_identity {
            tasks.spawn(identity.watch(stop.wait()).map(Ok));
        }
        if let Some(cas) = self.client_cas {
            tasks.spawn(cas.watch(stop.wait()).map(Ok));
        }
        if let Some(secrets) = self.secrets_dir {
            let stopped = stop.wait();
            tasks.spawn(async move {
                secrets.watch(stopped).await;
                Ok(())
            });
        }
        let (namespaces, recorder, stopped) = (self.namespaces, self.recorder, stop.wait());
        tasks.spawn(async move {
            recorder.drain(|| cluster_uid(&namespaces), stopped).await;
            Ok(())
        });
        let (self_reviews, own_user) = (self.self_reviews, self.own_user);
        tasks.spawn(self.feeds.run(Clock::system(), stop.wait()).map(Ok));
        let (election, controller, callbacks) = (self.election, self.controller, self.callbacks);
        let (rotator, registrar) = (self.rotator, self.registrar);
        let work = move |end: BoxFuture<'static, ()>| {
            let end = end.shared();
            let controller = controller::run(controller.clone(), end.clone().boxed()).boxed();
            let callbacks = callbacks.clone().run(end.clone().boxed()).boxed();
            let rotates = rotator
                .clone()
                .map(|rotator| rotator.run(end.clone().boxed()).boxed());
            let registers = registrar
                .clone()
                .map(|registrar| registrar.run(addresses.tls, end.clone().boxed()).boxed());
            async move {
                let all = async {
                    tokio::join!(
                        controller,
                        callbacks,
                        OptionFuture::from(rotates),
                        OptionFuture::from(registers),
                    );
                };
                // A controller that has never read anything waits to, whether its term is over or not
                // (kube-runtime's `Runner`); and who comes next must not wait for us.
                tokio::select! {
                    () = all => {}
                    () = end.then(|()| tokio::time::sleep(UNDER_WAY)) => {
                        debug!("the term is over, and what was under way is given up");
                    }
                }
            }
            .boxed()
        };
        let (stopped, ending) = (stop.wait(), stop.wait());
        tasks.spawn(async move {
            tokio::select! {
                () = introduce(&self_reviews, &own_user) => {}
                () = stopped => return Ok(()),
            }
            election.run(ending, work).await;
            Ok(())
        });

        tokio::select! {
            () = shutdown => info!("shutting down"),
            ended = tasks.join_next() => {
                ended.context("no task was running")??.context("a task failed")?;
                bail!("a task ended before its time");
            }
        }
        // Unready at once; the listeners part with their callers, and the probes go last.
        stop.now();
        // The spool's turn must come within the grace of the pod's end.
        stop::until_ended(&mut tasks, self.drain_delay + DRAIN).await?;
        admin.end().await?;
        if let Some((spool, writer)) = self.spool {
            spool.close().await;
            tokio::task::spawn_blocking(|| writer.join()).await?;
        }
        info!("done");
        Ok(())
    }
}

/// A pod's host name is the pod's name; the rest tells two runs of one from each other, so
/// that a container that comes back doesn't take its predecessor's term for its own.
fn identity_of_replica() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "harbormaster".to_owned());
    let started = jiff::Timestamp::now().as_millisecond();
    format!("{host}_{}_{started}", std::process::id())
}

/// A replica without a spool still takes events, as long as the API server does.
async fn spool(folder: PathBuf, limit: u64) -> Option<(Spool, Writer)> {
    let place = folder.clone();
    let opened = tokio::task::spawn_blocking(move || Spool::open(&folder, limit)).await;
    match opened {
        Ok(Ok((spool, writer))) => {
            let waiting = spool.counts().waiting;
            info!(waiting, folder = %place.display(), "the spool is open");
            Some((spool, writer))
        }
        Ok(Err(error)) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            error!(
                cause,
                "no spool, so that events are refused while the API server is away; SPOOL_DIR \
                 must be a folder that can be written: {error}"
            );
            None
        }
        Err(error) => {
            error!("no spool: {error}");
            None
        }
    }
}

/// What is under way at the end of a term has this long: a call to the API server, by its deadline.
const UNDER_WAY: Duration = Duration::from_secs(13);

/// A second more than the listeners' own drain lasts.
const DRAIN: Duration = Duration::from_secs(46);
