//! The download, from a little hub on this machine.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;

/// What the little hub does wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Sends other bytes than it names the checksum of.
    OtherBytes,
    /// Ends in the middle of a file, or of what is asked for of it.
    Cut,
    /// Ends in the middle of a file, and always sends it from its beginning.
    CutWithoutRanges,
    /// Says nothing in the middle of a file.
    Silent,
    /// Answers every file with 503.
    Unavailable,
    /// Answers everything with 401.
    Private,
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const SIZE: usize = 200_000;

fn content(path: &str) -> Vec<u8> {
    path.bytes().cycle().take(SIZE).collect()
}

/// The requests that a hub was sent: method, path, range and authorization.
type Seen = Arc<Mutex<Vec<String>>>;

/// A hub on this machine that has `a/b` with `data/train-0.parquet` and `data/test-0.parquet`, made of their paths.
fn hub(fault: Fault, cache: &Path) -> (Hub, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let record = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let record = Arc::clone(&record);
            std::thread::spawn(move || answer(stream.unwrap(), fault, &record));
        }
    });
    let repository = Repository::parse("a/b").unwrap();
    let client = Client::new(&endpoint, Some("secret".into()), Duration::from_millis(700));
    (Hub { client, target: cache.join(repository.folder()), repository }, seen)
}

/// Answers one request; any error of the connection ends it.
fn answer(mut stream: TcpStream, fault: Fault, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
    let request = lines.next()?;
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase()).collect();
    let header = |name: &str| headers.iter().find_map(|line| line.strip_prefix(name));
    let path = request.split(' ').nth(1)?;
    let range = header("range: bytes=").unwrap_or("-");
    seen.lock().unwrap().push(format!("{path} {range} {}", header("authorization: ").unwrap_or("-")));
    let mut reply = |status: &str, body: &[u8], sent: usize| {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(&body[..sent]).ok()?;
        stream.flush().ok()
    };
    let mut whole = |status: &str, body: &[u8]| reply(status, body, body.len());
    if fault == Fault::Private {
        return whole("401 Unauthorized", b"no");
    }
    if path == "/api/datasets/a/b/revision/main" {
        return whole("200 OK", format!("{{\"sha\": \"{COMMIT}\"}}").as_bytes());
    }
    if path == format!("/api/datasets/a/b/tree/{COMMIT}?recursive=true") {
        let file = |path: &str| {
            let sum = files::sha256_of(&content(path));
            format!("{{\"path\": \"{path}\", \"size\": 130, \"lfs\": {{\"oid\": \"{sum}\", \"size\": {SIZE}}}}}")
        };
        let files = ["data/test-0.parquet", "data/train-0.parquet", "../train-1.parquet"].map(file).join(", ");
        return whole("200 OK", format!("[{{\"path\": \"README.md\"}}, {files}]").as_bytes());
    }
    let Some(file) = path.strip_prefix(&format!("/datasets/a/b/resolve/{COMMIT}/")) else {
        return whole("404 Not Found", b"");
    };
    if fault == Fault::Unavailable {
        return whole("503 Service Unavailable", b"");
    }
    let mut body = content(file);
    if fault == Fault::OtherBytes {
        body[1000] ^= 1;
    }
    let from: usize = range.trim_end_matches('-').parse().unwrap_or(0);
    let (status, body) = match from {
        0 => ("200 OK", &body[..]),
        _ if fault == Fault::CutWithoutRanges => ("200 OK", &body[..]),
        from => ("206 Partial Content", &body[from..]),
    };
    let cut = matches!(fault, Fault::Cut | Fault::CutWithoutRanges | Fault::Silent);
    reply(status, body, if cut { body.len() / 2 } else { body.len() })?;
    if fault == Fault::Silent {
        std::thread::sleep(Duration::from_secs(3));
    }
    Some(())
}

fn is_whole(hub: &Hub) -> bool {
    ["train-0.parquet", "test-0.parquet"]
        .iter()
        .all(|name| std::fs::read(hub.target.join(name)).is_ok_and(|found| found == content(&format!("data/{name}"))))
}

fn of_files(seen: &Seen) -> Vec<String> {
    seen.lock().unwrap().iter().filter(|line| line.starts_with("/datasets")).cloned().collect()
}

#[test]
fn downloads_once_with_its_progress_and_the_token() {
    let cache = tempfile::tempdir().unwrap();
    let (hub, seen) = hub(Fault::None, cache.path());
    let mut reports = Vec::new();
    hub.download(&mut |p| reports.push(p)).unwrap();
    assert!(is_whole(&hub));
    for name in ["train-0.parquet", "test-0.parquet"] {
        let done = Progress::Downloading { file: name.into(), done: SIZE as u64, total: SIZE as u64 };
        assert!(reports.contains(&done), "{reports:?}");
    }
    assert_eq!(files::list(&hub.target).unwrap().len(), 2);
    assert!(!hub.beside("partial").exists());
    hub.download(&mut |_| {}).unwrap();
    assert_eq!(of_files(&seen).len(), 2, "the cache was not used");
    assert!(seen.lock().unwrap().iter().all(|line| line.ends_with(" bearer secret")), "{seen:?}");
}

#[test]
fn two_at_once_download_once() {
    let cache = tempfile::tempdir().unwrap();
    let (hub, seen) = hub(Fault::None, cache.path());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| hub.download(&mut |_| {}).unwrap());
        }
    });
    assert!(is_whole(&hub));
    assert_eq!(of_files(&seen).len(), 2);
}

#[test]
fn faults_are_reported_and_the_next_try_succeeds() {
    for (fault, expected) in [
        (Fault::OtherBytes, "checksum mismatch"),
        (Fault::Cut, "data/test-0.parquet"),
        (Fault::CutWithoutRanges, "data/test-0.parquet"),
        (Fault::Silent, "data/test-0.parquet"),
        (Fault::Unavailable, "HTTP status 503"),
        (Fault::Private, "HTTP status 401: there is no such set, or it needs a token (HF_TOKEN)"),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let (bad, seen) = hub(fault, cache.path());
        let text = bad.download(&mut |_| {}).unwrap_err().to_string();
        assert!(text.starts_with("a/b") && text.contains(expected) && !text.contains('\n'), "{text}");
        assert!(start.elapsed() < Duration::from_secs(10), "{text}: {:?}", start.elapsed());
        assert!(!bad.target.exists());
        if fault == Fault::Cut {
            // Half of it, half of the rest, and half of that.
            let ranges: Vec<String> =
                of_files(&seen).iter().filter_map(|line| Some(line.split(' ').nth(1)?.to_owned())).collect();
            assert_eq!(ranges, ["-", "100000-", "150000-"]);
        }
        let (good, seen) = hub(Fault::None, cache.path());
        good.download(&mut |_| {}).unwrap();
        assert!(is_whole(&good));
        let goes_on = of_files(&seen)[0].contains(" 175000- ");
        assert_eq!(goes_on, matches!(fault, Fault::Cut | Fault::Silent), "{seen:?}");
    }
}

#[test]
fn no_hub_is_a_quick_error() {
    let cache = tempfile::tempdir().unwrap();
    let (mut hub, _) = hub(Fault::None, cache.path());
    // A port that was free a moment ago refuses.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    hub.client = Client::new(&format!("http://127.0.0.1:{port}"), None, Duration::from_secs(20));
    let start = Instant::now();
    let error = hub.download(&mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::NotAvailable { .. }), "{error}");
    assert!(error.to_string().to_lowercase().contains("refused"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn a_name_that_is_none_asks_nobody() {
    let cache = tempfile::tempdir().unwrap();
    let error = download("../../etc", Some(cache.path()), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("owner/name"), "{error}");
}
