//! A proxy in front of LocalStack that misbehaves when it is told to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the proxy does with one call instead of passing it on.
#[derive(Clone)]
pub(super) enum Fault {
    /// Answers this.
    Answer { status: u16, content_type: &'static str, body: String },
    /// Passes it on, and changes the answer's JSON.
    Change(Arc<Change>),
    /// Passes it on, and cuts the answer's body in half; its length says that it is whole.
    Truncate,
    /// Passes it on, and breaks the connection in the middle of the answer.
    BreakOff,
    /// Breaks the connection.
    Reset,
    /// Passes it on, and breaks the connection instead of answering.
    LoseAnswer,
    /// Never answers.
    Silence,
}

/// Of the request's JSON, and in the answer's.
type Change = dyn Fn(&serde_json::Value, &mut serde_json::Value) + Send + Sync;

impl Fault {
    /// An error in the form of AWS.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "__type": code, "message": message }).to_string();
        Self::Answer { status, content_type: JSON, body }
    }

    pub(super) fn html(status: u16) -> Self {
        let body = "<html><body><h1>It works!</h1></body></html>".to_owned();
        Self::Answer { status, content_type: "text/html", body }
    }

    pub(super) fn change(how: impl Fn(&serde_json::Value, &mut serde_json::Value) + Send + Sync + 'static) -> Self {
        Self::Change(Arc::new(how))
    }
}

/// The proxy. It ends with the runtime of its test.
pub(super) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    plan: Mutex<VecDeque<(&'static str, Fault)>>,
    calls: Mutex<Vec<String>>,
}

impl Proxy {
    pub(super) async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { upstream, plan: Mutex::default(), calls: Mutex::default() });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = Arc::clone(&serving);
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        Self { address, shared }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` calls of `operation` meet this fault.
    pub(super) fn plan(&self, times: usize, operation: &'static str, fault: &Fault) {
        self.shared.plan.lock().unwrap().extend(std::iter::repeat_n((operation, fault.clone()), times));
    }

    /// Forgets the faults that were not met.
    pub(super) fn heal(&self) {
        self.shared.plan.lock().unwrap().clear();
    }

    /// The operations that were called since this was asked last.
    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.calls.lock().unwrap())
    }
}

impl Shared {
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let request = Message::read(&mut stream).await?;
        let operation = request.header("x-amz-target")?.rsplit('.').next()?.to_owned();
        self.calls.lock().unwrap().push(operation.clone());
        let fault = {
            let mut plan = self.plan.lock().unwrap();
            let at = plan.iter().position(|(planned, _)| *planned == operation);
            at.and_then(|at| plan.remove(at)).map(|(_, fault)| fault)
        };
        let (status, content_type, body) = match fault {
            None => self.pass_on(&request).await?,
            Some(Fault::Answer { status, content_type, body }) => (status, content_type, body.into_bytes()),
            Some(Fault::Change(how)) => {
                let (status, content_type, body) = self.pass_on(&request).await?;
                let asked = serde_json::from_slice(&request.body).unwrap();
                let mut answer = serde_json::from_slice(&body).unwrap();
                how(&asked, &mut answer);
                (status, content_type, serde_json::to_vec(&answer).unwrap())
            }
            Some(Fault::Truncate) => {
                let (status, content_type, mut body) = self.pass_on(&request).await?;
                body.truncate(body.len() / 2);
                (status, content_type, body)
            }
            Some(Fault::BreakOff) => {
                let (_, _, body) = self.pass_on(&request).await?;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all(&[head.as_bytes(), &body[..body.len() / 2]].concat()).await.ok()?;
                return stream.set_zero_linger().ok();
            }
            Some(Fault::Reset) => return stream.set_zero_linger().ok(),
            Some(Fault::LoseAnswer) => {
                self.pass_on(&request).await?;
                return stream.set_zero_linger().ok();
            }
            Some(Fault::Silence) => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                return None;
            }
        };
        let head = format!(
            "HTTP/1.1 {status} Said\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await.ok()
    }

    async fn pass_on(&self, request: &Message) -> Option<(u16, &'static str, Vec<u8>)> {
        let mut upstream = TcpStream::connect(self.upstream).await.ok()?;
        let mut head = format!("{}\r\n", request.start);
        for (name, value) in request.headers.iter().filter(|(name, _)| name != "connection") {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("connection: close\r\n\r\n");
        upstream.write_all(&[head.as_bytes(), &request.body].concat()).await.ok()?;
        let answer = Message::read(&mut upstream).await?;
        Some((answer.start.split(' ').nth(1)?.parse().ok()?, JSON, answer.body))
    }
}

/// One HTTP message with a body of known length.
struct Message {
    start: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        let mut message = Self { start, headers, body: bytes[end + 4..].to_vec() };
        let length: usize = message.header("content-length").map_or(Some(0), |length| length.parse().ok())?;
        while message.body.len() < length {
            if stream.read_buf(&mut message.body).await.ok()? == 0 {
                return None;
            }
        }
        Some(message)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

const JSON: &str = "application/x-amz-json-1.1";
