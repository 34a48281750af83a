//! The hub's HTTP interface: a revision's commit, its files, the bytes of one.

use std::env;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

use super::listing::Entry;

/// The public hub.
const ENDPOINT: &str = "https://huggingface.co";

/// Most bytes of a list of files.
const MAX_LIST: u64 = 64 << 20;

/// Most pages of such a list, of a thousand files each.
const MAX_PAGES: usize = 1_000;

/// Longest token of a file.
const MAX_TOKEN: u64 = 4_096;

/// Where and how to ask.
pub struct Client {
    agent: Agent,
    /// Base address without a slash at its end
    endpoint: String,
    token: Option<String>,
    offline: bool,
}

/// Why the hub did not answer as hoped.
#[derive(Debug)]
pub enum Failure {
    /// It answered, but not with what was asked for
    Status(StatusCode),
    /// It could not be reached, or broke off
    Connection(String),
}

impl Failure {
    /// Whether asking again is of no use.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Status(status) if status.is_client_error())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) => {
                write!(f, "HTTP status {}: there is no such set, or it needs a token (HF_TOKEN)", status.as_u16())
            }
            Self::Status(StatusCode::NOT_FOUND) => f.write_str("HTTP status 404: there is no such set"),
            Self::Status(status) => write!(f, "HTTP status {}", status.as_u16()),
            Self::Connection(reason) => f.write_str(reason),
        }
    }
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
}

impl Client {
    /// As the environment says.
    pub fn from_env() -> Self {
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        let is_yes = |value: String| ["1", "true", "yes", "on"].contains(&value.to_lowercase().as_str());
        let offline = variable("HF_HUB_OFFLINE").is_some_and(is_yes);
        Self { offline, ..Self::new(&endpoint, token(), Duration::from_secs(20)) }
    }

    /// A client of one hub, which may be silent for as long as `patience`.
    pub fn new(endpoint: &str, token: Option<String>, patience: Duration) -> Self {
        let agent = Agent::config_builder()
            .timeout_connect(Some(patience))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience))
            .http_status_as_error(false)
            .user_agent(concat!("mobilenet-data/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Self { agent, endpoint: endpoint.trim_end_matches('/').into(), token, offline: false }
    }

    /// Whether the environment forbids every download.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// The commit that a revision stands for now.
    pub fn commit(&self, id: &str, revision: &str) -> Result<String, String> {
        let address = format!("{}/api/datasets/{id}/revision/{revision}", self.endpoint);
        let mut response = self.get(&address, 0).map_err(|failure| failure.to_string())?;
        let text = response.body_mut().with_config().limit(MAX_LIST).read_to_string().map_err(|e| e.to_string())?;
        let Revision { sha } = serde_json::from_str(&text).map_err(|_| "the hub names no commit".to_string())?;
        // It becomes the name of a folder and a part of addresses.
        let is_hash = !sha.is_empty() && sha.len() <= 64 && sha.bytes().all(|b| b.is_ascii_alphanumeric());
        if is_hash { Ok(sha) } else { Err("the hub names no commit".into()) }
    }

    /// All files of a commit.
    pub fn files(&self, id: &str, commit: &str) -> Result<Vec<Entry>, String> {
        let mut address = format!("{}/api/datasets/{id}/tree/{commit}?recursive=true", self.endpoint);
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let mut response = self.get(&address, 0).map_err(|failure| failure.to_string())?;
            let next = next_page(&response, &self.endpoint);
            let text = response.body_mut().with_config().limit(MAX_LIST).read_to_string().map_err(|e| e.to_string())?;
            let page: Vec<Entry> =
                serde_json::from_str(&text).map_err(|error| format!("the hub's list of files: {error}"))?;
            all.extend(page);
            match next {
                Some(next) => address = next,
                None => return Ok(all),
            }
        }
        Err(format!("the hub's list of files has more than {MAX_PAGES} pages"))
    }

    /// The bytes of a file from one on, and the one that they begin at: 0 where the server knows no ranges.
    pub fn open(&self, id: &str, commit: &str, path: &str, from: u64) -> Result<(impl Read + use<>, u64), Failure> {
        let path = path.replace('%', "%25").replace(' ', "%20").replace('#', "%23").replace('?', "%3F");
        let address = format!("{}/datasets/{id}/resolve/{commit}/{path}", self.endpoint);
        let response = self.get(&address, from)?;
        let begin = if response.status() == StatusCode::PARTIAL_CONTENT { from } else { 0 };
        Ok((response.into_body().into_reader(), begin))
    }

    fn get(&self, address: &str, from: u64) -> Result<Response<ureq::Body>, Failure> {
        let mut request = self.agent.get(address);
        if let Some(token) = &self.token {
            // Not passed on where the hub redirects to another host.
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        // Bytes are counted and hashed as they are stored.
        let request = request.header(header::ACCEPT_ENCODING, "identity");
        let response = request.call().map_err(|error| Failure::Connection(one_line(&error.to_string())))?;
        if response.status().is_success() { Ok(response) } else { Err(Failure::Status(response.status())) }
    }
}

/// The address in `Link: <…>; rel="next"`, if it is the hub's own.
fn next_page(response: &Response<ureq::Body>, endpoint: &str) -> Option<String> {
    let links = response.headers().get(header::LINK)?.to_str().ok()?;
    let link = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    let address = link.split_once('<')?.1.split_once('>')?.0;
    address.starts_with(&format!("{endpoint}/")).then(|| address.to_owned())
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// `HF_TOKEN`, else what the hub's tools keep in a file.
fn token() -> Option<String> {
    let home = || {
        let home = variable("HF_HOME").map(PathBuf::from);
        home.or_else(|| variable("XDG_CACHE_HOME").map(|cache| Path::new(&cache).join("huggingface")))
            .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache/huggingface")))
    };
    let file = || {
        let path = variable("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(home()?.join("token")))?;
        let mut text = String::new();
        mobilenet_common::files::open(&path, MAX_TOKEN).ok()?.read_to_string(&mut text).ok()?;
        Some(text)
    };
    let token = variable("HF_TOKEN").or_else(file)?.trim().to_owned();
    (!token.is_empty()).then_some(token)
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
