//! The other side: a mail server and a receiver of webhooks that are slow, refuse, hang up in the wrong moment, and remember
//! every message. What they do to a message is drawn from the seed and the message's own key, and bad things happen to one
//! message once, so that the daemon's longer pauses stay out of the test.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::load::Dice;

/// What happens to a message.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Normal,
    Slow,
    RefusesOnce,
    ClosesAfterTaking,
    ClosesHalfWay,
}

/// Everything that arrived at one of the two.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Seen>,
}

#[derive(Default)]
pub(super) struct Seen {
    seed: u64,
    healthy: AtomicBool,
    /// Key → what was taken under it (refused content is not, but is compared too).
    messages: Mutex<BTreeMap<String, Message>>,
    spoiled: Mutex<BTreeSet<String>>,
    /// Conversations that the receiver ended without a word after the content had begun.
    pub(super) n_closed: AtomicUsize,
}

#[derive(Clone, Default)]
pub(super) struct Message {
    /// All different contents that were seen under the key.
    pub(super) contents: BTreeSet<Vec<u8>>,
    /// How often it was taken, answered or not.
    pub(super) n_taken: usize,
    /// How often the daemon could have learnt that.
    pub(super) n_answered: usize,
}

impl Receiver {
    pub(super) fn mail_server(seed: u64) -> Self {
        Receiver::start(seed, |tcp, seen| serve_mail(tcp, &seen))
    }

    pub(super) fn webhooks(seed: u64) -> Self {
        Receiver::start(seed, |tcp, seen| serve_webhooks(tcp, &seen))
    }

    fn start(draw_from: u64, serve: fn(TcpStream, Arc<Seen>) -> io::Result<()>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen { seed: draw_from, ..Seen::default() });
        let all = seen.clone();
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let seen = all.clone();
                // An error is the daemon being killed.
                std::thread::spawn(move || serve(tcp, seen).ok());
            }
        });
        Receiver { address, seen }
    }

    pub(super) fn recover(&self) {
        self.seen.healthy.store(true, Ordering::SeqCst);
    }

    pub(super) fn messages(&self) -> BTreeMap<String, Message> {
        self.seen.messages.lock().unwrap().clone()
    }
}

impl Seen {
    fn mood(&self, key: &str) -> Mood {
        let mut dice = Dice::of(self.seed, key);
        let mood = match dice.below(100) {
            0..6 => Mood::RefusesOnce,
            6..9 => Mood::ClosesAfterTaking,
            9..11 => Mood::ClosesHalfWay,
            11..40 => Mood::Slow,
            _ => Mood::Normal,
        };
        if matches!(mood, Mood::Normal | Mood::Slow) {
            return mood;
        }
        let first = self.spoiled.lock().unwrap().insert(key.to_owned());
        if first && !self.healthy.load(Ordering::SeqCst) { mood } else { Mood::Normal }
    }

    fn note(&self, key: &str, content: Vec<u8>, taken: bool) {
        let mut messages = self.messages.lock().unwrap();
        let message = messages.entry(key.to_owned()).or_default();
        message.contents.insert(content);
        message.n_taken += usize::from(taken);
    }

    fn answered(&self, key: &str) {
        self.messages.lock().unwrap().entry(key.to_owned()).or_default().n_answered += 1;
    }

    fn close(&self) -> io::Result<()> {
        self.n_closed.fetch_add(1, Ordering::SeqCst);
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// The mood for slowness: waiting is what it is about.
    fn linger(&self, key: &str) {
        std::thread::sleep(Duration::from_millis(10 + Dice::of(self.seed ^ 1, key).below(60)));
    }
}

fn serve_mail(mut tcp: TcpStream, seen: &Seen) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut lines = BufReader::new(tcp.try_clone()?);
    tcp.write_all(b"220 torture\r\n")?;
    loop {
        let line = read_line(&mut lines)?;
        let word = line.split([' ', ':', '\r']).next().unwrap_or_default().to_uppercase();
        let answer = match word.as_str() {
            "EHLO" => "250-torture\r\n250 8BITMIME\r\n",
            "DATA" => {
                tcp.write_all(b"354 go ahead\r\n")?;
                take_mail(&mut tcp, &mut lines, seen)?;
                continue;
            }
            "QUIT" => return tcp.write_all(b"221 bye\r\n"),
            _ => "250 Ok\r\n",
        };
        tcp.write_all(answer.as_bytes())?;
    }
}

fn take_mail(tcp: &mut TcpStream, lines: &mut impl BufRead, seen: &Seen) -> io::Result<()> {
    let (mut key, mut content, mut mood) = (String::new(), String::new(), Mood::Normal);
    loop {
        let line = read_line(lines)?;
        if line == ".\r\n" {
            break;
        }
        if let Some(id) = line.strip_prefix("Message-ID: <") {
            id.split('@').next().unwrap_or_default().clone_into(&mut key);
            mood = seen.mood(&key);
            if mood == Mood::ClosesHalfWay {
                return seen.close();
            }
        }
        // The one thing that says when, not what.
        if !line.starts_with("Date: ") {
            content.push_str(&line);
        }
    }
    seen.note(&key, content.into_bytes(), mood != Mood::RefusesOnce);
    match mood {
        Mood::RefusesOnce => return tcp.write_all(b"451 4.3.0 not now\r\n"),
        Mood::ClosesAfterTaking => return seen.close(),
        Mood::Slow => seen.linger(&key),
        Mood::Normal | Mood::ClosesHalfWay => {}
    }
    tcp.write_all(b"250 2.0.0 taken\r\n")?;
    seen.answered(&key);
    Ok(())
}

fn serve_webhooks(mut tcp: TcpStream, seen: &Seen) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut lines = BufReader::new(tcp.try_clone()?);
    loop {
        let (mut key, mut length) = (String::new(), 0);
        read_line(&mut lines)?;
        loop {
            let line = read_line(&mut lines)?.to_lowercase();
            match line.trim_end().split_once(": ") {
                None => break,
                Some(("webhook-id", id)) => id.to_uppercase().clone_into(&mut key),
                Some(("content-length", n)) => length = n.parse().unwrap_or(0),
                Some(_) => {}
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body)?;
        let mood = seen.mood(&key);
        if mood == Mood::ClosesHalfWay {
            return seen.close();
        }
        seen.note(&key, body, mood != Mood::RefusesOnce);
        match mood {
            Mood::RefusesOnce => {
                tcp.write_all(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n")?;
                continue;
            }
            Mood::ClosesAfterTaking => return seen.close(),
            Mood::Slow => seen.linger(&key),
            Mood::Normal | Mood::ClosesHalfWay => {}
        }
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
        seen.answered(&key);
    }
}

fn read_line(lines: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line)?;
    if line.ends_with(b"\n") {
        Ok(String::from_utf8_lossy(&line).into_owned())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
