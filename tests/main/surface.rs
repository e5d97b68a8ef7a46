//! What the event door says to requests that never become events: on the wire, by a
//! listener of the program's own kind.

use std::time::{Duration, Instant};

use harbormaster::events::signature::sign;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    listening::{Listening, Reply, S},
    own::{Own, Settings, nowhere},
    stage::{flat, install_crypto},
};

const HEAD: &str = "POST /webhook HTTP/1.1\r\nHost: door\r\nConnection: close\r\n";

#[tokio::test]
async fn other_paths_and_methods_are_told_so() {
    let door = Listening::open("surface-paths").await;
    for (line, status) in [
        ("GET /webhook", 405),
        ("PUT /webhook", 405),
        ("DELETE /webhook", 405),
        ("POST /webhook/", 404),
        ("POST /WEBHOOK", 404),
        ("POST /healthz", 405),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n");
        let reply = door.send(request.as_bytes()).await;
        assert_eq!(reply.status, status, "{line}");
        if status == 405 {
            assert!(reply.head.contains("\r\nallow: "), "{line}: {}", reply.head);
        }
    }
    let healthz = "GET /healthz HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n";
    let reply = door.send(healthz.as_bytes()).await;
    assert_eq!((reply.status, reply.body), (200, json!({"status": "ok"})));
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let door = Listening::open("surface-large").await;
    let limit = 1024 * 1024;
    // Not a byte of the body follows: whoever waited for it would never answer.
    let announced = format!("{HEAD}Content-Length: {}\r\n\r\n", limit + 1);
    let reply = door.send(announced.as_bytes()).await;
    assert_eq!(reply.status, 413, "{reply:?}");
    assert!(reply.body["detail"].is_string());

    let chunk = "x".repeat(limit + 1);
    let chunked = format!(
        "{HEAD}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n",
        limit + 1
    );
    assert_eq!(door.send(chunked.as_bytes()).await.status, 413);

    let largest = format!(
        "{{\"eventType\":\"FOO\",\"x\":\"{}\"}}",
        "x".repeat(limit - 26)
    );
    assert_eq!(largest.len(), limit);
    let reply = door.post(largest.as_bytes()).await;
    assert_eq!((reply.status, reply.said()), (200, "ignored"));

    let long = format!("{HEAD}X-Long: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(door.send(long.as_bytes()).await.status, 431);
    assert!(door.names().await.is_empty());
}

#[tokio::test]
async fn an_encoded_body_is_not_decoded_whoever_signed_it() {
    let door = Listening::open("surface-encoded").await;
    let body = br#"{"eventType":"EVENT_START","resourceName":"srv"}"#;
    for encoding in ["gzip", "deflate", "br", "identity"] {
        let headers = format!(
            "Content-Encoding: {encoding}\r\nX-Webhook-Signature: {}\r\n",
            sign(S, body)
        );
        let reply = door.post_with(&headers, body).await;
        assert_eq!(reply.status, 415, "{encoding}");
        assert!(reply.body["detail"].is_string());
    }
    assert!(door.names().await.is_empty());
}

/// Both at once, since each takes half a minute.
#[tokio::test]
async fn a_body_or_a_head_that_never_comes_is_waited_for_half_a_minute_and_no_longer() {
    let door = Listening::open("surface-slow").await;
    let begun = Instant::now();
    let half_a_body = format!("{HEAD}Content-Length: 1000\r\n\r\n{{\"eventTyp");
    let half_a_head = &HEAD[..40];
    let (body, head) = tokio::join!(
        door.send(half_a_body.as_bytes()),
        door.send(half_a_head.as_bytes())
    );
    assert_eq!(body.status, 408, "{body:?}");
    assert!(body.body["detail"].is_string());
    // Whoever hasn't said what it wants is not answered.
    assert!(matches!(head.status, 0 | 408), "{head:?}");
    let elapsed = begun.elapsed();
    assert!(
        elapsed > Duration::from_secs(25) && elapsed < Duration::from_secs(60),
        "{elapsed:?}"
    );
}

#[tokio::test]
async fn a_request_under_way_is_answered_after_sigterm_and_the_program_ends() {
    install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(&Settings {
        kubeconfig: &nowhere(folder.path()),
        namespace: "surface",
        folder: folder.path(),
        more: &[],
    });
    let body = flat("EVENT_START", "120", "srv").to_string();
    let request = format!(
        "{HEAD}Content-Length: {}\r\nX-Webhook-Signature: {}\r\n\r\n{body}",
        body.len(),
        sign(xtask::stage::SECRET, body.as_bytes())
    );
    let (first, rest) = request.as_bytes().split_at(request.len() - 20);
    let mut stream = TcpStream::connect(own.events()).await.unwrap();
    stream.write_all(first).await.unwrap();
    // Once this answer is there, so is the request that came before it.
    own.scrape("/healthz").await;
    own.terminate();
    tokio::time::sleep(Duration::from_millis(300)).await;
    stream.write_all(rest).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let reply = Reply::read(&answer);
    assert_eq!((reply.status, reply.said()), (200, "success"), "{reply:?}");
    assert!(own.ended().success());
}

#[tokio::test]
async fn what_is_not_signed_is_neither_parsed_nor_logged() {
    install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(&Settings {
        kubeconfig: &nowhere(folder.path()),
        namespace: "surface",
        folder: folder.path(),
        more: &[("LOG_LEVEL", "trace")],
    });
    let mut stream = TcpStream::connect(own.events()).await.unwrap();
    let body = flat("EVENT_START", "57", "a-host-that-nobody-should-read-of").to_string();
    let request = format!(
        "{HEAD}Content-Length: {}\r\nX-Webhook-Signature: {}\r\n\r\n{body}",
        body.len(),
        sign("another secret", body.as_bytes())
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(Reply::read(&answer).status, 401);
    // One that is signed is logged by its ids and names, and by nothing else that it holds.
    let mut event = flat("EVENT_START", "58", "srv-58");
    event["email"] = json!("mario.rossi@example.com");
    assert_eq!(own.sender().post(&event).await.unwrap().0, 200);
    own.terminate();
    assert!(own.ended().success());
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains("srv-58"), "{log}");
    let signature = sign(xtask::stage::SECRET, body.as_bytes());
    for text in [
        "nobody-should-read",
        "ssh-ed25519",
        "mario",
        "noble",
        "Prenotazione",
        xtask::stage::SECRET,
        &signature,
    ] {
        assert!(!log.contains(text), "{text} is logged");
    }
}
