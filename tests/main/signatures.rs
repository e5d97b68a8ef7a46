//! The senders' contract on signatures and secrets, by its vectors' numbers.

use harbormaster::events::{
    secrets::SecretsDir,
    signature::{Secrets, sign},
};
use serde_json::{Value, json};

use crate::{
    listening::{Listening, S},
    vectors::{fl, fl_with},
};

#[tokio::test]
async fn only_the_documented_signatures_are_accepted() {
    let door = Listening::open("vectors-signed").await;
    let url_safe = M2_BASE64.replace('/', "_").replace('+', "-");
    let with_newline = sign(&format!("{S}\n\n"), M1.as_bytes());
    for (number, value, body, status) in [
        (1, M1_BASE64, M1, 200),
        (38, M1_HEX, M1, 200),
        (39, &M1_HEX.to_uppercase(), M1, 200),
        (40, &format!("sha256={M1_HEX}"), M1, 200),
        (41, &format!("sha256={M1_BASE64}"), M1, 200),
        (42, &format!(" \t{M1_BASE64} \t"), M1, 200),
        (44, "", M1, 401),
        (45, M2_BASE64, M1, 401),
        (46, M1_BASE64, M2, 401),
        (48, "cJOyyXvQvRWpOJsNeqdY3MfWqMO0WoGLykX0vz1MwWw=", M1, 401),
        (48, &with_newline, M1, 401),
        (50, &url_safe, M2, 401),
        (50, M1_BASE64.trim_end_matches('='), M1, 401),
        (51, "A5AWBrnUi4nqPlBgvVz1tmwM27o=", M1, 401),
        (57, M1_BASE64, &M1.replace("srv01", "srv00"), 401),
    ] {
        let headers = format!("X-Webhook-Signature: {value}\r\n");
        let reply = door.post_with(&headers, body.as_bytes()).await;
        assert_eq!(reply.status, status, "{number}: {reply:?}");
        if status == 401 {
            assert_eq!(
                reply.body,
                json!({"detail": "Signature verification failed"}),
                "{number}"
            );
        }
    }
    let twice = format!("X-Webhook-Signature: {M1_BASE64}\r\n").repeat(2);
    let beyond_ascii = "X-Webhook-Signature: \u{e8}\r\n";
    for (number, headers) in [(43, ""), (45, &*twice), (45, beyond_ascii)] {
        let reply = door.post_with(headers, M1.as_bytes()).await;
        assert_eq!(reply.status, 401, "{number}: {headers}");
    }
    // 54: neither the address nor the body is a place for it.
    let query = format!(
        "POST /webhook?X-Webhook-Signature={M1_HEX} HTTP/1.1\r\nHost: door\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{M1}",
        M1.len()
    );
    assert_eq!(door.send(query.as_bytes()).await.status, 401);
    assert_eq!(door.names().await, ["host-restart-srv01"]);
}

#[tokio::test]
async fn secrets_may_be_none_or_several() {
    for (number, secret, headers) in [
        (4, "", ""),
        (5, "", "X-Webhook-Signature: garbage\r\n"),
        (6, "\n", ""),
    ] {
        let namespace = format!("vectors-unsigned-{number}");
        let door = Listening::open_with(&namespace, |mut door| {
            door.secrets = Secrets::from_text(secret);
            door
        })
        .await;
        let reply = door.post_with(headers, M1.as_bytes()).await;
        assert_eq!((reply.status, reply.said()), (200, "success"), "{number}");
    }
    let folder = tempfile::tempdir().unwrap();
    for (file, secret) in [("7", "secret one"), ("8", "secret two\n")] {
        std::fs::write(folder.path().join(file), secret).unwrap();
    }
    let secrets = SecretsDir::open(folder.path())
        .await
        .every(std::time::Duration::from_millis(20));
    let door = Listening::open_with("vectors-secrets", |mut door| {
        door.secrets = Secrets::from_text(S).and_folder(&secrets);
        door
    })
    .await;
    let signed = async |event: Value, secret: &str| {
        let body = event.to_string();
        let headers = format!("X-Webhook-Signature: {}\r\n", sign(secret, body.as_bytes()));
        door.post_with(&headers, body.as_bytes()).await
    };
    // 55, 56: whichever signed it, and through whichever webhook it comes, it is one event.
    let mut answers = Vec::new();
    for (webhook, secret) in [(7, "secret one"), (8, "secret two"), (9, S)] {
        let reply = signed(fl_with("56", &json!({"webhookId": webhook})), secret).await;
        assert_eq!((reply.status, reply.said()), (200, "success"), "{webhook}");
        answers.push(reply.body["message"].clone());
    }
    assert_eq!(
        answers,
        [
            "Provisioning initiated for restart-srv01",
            "Already handled for restart-srv01",
            "Already handled for restart-srv01",
        ]
    );
    assert_eq!(door.names().await, ["portal-56"]);
    std::fs::remove_file(folder.path().join("8")).unwrap();
    let watch = tokio::spawn(secrets.watch(std::future::pending()));
    crate::stage::until("the secret to be forgotten", async || {
        let reply = signed(fl("56"), "secret two").await;
        (reply.status == 401).then_some(())
    })
    .await;
    watch.abort();
    // 48: one newline at the end of a setting is an editor's.
    let headers = format!("X-Webhook-Signature: {M1_BASE64}\r\n");
    let door = Listening::open_with("vectors-newline", |mut door| {
        door.secrets = Secrets::from_text(&format!("{S}\n"));
        door
    })
    .await;
    assert_eq!(door.post_with(&headers, M1.as_bytes()).await.status, 200);
}

/// The bodies that the vectors' signatures are of.
const M1: &str = r#"{"eventType":"EVENT_START","resourceName":"restart-srv01"}"#;
const M1_BASE64: &str = "78cYUV2I07TaYMxuNBMOHM4TpcKmTqCPSjGEQzseIIw=";
const M1_HEX: &str = "efc718515d88d3b4da60cc6e34130e1cce13a5c2a64ea08f4a3184433b1e208c";
const M2: &str = r#"{"eventType":"EVENT_END","resourceName":"restart-srv01"}"#;
const M2_BASE64: &str = "q5xzAorxlIBi/pk5zGp6Wuvy32no3pJVM51Mc+dFD3A=";
