//! How load shedding is set up.

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::HeaderName;
use steadfast_core::{
    ConfigError, Priority, ShedMode, ShedSettings,
    limit::Limit,
    plumbing::{LagMode, QueueSettings as Queue, RouteClass, RouteTable},
};

use crate::request::{
    class::{Classes, HeadView, Rules},
    deadlines::Deadlines,
    tenant::TenantKey,
};

/// The limit that observe mode compares with when nobody chose one: high enough that only
/// a service in trouble reaches it, low enough that one in trouble does.
pub const OBSERVED_LIMIT_DEFAULT: u32 = 512;

/// The settings of load shedding.
#[derive(Clone, Debug)]
#[must_use]
pub struct Shed {
    pub(super) settings: ShedSettings,
    routes: Vec<(String, RouteClass)>,
    rules: Rules,
    pub(crate) deadlines: Deadlines,
    pub(super) tenants: Option<TenantKey>,
}

impl Default for Shed {
    /// Observes against [`OBSERVED_LIMIT_DEFAULT`] and refuses nothing.
    fn default() -> Self {
        Self::fixed(OBSERVED_LIMIT_DEFAULT).observe()
    }
}

impl Shed {
    /// At most `limit` requests run at once; the rest are refused at once, unless
    /// [`Shed::queue`] lets some of them wait.
    /// Allowed is 1 to 1,000,000.
    pub const fn fixed(limit: u32) -> Self {
        Self::with(ShedSettings::fixed(limit))
    }

    /// Finds by itself how many may run: it stays out of the way until requests are seen to
    /// queue, then holds the limit at which they stop to, and experiments to keep it right.
    /// See [`crate::limit::Adaptive`] for the rule and what is known of it.
    ///
    /// There is nothing to tune; what can be said is who goes first while the limit is met:
    ///
    /// ```
    /// use steadfast::{Guard, RouteClass, Shed};
    ///
    /// let shed = Shed::adaptive()
    ///     // A checkout goes before what else customers want, and that before reports.
    ///     .route("/checkout", RouteClass::critical())
    ///     .route("/reports/*", RouteClass::background())
    ///     // Of each tenant no more than a fair share, while there is not enough for all.
    ///     .tenant_header(http::HeaderName::from_static("x-tenant"));
    /// # let guard =
    /// Guard::builder().shed(shed).build()?;
    /// # Ok::<_, steadfast::ConfigError>(())
    /// ```
    ///
    /// To look first at what it would refuse, add [`Shed::observe`].
    pub fn adaptive() -> Self {
        Self::with(ShedSettings::adaptive())
    }

    /// Lets an algorithm of your own decide; it is made with a random seed. `name` is shown
    /// to operators.
    pub fn algorithm(
        name: &'static str,
        make: impl Fn(u64) -> Box<dyn Limit> + Send + Sync + 'static,
    ) -> Self {
        Self::with(ShedSettings::algorithm(name, make))
    }

    /// Says whether requests that spend most of their time with different dependencies get limits
    /// of their own; `false` keeps one limit for all. Default `true` with [`Shed::adaptive`],
    /// `false` with [`Shed::algorithm`]; a fixed limit is one for all in any case. In a file
    /// `shed.by_backend`.
    ///
    /// What a request spends its time with is seen by the guards of pools and by
    /// [`Dependency::call`](crate::Dependency::call) and its like, of a sample; until two
    /// backends were told apart by it, and with one backend for good, there is one limit.
    pub fn by_backend(mut self, by_backend: bool) -> Self {
        self.settings = self.settings.by_backend(by_backend);
        self
    }

    const fn with(settings: ShedSettings) -> Self {
        Self {
            settings,
            routes: Vec::new(),
            rules: Rules {
                priority: None,
                exempt: None,
            },
            deadlines: Deadlines::known(),
            tenants: None,
        }
    }

    /// Refuses nothing and counts what would have been refused. An algorithm that
    /// experiments learns little while its cap is not enforced: observing suits a fixed
    /// limit, or the question what an adaptive one would begin with.
    pub fn observe(mut self) -> Self {
        self.settings = self.settings.mode(ShedMode::Observe);
        self
    }

    /// Says which class the requests of a path belong to: `/pay`, `/orders/{id}`,
    /// `/reports/*`. The more literal pattern decides, whatever the order; at most 128.
    ///
    /// ```
    /// use steadfast::{RouteClass, Shed};
    ///
    /// let shed = Shed::adaptive()
    ///     .route("/pay/{id}", RouteClass::critical())
    ///     .route("/reports/*", RouteClass::background());
    /// ```
    pub fn route(mut self, pattern: impl Into<String>, class: RouteClass) -> Self {
        self.routes.push((pattern.into(), class));
        self
    }

    /// Says who goes first, from the head of the request: a [`Priority`],
    /// or `None` to leave it to the table of paths. It runs for each request, so it must be
    /// quick and must not panic.
    ///
    /// ```
    /// use steadfast::{Priority, Shed};
    ///
    /// let shed = Shed::adaptive().priority(|head| {
    ///     head.headers().contains_key("x-crawler").then_some(Priority::Background)
    /// });
    /// ```
    ///
    /// Whatever a client may send, a client may lie about: let a header raise a priority
    /// only if your own proxy sets it.
    pub fn priority<P: Into<Option<Priority>>>(
        mut self,
        rule: impl Fn(HeadView<'_>) -> P + Send + Sync + 'static,
    ) -> Self {
        self.rules.priority = Some(Arc::new(move |head: HeadView<'_>| rule(head).into()));
        self
    }

    /// Lets requests pass every rule about load, uncounted. CORS preflights do so anyway,
    /// and so do the guard's own paths.
    pub fn exempt(mut self, rule: impl Fn(HeadView<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.rules.exempt = Some(Arc::new(rule));
        self
    }

    /// Says whose a request is, by the value of a header: a customer, a key, a team. While the
    /// limit is met, a tenant that asks for more than a fair share of it is refused with the
    /// rule `tenant-share` before others are refused at all: what nobody else asks for is
    /// shared out evenly among those who ask for more. Nobody is refused by it while the limit
    /// is not met; a tenant that is alone may have everything; critical requests are never
    /// refused by it. Requests without the header belong to one tenant. The diagnosis says if
    /// one grew. Without this line there are no tenants.
    ///
    /// Sixteen characters of a value are kept for people, eight of a longer one; of
    /// `authorization` and `cookie` nothing is.
    ///
    /// ```
    /// use steadfast::Shed;
    ///
    /// let shed = Shed::adaptive().tenant_header(http::HeaderName::from_static("x-tenant"));
    /// ```
    ///
    /// Whatever a client may send, a client may lie about: a header that strangers can set
    /// makes as many tenants as they like. Name one that your own proxy sets, or use
    /// [`Shed::tenant`] with what a layer outside has proved.
    pub fn tenant_header(mut self, name: HeaderName) -> Self {
        self.set_tenants(TenantKey::Header(name));
        self
    }

    /// The same by a rule over the head; `None` stands for those without a key. It runs for one
    /// request in sixteen, and for each while the limit is met, so it must be quick and must
    /// not panic.
    ///
    /// ```
    /// use std::borrow::Cow;
    /// use steadfast::Shed;
    ///
    /// #[derive(Clone)]
    /// struct Customer(String);
    ///
    /// let shed = Shed::adaptive().tenant(|head| {
    ///     let customer = head.extensions().get::<Customer>()?;
    ///     Some(Cow::Borrowed(customer.0.as_str()))
    /// });
    /// ```
    pub fn tenant(
        mut self,
        rule: impl for<'a> Fn(HeadView<'a>) -> Option<Cow<'a, str>> + Send + Sync + 'static,
    ) -> Self {
        self.set_tenants(TenantKey::Rule(Arc::new(rule)));
        self
    }

    /// Says where a request says whose it is.
    pub(crate) fn set_tenants(&mut self, key: TenantKey) {
        self.settings = self.settings.clone().tenants(true);
        self.tenants = Some(key);
    }

    /// Obeys the lag loop, only observes it, or does without. Without this line it is obeyed
    /// if the limit is. It protects handlers that keep the processor busy: see
    /// [`LagMode`].
    pub fn lag(mut self, mode: LagMode) -> Self {
        self.settings = self.settings.lag(mode);
        self
    }

    /// Refuses background requests, then sheddable ones, while the memory of the process's
    /// control group is close to its limit, or only counts whom that would be. Without this
    /// line it refuses if the limit does. Linux; without a limit there is nothing to do.
    pub fn memory(mut self, mode: ShedMode) -> Self {
        self.settings = self.settings.memory(mode);
        self
    }

    /// Sets how many streams may be open at once: server-sent events, gRPC calls that stream,
    /// upgraded connections whose handler holds a [`StreamPermit`](crate::StreamPermit), and
    /// the routes whose class says so. They are counted apart from requests as soon as the
    /// head of the answer is there. Default 10,000; allowed is 1 to 1,000,000.
    pub fn streams_max(mut self, max: u32) -> Self {
        self.settings = self.settings.streams_max(max);
        self
    }

    /// Lets requests that find no room wait: a few, for a moment, and only while their
    /// callers listen. See [`Queue`] for who goes first.
    ///
    /// A request keeps the service and its own head while it waits; nothing of its body is
    /// read. Waiting is explained: `queue-full`, `queue-timeout` and `deadline` say which
    /// bound was met.
    ///
    /// ```
    /// use steadfast::{Queue, Shed};
    ///
    /// let shed = Shed::fixed(64).queue(Queue::default().len_max(16));
    /// ```
    pub fn queue(mut self, queue: Queue) -> Self {
        self.settings = self.settings.queue(Some(queue));
        self
    }

    /// Lets nobody wait: a request that finds no room is refused at once.
    pub fn without_queue(mut self) -> Self {
        self.settings = self.settings.queue(None);
        self
    }

    /// Sets which headers say how long a caller still listens. Default `grpc-timeout` and
    /// `x-envoy-expected-rq-timeout-ms`.
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// Sets after how long a held permit is shown as evidence of a handler that hangs.
    /// Default 10 s.
    pub fn held_max(mut self, held_max: Duration) -> Self {
        self.settings = self.settings.held_max(held_max);
        self
    }

    /// Changes what the gate is made of.
    #[cfg(feature = "config")]
    pub(crate) fn change(&mut self, change: impl FnOnce(ShedSettings) -> ShedSettings) {
        self.settings = change(self.settings.clone());
    }

    /// Adds what the guard was told of paths.
    pub(crate) fn add_routes(&mut self, routes: Vec<(String, RouteClass)>) {
        self.routes.extend(routes);
    }

    /// Lays what a configuration says of a pattern over what the code says of it.
    #[cfg(feature = "config")]
    pub(crate) fn configure_route(
        &mut self,
        pattern: String,
        over: impl FnOnce(RouteClass) -> RouteClass,
    ) {
        match self.routes.iter_mut().find(|(known, _)| *known == pattern) {
            Some((_, class)) => *class = over(*class),
            None => self.routes.push((pattern, over(RouteClass::new()))),
        }
    }

    /// Returns what is wrong with the settings.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = self.settings.faults();
        faults.extend(self.deadlines.fault());
        faults.extend(
            self.classes()
                .err()
                .into_iter()
                .flat_map(ConfigError::into_faults),
        );
        faults
    }

    pub(super) fn classes(&self) -> Result<Classes, ConfigError> {
        let routes = RouteTable::new(self.routes.iter().map(|(pattern, class)| (pattern, *class)))?;
        Ok(Classes::new(routes, self.rules.clone()))
    }
}
