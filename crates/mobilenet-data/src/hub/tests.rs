//! The download, from a little hub on this machine.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

/// What the little hub does wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Sends other bytes than it names the checksum of.
    OtherBytes,
    /// Ends in the middle of a file.
    Cut,
    /// Says nothing in the middle of a file.
    Silent,
    /// Answers every file with 503.
    Unavailable,
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn content(path: &str) -> Vec<u8> {
    path.bytes().cycle().take(200_000).collect()
}

/// A hub on this machine that serves `<part>-00000-of-00001.parquet`, made of their names. It
/// counts how often it sends a file.
fn hub(fault: Fault) -> (Hub, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Some(format!("http://{}", listener.local_addr().unwrap()));
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let counter = Arc::clone(&counter);
            std::thread::spawn(move || answer(stream.unwrap(), fault, &counter));
        }
    });
    (Hub { endpoint, patience: Duration::from_millis(1500) }, sent)
}

/// Answers one request; any error of the connection ends it.
fn answer(stream: TcpStream, fault: Fault, sent: &AtomicUsize) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
    let request = lines.next()?;
    let _headers = lines.take_while(|line| !line.is_empty()).count();
    let (method, path) = request.split_once(' ')?;
    let path = path.split(' ').next()?;
    let mut stream = stream;
    let mut reply = |status: &str, headers: String, body: &[u8]| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        if method == "HEAD" {
            return Some(());
        }
        let cut = matches!(fault, Fault::Cut | Fault::Silent) && length > 100_000;
        stream.write_all(&body[..if cut { length / 2 } else { length }]).ok()?;
        stream.flush().ok()?;
        if cut && fault == Fault::Silent {
            std::thread::sleep(Duration::from_secs(4));
        }
        Some(())
    };
    if path == "/api/datasets/uoft-cs/cifar10/revision/main" {
        let file = |name: &str| format!("{{\"rfilename\": \"{name}\"}}");
        let names = ["README.md", "plain_text/test-0.parquet", "../train-1.parquet", "plain_text/train-0.parquet"];
        let siblings = names.map(file).join(", ");
        let json = format!("{{\"id\": \"uoft-cs/cifar10\", \"sha\": \"{COMMIT}\", \"siblings\": [{siblings}]}}");
        return reply("200 OK", "Content-Type: application/json\r\n".into(), json.as_bytes());
    }
    if !path.starts_with(&format!("/datasets/uoft-cs/cifar10/resolve/{COMMIT}/plain_text/")) {
        return reply("404 Not Found", String::new(), b"");
    }
    if fault == Fault::Unavailable {
        return reply("503 Service Unavailable", String::new(), b"");
    }
    let mut body = content(path);
    let sum = files::sha256_of(&body);
    if fault == Fault::OtherBytes {
        body[1000] ^= 1;
    }
    if method == "GET" {
        sent.fetch_add(1, Ordering::Relaxed);
    }
    let headers = format!("ETag: \"{sum}\"\r\nX-Repo-Commit: {COMMIT}\r\nX-Linked-Size: {}\r\n", body.len());
    reply("200 OK", headers, &body)
}

fn served(name: &str) -> Vec<u8> {
    content(&format!("/datasets/uoft-cs/cifar10/resolve/{COMMIT}/plain_text/{name}"))
}

#[test]
fn downloads_once_and_reports_its_progress() {
    let cache = tempfile::tempdir().unwrap();
    let (hub, sent) = hub(Fault::None);
    let mut reports = Vec::new();
    hub.download(Source::Cifar10, cache.path(), &mut |p| reports.push(p)).unwrap();
    for name in ["train-0.parquet", "test-0.parquet"] {
        assert!(std::fs::read(cache.path().join("cifar10").join(name)).unwrap() == served(name));
        let done = Progress::Downloading { file: name.into(), done: 200_000, total: 200_000 };
        assert!(reports.contains(&done), "{reports:?}");
    }
    assert_eq!(files::list(&cache.path().join("cifar10")).unwrap().len(), 2);
    assert!(!cache.path().join("cifar10.partial").exists());
    hub.download(Source::Cifar10, cache.path(), &mut |_| {}).unwrap();
    assert_eq!(sent.load(Ordering::Relaxed), 2, "the cache was not used");
}

#[test]
fn two_at_once_download_once() {
    let cache = tempfile::tempdir().unwrap();
    let (hub, sent) = hub(Fault::None);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| hub.download(Source::Cifar10, cache.path(), &mut |_| {}).unwrap());
        }
    });
    assert_eq!(sent.load(Ordering::Relaxed), 2);
}

#[test]
fn faults_are_reported_and_the_next_try_succeeds() {
    for (fault, expected) in [
        (Fault::OtherBytes, "checksum mismatch"),
        (Fault::Cut, "download of uoft-cs/cifar10 failed"),
        (Fault::Silent, "no answer for 1.5s"),
        (Fault::Unavailable, "503"),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let error = hub(fault).0.download(Source::Cifar10, cache.path(), &mut |_| {}).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::NotAvailable { .. }), "{text}");
        assert!(text.contains(expected) && !text.contains('\n'), "{text}");
        assert!(start.elapsed() < Duration::from_secs(5), "{text}: {:?}", start.elapsed());
        assert!(!cache.path().join("cifar10").exists());
        if fault != Fault::Silent {
            hub(Fault::None).0.download(Source::Cifar10, cache.path(), &mut |_| {}).unwrap();
            let train = std::fs::read(cache.path().join("cifar10/train-0.parquet")).unwrap();
            assert!(train == served("train-0.parquet"));
        }
    }
}

#[test]
fn no_hub_is_a_quick_error() {
    let cache = tempfile::tempdir().unwrap();
    // A port that was free a moment ago refuses.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = Some(format!("http://127.0.0.1:{port}"));
    let hub = Hub { endpoint, patience: Duration::from_secs(20) };
    let start = Instant::now();
    let error = hub.download(Source::Cifar10, cache.path(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::NotAvailable { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
