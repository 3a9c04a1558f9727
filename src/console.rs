//! HTTP for machines: `/livez`, `/readyz`, `/metrics`. It runs on a thread of its own, so that a
//! scrape never waits behind a payment, nor a payment behind a scrape. It knows no payment.

use crate::metrics::MetricsHandle;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often histograms are folded when nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// What readiness rests on. The server sets it; everybody may read it.
#[derive(Debug, Default)]
pub struct Health {
    store_writable: AtomicBool,
    keys_loaded: AtomicBool,
    links_up: AtomicUsize,
    without_hsm: AtomicUsize,
    draining: AtomicBool,
}

impl Health {
    /// The last commit of the store went well, or did not.
    pub fn set_store_writable(&self, writable: bool) {
        self.store_writable.store(writable, Ordering::Relaxed);
    }

    /// The local master key is loaded.
    pub fn set_keys_loaded(&self, loaded: bool) {
        self.keys_loaded.store(loaded, Ordering::Relaxed);
    }

    /// An issuer link came up.
    pub fn link_came_up(&self) {
        self.links_up.fetch_add(1, Ordering::Relaxed);
    }

    /// An issuer link that was up went down.
    pub fn link_went_down(&self) {
        // Below zero would be a fault of the caller; it stays at zero.
        let _ = self.links_up.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |up| up.checked_sub(1));
    }

    /// A worker has no HSM that answers.
    pub fn hsm_went_down(&self) {
        self.without_hsm.fetch_add(1, Ordering::Relaxed);
    }

    /// A worker that had none has one again.
    pub fn hsm_came_up(&self) {
        // As with links.
        let _ =
            self.without_hsm.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |down| down.checked_sub(1));
    }

    /// The daemon takes no new terminals any more.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// What keeps the daemon from being ready; empty when nothing does.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let parts = [
            (self.draining.load(Ordering::Relaxed), "draining"),
            (!self.store_writable.load(Ordering::Relaxed), "store is not writable"),
            (!self.keys_loaded.load(Ordering::Relaxed), "keys are not loaded"),
            (self.without_hsm.load(Ordering::Relaxed) > 0, "no HSM answers"),
            (self.links_up.load(Ordering::Relaxed) == 0, "no issuer link is up"),
        ];
        parts.into_iter().filter_map(|(missing, what)| missing.then_some(what)).collect()
    }
}

#[derive(Clone)]
struct Console {
    health: Arc<Health>,
    metrics: MetricsHandle,
}

/// Starts the console's thread; it ends after `shutdown`.
///
/// # Errors
/// The system's, when no thread or runtime can be made or the listener is not usable.
pub fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: MetricsHandle,
    shutdown: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _in_runtime = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let console = Console { health, metrics };
    std::thread::Builder::new()
        .name("console".into())
        .spawn(move || runtime.block_on(run(listener, console, shutdown)))
}

async fn run(listener: tokio::net::TcpListener, console: Console, shutdown: CancellationToken) {
    let metrics = console.metrics.clone();
    let upkeep = async {
        loop {
            tokio::time::sleep(UPKEEP).await;
            metrics.upkeep();
        }
    };
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state(console);
    // A scrape that is under way at shutdown is cut off; the next daemon answers the next one.
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = upkeep => {}
        ended = axum::serve(listener, router) => {
            if let Err(error) = ended {
                tracing::error!(%error, "console ends");
            }
        }
    }
}

async fn livez() -> &'static str {
    "ok"
}

async fn readyz(State(console): State<Console>) -> (StatusCode, String) {
    let missing = console.health.missing();
    if missing.is_empty() {
        return (StatusCode::OK, "ok".into());
    }
    (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n"))
}

async fn render(State(console): State<Console>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], console.metrics.render())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{SocketAddr, TcpStream};

    /// Status and body.
    fn ask(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    /// Whether nobody answers. A process that another test forks holds the socket until it is another program: what
    /// connects meanwhile is reset then.
    fn is_gone(address: SocketAddr) -> bool {
        let Ok(mut stream) = TcpStream::connect(address) else { return true };
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        match stream.read(&mut [0]) {
            Ok(octets) => octets == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    #[test]
    fn readiness_names_what_is_missing() {
        type Row = (&'static str, fn(&Health), &'static str);
        let rows: [Row; 10] = [
            ("at start", |_| {}, "store is not writable\nkeys are not loaded\nno issuer link is up"),
            ("store", |h| h.set_store_writable(true), "keys are not loaded\nno issuer link is up"),
            ("keys", |h| h.set_keys_loaded(true), "no issuer link is up"),
            ("link", Health::link_came_up, ""),
            ("workers without an HSM", |h| (h.hsm_went_down(), h.hsm_went_down()).1, "no HSM answers"),
            ("one has one again", Health::hsm_came_up, "no HSM answers"),
            ("all have", |h| (h.hsm_came_up(), h.hsm_came_up()).1, ""),
            ("link gone", Health::link_went_down, "no issuer link is up"),
            ("gone twice, back once", |h| (h.link_went_down(), h.link_came_up()).1, ""),
            ("draining", Health::start_draining, "draining"),
        ];
        // At a loopback address that no other test has: a port that is free again there stays free.
        let listener = TcpListener::bind("127.0.0.2:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (health, shutdown) = (Arc::new(Health::default()), CancellationToken::new());
        // The one test that may install the process's recorder.
        let metrics = crate::metrics::install().unwrap();
        let thread = serve(listener, Arc::clone(&health), metrics, shutdown.clone()).unwrap();
        for (step, change, missing) in rows {
            change(&health);
            let want = if missing.is_empty() { (200, "ok".to_owned()) } else { (503, missing.to_owned()) };
            assert_eq!(ask(address, "/readyz"), want, "{step}");
            assert_eq!(ask(address, "/livez"), (200, "ok".to_owned()), "{step}");
        }
        crate::metrics::refusal("edc", "console-test");
        let (status, text) = ask(address, "/metrics");
        assert_eq!(status, 200);
        assert!(
            text.contains(r#"tollgate_refusals_total{dialect="edc",refusal="console-test"} 1"#),
            "{text}"
        );
        assert_eq!(ask(address, "/elsewhere").0, 404);
        shutdown.cancel();
        thread.join().unwrap();
        assert!(is_gone(address));
    }
}
