//! Who asks: the address at the other end of a request's connection.

use http::Extensions;

#[cfg(feature = "axum")]
use axum::extract::ConnectInfo as PeerAddress;

/// Who asks, where axum has no word for it.
#[cfg(not(feature = "axum"))]
#[derive(Clone, Copy, Debug)]
struct PeerAddress<A>(A);

/// Returns the address at the other end of a connection, from the extensions of a request
/// that came over it: `A` is what its listener says, `SocketAddr` for a `TcpListener`. `None` for another type, or if the request came in
/// by another server than [`crate::Guard::serve`].
///
/// Behind a proxy it is the proxy's.
///
/// ```
/// use std::net::SocketAddr;
///
/// fn log<B>(request: &http::Request<B>) {
///     let peer = steadfast::peer::<SocketAddr>(request.extensions());
///     println!("{} asked by {peer:?}", request.uri().path());
/// }
/// # log(&http::Request::new(()));
/// ```
#[must_use]
pub fn peer<A: Clone + Send + Sync + 'static>(extensions: &Extensions) -> Option<&A> {
    extensions.get::<PeerAddress<A>>().map(|address| &address.0)
}

/// Tells handlers who asks.
pub(super) fn tell<A: Clone + Send + Sync + 'static>(extensions: &mut Extensions, peer: A) {
    extensions.insert(PeerAddress(peer));
}
