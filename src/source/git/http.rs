//! What git says to a server, carried by HTTP: one request, one answer read bit by bit.
//!
//! A module of its own because it is the only place where bytes of a git server come in. They are counted, and a wait for
//! them ends when the fetch is cancelled, when its time is over, or when nothing comes for too long. Why an exchange
//! failed is kept here as a typed error: on its way up through the git library it would become text.
//!
//! A redirect is followed only to the same host and port, and only before anything was sent that is not public: a
//! server must not lead an agent elsewhere in its network, nor credentials to another server.
//!
//! Source: Git's `gitprotocol-http(5)`.

use std::any::Any;
use std::future::Future;
use std::io::{self, BufRead, Cursor, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gix::protocol::transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::progress::Meter;
use super::repository::shown;
use super::{GitError, text};
use crate::runtime::CancellationToken;

/// How long a server may say nothing, at the start of its answer or in the middle.
const LONGEST_SILENCE: Duration = Duration::from_mins(1);
const MOST_REDIRECTS: usize = 5;
/// What a server may say beside objects, all of which is kept in memory: its branches and tags above all.
const LONGEST_TALK: u64 = 64 * 1024 * 1024;
/// Nothing that is asked is longer: hashes that are wanted.
const LONGEST_QUESTION: usize = 16 * 1024 * 1024;

/// What all exchanges of a fetch share.
pub(super) struct Line {
    pub(super) client: reqwest::Client,
    /// Of the runtime that drives the connections, while a thread of its own waits here.
    pub(super) handle: Handle,
    pub(super) cancelled: CancellationToken,
    pub(super) deadline: Instant,
    pub(super) meter: Arc<Meter>,
    /// The repository, as messages call it.
    pub(super) repository: String,
    /// What is shown to the server once it asks.
    pub(super) login: Option<HeaderValue>,
    asked_for_login: AtomicBool,
    /// Whether objects come in, which go to disk.
    pub(super) receives: AtomicBool,
    talked: AtomicU64,
    failure: Mutex<Option<GitError>>,
}

impl Line {
    pub(super) fn new(
        client: reqwest::Client,
        handle: Handle,
        (cancelled, deadline): (CancellationToken, Instant),
        meter: Arc<Meter>,
        repository: String,
        login: Option<HeaderValue>,
    ) -> Self {
        Self {
            client,
            handle,
            cancelled,
            deadline,
            meter,
            repository,
            login,
            asked_for_login: AtomicBool::new(false),
            receives: AtomicBool::new(false),
            talked: AtomicU64::new(0),
            failure: Mutex::default(),
        }
    }

    /// Why the last exchange failed, where it failed here.
    pub(super) fn failure(&self) -> Option<GitError> {
        lock(&self.failure).take()
    }

    /// Keeps `error` and wraps it for the git library.
    pub(super) fn failed(&self, error: GitError) -> io::Error {
        let text = error.to_string();
        lock(&self.failure).get_or_insert(error);
        io::Error::other(text)
    }

    /// So many bytes have come in.
    fn received(&self, bytes: usize) -> Result<(), GitError> {
        self.meter.received(bytes)?;
        if !self.receives.load(Ordering::Relaxed)
            && self.talked.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64 > LONGEST_TALK
        {
            return Err(GitError::limit("bytes of branches and tags", LONGEST_TALK));
        }
        Ok(())
    }

    fn unreached(&self, error: reqwest::Error) -> GitError {
        // Addresses are the business of messages, not of the sources below them.
        let reason = text::chain(&error.without_url());
        GitError::Unreachable { repository: self.repository.clone(), reason }
    }

    /// Waits for `work`, but not for ever.
    fn wait<T>(&self, work: impl Future<Output = Result<T, reqwest::Error>>) -> Result<T, GitError> {
        self.handle.block_on(async {
            tokio::select! {
                biased;
                () = self.cancelled.cancelled() => Err(GitError::Cancelled),
                () = tokio::time::sleep_until(self.deadline) => Err(GitError::TooSlow),
                () = tokio::time::sleep(LONGEST_SILENCE) => Err(GitError::Unreachable {
                    repository: self.repository.clone(),
                    reason: format!("the server has been silent for {} seconds", LONGEST_SILENCE.as_secs()),
                }),
                done = work => done.map_err(|error| self.unreached(error)),
            }
        })
    }

    /// Asks, shows credentials when told to, and judges the status.
    fn ask(&self, question: &Question) -> Result<(Response, Url), GitError> {
        let mut url = question.url.clone();
        let mut redirects = 0;
        loop {
            let mut request =
                self.client.request(question.method.clone(), url.clone()).headers(question.headers.clone());
            if !question.body.is_empty() {
                request = request.body(question.body.clone());
            }
            let shown_login = self.asked_for_login.load(Ordering::Relaxed);
            if let Some(login) = self.login.as_ref().filter(|_| shown_login) {
                request = request.header(AUTHORIZATION, login.clone());
            }
            let answer = self.wait(request.send())?;
            let status = answer.status();
            match status {
                StatusCode::OK => return Ok((answer, url)),
                StatusCode::UNAUTHORIZED if self.login.is_some() && !shown_login => {
                    self.asked_for_login.store(true, Ordering::Relaxed);
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    let reason = match (shown_login, status) {
                        (true, _) => "the server does not accept the credentials",
                        (false, StatusCode::UNAUTHORIZED) => {
                            "the server asks for credentials, and there are none for it"
                        }
                        (false, _) => "the server forbids it",
                    };
                    return Err(GitError::Denied { repository: self.repository.clone(), reason });
                }
                StatusCode::NOT_FOUND | StatusCode::GONE => {
                    return Err(GitError::NotFound { repository: self.repository.clone() });
                }
                _ if status.is_redirection() && question.method == Method::GET => {
                    redirects += 1;
                    url = self.redirected(&url, answer.headers(), redirects)?;
                }
                _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                    let reason = format!("the server answers with status {status}");
                    return Err(GitError::Unreachable { repository: self.repository.clone(), reason });
                }
                _ => {
                    let reason = format!("the server answers with status {status}");
                    return Err(GitError::Server { repository: self.repository.clone(), reason });
                }
            }
        }
    }

    fn redirected(&self, from: &Url, headers: &HeaderMap, redirects: usize) -> Result<Url, GitError> {
        let refuse = |reason: String| GitError::Server { repository: self.repository.clone(), reason };
        let to = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let to = to.and_then(|location| from.join(location).ok());
        let to = to.ok_or_else(|| refuse("the server redirects to nowhere".to_owned()))?;
        if to.origin() != from.origin() || !to.username().is_empty() || to.password().is_some() {
            let host = shown(to.host_str().unwrap_or("another scheme"));
            return Err(refuse(format!(
                "the server redirects to {host}, which is not followed: name the repository there, or rewrite its address"
            )));
        }
        if redirects > MOST_REDIRECTS || to.query() != from.query() {
            return Err(refuse("the server redirects too often, or to something else".to_owned()));
        }
        Ok(to)
    }
}

/// One request.
struct Question {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

enum State {
    /// The question is still being written.
    Asking(Question),
    Answered(Response),
    /// The answer is read elsewhere, or failed.
    Over,
}

/// Carries the exchanges of one conversation; what the git library calls its HTTP client.
pub(super) struct Exchanges {
    line: Arc<Line>,
    redirected_base: Option<String>,
}

impl Exchanges {
    pub(super) fn new(line: Arc<Line>) -> Self {
        Self { line, redirected_base: None }
    }

    fn question<'a>(method: Method, url: &str, lines: impl Iterator<Item = &'a str>) -> Result<Question, gix::Error> {
        let refuse = |reason: &'static str| gix::Error::from_error(io::Error::new(io::ErrorKind::InvalidInput, reason));
        let url = Url::parse(url).map_err(|_| refuse("not an address"))?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| refuse("not a header"))?;
            // The client has a name of its own.
            if name.eq_ignore_ascii_case("user-agent") {
                continue;
            }
            let name = name.parse::<HeaderName>().map_err(|_| refuse("not a header"))?;
            let value = HeaderValue::from_str(value.trim()).map_err(|_| refuse("not a header"))?;
            headers.append(name, value);
        }
        Ok(Question { method, url, headers, body: Vec::new() })
    }
}

impl Http for Exchanges {
    type Headers = Head;
    type ResponseBody = Body;
    type PostBody = Written;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Head, Body>> {
        let headers: Vec<_> = headers.into_iter().map(|line| line.as_ref().to_owned()).collect();
        let question = Self::question(Method::GET, url, headers.iter().map(String::as_str))?;
        let (answer, effective) =
            self.line.ask(&question).map_err(|error| gix::Error::from_error(self.line.failed(error)))?;
        if effective != question.url {
            let tail = url.strip_prefix(base_url).unwrap_or_default();
            let base = effective.as_str().strip_suffix(tail).filter(|_| !tail.is_empty());
            let base = base.ok_or_else(|| {
                let reason = "the server redirects to something that is no repository".to_owned();
                let error = GitError::Server { repository: self.line.repository.clone(), reason };
                gix::Error::from_error(self.line.failed(error))
            })?;
            self.redirected_base = Some(base.to_owned());
        }
        let pending = Pending { line: Arc::clone(&self.line), state: Arc::new(Mutex::new(State::Answered(answer))) };
        Ok(GetResponse { headers: Head::of(pending.clone()), body: Body::of(pending) })
    }

    fn post(
        &mut self,
        url: &str,
        _: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Head, Body, Written>> {
        let headers: Vec<_> = headers.into_iter().map(|line| line.as_ref().to_owned()).collect();
        let question = Self::question(Method::POST, url, headers.iter().map(String::as_str))?;
        let pending = Pending { line: Arc::clone(&self.line), state: Arc::new(Mutex::new(State::Asking(question))) };
        Ok(PostResponse {
            post_body: Written(pending.clone()),
            headers: Head::of(pending.clone()),
            body: Body::of(pending),
        })
    }

    fn configure(&mut self, _: &dyn Any) -> gix::Result {
        // Settings of git's own are not used.
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.redirected_base.clone()
    }
}

/// An exchange under way, shared by what writes the question and what reads the answer.
#[derive(Clone)]
struct Pending {
    line: Arc<Line>,
    state: Arc<Mutex<State>>,
}

impl Pending {
    /// The answer, asking first where that was not done yet.
    fn answer<T>(&self, read: impl FnOnce(&Response) -> T) -> io::Result<T> {
        let mut state = lock(&self.state);
        if let State::Asking(_) = &*state {
            let State::Asking(question) = std::mem::replace(&mut *state, State::Over) else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            let (answer, _) = self.line.ask(&question).map_err(|error| self.line.failed(error))?;
            *state = State::Answered(answer);
        }
        match &*state {
            State::Answered(answer) => Ok(read(answer)),
            State::Asking(_) | State::Over => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn take(&self) -> io::Result<Response> {
        self.answer(|_| ())?;
        match std::mem::replace(&mut *lock(&self.state), State::Over) {
            State::Answered(answer) => Ok(answer),
            State::Asking(_) | State::Over => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The question's body, kept until the answer is read.
pub(super) struct Written(Pending);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *lock(&self.0.state) {
            State::Asking(question) if question.body.len() + bytes.len() <= LONGEST_QUESTION => {
                question.body.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The one header that the git library looks at.
pub(super) struct Head {
    pending: Pending,
    lines: Option<Cursor<Vec<u8>>>,
}

impl Head {
    fn of(pending: Pending) -> Self {
        Self { pending, lines: None }
    }
}

impl BufRead for Head {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.lines.is_none() {
            let kind = self.pending.answer(|answer| answer.headers().get(CONTENT_TYPE).cloned())?;
            let kind = kind.as_ref().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            self.lines = Some(Cursor::new(format!("content-type: {kind}\n").into_bytes()));
        }
        self.lines.get_or_insert_default().fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(lines) = &mut self.lines {
            lines.consume(amount);
        }
    }
}

impl Read for Head {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        copy_out(self, buffer)
    }
}

/// The answer's body.
pub(super) struct Body {
    pending: Pending,
    answer: Option<Response>,
    chunk: Bytes,
    ended: bool,
}

impl Body {
    fn of(pending: Pending) -> Self {
        Self { pending, answer: None, chunk: Bytes::new(), ended: false }
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() && !self.ended {
            let answer = match &mut self.answer {
                Some(answer) => answer,
                none => none.insert(self.pending.take()?),
            };
            let line = &self.pending.line;
            match line.wait(answer.chunk()).map_err(|error| line.failed(error))? {
                Some(chunk) => {
                    line.received(chunk.len()).map_err(|error| line.failed(error))?;
                    self.chunk = chunk;
                }
                None => self.ended = true,
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        let _ = self.chunk.split_to(amount.min(self.chunk.len()));
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        copy_out(self, buffer)
    }
}

fn copy_out(from: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let amount = from.fill_buf()?.read(buffer)?;
    from.consume(amount);
    Ok(amount)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
