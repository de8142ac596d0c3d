//! A receiver of webhooks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use axum::routing::any;

const CHUNK: usize = 16 * 1024;

/// How it answers.
#[derive(Clone)]
pub(crate) enum Behaviour {
    Answers {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Takes the request and never answers.
    Hangs,
    /// Answers 200 and never ends the body.
    EndlessBody,
}

impl Behaviour {
    pub(crate) fn status(status: u16) -> Self {
        Behaviour::Answers { status, headers: vec![], body: String::new() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    received: Arc<Mutex<Vec<Received>>>,
    n_chunks: Arc<AtomicUsize>,
}

impl Receiver {
    /// Lives as long as the test's runtime.
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = Receiver {
            address,
            behaviour: Arc::new(Mutex::new(behaviour)),
            received: Arc::default(),
            n_chunks: Arc::default(),
        };
        let router = Router::new().fallback(any(receive)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    /// How many bytes of endless bodies were asked for.
    pub(crate) fn n_endless_bytes(&self) -> usize {
        self.n_chunks.load(Ordering::SeqCst) * CHUNK
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn receive(
    State(receiver): State<Receiver>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    receiver.received.lock().unwrap().push(Received { path: uri.path().to_owned(), headers, body });
    let behaviour = receiver.behaviour.lock().unwrap().clone();
    match behaviour {
        Behaviour::Answers { status, headers, body } => {
            let mut answer = Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(name, value);
            }
            answer.body(Body::from(body)).unwrap()
        }
        Behaviour::Hangs => std::future::pending().await,
        Behaviour::EndlessBody => {
            let chunk = Bytes::from(vec![b'x'; CHUNK]);
            let endless = futures_util::stream::repeat_with(move || {
                receiver.n_chunks.fetch_add(1, Ordering::SeqCst);
                Ok::<_, std::io::Error>(chunk.clone())
            });
            Response::new(Body::from_stream(endless))
        }
    }
}
