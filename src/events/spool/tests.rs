//! What the spool keeps over runs, in order, within its bound, and on a disk that fails.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::events::{event::Booking, intent::BookedWindow};

const LIMIT: u64 = 64 * 1024;

fn event(host: &str, id: &str) -> Waiting {
    let received: Timestamp = "2026-01-01T10:00:00Z".parse().unwrap();
    Waiting {
        received,
        intent: Intent::Begin {
            booking: Box::new(Booking {
                event_id: Some(id.to_owned()),
                resource_name: host.to_owned(),
                ..Booking::default()
            }),
            window: BookedWindow {
                start: received,
                end: None,
            },
        },
    }
}

fn id(entry: &Entry) -> String {
    let booking = entry.waiting.intent.booking();
    booking
        .and_then(|booking| booking.event_id.clone())
        .unwrap()
}

async fn ids(spool: &Spool) -> Vec<String> {
    let entries = spool.read(None, 1000).await.unwrap();
    entries.iter().map(id).collect()
}

async fn end(spool: Spool, writer: Writer) {
    spool.close().await;
    tokio::task::spawn_blocking(|| writer.join()).await.unwrap();
}

#[tokio::test]
async fn what_was_accepted_is_found_in_order_by_the_next_run() {
    let folder = TempDir::new().unwrap();
    let (spool, writer) = Spool::open(folder.path(), LIMIT).unwrap();
    spool
        .append(vec![event("a", "1"), event("b", "2")])
        .await
        .unwrap();
    spool.append(vec![event("a", "3")]).await.unwrap();
    assert!(spool.holds("a") && spool.holds("b") && !spool.holds("c"));
    end(spool, writer).await;

    let inspection = inspect(folder.path()).unwrap();
    assert_eq!(inspection.counts.waiting, 3);

    let (spool, writer) = Spool::open(folder.path(), LIMIT).unwrap();
    assert_eq!(ids(&spool).await, ["1", "2", "3"]);
    assert_eq!(spool.counts(), inspection.counts);
    let places = spool.read(None, 2).await.unwrap();
    spool
        .remove(places.iter().map(|entry| entry.place).collect())
        .await
        .unwrap();
    assert!(spool.holds("a") && !spool.holds("b"));
    assert_eq!(ids(&spool).await, ["3"]);
    end(spool, writer).await;
}

#[tokio::test]
async fn what_is_set_aside_blocks_nobody_and_is_kept() {
    let folder = TempDir::new().unwrap();
    let (spool, writer) = Spool::open(folder.path(), LIMIT).unwrap();
    spool
        .append(vec![event("a", "1"), event("a", "2")])
        .await
        .unwrap();
    let first = spool.read(None, 1).await.unwrap().remove(0);
    spool
        .set_aside(first.place, "too long".to_owned())
        .await
        .unwrap();
    spool
        .keep_aside(event("b", "3"), "no such field".to_owned())
        .await
        .unwrap();
    assert_eq!(ids(&spool).await, ["2"]);
    assert_eq!(spool.counts().set_aside, 2);
    end(spool, writer).await;
    let reasons = inspect(folder.path()).unwrap().set_aside;
    let reasons: Vec<_> = reasons.iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(reasons, ["too long", "no such field"]);
}

#[tokio::test]
async fn a_full_spool_refuses_and_takes_again_once_it_is_drained() {
    let folder = TempDir::new().unwrap();
    let (spool, writer) = Spool::open(folder.path(), 4096).unwrap();
    let mut taken = 0;
    let refusal = loop {
        match spool.append(vec![event("a", &taken.to_string())]).await {
            Ok(()) => taken += 1,
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, NotSpooled::Full), "{refusal}");
    assert!(taken > 1);
    let places = spool.read(None, 1000).await.unwrap();
    let places = places.iter().map(|entry| entry.place).collect();
    spool.remove(places).await.unwrap();
    spool.append(vec![event("a", "again")]).await.unwrap();
    end(spool, writer).await;
}

#[tokio::test]
async fn events_of_another_cluster_are_neither_mixed_nor_lost() {
    let folder = TempDir::new().unwrap();
    let (spool, writer) = Spool::open(folder.path(), LIMIT).unwrap();
    spool.claim("one".to_owned()).await.unwrap();
    // Empty, so whoever comes may have it.
    spool.claim("two".to_owned()).await.unwrap();
    spool.append(vec![event("a", "1")]).await.unwrap();
    spool.claim("two".to_owned()).await.unwrap();
    let refusal = spool.claim("three".to_owned()).await.unwrap_err();
    assert!(matches!(refusal, NotSpooled::Foreign), "{refusal}");
    let refusal = spool.append(vec![event("a", "2")]).await.unwrap_err();
    assert!(matches!(refusal, NotSpooled::Foreign), "{refusal}");
    end(spool, writer).await;
    let inspection = inspect(folder.path()).unwrap();
    assert_eq!(inspection.cluster.as_deref(), Some("two"));
    assert_eq!(inspection.counts.waiting, 1);
}

#[test]
fn a_folder_serves_one_process_at_a_time() {
    let folder = TempDir::new().unwrap();
    let (_spool, _writer) = Spool::open(folder.path(), LIMIT).unwrap();
    let refusal = Spool::open(folder.path(), LIMIT).unwrap_err();
    assert!(matches!(refusal, StoreError::InUse(_)), "{refusal}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refusal = Spool::open(&file.path().join("below"), LIMIT).unwrap_err();
    assert!(refusal.to_string().contains("below"), "{refusal}");
}

proptest! {
    #[test]
    fn every_intent_comes_back_as_it_was(host in ".*", id in ".*", key in proptest::option::of(".*")) {
        let mut waiting = event(&host, &id);
        if let Intent::Begin { booking, .. } = &mut waiting.intent {
            booking.ssh_public_key = key;
        }
        let read: Waiting = serde_json::from_slice(&store::encode(&waiting)).unwrap();
        prop_assert_eq!(&read, &waiting);
        let Intent::Begin { booking, window } = waiting.intent.clone() else {
            return Ok(());
        };
        let reason = host;
        waiting.intent = Intent::Withdraw { booking, window, reason };
        let read: Waiting = serde_json::from_slice(&store::encode(&waiting)).unwrap();
        prop_assert_eq!(read, waiting);
    }
}
