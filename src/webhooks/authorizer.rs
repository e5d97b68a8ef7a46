//! Asks the API server whether somebody else may do something (SubjectAccessReview).
//!
//! The one call that hooks make, and only for what is rare: break-glass, and a Reservation
//! that names a Secret. Offline (`generate`, `replay`) nobody may do anything.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    rbac::v1::PolicyRule,
};
use kube::{Api, Client, api::PostParams};
use kube_webhook::{Fault, admission::UserInfo};

/// Who may do what, as the API server says.
#[derive(Clone)]
pub struct Authorizer {
    reviews: Option<Api<SubjectAccessReview>>,
}

/// Something that somebody wants to do to one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish<'a> {
    /// The verb; any word, so that a role can grant what the API server itself doesn't know.
    pub verb: &'a str,
    /// The API group; empty for the core's.
    pub group: &'a str,
    /// The plural.
    pub resource: &'a str,
    /// The object's namespace; empty for what has none.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
}

impl Authorizer {
    /// Asks the API server behind `client`.
    pub fn new(client: Client) -> Self {
        Self {
            reviews: Some(Api::all(client)),
        }
    }

    /// Grants nothing.
    pub fn offline() -> Self {
        Self { reviews: None }
    }

    /// Whether `user` may do it.
    ///
    /// # Errors
    ///
    /// If the API server gave no answer in time: then failurePolicy decides.
    pub async fn may(&self, user: &UserInfo<'_>, wish: Wish<'_>) -> Result<bool, Fault> {
        let Some(reviews) = &self.reviews else {
            return Ok(false);
        };
        let review = SubjectAccessReview {
            spec: question(user, wish),
            ..SubjectAccessReview::default()
        };
        let params = PostParams::default();
        let answer = tokio::time::timeout(DEADLINE, reviews.create(&params, &review))
            .await
            .map_err(|_| unanswered(user, "no answer in time"))?
            .map_err(|error| unanswered(user, &error.to_string()))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// The right that asking takes.
    pub fn right() -> PolicyRule {
        PolicyRule {
            api_groups: Some(vec!["authorization.k8s.io".to_owned()]),
            resources: Some(vec!["subjectaccessreviews".to_owned()]),
            verbs: vec!["create".to_owned()],
            ..PolicyRule::default()
        }
    }
}

impl std::fmt::Debug for Authorizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Authorizer")
            .field("offline", &self.reviews.is_none())
            .finish()
    }
}

/// With all that the authenticator said: a token may be scoped by its `extra` alone.
fn question(user: &UserInfo<'_>, wish: Wish<'_>) -> SubjectAccessReviewSpec {
    let extra: BTreeMap<_, Vec<_>> = user
        .extra_keys()
        .map(|key| (key.to_owned(), user.extra(key).map(str::to_owned).collect()))
        .collect();
    SubjectAccessReviewSpec {
        user: Some(user.username().to_owned()),
        uid: Some(user.uid().to_owned()).filter(|uid| !uid.is_empty()),
        groups: Some(user.groups().map(str::to_owned).collect()),
        extra: (!extra.is_empty()).then_some(extra),
        resource_attributes: Some(ResourceAttributes {
            verb: Some(wish.verb.to_owned()),
            group: Some(wish.group.to_owned()),
            resource: Some(wish.resource.to_owned()),
            namespace: Some(wish.namespace.to_owned()),
            name: Some(wish.name.to_owned()),
            ..ResourceAttributes::default()
        }),
        ..SubjectAccessReviewSpec::default()
    }
}

fn unanswered(user: &UserInfo<'_>, why: &str) -> Fault {
    Fault::unavailable(format!(
        "whether {} may do this could not be asked: {why}; try again",
        user.username()
    ))
}

/// Well within the 5 s that our hooks are given.
const DEADLINE: Duration = Duration::from_secs(3);
