//! A mail server. Plain threads and blocking sockets: a server that hangs is then simply one that reads until the client
//! goes away.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Happenings;
use crate::until::until;

/// How the server answers. An answer may have several lines; an empty one means: hang up; `hang` means: never answer.
#[derive(Clone)]
pub(crate) struct Behaviour {
    pub(crate) greeting: &'static str,
    /// The lines of the answer to EHLO after the first; STARTTLS is offered where `tls` allows it.
    pub(crate) offers: Vec<&'static str>,
    pub(crate) tls: Tls,
    pub(crate) auth: &'static str,
    pub(crate) mail: &'static str,
    pub(crate) rcpt: &'static str,
    pub(crate) data: &'static str,
    pub(crate) dot: &'static str,
    /// Hangs up at the first byte of the content.
    pub(crate) closes_in_content: bool,
    /// Hangs up after so many mails, without a word.
    pub(crate) closes_after: Option<usize>,
    /// Slipped in, unencrypted, behind the answer to STARTTLS.
    pub(crate) injected: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Tls {
    None,
    Starttls,
    Implicit,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            greeting: "220 test server",
            offers: vec!["PIPELINING", "8BITMIME"],
            tls: Tls::None,
            auth: "235 2.7.0 welcome",
            mail: "250 2.1.0 Ok",
            rcpt: "250 2.1.5 Ok",
            data: "354 go ahead",
            dot: "250 2.0.0 Ok: queued as 4711",
            closes_in_content: false,
            closes_after: None,
            injected: "",
        }
    }
}

pub(crate) struct SmtpServer {
    pub(crate) address: SocketAddr,
    pub(crate) happenings: Happenings,
    mails: Arc<Mutex<Vec<Vec<u8>>>>,
    over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl SmtpServer {
    pub(crate) fn start(behaviour: Behaviour, happenings: Happenings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let mails = Arc::new(Mutex::new(Vec::new()));
        let (stop, heard, kept) = (Arc::clone(&over), happenings.clone(), Arc::clone(&mails));
        let accepting = std::thread::spawn(move || {
            let mut talks = Vec::new();
            for tcp in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let talk = Talk { behaviour: behaviour.clone(), happenings: heard.clone(), mails: Arc::clone(&kept) };
                // An error is the client going away, which is what half the tests are about.
                talks.push(std::thread::spawn(move || talk.serve(tcp.unwrap()).ok()));
            }
        });
        SmtpServer { address, happenings, mails, over, accepting: Some(accepting) }
    }

    /// The contents of the mails that were taken, as they came over the wire, without dot-stuffing.
    pub(crate) fn mails(&self) -> Vec<Vec<u8>> {
        self.mails.lock().unwrap().clone()
    }

    /// Waits until so many connections are closed.
    pub(crate) async fn wait_for_closed(&self, n: usize) {
        until("the connection is closed", async || self.happenings.count("closed") >= n).await;
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        TcpStream::connect(self.address).ok();
        if let Some(accepting) = self.accepting.take() {
            accepting.join().ok();
        }
    }
}

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

struct Talk {
    behaviour: Behaviour,
    happenings: Happenings,
    mails: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Talk {
    fn serve(&self, tcp: TcpStream) -> io::Result<()> {
        self.happenings.note("connected");
        let raw = tcp.try_clone()?;
        let mut wire: Box<dyn Wire> =
            if self.behaviour.tls == Tls::Implicit { Box::new(encrypted(tcp)) } else { Box::new(tcp) };
        let ended = self.talk(&mut wire, &raw);
        self.happenings.note("closed");
        ended
    }

    fn talk(&self, wire: &mut Box<dyn Wire>, raw: &TcpStream) -> io::Result<()> {
        let behaviour = &self.behaviour;
        let mut encrypted_now = behaviour.tls == Tls::Implicit;
        let mut n_mails = 0;
        self.say(wire, behaviour.greeting)?;
        loop {
            let line = read_line(wire)?;
            self.happenings.note(format!("< {line}"));
            let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
            match word.as_str() {
                "EHLO" => {
                    let mut lines = vec!["test server"];
                    lines.extend(&behaviour.offers);
                    if behaviour.tls == Tls::Starttls && !encrypted_now {
                        lines.push("STARTTLS");
                    }
                    let (last, first) = lines.split_last().unwrap();
                    for line in first {
                        self.say(wire, &format!("250-{line}"))?;
                    }
                    self.say(wire, &format!("250 {last}"))?;
                }
                "STARTTLS" => {
                    wire.write_all(format!("220 go ahead\r\n{}", behaviour.injected).as_bytes())?;
                    *wire = Box::new(encrypted(raw.try_clone()?));
                    encrypted_now = true;
                }
                "AUTH" => self.say(wire, behaviour.auth)?,
                "MAIL" => self.say(wire, behaviour.mail)?,
                "RCPT" => self.say(wire, behaviour.rcpt)?,
                "DATA" => {
                    self.say(wire, behaviour.data)?;
                    if behaviour.data.starts_with("354") {
                        self.content(wire)?;
                        n_mails += 1;
                        if behaviour.closes_after == Some(n_mails) {
                            return Ok(());
                        }
                    }
                }
                "RSET" | "NOOP" => self.say(wire, "250 2.0.0 Ok")?,
                "QUIT" => return self.say(wire, "221 bye"),
                _ => self.say(wire, "500 what?")?,
            }
        }
    }

    fn content(&self, wire: &mut Box<dyn Wire>) -> io::Result<()> {
        let mut content = Vec::new();
        loop {
            let mut byte = [0];
            wire.read_exact(&mut byte)?;
            if content.is_empty() {
                self.happenings.note("content begins");
                if self.behaviour.closes_in_content {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
            content.push(byte[0]);
            if content.ends_with(b"\r\n.\r\n") {
                break;
            }
        }
        self.happenings.note("dot");
        content.truncate(content.len() - b".\r\n".len());
        if self.behaviour.dot.starts_with("250") {
            self.mails.lock().unwrap().push(unstuffed(&content));
        }
        self.say(wire, self.behaviour.dot)
    }

    fn say(&self, wire: &mut Box<dyn Wire>, answer: &str) -> io::Result<()> {
        match answer {
            "" => Err(io::ErrorKind::ConnectionAborted.into()),
            "hang" => io::copy(wire, &mut io::sink()).and(Err(io::ErrorKind::ConnectionAborted.into())),
            _ => {
                if answer.starts_with("354") {
                    self.happenings.note("> 354");
                }
                wire.write_all(format!("{answer}\r\n").as_bytes())?;
                wire.flush()
            }
        }
    }
}

fn read_line(wire: &mut Box<dyn Wire>) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        wire.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn unstuffed(content: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut line_begins = true;
    for (i, &byte) in content.iter().enumerate() {
        if !(line_begins && byte == b'.') {
            plain.push(byte);
        }
        line_begins = byte == b'\n' && i > 0 && content[i - 1] == b'\r';
    }
    plain
}

/// The certificate is for `localhost`, by an authority of the tests' own (its key was thrown away).
pub(crate) const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/servers/tls/ca.pem");

fn encrypted(tcp: TcpStream) -> rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::new(config)).unwrap(), tcp)
}
