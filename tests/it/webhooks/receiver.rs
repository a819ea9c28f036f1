//! A receiver of webhooks on the loopback interface. It records requests and replies as configured.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

#[derive(Debug, Clone)]
pub struct Received {
    pub line: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub reply: Reply,
    pub from: Instant,
    pub to: Instant,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn id(&self) -> String {
        self.header("webhook-id").to_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Status(u16),
    /// A status and a header.
    With(u16, String),
    /// A status, after a delay in milliseconds.
    Slow(u16, u64),
    /// Status 200, once the test releases it.
    Held,
    /// No reply.
    Hang,
    /// A head, followed by an endless body.
    Endless,
    /// Bytes that are not HTTP.
    Nonsense,
}

/// The longest time that an operation may take on a loaded machine.
const LONG: Duration = Duration::from_secs(60);

type Answers = Arc<Mutex<Box<dyn Fn(usize) -> Reply + Send>>>;

pub struct Receiver {
    pub url: String,
    pub port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<Mutex<usize>>,
    /// The number of bytes written of endless bodies.
    pub written: Arc<Mutex<usize>>,
    /// The number of replies that have ended: written completely or cut off.
    ended: Arc<Mutex<usize>>,
    held: Arc<(Mutex<bool>, Condvar)>,
    answers: Answers,
}

impl Receiver {
    pub fn new(reply: Reply) -> Self {
        Self::answering(move |_| reply.clone())
    }

    /// Replies to request number 0, 1, 2 and so on with the result of `answers`.
    pub fn answering(answers: impl Fn(usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let this = Self {
            url: format!("http://127.0.0.1:{port}/hook"),
            port,
            received: Arc::default(),
            connections: Arc::default(),
            written: Arc::default(),
            ended: Arc::default(),
            held: Arc::new((Mutex::new(true), Condvar::new())),
            answers: Arc::new(Mutex::new(Box::new(answers))),
        };
        let (received, answers) = (Arc::clone(&this.received), Arc::clone(&this.answers));
        let (connections, written) = (Arc::clone(&this.connections), Arc::clone(&this.written));
        let (ended, held) = (Arc::clone(&this.ended), Arc::clone(&this.held));
        let count = Arc::new(Mutex::new(0));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                *connections.lock().unwrap() += 1;
                let (received, answers) = (Arc::clone(&received), Arc::clone(&answers));
                let (count, written) = (Arc::clone(&count), Arc::clone(&written));
                let (ended, held) = (Arc::clone(&ended), Arc::clone(&held));
                thread::spawn(move || {
                    let Some((line, headers, body)) = read(&stream) else { return };
                    let from = Instant::now();
                    let place = {
                        let mut count = count.lock().unwrap();
                        *count += 1;
                        *count - 1
                    };
                    let reply = (answers.lock().unwrap())(place);
                    let at = {
                        let mut all = received.lock().unwrap();
                        all.push(Received { line, headers, body, reply: reply.clone(), from, to: from });
                        all.len() - 1
                    };
                    match &reply {
                        Reply::Slow(_, millis) => thread::sleep(Duration::from_millis(*millis)),
                        Reply::Held => drop(held.1.wait_while(held.0.lock().unwrap(), |held| *held).unwrap()),
                        _ => {}
                    }
                    received.lock().unwrap()[at].to = Instant::now();
                    answer(stream, &reply, &written);
                    *ended.lock().unwrap() += 1;
                });
            }
        });
        this
    }

    /// Changes the reply to all later requests.
    pub fn now(&self, reply: Reply) {
        *self.answers.lock().unwrap() = Box::new(move |_| reply.clone());
    }

    /// Releases `Held` replies, current and future ones.
    pub fn release(&self) {
        *self.held.0.lock().unwrap() = false;
        self.held.1.notify_all();
    }

    /// Waits until `count` replies have ended.
    pub async fn wait_for_ends(&self, count: usize) {
        let started = Instant::now();
        while *self.ended.lock().unwrap() < count {
            assert!(started.elapsed() < LONG, "{} of {count} answers ended", self.ended.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// Waits until `count` requests have arrived.
    pub async fn wait(&self, count: usize) -> Vec<Received> {
        let started = Instant::now();
        loop {
            let all = self.all();
            if all.len() >= count {
                return all;
            }
            assert!(started.elapsed() < LONG, "{} of {count} came", all.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn read(stream: &TcpStream) -> Option<(String, HeaderMap, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = HeaderMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        let value = HeaderValue::from_str(value.trim()).unwrap();
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    let length = headers.get("content-length")?.to_str().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((line.trim().to_owned(), headers, body))
}

fn answer(mut stream: TcpStream, reply: &Reply, written: &Mutex<usize>) {
    let head = |status: u16, more: &str| {
        format!("HTTP/1.1 {status} X\r\ncontent-length: 5\r\n{more}connection: close\r\n\r\nhello")
    };
    match reply {
        Reply::Status(status) | Reply::Slow(status, _) => drop(stream.write_all(head(*status, "").as_bytes())),
        Reply::Held => drop(stream.write_all(head(200, "").as_bytes())),
        Reply::With(status, header) => drop(stream.write_all(head(*status, &format!("{header}\r\n")).as_bytes())),
        Reply::Hang => thread::sleep(Duration::from_secs(120)),
        Reply::Nonsense => drop(stream.write_all(b"220 mail.test ESMTP\r\n")),
        Reply::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 X\r\ncontent-type: text/plain\r\n\r\n");
            while stream.write_all(&[b'x'; 4096]).is_ok() {
                *written.lock().unwrap() += 4096;
            }
        }
    }
}
