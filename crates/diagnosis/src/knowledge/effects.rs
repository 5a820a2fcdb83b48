//! What shows where: the effects that many rows share.

/// What a proxy says when the service behind it does not answer, or is not ready.
macro_rules! at_the_proxy {
    ($($more:path),* $(,)?) => {
        &[
            $($more,)*
            Id::HapAllDown, Id::HapRefusedUnchecked, Id::HapConnectTimeout, Id::HapServerTimeout,
            Id::HapQueueTimeout, Id::NgxNoLive, Id::NgxTimeout, Id::ApacheWorkerError, Id::EnvoyUh,
            Id::EnvoyUf, Id::EnvoyUc, Id::EnvoyUr, Id::EnvoyUt, Id::TraefikNoServer,
            Id::TraefikRefused, Id::TraefikTimeout, Id::CaddyNoUpstream, Id::CaddyRefused,
            Id::VarnishBackend, Id::AlbNoTargets, Id::AlbTarget, Id::K8sNoEndpoints,
            Id::K8sProbeFailing, Id::LinkerdFailfast, Id::ProxyUpstreamDown, Id::ProxyUpstreamSlow,
        ]
    };
}

/// What the application says when something that it needs is gone.
macro_rules! at_the_application {
    ($($more:path),* $(,)?) => {
        &[
            $($more,)*
            Id::AppBreakerOpen, Id::AppNotReady, Id::AppStarting, Id::AppSlowHandler, Id::AppShed,
            Id::AppOwn503, Id::AppForeign503,
        ]
    };
}

/// What a client sees of an answer that the application made.
macro_rules! passed_on {
    ($($more:path),* $(,)?) => {
        &[$($more,)* Id::ProxyPassthrough, Id::NgxPassthrough, Id::AlbTarget]
    };
}

pub(super) use {at_the_application, at_the_proxy, passed_on};
