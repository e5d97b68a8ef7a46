//! Asks RBAC about each right of our ServiceAccount.

use futures::{StreamExt, stream};
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    authorization::v1::{
        ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        SubjectAccessReview, SubjectAccessReviewSpec,
    },
};
use kube::{Api, Client, api::PostParams};

use super::Asker;
use crate::{
    check::{
        expected::{Expected, Right},
        observed::{Reading, Unread},
    },
    reservations::host::{ApiError, within_deadline},
};

impl Asker {
    pub(super) async fn missing_rights(&mut self, expected: &Expected) -> Reading<Vec<Right>> {
        let account = Account::of(expected);
        let is_own = self.own_user().await.as_deref() == Some(&*account.user);
        let client = self.client.clone();
        let questions = expected.rights.iter().map(|right| {
            let (client, account) = (client.clone(), &account);
            async move {
                let allowed = if is_own {
                    ask_own(client, right).await
                } else {
                    ask(client, account, right).await
                };
                allowed.map(|allowed| (right, allowed))
            }
        });
        let answers: Vec<_> = stream::iter(questions).buffered(AT_ONCE).collect().await;
        let answers: Result<Vec<_>, ApiError> = answers.into_iter().collect();
        match answers {
            Ok(answers) => {
                let missing = answers.into_iter().filter(|(_, allowed)| !allowed);
                Reading::Found(missing.map(|(right, _)| right.clone()).collect())
            }
            Err(error) => {
                self.unread.push(Unread {
                    what: format!("the rights of {}", account.user),
                    why: error.to_string(),
                    mend: "harbormaster check --kubeconfig FILE    # of somebody who may create \
                           SubjectAccessReviews, or run it in the pod"
                        .to_owned(),
                });
                Reading::Unknown
            }
        }
    }

    async fn own_user(&self) -> Option<String> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let params = PostParams::default();
        let question = SelfSubjectReview::default();
        let answer = within_deadline(reviews.create(&params, &question))
            .await
            .ok()?;
        answer.status?.user_info?.username
    }
}

/// The ServiceAccount, as an authorizer sees it.
struct Account {
    user: String,
    groups: Vec<String>,
}

impl Account {
    fn of(expected: &Expected) -> Self {
        Self {
            user: expected.user(),
            groups: vec![
                "system:authenticated".to_owned(),
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{}", expected.namespace),
            ],
        }
    }
}

async fn ask(client: Client, account: &Account, right: &Right) -> Result<bool, ApiError> {
    let reviews: Api<SubjectAccessReview> = Api::all(client);
    let question = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(account.user.clone()),
            groups: Some(account.groups.clone()),
            resource_attributes: Some(attributes(right)),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let params = PostParams::default();
    let answer = within_deadline(reviews.create(&params, &question)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

async fn ask_own(client: Client, right: &Right) -> Result<bool, ApiError> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client);
    let question = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes(right)),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let params = PostParams::default();
    let answer = within_deadline(reviews.create(&params, &question)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn attributes(right: &Right) -> ResourceAttributes {
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (&*right.resource, None),
    };
    ResourceAttributes {
        namespace: right.namespace.clone(),
        group: Some(right.group.clone()),
        resource: Some(resource.to_owned()),
        subresource,
        name: right.name.clone(),
        verb: Some(right.verb.clone()),
        ..ResourceAttributes::default()
    }
}

/// Some thirty questions, of microseconds each to the API server.
const AT_ONCE: usize = 8;
