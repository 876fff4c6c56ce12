//! `POST /token` on one kept-open HTTP/1.1 connection, as a gateway's connection pool does it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::body::Full;
use crate::load::Door;
use crate::seed::Seed;
use crate::tls::TlsClient;

/// A connection for exchanges.
pub(crate) struct ExchangeDoor {
    address: SocketAddr,
    tls: TlsClient,
    open: Mutex<Option<SendRequest<Full>>>,
    forms: Arc<Forms>,
}

/// The bodies of the requests, made beforehand.
pub(crate) struct Forms {
    /// Complete forms, one for each access token.
    pub(crate) bodies: Vec<Bytes>,
    /// How requests pick one; `None`: request n sends form n, each once.
    pub(crate) drawn: Option<Seed>,
}

impl Forms {
    fn of(&self, number: u64) -> Option<&Bytes> {
        let index = match self.drawn {
            Some(seed) => seed.pick(number, self.bodies.len()),
            None => usize::try_from(number).ok()?,
        };
        self.bodies.get(index)
    }
}

impl ExchangeDoor {
    /// Opens a connection to `address`.
    pub(crate) async fn open(address: SocketAddr, tls: TlsClient, forms: Arc<Forms>) -> std::io::Result<Self> {
        let open = connect(address, &tls).await?;
        Ok(Self { address, tls, open: Mutex::new(Some(open)), forms })
    }

    /// Sends this form, opening the connection anew if the last request broke it.
    pub(crate) async fn exchange(&self, form: Bytes) -> Result<(), String> {
        let mut slot = self.open.lock().await;
        let mut request = self.request(form)?;
        loop {
            // Taken out, so that a request that is given up half-way takes its connection with it.
            let kept = slot.take().filter(|sender| !sender.is_closed());
            let was_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => connect(self.address, &self.tls).await.map_err(|_| "connection".to_owned())?,
            };
            if sender.ready().await.is_err() {
                if was_kept { continue } else { return Err("connection".to_owned()) }
            }
            let response = match sender.try_send_request(request).await {
                Ok(response) => response,
                // The server closed a kept connection before it saw anything of the request: as any pool does, we send it
                // on a new one.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if was_kept => {
                        request = unsent;
                        continue;
                    }
                    _ => return Err("connection".to_owned()),
                },
            };
            let status = response.status();
            let body = collect(response.into_body()).await?;
            *slot = Some(sender);
            return check(status, &body);
        }
    }

    fn request(&self, form: Bytes) -> Result<Request<Full>, String> {
        Request::builder()
            .method(Method::POST)
            .uri("/token")
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(form))
            .map_err(|_| "request".to_owned())
    }
}

impl Door for ExchangeDoor {
    fn in_flight(&self) -> usize {
        1
    }

    async fn ask(&self, number: u64) -> Result<(), String> {
        let Some(form) = self.forms.of(number) else { return Err("no_token_left".to_owned()) };
        self.exchange(form.clone()).await
    }
}

async fn connect(address: SocketAddr, tls: &TlsClient) -> std::io::Result<SendRequest<Full>> {
    let stream = tls.connect(address).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    // Ends when the sender is dropped or the server closes; an error shows at the sender.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

async fn collect(mut body: Incoming) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(2048);
    while !body.is_end_stream() {
        let next = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await;
        let Some(frame) = next else { break };
        if let Ok(data) = frame.map_err(|_| "connection".to_owned())?.into_data() {
            bytes.extend_from_slice(&data);
            if bytes.len() > LARGEST_ANSWER {
                return Err("answer_too_long".to_owned());
            }
        }
    }
    Ok(bytes)
}

fn check(status: StatusCode, body: &[u8]) -> Result<(), String> {
    if status == StatusCode::OK {
        return match serde_json::from_slice::<Granted<'_>>(body) {
            Ok(granted) if !granted.access_token.is_empty() => Ok(()),
            _ => Err("answer_malformed".to_owned()),
        };
    }
    // The code only: it is from a short list, and the description may be long.
    let code = serde_json::from_slice::<Refused>(body).map(|refused| refused.error).unwrap_or_default();
    Err(format!("{} {code}", status.as_u16()).trim_end().to_owned())
}

#[derive(Deserialize)]
struct Granted<'a> {
    #[serde(borrow)]
    access_token: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// Many times a transaction token.
const LARGEST_ANSWER: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_with_its_token() {
        assert_eq!(check(StatusCode::OK, br#"{"access_token":"a.b.c","token_type":"N_A"}"#), Ok(()));
        assert_eq!(check(StatusCode::OK, br#"{"access_token":""}"#), Err("answer_malformed".to_owned()));
        assert_eq!(check(StatusCode::OK, b"<html>"), Err("answer_malformed".to_owned()));
    }

    #[test]
    fn a_refusal_counts_under_its_status_and_code() {
        let body = br#"{"error":"invalid_target","error_description":"long"}"#;
        assert_eq!(check(StatusCode::BAD_REQUEST, body), Err("400 invalid_target".to_owned()));
        assert_eq!(check(StatusCode::SERVICE_UNAVAILABLE, b""), Err("503".to_owned()));
    }

    #[test]
    fn fresh_forms_are_sent_once_each_in_order_and_others_are_drawn() {
        let bodies: Vec<_> = (0..3).map(|n| Bytes::from(format!("{n}"))).collect();
        let fresh = Forms { bodies: bodies.clone(), drawn: None };
        assert_eq!(fresh.of(2).unwrap(), "2");
        assert!(fresh.of(3).is_none());
        let drawn = Forms { bodies, drawn: Some(Seed::new(1)) };
        assert!((0..1000).all(|n| drawn.of(n).is_some()));
    }
}
