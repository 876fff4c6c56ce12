//! Backups in an S3-compatible store. Requests are signed here (SigV4, as presigned URLs that leave this process in requests
//! only), and answered by whatever speaks S3.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{Client, Method, Response, StatusCode, Url};
use rusty_s3::actions::{CreateMultipartUpload, ListObjectsV2};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};

use super::credentials;
use crate::clock;
use crate::server::config::S3Config;

/// A bucket and a prefix in it.
#[derive(Debug, Clone)]
pub(super) struct S3 {
    config: S3Config,
    bucket: Bucket,
    client: Client,
    /// What is larger is sent in parts of this size.
    part: u64,
}

impl S3 {
    pub(super) fn new(config: S3Config) -> Result<Self, String> {
        let (name, region) = (config.bucket.clone(), config.region.clone());
        let bucket = Bucket::new(config.endpoint.clone(), UrlStyle::Path, name, region)
            .map_err(|cause| format!("backups.s3: {} of {}: {cause}", config.bucket, config.endpoint))?;
        let client = Client::builder()
            .user_agent(concat!("signet/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .build()
            .map_err(|cause| format!("backups.s3: cannot set up its client: {cause}"))?;
        Ok(Self { config, bucket, client, part: PART })
    }

    /// What an operator calls it.
    pub(super) fn shown(&self) -> String {
        format!("s3://{}/{} at {}", self.config.bucket, self.config.prefix, self.config.endpoint)
    }

    /// Puts the file at `spool` there under `name`, and sees to it that it is whole.
    pub(super) async fn put(&self, spool: &Path, name: &str) -> Result<(), String> {
        let credentials = credentials::read(&self.config.credentials_file)?;
        let object = self.object(name);
        let size = std::fs::metadata(spool).map_err(|cause| unreadable(spool, &cause))?.len();
        if size <= self.part {
            let body = read_part(spool, 0, self.part)?;
            let action = self.bucket.put_object(Some(&credentials), &object);
            self.send(Method::PUT, sign(&action), body).await?;
        } else {
            self.put_parts(&credentials, spool, &object, size).await?;
        }
        let action = self.bucket.head_object(Some(&credentials), &object);
        let answer = self.send(Method::HEAD, sign(&action), Bytes::new()).await?;
        let length =
            answer.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length == Some(size) {
            return Ok(());
        }
        Err(format!("{}: {name} has {length:?} bytes there and should have {size}", self.shown()))
    }

    async fn put_parts(&self, credentials: &Credentials, spool: &Path, object: &str, size: u64) -> Result<(), String> {
        let action = self.bucket.create_multipart_upload(Some(credentials), object);
        let answer = self.text(Method::POST, sign(&action), Bytes::new()).await?;
        let upload = CreateMultipartUpload::parse_response(&answer).map_err(|cause| self.odd(&cause))?;
        let upload = upload.upload_id();
        let sent = self.send_parts(credentials, spool, object, size, upload).await;
        if sent.is_err() {
            // Parts cost money until they are taken back; the first failure is what counts.
            let action = self.bucket.abort_multipart_upload(Some(credentials), object, upload);
            let _ = self.send(Method::DELETE, sign(&action), Bytes::new()).await;
        }
        sent
    }

    async fn send_parts(
        &self,
        credentials: &Credentials,
        spool: &Path,
        object: &str,
        size: u64,
        upload: &str,
    ) -> Result<(), String> {
        let part = self.part.max(size / MAX_PARTS + 1);
        let (mut etags, mut offset, mut number) = (Vec::new(), 0, 1);
        while offset < size {
            let path = spool.to_owned();
            let body = tokio::task::spawn_blocking(move || read_part(&path, offset, part)).await;
            let body = body.map_err(|cause| cause.to_string())??;
            offset += body.len() as u64;
            let action = self.bucket.upload_part(Some(credentials), object, number, upload);
            let answer = self.send(Method::PUT, sign(&action), body).await?;
            let etag = answer.headers().get("etag").and_then(|etag| etag.to_str().ok());
            etags.push(etag.ok_or_else(|| self.odd(&"a part without an ETag"))?.to_owned());
            number += 1;
        }
        let etags = etags.iter().map(String::as_str);
        let action = self.bucket.complete_multipart_upload(Some(credentials), object, upload, etags);
        let url = sign(&action);
        let answer = self.text(Method::POST, url, Bytes::from(action.body())).await?;
        // It may say 200 first and fail afterwards.
        if answer.contains("CompleteMultipartUploadResult") { Ok(()) } else { Err(self.odd(&code_in(&answer))) }
    }

    /// The names there that begin with `prefix`.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<String>, String> {
        let credentials = credentials::read(&self.config.credentials_file)?;
        let (mut names, mut next) = (Vec::new(), None::<String>);
        loop {
            let mut action = self.bucket.list_objects_v2(Some(&credentials));
            action.with_prefix(self.object(prefix));
            if let Some(token) = next.take() {
                action.with_continuation_token(token);
            }
            let answer = self.text(Method::GET, sign(&action), Bytes::new()).await?;
            let page = ListObjectsV2::parse_response(&answer).map_err(|cause| self.odd(&cause))?;
            let own = page.contents.iter().filter_map(|it| it.key.strip_prefix(&self.config.prefix));
            names.extend(own.map(str::to_owned));
            match page.next_continuation_token {
                Some(token) => next = Some(token),
                None => return Ok(names),
            }
        }
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), String> {
        let credentials = credentials::read(&self.config.credentials_file)?;
        let object = self.object(name);
        let action = self.bucket.delete_object(Some(&credentials), &object);
        self.send(Method::DELETE, sign(&action), Bytes::new()).await.map(drop)
    }

    fn object(&self, name: &str) -> String {
        format!("{}{name}", self.config.prefix)
    }

    async fn text(&self, method: Method, url: Url, body: Bytes) -> Result<String, String> {
        let answer = self.send(method, url, body).await?;
        answer.text().await.map_err(|cause| self.unreachable(cause))
    }

    /// Sends a request, some times if the store stumbles.
    async fn send(&self, method: Method, url: Url, body: Bytes) -> Result<Response, String> {
        let mut failure = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(PAUSE * attempt).await;
            }
            match self.client.request(method.clone(), url.clone()).body(body.clone()).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) => {
                    let status = answer.status();
                    let code = code_in(&answer.text().await.unwrap_or_default());
                    failure = self.refused(status, &code);
                    if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
                        break;
                    }
                }
                Err(cause) => failure = self.unreachable(cause),
            }
        }
        Err(failure)
    }

    fn refused(&self, status: StatusCode, code: &str) -> String {
        let hint = match status {
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                "check backups.s3.credentials_file, backups.s3.region, what the store allows these credentials, and this host's clock"
            }
            StatusCode::NOT_FOUND => "check backups.s3.bucket: it has to be there already",
            _ => "see the store's own log",
        };
        format!("{} answered {status} {code}; {hint}", self.shown())
    }

    /// Without the URL, which carries a signature.
    fn unreachable(&self, cause: reqwest::Error) -> String {
        format!("{} cannot be reached: {:#}", self.shown(), anyhow::Error::new(cause.without_url()))
    }

    fn odd(&self, cause: &dyn std::fmt::Display) -> String {
        format!("{} gave an answer that makes no sense: {cause}", self.shown())
    }
}

fn sign<'a>(action: &impl S3Action<'a>) -> Url {
    let now = i64::try_from(clock::now().secs()).ok().and_then(|secs| Timestamp::from_second(secs).ok());
    action.sign_with_time(VALID, &now.unwrap_or_default())
}

/// The error code in an XML answer, such as `AccessDenied`; nothing else of what a stranger says.
fn code_in(answer: &str) -> String {
    let code =
        answer.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code);
    code.chars().filter(char::is_ascii_alphanumeric).take(60).collect()
}

fn read_part(path: &Path, offset: u64, limit: u64) -> Result<Bytes, String> {
    use std::io::Seek as _;
    let failed = |cause: std::io::Error| unreadable(path, &cause);
    let mut file = File::open(path).map_err(failed)?;
    file.seek(std::io::SeekFrom::Start(offset)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Bytes::from(bytes))
}

fn unreadable(path: &Path, cause: &std::io::Error) -> String {
    format!("cannot read {}: {cause}", path.display())
}

/// In memory at a time.
const PART: u64 = 16 << 20;
/// S3 takes 10,000.
const MAX_PARTS: u64 = 9_000;
/// A signed request can be used for so long.
const VALID: Duration = Duration::from_mins(15);
const CONNECT: Duration = Duration::from_secs(10);
const REQUEST: Duration = Duration::from_mins(10);
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
