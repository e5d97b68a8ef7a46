//! What must hold for every object: for use in property tests and plain ones.

use serde_json::Value;

use super::{ApiServer, PropertyError, Review, Verdict};

/// That a second run of a mutating webhook over its own result changes nothing more: the API server
/// runs it again when a later webhook changed the object, and on every update. Gives the first run's
/// verdict.
///
/// # Errors
///
/// If it does, or refuses its own result, or if a call fails.
pub async fn check_idempotent(
    api_server: &ApiServer,
    path: &str,
    review: &Review,
) -> Result<Verdict, PropertyError> {
    let first = api_server.mutate(path, review).await?;
    let Some(object) = first.object() else {
        return Ok(first);
    };
    let again = review.clone().with_object(object.clone());
    let second = api_server.mutate(path, &again).await?;
    if let Some(refusal) = second.refusal("again") {
        return Err(PropertyError::RefusesItself {
            message: refusal.message,
        });
    }
    match second.patch() {
        Some(patch) => Err(PropertyError::NotIdempotent {
            patch: serde_json::to_value(patch).unwrap_or_default(),
        }),
        None => Ok(first),
    }
}

/// [`check_idempotent`], for plain tests.
///
/// # Panics
///
/// If the property doesn't hold.
#[expect(clippy::panic, reason = "what assertions do")]
pub async fn assert_idempotent(api_server: &ApiServer, path: &str, review: &Review) -> Verdict {
    match check_idempotent(api_server, path, review).await {
        Ok(verdict) => verdict,
        Err(error) => panic!("{error}"),
    }
}

/// That `object` comes back as it was after a conversion to each of the versions `via` (such as
/// `example.com/v1`) in turn, and home again.
///
/// For all of a webhook's promises, start both from objects as they are stored, by way of each other
/// version, and from objects as they are written there, by way of the stored one.
///
/// # Errors
///
/// If it doesn't, or if a call fails.
pub async fn check_round_trip(
    api_server: &ApiServer,
    path: &str,
    object: &Value,
    via: &[&str],
) -> Result<(), PropertyError> {
    let home = object["apiVersion"].as_str().unwrap_or_default();
    for &version in via {
        let there = api_server
            .convert(path, version, std::slice::from_ref(object))
            .await?;
        let back = api_server.convert(path, home, &there).await?;
        if back != [object.clone()] {
            return Err(PropertyError::Lost {
                via: version.to_owned(),
                before: Box::new(object.clone()),
                after: Box::new(back.into_iter().next().unwrap_or_default()),
            });
        }
    }
    Ok(())
}

/// [`check_round_trip`], for plain tests.
///
/// # Panics
///
/// If the property doesn't hold.
#[expect(clippy::panic, reason = "what assertions do")]
pub async fn assert_round_trip(api_server: &ApiServer, path: &str, object: &Value, via: &[&str]) {
    if let Err(error) = check_round_trip(api_server, path, object, via).await {
        panic!("{error}");
    }
}
