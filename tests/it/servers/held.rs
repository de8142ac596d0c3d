//! A receiver of webhooks that answers each request only when it is told to, and as it is told to.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

pub(crate) const TAKEN: &str = "200 OK\r\n";
pub(crate) const COME_AGAIN: &str = "503 Service Unavailable\r\nretry-after: 4\r\n";

pub(crate) struct Held {
    pub(crate) address: SocketAddr,
    came: mpsc::Receiver<Waiting>,
}

/// A request that waits for its answer.
pub(crate) struct Waiting {
    /// `webhook-id`
    pub(crate) id: String,
    answer: mpsc::Sender<&'static str>,
}

impl Held {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (said, came) = mpsc::channel();
        let said = Arc::new(Mutex::new(said));
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let said = said.clone();
                std::thread::spawn(move || serve(tcp, &said));
            }
        });
        Held { address, came }
    }
}

impl Held {
    /// The next request, as soon as it is here whole.
    pub(crate) fn next(&self) -> Waiting {
        self.came.recv_timeout(Duration::from_mins(1)).expect("no request came")
    }

    pub(crate) fn n_more(&self) -> usize {
        self.came.try_iter().count()
    }
}

impl Waiting {
    pub(crate) fn answer(&self, status: &'static str) {
        self.answer.send(status).unwrap();
    }
}

fn serve(mut tcp: TcpStream, said: &Mutex<mpsc::Sender<Waiting>>) {
    let mut reader = BufReader::new(tcp.try_clone().unwrap());
    while let Some(id) = read_request(&mut reader) {
        let (answer, told) = mpsc::channel();
        // The test may be over, or may never answer.
        if said.lock().unwrap().send(Waiting { id, answer }).is_err() {
            return;
        }
        let Ok(status) = told.recv() else { return };
        if write!(tcp, "HTTP/1.1 {status}content-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

/// The id of a whole request; `None` when the sender went away.
fn read_request(reader: &mut impl BufRead) -> Option<String> {
    let (mut id, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some(("webhook-id", value)) => id = Some(value.to_owned()),
            Some(("content-length", value)) => length = value.parse().unwrap(),
            _ if line == "\r\n" => break,
            _ => {}
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    id
}
